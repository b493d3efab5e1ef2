"""CONTRIBUTING's walkthrough is followed literally, in a copy: one file is added, and it is found, held and measured."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import making

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the walkthrough's file in it, and nothing else changed."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("harness", "exporters", "runtimes", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    place = re.search(r"Save this as `(runtimes/\w+\.py)`", text)
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert place
    assert code
    assert len(code.group(1).splitlines()) < 100
    (folder / place.group(1)).write_text(code.group(1))
    return folder


def _run(copy: Path, arguments: Sequence[str]) -> str:
    env = os.environ | {"PYTHONPATH": str(copy), "BACKBENCH_CACHE": str(copy / "cache")}
    done = subprocess.run([sys.executable, *arguments], cwd=copy, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_listed(copy: Path) -> None:
    listed = _run(copy, ["-m", "harness", "list", "runtimes", "onnx_reference"])
    assert "slow, and right by definition" in listed
    assert "available" in listed


def test_the_contract_test_finds_and_tests_it(copy: Path) -> None:
    said = _run(
        copy, ["-m", "pytest", "-p", "no:cacheprovider", "tests/test_contract.py", "-k", "onnx_reference", "-v"]
    )
    assert said.count("PASSED") >= 5


def test_it_is_measured(copy: Path) -> None:
    making.identity_onnx(copy / "model.onnx")
    options = ["--budget", "1s", "--target", "0", "--out", "out", "--no-roofline"]
    arguments = ["run", "-m", "model.onnx", "-r", "onnx_reference", *options]
    said = _run(copy, ["-m", "harness", *arguments])
    assert re.search(r"onnx_reference .*\[", said), said
