"""Another Python environment for a worker: what it is given of Backbench, and whether it can run it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import PlanInvalid
from harness.launch import environment

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


def probe(python: str) -> Environment:
    """The environment of the interpreter at `python`, tried out. Raises `PlanInvalid` where it cannot run a worker."""
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
