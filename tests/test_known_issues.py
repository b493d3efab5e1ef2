"""What docs/known-issues claims of the libraries is shown by its scripts, with the versions that it names."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "known-issues"
SHOWN = {
    "openvino_multiply_convolution.py": ("openvino", "2026.4.1", "Div by a constant of shape [7, 7]: relative L2 error 5.5e"),
    "openvino_constant_resize.py": ("openvino", "2026.4.1", "[1, 96, 32, 32], constant: compiled in"),  # how long, is no test
    "openvino_exclude_outside.py": ("openvino", "2026.4.1", "exclude_outside=1: relative L2 error 2.2e"),
    "onnxscript_two_clips_of_one_tensor.py": ("onnxscript", "0.7.2", "used and defined nowhere: ['x_max_1', 'x_min_1']"),
    "onnxscript_pairs_of_slices.py": ("onnxscript", "0.7.2", "two halves of [2, 8]: 0 replaced, Slice, Slice, Sub"),
    "torch_conv_groups_of_the_batch.py": ("torch", "2.13.0", "a dynamic batch: TypeError: Unsupported attribute type"),
}  # fmt: skip
"""Script: the library, the version in which the fault was seen, what the script says of it."""


@pytest.mark.parametrize("script", SHOWN)
def test_a_script_shows_its_issue(script: str) -> None:
    library, seen_in, says = SHOWN[script]
    done = subprocess.run([sys.executable, str(FOLDER / script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    if version(library).startswith(seen_in):
        assert says in done.stdout, f"{library} {seen_in} has it no longer? {done.stdout}"


def test_every_script_is_listed_and_tried() -> None:
    text = (FOLDER / "README.md").read_text()
    scripts = {path.name for path in FOLDER.glob("*.py")}
    assert scripts == set(SHOWN)
    assert all(f"]({name})" in text for name in scripts)
