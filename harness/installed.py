"""Versions of the libraries that are installed. Nothing is imported."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping


def versions(needs: Mapping[str, str]) -> Mapping[str, str]:
    """Installed version of each library in `needs`, by import name; nothing is imported."""
    owners = _distributions()
    return {module: _version(owners.get(module, module)) for module in needs}


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@functools.cache
def _distributions() -> Mapping[str, str]:
    return {module: names[0] for module, names in importlib.metadata.packages_distributions().items()}
