"""A folder with Backbench's packages alone, for a worker in another interpreter."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from harness import cache, codec
from harness.errors import BackbenchError, StoreFailed

PACKAGES = ("harness", "exporters", "runtimes")


def code_path() -> Path:
    """A folder with Backbench's packages and nothing else, for the search path of another interpreter.

    Backbench may be installed beside this environment's libraries, which the other one must not see.
    """
    sources = {name: str(_source(name)) for name in PACKAGES}
    folder = cache.root() / "code" / codec.key(sources)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in sources.items():
            if not (folder / name).is_dir():
                _link(source, folder / name)
    except OSError as error:
        raise StoreFailed(
            f"cannot write {folder}: {error.strerror or error}", "set BACKBENCH_CACHE to a folder that can be written"
        ) from error
    return folder


def _source(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise BackbenchError(f"Backbench's package {package} is not where Python looks", "install Backbench again")
    return Path(spec.origin).resolve().parent


def _link(source: str, target: Path) -> None:
    """Link beside and rename: another process may do the same now, and a link whose goal has gone may lie there."""
    with tempfile.TemporaryDirectory(dir=target.parent) as beside:
        made = Path(beside) / target.name
        made.symlink_to(source)
        made.replace(target)
