"""Which libraries are installed, and their versions. Nothing is imported."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Mapping


def has(module: str) -> bool:
    """Whether a library is installed, by import name."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent package is missing, or a stub module has no spec
        return False


def versions(modules: Iterable[str]) -> Mapping[str, str]:
    """Version of each library, by import name: `absent` where it is not installed, `unknown` where no package tells."""
    return {module: _version(module) for module in modules}


def _version(module: str) -> str:
    try:
        return importlib.metadata.version(_distributions().get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return "unknown" if has(module) else "absent"


@functools.cache
def _distributions() -> Mapping[str, str]:
    return {module: names[0] for module, names in importlib.metadata.packages_distributions().items()}
