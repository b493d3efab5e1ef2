"""Another Python environment for a worker: what it is given of Backbench, whether it can run it, what is installed in it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import installed, registry
from harness.errors import MissingLibrary, PlanInvalid
from harness.launch import environment
from harness.model import LATER

_TIMEOUT_S = 120.0
NEEDS = "numpy click rich pydantic PyYAML psutil py-cpuinfo platformdirs filelock"
"""What Backbench's worker needs in another environment, besides what the runtime does."""
_PROBE = """
import json, platform, sys
import harness.codec, harness.measure, harness.reference, harness.registry, harness.usage, harness.verify, harness.worker
from harness import installed, machine, registry
versions, libraries = machine.versions(), installed.versions(sys.argv[1:])
plugins = [*registry.found("runtimes"), *registry.found("exporters")]
print(json.dumps({
    "version": platform.python_version(), "versions": dict(versions), "libraries": dict(libraries), "plugins": plugins,
}))
"""


@dataclass(frozen=True)
class Environment:
    """A Python environment that can run a worker."""

    python: str
    """Absolute path of its interpreter; not resolved, because a virtual environment is its link."""
    version: str
    versions: Mapping[str, str]
    """Installed version of every library that matters, by distribution name."""
    libraries: Mapping[str, str] = field(default_factory=dict, metadata=LATER)
    """What plug-ins need and use, by import name: its version, `absent` where it is not installed there."""

    plugins: tuple[str, ...] = field(default=(), metadata=LATER)
    """Runtimes and exporters that a worker finds there."""

    def missing(self, needs: Mapping[str, str]) -> tuple[str, ...]:
        """The requirements among `needs` that are not installed there, by import name."""
        return tuple(need for module, need in needs.items() if self.libraries.get(module, "absent") == "absent")


def path_of(python: str) -> str:
    """The absolute path of an interpreter that is given by path or, without a folder, by name; empty stays empty."""
    named = shutil.which(python) if python and os.sep not in python else None
    return str(Path(named or python).expanduser().absolute()) if python else ""


@functools.cache
def probe(python: str) -> Environment:
    """The environment of the interpreter at `python`, tried out. Raises `PlanInvalid` where it cannot run a worker."""
    path = Path(path_of(python))
    if not path.is_file() or not os.access(path, os.X_OK):
        raise PlanInvalid(f"{python} is no interpreter that can be started", "give one such as venv/bin/python")
    try:
        done = subprocess.run(
            [str(path), "-c", _PROBE, *_libraries()],
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
        raise PlanInvalid(f"{path} cannot run a worker: {last}", f"{path} -m pip install {NEEDS}")
    return Environment(str(path), said["version"], said["versions"], said["libraries"], tuple(said["plugins"]))


def _libraries() -> Sequence[str]:
    """Import name of every library that a plug-in needs or uses."""
    exporters = [(*kind.needs, *kind.uses) for kind in registry.exporter_classes().values()]
    runtimes = [tuple(registry.runtime_class(name).needs) for name in registry.found("runtimes")]
    return sorted({module for modules in (*exporters, *runtimes) for module in modules})


def check_installed(name: str, needs: Mapping[str, str], python: str = "") -> None:
    """Raise `MissingLibrary`, with the line that installs it, where a plug-in's library is not there (in `python`)."""
    if not python:
        registry.check_installed(name, needs)
    elif name not in probe(python).plugins:
        raise MissingLibrary(f"{name} is a plug-in that {python} does not have", "install its package there too")
    elif lacking := probe(python).missing(needs):
        raise MissingLibrary(
            f"{name} needs {', '.join(lacking)}, which is not installed for {python}",
            f"{python} -m {registry.install_line(lacking)}",
        )


def of_exporter(name: str, python: str) -> str:
    """Where the exporter of a cell runs whose worker is in `python`: there too, or in Backbench's own (empty).

    There, what is good for that environment's library alone (an engine), and what only it has installed.
    """
    exporter = registry.exporter_class(name)
    if not python or name not in probe(python).plugins or probe(python).missing(exporter.needs):
        return ""
    return "" if exporter.portable and not registry.missing(exporter.needs) else python


def versions(modules: Iterable[str], python: str = "") -> Mapping[str, str]:
    """`installed.versions`, of that interpreter where one is given."""
    if not python:
        return installed.versions(modules)
    found = probe(python).libraries
    return {module: found.get(module, "absent") for module in modules}
