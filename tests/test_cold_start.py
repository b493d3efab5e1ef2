"""The parent stays light: asking for help or for a list imports none of what measuring needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numpy", "pandas", "pydantic", "torch", "timm", "onnx", "onnxruntime", "openvino", "rich")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["list", "runtimes"],
        ["list", "exporters"],
        ["report", "--help"],
        ["profile", "--help"],
        ["diff", "--help"],
        ["compare", "--help"],
    ],
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    script = (
        "import sys; from harness.cli import main\n"
        f"sys.argv = ['backbench', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []", (
        "a module of the command line imports something heavy at its top: import it inside the function that needs it"
    )


def test_a_worker_begins_without_frameworks() -> None:
    """What a measuring worker's memory figure starts from."""
    script = (
        "import sys, harness.worker, harness.measure, harness.codec, harness.registry, harness.reference, harness.usage\n"
        "print([name for name in ('torch', 'timm', 'onnx', 'onnxruntime', 'openvino', 'pandas') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
