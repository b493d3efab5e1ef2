"""Real networks in every runtime: each output equals the reference, in the precision of the label.

What every runtime owes for a convolutional net in fp32 is in `tests/test_contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from harness import codec, registry, verify
from harness.launch import Worker
from harness.model import Artifact, Backbone, Device, Precision, Setup
from tests import nets

BACKBONES: Mapping[str, Backbone] = {
    "vit": Backbone("test_vit", input_size=64),
    "features": Backbone("test_resnet", input_size=64, features_only=True),
}
COMPILED = pytest.param("torch_compile", marks=pytest.mark.slow)
Answer: TypeAlias = Mapping[str, Any]
Make: TypeAlias = Callable[[str, str], Artifact]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A backbone's artifact in a format; `reference` beside the timm one holds its reference."""

    @cache
    def made(format_: str, backbone: str) -> Artifact:
        folder = tmp_path_factory.mktemp(f"{format_}-{backbone}")
        if format_ == "timm":
            source = nets.snapshot(BACKBONES[backbone], folder / "timm")
            nets.referenced(source, BACKBONES[backbone], folder / "reference", 4)
            return source
        exporter, before = {"onnx": ("onnx_torchscript", "timm"), "openvino-ir": ("openvino_ir", "onnx")}[format_]
        return nets.exported(exporter, made(before, backbone), folder)

    return made


def _run(
    name: str, backbone: str, make: Make, folder: Path, precision: Precision, batch: int, **options: Any
) -> tuple[Answer, Answer]:
    """What a worker says when it has opened a backbone, and when it has compared its outputs in bursts of `batch`."""
    runtime = registry.runtime_class(name)
    if missing := registry.missing(runtime.needs):
        pytest.skip(f"not installed: {', '.join(missing)}")
    setup = Setup(Device("cpu"), precision, batch, 2, {**runtime.options, **options}, str(folder))
    artifact = make(runtime.accepts[0], backbone)
    reference = str(Path(make("timm", backbone).path).parent / "reference")
    with Worker(folder / "log", name=name) as worker:
        opened = worker.ask(
            "open",
            200,
            runtime=name,
            artifact=codec.encode(artifact),
            setup=codec.encode(setup),
            reference=reference,
        )
        limits = codec.encode(verify.DEFAULTS[precision])
        verified = worker.ask("verify", 60, reference=reference, precision=precision, tolerance=limits)
    return opened, verified


@pytest.mark.parametrize(("backbone", "batch"), [("vit", 1), ("features", 4)])
@pytest.mark.parametrize("name", ["torch_eager", "ort_cpu", "openvino", COMPILED])
def test_every_output_of_every_batch_equals_the_reference(
    name: str, backbone: str, batch: int, make: Make, tmp_path: Path
) -> None:
    opened, verified = _run(name, backbone, make, tmp_path, "fp32", batch)
    assert opened["facts"]["precision"] == "fp32"
    assert opened["facts"]["threads"] == 2
    assert verified["passed"], verified["reason"]
    assert verified["inputs"] == 4
    assert [o["name"] for o in verified["outputs"]] == [spec.name for spec in make("timm", backbone).outputs]
    assert max(o["rel_l2"] for o in verified["outputs"]) < 1e-4


def _bf16() -> bool:
    try:
        import openvino
    except ImportError:
        return False
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.skipif(not _bf16(), reason="OpenVINO tells no BF16 on this CPU")
@pytest.mark.parametrize("name", ["torch_eager", "openvino"])
def test_a_bf16_cell_computes_in_bf16(name: str, make: Make, tmp_path: Path) -> None:
    opened, verified = _run(name, "vit", make, tmp_path, "bf16", 1)
    assert opened["facts"]["precision"] == "bf16"
    assert verified["passed"], verified["reason"]
    assert verified["outputs"][0]["rel_l2"] > 1e-4, "these are the results of float32"


@pytest.mark.skipif(not _bf16(), reason="OpenVINO tells no BF16 on this CPU")
def test_an_fp32_cell_that_an_option_makes_bf16_says_so(make: Make, tmp_path: Path) -> None:
    opened, verified = _run("openvino", "vit", make, tmp_path, "fp32", 1, precision_hint="bf16")
    assert opened["facts"]["precision"] == "bf16"
    assert not verified["passed"]
    assert "relative L2 error" in verified["reason"]
