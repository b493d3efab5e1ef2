"""The set-up script adds up extras, is quick when nothing changed, and refuses what cannot work."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHON = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/../calls"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose virtual environment's Python only writes down what it is called with."""
    for name in ("scripts", "constraints"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path


def _install(project: Path, *extras: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(project / "scripts" / "install"), *extras], cwd=project, capture_output=True, text=True, check=False
    )


def _calls(project: Path) -> list[str]:
    calls = project / ".venv" / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


def test_it_installs_from_the_pinned_versions(project: Path) -> None:
    assert _install(project).returncode == 0
    assert "-c constraints/pinned.txt -e .[cpu,export,openvino,quantize,report]" in _calls(project)[0]


def test_it_does_nothing_when_nothing_changed(project: Path) -> None:
    for _ in range(3):
        done = _install(project, "cpu")
    assert len(_calls(project)) == 1
    assert done.stderr == ""
    with (project / "constraints" / "pinned.txt").open("a") as file:
        file.write("# changed\n")
    _install(project, "cpu")
    assert len(_calls(project)) == 2


def test_extras_add_up(project: Path) -> None:
    _install(project, "cpu")
    _install(project, "dev")
    assert ".[cpu,dev]" in _calls(project)[-1]


def test_two_onnxruntimes_are_refused(project: Path) -> None:
    _install(project, "cpu")
    done = _install(project, "gpu")
    assert done.returncode == 1
    assert "share one folder" in done.stderr


def test_an_unknown_extra_is_named(project: Path) -> None:
    done = _install(project, "gpuu")
    assert done.returncode == 2
    assert "unknown extra 'gpuu'" in done.stderr
