"""The real thing on a CUDA GPU: `pytest -m gpu`. Skipped, with the reason, where there is none.

`BACKBENCH_GPU_PYTHON=tensorrt=trt8/bin/python` tests that runtime in another Python environment, as `--python` does.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import cache, codec, interpreter, label, registry, route, verify
from harness.api import Unsupported
from harness.errors import BackbenchError
from harness.launch import Worker
from harness.model import JSON, Artifact, Backbone, Cell, Device, Pace, Precision, Recipe, Request, Setup


def _no_gpu() -> str:
    """Why there is no CUDA GPU here; empty where there is one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"no NVIDIA driver: {error}"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "the NVIDIA driver has no GPU"
    return ""


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(_no_gpu()), reason=_no_gpu() or "there is one")]
DEVICE = "cuda:0"
PYTHONS = dict(pair.split("=", 1) for pair in os.environ.get("BACKBENCH_GPU_PYTHON", "").split())
OPTIONS: Mapping[str, Mapping[str, JSON]] = {
    "onnx_dynamo": {"opset": 17},  # the newest that TensorRT 8.5 takes
    "tensorrt_engine": {"tactic_sources": tuple(os.environ.get("BACKBENCH_GPU_TACTICS", "").split())},
}
RUNTIMES = [
    name
    for name in registry.found("runtimes")
    if name != "fake" and "cuda" in registry.runtime_class(name).precisions
]  # fmt: skip
CASES = [(name, p) for name in RUNTIMES for p in registry.runtime_class(name).precisions["cuda"]]
FOREIGN = ("trtexec",)
"""Timed by their own clock."""


def _missing(needs: Mapping[str, str], python: str) -> tuple[str, ...]:
    return interpreter.probe(python).missing(needs) if python else registry.missing(needs)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """A small backbone with its reference."""
    from harness import backbone, reference

    folder = tmp_path_factory.mktemp("snapshot")
    (folder / "timm").mkdir()
    (folder / "reference").mkdir()
    made = backbone.make(Backbone("test_resnet", input_size=64), folder / "timm")
    artifact = cache.seal(made, folder / "timm", "timm", Recipe("timm", ""), 0.0)
    reference.make(artifact, Backbone("test_resnet", input_size=64), folder / "reference", 8)
    return {"artifact": artifact, "reference": str(folder / "reference"), "folder": folder}


def _artifact(name: str, precision: Precision, batch: int, source: Artifact, folder: Path) -> Artifact:
    """The runtime's artifact, by the first exporters of its chain; calibrated ones are left to `backbench run`."""
    runtime = registry.runtime_class(name)
    artifact = source
    for step in route.find(registry.exporter_classes(), "timm", runtime, precision):
        exporter = registry.exporter_class(step.exporters[0])
        python = interpreter.of_exporter(step.exporters[0], PYTHONS.get(name, ""))
        if _missing(exporter.needs, python) or step.makes in exporter.calibrated:
            pytest.skip(f"{step.exporters[0]} is not installed, or watches images")
        target = folder / f"{step.target}-{step.makes}-{batch}"
        target.mkdir(parents=True)
        options = {**exporter.options, **OPTIONS.get(step.exporters[0], {})}
        want = Request(step.makes, batch, runtime.opset, DEVICE, options)
        with Worker(folder / "export.log", python=python, name="export") as worker:
            reply = worker.ask(
                "export", 1800, exporter=step.exporters[0], source=codec.encode(artifact), want=codec.encode(want),
                folder=str(target),
            )  # fmt: skip
        from harness.model import Export

        made = codec.decode(Export, reply)
        artifact = cache.seal(made, target, step.target, Recipe(step.exporters[0], ""), 0.0)
    return artifact


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_reaches_the_gpu_by_an_inference(name: str, tmp_path: Path) -> None:
    python = PYTHONS.get(name, "")
    if missing := _missing(registry.runtime_class(name).needs, python):
        pytest.skip(f"not installed: {', '.join(missing)}")
    with Worker(tmp_path / "log", python=python, name=name) as worker:
        try:
            found = [codec.decode(Device, told) for told in worker.ask("devices", 600, runtime=name)]
        except BackbenchError as error:
            pytest.skip(f"{error.message} → {error.hint}")
    assert DEVICE in {device.id for device in found}


@pytest.mark.parametrize(("name", "precision"), CASES)
@pytest.mark.parametrize("batch", [1, 4])
def test_a_session_runs_as_labelled_and_computes_what_pytorch_does(
    name: str, precision: Precision, batch: int, snapshot: Mapping[str, Any], tmp_path: Path
) -> None:
    runtime, python = registry.runtime_class(name), PYTHONS.get(name, "")
    if missing := _missing(runtime.needs, python):
        pytest.skip(f"not installed: {', '.join(missing)}")
    try:
        artifact = _artifact(name, precision, batch, snapshot["artifact"], tmp_path)
    except Unsupported as error:
        pytest.skip(error.message)
    setup = Setup(Device("cuda", 0), precision, batch, 1, dict(runtime.options), str(tmp_path))
    with Worker(tmp_path / "log", python=python, name=name) as worker:
        try:
            opened = worker.ask(
                "open", 1800, runtime=name, artifact=codec.encode(artifact), setup=codec.encode(setup),
                reference=snapshot["reference"],
            )  # fmt: skip
        except Unsupported as error:
            pytest.skip(error.message)
        from harness.model import Opened

        facts = codec.decode(Opened, opened).facts
        cell = Cell(Backbone("test_resnet"), name, precision, batch, DEVICE)
        assert label.contradiction(cell, facts) == ""
        tolerance = codec.encode(verify.DEFAULTS[precision])
        checked = worker.ask("verify", 600, reference=snapshot["reference"], precision=precision, tolerance=tolerance)
        assert checked["passed"], checked["reason"]
        burst = worker.ask("burst", 600, pace=codec.encode(Pace(0.2, 0.1, 3)))
        assert burst["compute_ns"] and burst["end_to_end_ns"]
        if name not in FOREIGN:
            assert burst["device_ns"], "CUDA events are the device's clock"
            assert set(burst["split_ns"]) == {"h2d", "compute", "d2h"}
            assert all(min(times) > 0 for times in burst["split_ns"].values())
