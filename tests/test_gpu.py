"""The real thing on a CUDA GPU: `pytest -m gpu`. Skipped, with the reason, where there is none.

`BACKBENCH_GPU_PYTHON=tensorrt=trt8/bin/python` tests that runtime in another Python environment, as
`--python` does; `BACKBENCH_GPU_TACTICS` are its tactic sources where not all libraries are there.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import JsonValue

from harness import codec, exports, interpreter, label, prepare, registry, route, verify
from harness.api import Unsupported
from harness.cache import Cache
from harness.errors import BackbenchError
from harness.launch import Worker
from harness.model import Artifact, Backbone, Cell, Device, Opened, Pace, Precision, Setup
from harness.spec import BackboneSpec, Spec


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
TACTICS = os.environ.get("BACKBENCH_GPU_TACTICS", "").split()
BACKBONE = Backbone("test_resnet", input_size=64)
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


@dataclass
class Made:
    """A small backbone with its reference, and what makes more of it."""

    line: prepare.Line
    source: Artifact
    reference: Artifact


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Of a small backbone."""
    folder = tmp_path_factory.mktemp("made")
    line = prepare.Line(BACKBONE, Cache(folder / "cache"), folder / "logs", lambda _: None, threading.Event())
    with ExitStack() as stack:
        return Made(line, *line.source_and_reference(stack))


def _cell(name: str, precision: Precision, batch: int) -> Cell:
    """With what the plan would give its exporters."""
    runtime, cell = registry.runtime_class(name), Cell(BACKBONE, name, precision, batch, DEVICE, 1)
    steps = route.find(registry.exporter_classes(), BACKBONE.source, runtime, precision, BACKBONE.precision)
    asked = Spec(
        backbones=(BackboneSpec(name=BACKBONE.name),),
        exporters={"tensorrt_engine": {"tactic_sources": list[JsonValue](TACTICS)}},
    )
    return replace(exports.given(cell, steps, asked), python=PYTHONS.get(name, ""))


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
    name: str, precision: Precision, batch: int, made: Made, tmp_path: Path
) -> None:
    runtime, cell = registry.runtime_class(name), _cell(name, precision, batch)
    if missing := _missing(runtime.needs, cell.python):
        pytest.skip(f"not installed: {', '.join(missing)}")
    reference = made.reference.path
    setup = Setup(Device("cuda", 0), precision, batch, 1, dict(runtime.options), str(tmp_path))
    with Worker(tmp_path / "log", python=cell.python, name=name) as worker:
        try:
            artifact = codec.encode(made.line.chain(cell, made.source, made.reference).artifact)
            opened = worker.ask(
                "open", 1800, runtime=name, artifact=artifact, setup=codec.encode(setup), reference=reference
            )
        except Unsupported as error:
            pytest.skip(error.message)
        facts = codec.decode(Opened, opened).facts
        assert label.contradiction(cell, facts) == ""
        tolerance = codec.encode(verify.DEFAULTS[precision])
        checked = worker.ask("verify", 600, reference=reference, precision=precision, tolerance=tolerance)
        assert checked["passed"], checked["reason"]
        burst = worker.ask("burst", 600, pace=codec.encode(Pace(0.2, 0.1, 3)))
        assert burst["compute_ns"] and burst["end_to_end_ns"]
        if name not in FOREIGN:
            assert burst["device_ns"], "CUDA events are the device's clock"
            assert set(burst["split_ns"]) == {"h2d", "compute", "d2h"}
            assert all(min(times) > 0 for times in burst["split_ns"].values())
