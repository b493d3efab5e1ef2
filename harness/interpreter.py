"""Another Python environment for a worker: what it is given of Backbench, and whether it can run it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BackbenchError, PlanInvalid, StoreFailed

PACKAGES = ("harness", "exporters", "runtimes")
_TIMEOUT_S = 120.0
_PROBE = """
import json, platform, sys
import harness.codec, harness.measure, harness.reference, harness.registry, harness.usage, harness.verify, harness.worker
from harness import machine
print(json.dumps({"version": platform.python_version(), "versions": dict(machine.versions())}))
"""


@dataclass(frozen=True)
class Environment:
    """A Python environment that can run a worker."""

    python: str
    """Absolute path of its interpreter; not resolved, because a virtual environment is its link."""
    version: str
    versions: Mapping[str, str]
    """Installed version of every library that matters, by distribution name."""


def code_path() -> Path:
    """A folder with Backbench's packages and nothing else, for the search path of another interpreter.

    Backbench may be installed beside this environment's libraries, which the other one must not see.
    """
    from harness import cache, codec

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


def probe(python: str) -> Environment:
    """The environment of the interpreter at `python`, tried out. Raises `PlanInvalid` where it cannot run a worker."""
    from harness.launch import environment

    path = Path(python).expanduser().absolute()
    if not path.is_file() or not os.access(path, os.X_OK):
        raise PlanInvalid(f"{python} is no interpreter that can be started", "give one such as venv/bin/python")
    try:
        done = subprocess.run(
            [str(path), "-c", _PROBE],
            env=environment(0, str(path)),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        said = json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else None
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        raise PlanInvalid(f"{path} does not answer as a Python interpreter: {error}", "try it by hand") from error
    if said is None:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise PlanInvalid(f"{path} cannot run a worker: {last}", f"{path} -m pip install backbench")
    return Environment(str(path), said["version"], said["versions"])
