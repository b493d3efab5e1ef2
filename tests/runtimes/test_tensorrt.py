"""The logic around TensorRT on a typed double: profiles, versions, refusals, precisions, keys. No GPU, no figures."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from exporters.tensorrt_engine import TensorRtEngine
from harness import codec, label, nvidia, registry
from harness.errors import ExportFailed, OpenFailed, RunFailed, StoreFailed, Unsupported
from harness.model import JSON, Artifact, Backbone, Cell, Device, Precision, Recipe, Request, Setup, TensorSpec
from runtimes._tensorrt_layers import counts, deciding, layers
from runtimes.tensorrt import TensorRt
from tests import tensorrt_double as double

VERSIONS = ("8.5.3.1", "8.6.1", "10.3.0", "10.16.1.11", "11.4.0.106")
SPECS = tuple(TensorSpec(name, ("batch", 3, 4, 4), "float32") for name in "xy")
GPU = Device("cuda", 0, "Orin")


def conv(kind: str, tactic: str = "", new: bool = False) -> Mapping[str, Any]:
    """A convolution as the inspector tells it; `new` in the form of 11.x."""
    tensor = {"Name": "t", "DataType": kind, "Format": "LINEAR"} if new else {"Name": "t", "Format/Datatype": kind}
    return {"Name": f"conv_{kind}", "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": [tensor],
            "TacticName": tactic, "Metadata": "[ONNX Layer: /conv]"}  # fmt: skip


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> double.Double:
    """The double in the place of `tensorrt` and `cuda.core`."""
    made = double.Double(getattr(request, "param", "10.3.0"))
    made.layers = [conv("Float")]
    core = double.cuda_core()
    monkeypatch.setattr(double, "STREAM", double.CudaStream())
    for name, module in {"tensorrt": made, "cuda": SimpleNamespace(core=core), "cuda.core": core}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("BACKBENCH_CACHE", str(tmp_path / "cache"))
    return made


def source(tmp_path: Path) -> Artifact:
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    inputs, outputs = (SPECS[:1], SPECS[1:])
    return Artifact("onnx", str(tmp_path / "model.onnx"), "fp32", inputs, outputs, "d" * 64, 4, Recipe("x", ""))


def engine(
    tmp_path: Path, precision: Precision = "fp32", batch: int | None = 2, **options: JSON
) -> tuple[Artifact, Mapping[str, Any]]:
    """An engine of the double, and what its builder was told."""
    folder = tmp_path / "engine"
    folder.mkdir(exist_ok=True)
    want = Request(precision, batch, device="cuda:0", options={**TensorRtEngine.options, **options})
    made = TensorRtEngine().export(source(tmp_path), want, folder)
    path = folder / made.file
    artifact = Artifact("tensorrt-engine", str(path), made.precision, made.inputs, made.outputs, "", 1, Recipe("x", ""),
                        details=made.details)  # fmt: skip
    return artifact, json.loads(path.read_text())


def opened(artifact: Artifact, precision: Precision = "fp32", batch: int = 2, **options: JSON) -> Any:
    return TensorRt().open(artifact, Setup(GPU, precision, batch, 0, {**TensorRt.options, **options}, ""))


# ── building ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trt", VERSIONS, indirect=True)
def test_precision_comes_from_the_graph_where_the_version_has_that(trt: double.Double, tmp_path: Path) -> None:
    artifact, told = engine(tmp_path, "fp16")
    typed = not trt.__version__.startswith("8")
    assert artifact.details["strongly_typed"] is typed
    assert ("FP16" in told["flags"]) is not typed, "a strongly typed network takes no such flag, a weak one needs it"
    assert told["level"] == (None if trt.__version__.startswith("8.5") else 3)
    assert told["verbosity"] == "ProfilingVerbosity.DETAILED"


@pytest.mark.parametrize("trt", VERSIONS, indirect=True)
def test_tf32_is_said_outright(trt: double.Double, tmp_path: Path) -> None:
    for precision, expected in (("fp32", False), ("tf32", True), ("fp16", False)):
        artifact, told = engine(tmp_path, precision)  # type: ignore[arg-type]
        assert ("TF32" in told["flags"]) is expected
        assert artifact.details["tf32"] is expected


@pytest.mark.parametrize("trt", ["8.6.1"], indirect=True)
def test_a_precision_that_the_version_lacks_is_unsupported(trt: double.Double, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"TensorRT 8\.6\.1 has no bf16"):
        engine(tmp_path, "bf16")


def test_a_fixed_batch_has_one_shape_and_a_dynamic_one_three(trt: double.Double, tmp_path: Path) -> None:
    artifact, told = engine(tmp_path, batch=4)
    assert told["shapes"]["x"] == [[4, 3, 4, 4]] * 3
    assert artifact.inputs[0].shape == (4, 3, 4, 4)
    artifact, told = engine(tmp_path, batch=None, profile=[1, 4, 16])
    assert [shape[0] for shape in told["shapes"]["x"]] == [1, 4, 16]
    assert artifact.inputs[0].dynamic_batch


@pytest.mark.parametrize("given", [[8, 1, 32], [1, 2], "many", [0, 1, 2]])
def test_a_profile_that_is_none_is_refused(given: JSON, trt: double.Double, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="least, best and largest"):
        engine(tmp_path, batch=None, profile=given)


def test_a_graph_of_fixed_batch_builds_for_that_alone(trt: double.Double, tmp_path: Path) -> None:
    trt.fixed = 4
    assert engine(tmp_path, batch=4)[1]["shapes"] == {}
    with pytest.raises(Unsupported, match="takes batch 4 alone"):
        engine(tmp_path, batch=2)


@pytest.mark.parametrize("trt", ["8.5.3.1", "10.3.0"], indirect=True)
def test_parser_errors_are_told_one_by_one_with_the_node(trt: double.Double, tmp_path: Path) -> None:
    old = trt.__version__.startswith("8")
    kind = double.Problem8 if old else double.Problem10
    trt.problems = [kind(-1 if old else 3, "no importer"), kind(-1 if old else 7, "bad type")]
    with pytest.raises(Unsupported) as caught:
        engine(tmp_path)
    where = ["number -1", "number -1"] if old else ["'/stage/3' (GridSample)", "'/stage/7' (GridSample)"]
    lines = caught.value.message.splitlines()
    assert lines[1:] == [f"  - node {where[0]}: no importer", f"  - node {where[1]}: bad type"]


def test_a_full_gpu_is_not_remembered_as_the_models_fault(trt: double.Double, tmp_path: Path) -> None:
    trt.build_error = "Requested amount of GPU memory (8 bytes) could not be allocated: out of memory"
    with pytest.raises(RunFailed, match="the GPU's memory is full") as caught:
        engine(tmp_path)
    assert "nvidia-smi" in caught.value.hint
    trt.build_error = "Error Code 10: Could not find any implementation for node conv"
    with pytest.raises(ExportFailed, match="any implementation for node conv"):
        engine(tmp_path)


def test_kernels_come_from_the_libraries_that_are_named(trt: double.Double, tmp_path: Path) -> None:
    assert engine(tmp_path)[0].details["tactic_sources"] == ["CUBLAS", "JIT"], "the double's own choice"
    assert engine(tmp_path, tactic_sources=["JIT", "CUDNN"])[0].details["tactic_sources"] == ["CUDNN", "JIT"]
    assert engine(tmp_path, tactic_sources="JIT")[0].details["tactic_sources"] == ["JIT"]
    with pytest.raises(Unsupported, match="has no tactic source CUDNNN") as caught:
        engine(tmp_path, tactic_sources=["CUDNNN"])
    assert caught.value.hint == "it has: CUBLAS, CUDNN, JIT"


def test_the_cause_is_told_and_not_what_follows_from_it(trt: double.Double, tmp_path: Path) -> None:
    """What TensorRT 8.5.3.1 logged on an H100 beside a cuBLAS that lacked a function, 2026-11-27."""
    trt.build_error = (
        "3: [libLoader.h::symbolAddress::92] Error Code 3: Internal Error (SymbolAddress for cublasGetProperty could not "
        "be loaded, check function name against library symbol)\n"
        "2: [builder.cpp::buildSerializedNetwork::751] Error Code 2: Internal Error (Assertion engine != nullptr failed. )"
    )
    with pytest.raises(RunFailed, match=r"cuBLAS, cuDNN.*cublasGetProperty") as caught:
        engine(tmp_path)
    assert "tensorrt_engine.tactic_sources=" in caught.value.hint


@pytest.mark.parametrize(
    ("version", "opset"),
    [("8.5.3.1", 16), ("8.6.1", 17), ("10.3.0", None), ("11.4.0.106", None), ("absent", None), ("unknown", None)],
)
def test_an_old_parser_gets_an_opset_that_it_takes(version: str, opset: int | None) -> None:
    assert TensorRt.opset({"tensorrt": version}) == opset


def test_the_timing_cache_grows_and_one_of_another_driver_is_left(trt: double.Double, tmp_path: Path) -> None:
    sizes = [engine(tmp_path)[0].details["timing_cache"] for _ in range(2)]
    assert [size["bytes_before"] for size in sizes] == [0, 1]  # type: ignore[index,call-overload]
    trt.refuses_cache = True
    assert engine(tmp_path)[0].details["timing_cache"] == {"used": True, "bytes_before": 0, "refused": True}
    assert engine(tmp_path, timing_cache=False)[0].details["timing_cache"]["used"] is False  # type: ignore[index,call-overload]


def test_a_full_disk_is_the_caches_fault(trt: double.Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreFailed, match="No space left"):
        nvidia.replace_file(tmp_path / "x.timings", b"t")


def test_without_a_driver_the_missing_piece_is_named(trt: double.Double, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> None:
        raise RuntimeError('"cuda" is an NVIDIA driver library and can only be found via system search.')

    monkeypatch.setattr(double.CudaDevice, "get_all_devices", staticmethod(nothing))
    with pytest.raises(Unsupported, match=r"no NVIDIA driver \(libcuda\.so\.1\)") as caught:
        TensorRtEngine().belongs_to("cuda:0")
    assert "install the NVIDIA driver" in caught.value.hint


# ── what it belongs to ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_manifest_names_gpu_version_and_source(trt: double.Double, tmp_path: Path) -> None:
    details = engine(tmp_path)[0].details
    assert details["belongs_to"] == {"device": "Orin", "compute_capability": "8.7", "tensorrt": "10.3.0"}
    assert details["source_digest"] == "d" * 64
    assert not TensorRtEngine.portable


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("tensorrt", "10.16.1.11", "tensorrt 10.16.1.11, here it is 10.3.0"),
        ("device", "RTX 4090", "device RTX 4090, here it is Orin"),
        ("compute_capability", "8.9", "compute capability 8.9, here it is 8.7"),
    ],
)
def test_an_engine_from_elsewhere_is_refused_with_the_reason(
    name: str, value: str, says: str, trt: double.Double, tmp_path: Path
) -> None:
    artifact, _ = engine(tmp_path)
    belongs: Any = artifact.details["belongs_to"]
    foreign = replace(artifact, details={**artifact.details, "belongs_to": {**belongs, name: value}})
    with pytest.raises(OpenFailed, match=says):
        opened(foreign)
    with pytest.raises(OpenFailed, match="does not say what it was made for"):
        opened(replace(artifact, details={}))


def test_another_gpu_has_another_cache_key() -> None:
    keys = {codec.key(nvidia.belongs_to(replace(GPU, name=name), version)) for name in "ab" for version in ("10", "11")}
    assert len(keys) == 4


@pytest.mark.parametrize("content", [b"", b"an engine of another format"])
def test_an_engine_that_does_not_deserialise_says_why(content: bytes, trt: double.Double, tmp_path: Path) -> None:
    artifact, _ = engine(tmp_path)
    Path(artifact.path).write_bytes(content)
    with pytest.raises(OpenFailed, match="kSERIALIZATION_VERSION"):
        opened(artifact)


# ── running ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trt", VERSIONS, indirect=True)
@pytest.mark.parametrize("graph", [False, True])
def test_a_session_runs_at_fixed_addresses_in_every_version(graph: bool, trt: double.Double, tmp_path: Path) -> None:
    with opened(engine(tmp_path)[0], cuda_graph=graph) as session:
        for value in (1.0, 3.0):
            session.bind({"x": np.full((2, 3, 4, 4), value, np.float32)})
            session.run()
            session.sync()
            if not graph or value == 1.0:  # the double's graph does not compute
                assert (session.fetch()["y"] == 2 * value).all()
        clock = session.clock()
        clock.start()
        clock.end()
        assert clock.elapsed_ns() == 1_000_000
        assert double.STREAM.graph.launches == int(graph)
        with pytest.raises(RunFailed, match="has shape"):
            session.bind({"x": np.zeros((1, 3, 4, 4), np.float32)})
    session.close()


def test_a_batch_outside_the_profile_is_unsupported(trt: double.Double, tmp_path: Path) -> None:
    artifact, _ = engine(tmp_path, batch=None, profile=[1, 4, 8])
    opened(artifact, batch=8).close()
    with pytest.raises(Unsupported, match="batch 1 to 8, not for 9"):
        opened(artifact, batch=9)


def test_tensors_of_another_type_are_refused_before_memory_is_overrun(trt: double.Double, tmp_path: Path) -> None:
    trt.io_type = "HALF"
    with pytest.raises(OpenFailed, match="is HALF, its manifest says float32"):
        opened(engine(tmp_path)[0])


def test_what_goes_wrong_on_the_device_is_said(trt: double.Double, tmp_path: Path) -> None:
    trt.context_error = "CUDA runtime: out of memory"
    with pytest.raises(OpenFailed, match="no execution context: the GPU's memory is full"):
        opened(engine(tmp_path)[0])
    trt.context_error = ""
    session = opened(engine(tmp_path)[0])
    trt.run_error = "enqueueV3: illegal"
    with pytest.raises(RunFailed, match="did not run: enqueueV3: illegal"):
        session.run()
    double.STREAM.error = "CUDA_ERROR_OUT_OF_MEMORY"
    with pytest.raises(RunFailed, match="the GPU's memory is full"):
        session.sync()
    held = [pair._device for pair in (*session._inputs.values(), *session._outputs.values())]
    session.close()
    assert held and all(memory.closed for memory in held), "an error that stays keeps no memory"


def _full(*_: object, **__: object) -> None:
    raise double.CUDAError("CUDA_ERROR_OUT_OF_MEMORY: The API call failed")


def test_what_cuda_core_raises_is_told_wherever_it_is_met(
    trt: double.Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is a plain Exception."""
    artifact, _ = engine(tmp_path)
    session = opened(artifact, cuda_graph=True)
    double.STREAM.uncaptured = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
    with pytest.raises(RunFailed, match="cannot be captured as a CUDA graph: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"):
        session.run()
    for refused in ("allocate", "set_current"):
        with monkeypatch.context() as patch:
            patch.setattr(double.CudaDevice, refused, _full)
            with pytest.raises(OpenFailed, match="TensorRT does not open the engine: the GPU's memory is full"):
                opened(artifact)
            with pytest.raises(OpenFailed, match="TensorRT does not run on cuda:0: the GPU's memory is full"):
                TensorRt().devices()
    monkeypatch.setattr(double.CudaDevice, "set_current", _full)
    with pytest.raises(RunFailed, match="TensorRT did not build the engine: the GPU's memory is full"):
        engine(tmp_path)


def test_a_profile_has_every_layer_of_every_inference(trt: double.Double, tmp_path: Path) -> None:
    with opened(engine(tmp_path)[0]) as session:
        session.bind({"x": np.zeros((2, 3, 4, 4), np.float32)})
        found = session.profile(3)
    assert len(found) == 3
    assert [(layer.time_ns, layer.precision, layer.nodes) for layer in found[0].layers] == [
        (250_000.0, "fp32", ("/conv",))
    ]


@pytest.mark.parametrize("trt", ["8.6.1"], indirect=True)
def test_a_profile_without_a_second_context_says_why(trt: double.Double, tmp_path: Path) -> None:
    says = r"does not take x: No optimization profile has been selected\."
    with opened(engine(tmp_path)[0]) as session, pytest.raises(Unsupported, match=says) as caught:
        session.profile(1)
    assert "take TensorRT 10 or later" in caught.value.hint
    trt.fixed = 4
    with opened(engine(tmp_path, batch=4)[0], batch=4) as session:
        assert session.profile(1), "an engine of fixed shapes has no profile to be lent"


def test_a_profile_that_does_not_run_is_no_profile_of_nothing(trt: double.Double, tmp_path: Path) -> None:
    with opened(engine(tmp_path)[0]) as session:
        trt.run_error = "enqueueV3: illegal"
        with pytest.raises(RunFailed, match="did not run with its profiler on: enqueueV3: illegal"):
            session.profile(1)


@pytest.mark.parametrize("graph", [False, True])
def test_an_inference_is_divided_into_copies_and_compute(graph: bool, trt: double.Double, tmp_path: Path) -> None:
    with opened(engine(tmp_path)[0], cuda_graph=graph) as session:
        session.bind({"x": np.zeros((2, 3, 4, 4), np.float32)})
        session.run()
        assert session.split() == dict.fromkeys(("h2d", "compute", "d2h"), 1_000_000), "the double's events, 1 ms apart"


def test_a_device_counts_as_reached_only_where_a_network_runs_there(trt: double.Double, tmp_path: Path) -> None:
    """The double doubles where a Relu should be: that is found out, and no device is claimed."""
    with pytest.raises(OpenFailed, match="TensorRT computes a wrong result on cuda:0"):
        TensorRt().devices()
    trt.build_error = "out of memory"
    with pytest.raises(OpenFailed, match="TensorRT does not run on cuda:0: the GPU's memory is full"):
        TensorRt().devices()
    trt.build_error, double.STREAM.error = "", "CUDA_ERROR_ILLEGAL_ADDRESS"
    with pytest.raises(OpenFailed, match="TensorRT does not run on cuda:0: CUDA_ERROR_ILLEGAL_ADDRESS"):
        TensorRt().devices()


def test_an_old_gpu_does_not_hide_another_one(trt: double.Double, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimes import _tensorrt_probe

    def right(_: object, index: int) -> bool:
        if index == 0:
            raise RuntimeError("the compute capability is no longer supported")
        return True

    trt.dla_cores = 0
    monkeypatch.setattr(_tensorrt_probe, "_right", right)
    monkeypatch.setattr(nvidia, "gpus", lambda: (GPU, Device("cuda", 1)))
    assert [device.id for device in TensorRt().devices()] == ["cuda:1"]


# ── DLA ───────────────────────────────────────────────────────────────────────────────────────────────────────────

DLA = Device("dla", 1, "DLA core of Orin")


def on_dla(name: str, kind: str = "Half") -> Mapping[str, Any]:
    """A part of the network that a DLA runs as one, as the inspector tells it."""
    return {**conv(kind), "Name": name, "LayerType": "DLA", "Metadata": ""}


def dla_engine(
    tmp_path: Path, precision: Precision = "fp16", device: str = "dla:1"
) -> tuple[Artifact, Mapping[str, Any]]:
    folder = tmp_path / "engine"
    folder.mkdir(exist_ok=True)
    want = Request(precision, 2, device=device, options=dict(TensorRtEngine.options))
    made = TensorRtEngine().export(source(tmp_path), want, folder)
    artifact = Artifact("tensorrt-engine", str(folder / made.file), made.precision, made.inputs, made.outputs, "", 1,
                        Recipe("x", ""), details=made.details)  # fmt: skip
    return artifact, json.loads((folder / made.file).read_text())


@pytest.mark.parametrize("trt", VERSIONS, indirect=True)
def test_a_dla_takes_flags_where_the_version_has_them_and_names_what_falls_back(
    trt: double.Double, tmp_path: Path
) -> None:
    trt.not_on_dla = ("/resize",)
    artifact, told = dla_engine(tmp_path)
    by_types = trt.__version__.startswith("11")
    assert artifact.details["strongly_typed"] is by_types
    assert ("FP16" in told["flags"]) is not by_types
    assert "GPU_FALLBACK" in told["flags"]
    assert (told["device"], told["core"]) == ("DeviceType.DLA", 1)
    assert artifact.details["gpu_fallback"] == ["/resize"]
    assert (artifact.details["dla_core"], artifact.details["dla_layers"]) == (1, 1)


def test_a_dla_session_tells_what_runs_where_by_the_inspector(trt: double.Double, tmp_path: Path) -> None:
    trt.layers = [on_dla("{ForeignNode[/conv.../relu]}"), {**conv("Half"), "Name": "/resize", "LayerType": "Resize"}]
    artifact, _ = dla_engine(tmp_path)
    setup = Setup(DLA, "fp16", 2, 0, dict(TensorRt.options), "")
    with TensorRt().open(artifact, setup) as session:
        facts = session.facts()
    assert trt.runtime is not None and trt.runtime.DLA_core == 1
    assert (facts.device, facts.precision, facts.providers) == ("dla:1", "fp16", ("DLA", "GPU"))
    assert facts.placement == {"DLA": 1, "GPU": 1}
    assert facts.settings["gpu_layers"] == ["/resize"]
    cell = Cell(Backbone("resnet50"), "tensorrt", "fp16", device="dla:1")
    assert label.contradiction(cell, facts) == ""
    trt.layers = [conv("Half")]
    with TensorRt().open(artifact, setup) as session:
        assert label.contradiction(cell, session.facts()) == "no node of the graph runs on DLA (1 on GPU)"


def test_a_dla_that_is_not_there_or_can_run_nothing_is_unsupported(trt: double.Double, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"there is no dla:2: TensorRT 10\.3\.0 sees 2 DLA cores") as caught:
        dla_engine(tmp_path, device="dla:2")
    assert "backbench list devices" in caught.value.hint
    trt.not_on_dla = trt.network_layers
    with pytest.raises(Unsupported, match="a DLA can run none of the 2 layers in int8"):
        dla_engine(tmp_path, "int8")


@pytest.mark.parametrize("runtime", ["tensorrt", "trtexec"])
def test_a_dla_is_not_promised_the_int8_that_it_cannot_take(runtime: str) -> None:
    """It takes int8 by calibration scales alone; what is made here is a QDQ graph."""
    plugin = registry.runtime_class(runtime)
    assert plugin.precisions["dla"] == ("fp16",)
    assert "calibration scales" in plugin.refuses["dla"]["int8"]
    assert "int8" in plugin.precisions["cuda"]


def test_an_engine_of_a_dla_is_none_of_the_gpu(trt: double.Double, tmp_path: Path) -> None:
    with pytest.raises(OpenFailed, match="made for accelerator DLA, here it is nothing"):
        opened(dla_engine(tmp_path)[0], "fp16")
    with pytest.raises(OpenFailed, match=r"made for accelerator \(not told\), here it is DLA"):
        TensorRt().open(engine(tmp_path, "fp16")[0], Setup(DLA, "fp16", 2, 0, dict(TensorRt.options), ""))


# ── what really runs ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_label_of_fp16_that_runs_fp32_fails(trt: double.Double, tmp_path: Path) -> None:
    trt.layers = [conv("Float"), conv("Float"), conv("Half")]
    with opened(engine(tmp_path, "fp16")[0], "fp16") as session:
        facts = session.facts()
    cell = Cell(Backbone("resnet50"), "tensorrt", "fp16", device="cuda:0")
    assert label.contradiction(cell, facts) == "labelled fp16, but fp32 runs"
    assert facts.layer_precisions == {"fp32": 2, "fp16": 1}
    trt.layers = [conv("Half"), conv("Half"), conv("Float")]
    with opened(engine(tmp_path, "fp16")[0], "fp16") as session:
        assert label.contradiction(cell, session.facts()) == ""


@pytest.mark.parametrize(
    ("told", "tf32", "expected"),
    [
        (conv("Channel major FP16 format where channel % 8 == 0"), False, "fp16"),
        (conv("Thirty-two wide channel vectorized row major Int8 format"), False, "int8"),
        (conv("FP16", new=True), False, "fp16"),
        (conv("BF16", new=True), False, "bf16"),
        (conv("Row major linear FP32"), False, "fp32"),
        (conv("Float", "sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nhwc"), True, "tf32"),
        (conv("Float", "sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nhwckrsc_nhwc"), True, "fp32"),
        (conv("Float", "__myl_FcAdd_0x1234"), True, None),
        ({**conv("Half"), "Weights": {"Type": "Int8", "Count": 9}}, False, "int8"),
        ("a bare name", False, None),
    ],
)
def test_a_layers_precision_is_read_in_every_form(told: Any, tf32: bool, expected: str | None) -> None:
    assert deciding(layers(json.dumps({"Layers": [told]}), tf32=tf32)) == expected


def test_layers_that_only_move_data_do_not_count() -> None:
    moves = {**conv("Float"), "LayerType": "Reformat", "TacticName": ""}
    found = layers(json.dumps({"Layers": [moves, moves, conv("Half")]}), tf32=False)
    assert counts(found) == {"fp16": 1}
    assert deciding(found) == "fp16"


@pytest.mark.parametrize("text", ["", "{}", "[1]", "not JSON"])
def test_an_inspectors_answer_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(OpenFailed, match="not understood"):
        layers(text, tf32=False)


def test_the_route_leads_from_onnx_to_an_engine_in_every_precision() -> None:
    from harness import route

    for precision in ("fp32", "tf32"):
        steps = route.find(registry.exporter_classes(), "timm", TensorRt, precision)
        assert [step.target for step in steps] == ["onnx", "tensorrt-engine"]
        assert steps[-1].exporters == ("tensorrt_engine",)


def test_a_worker_tells_what_engines_belong_to_or_what_is_missing(tmp_path: Path) -> None:
    """The real worker, where no TensorRT is installed: the line that installs it, and no engine is looked for."""
    from harness.errors import MissingLibrary
    from harness.launch import Worker

    with Worker(tmp_path / "log", name="test") as worker:
        assert worker.ask("belongs_to", 60, exporter="openvino_ir", device="cpu") == {}
        if registry.missing(TensorRtEngine.needs):
            with pytest.raises(MissingLibrary, match="tensorrt_engine needs tensorrt") as caught:
                worker.ask("belongs_to", 60, exporter="tensorrt_engine", device="cuda:0")
            assert caught.value.hint.startswith("pip install tensorrt")


@pytest.mark.parametrize(
    ("said", "names", "command"),
    [
        (
            "libnvinfer.so.10: cannot open shared object file",
            "libnvinfer.so.10 of TensorRT",
            "pip install 'tensorrt==10.*'",
        ),
        (
            "libcublasLt.so.13: cannot open shared object file",
            "libcublasLt.so.13 of cuBLAS",
            "pip install nvidia-cublas",
        ),
        ("libcufft.so.11: cannot open shared object file", "libcufft.so.11 of cuFFT", "pip install nvidia-cufft-cu12"),
        ("libcurand.so.10: cannot open", "libcurand.so.10 of cuRAND", "nvidia-curand-cu12 (nvidia-curand for CUDA 13)"),
        (
            "cannot load /x/libonnxruntime_providers_cuda.so: libcudnn.so.9: no such file",
            "libcudnn.so.9",
            "nvidia-cudnn",
        ),
        ("libcudnn.so.9: cannot open shared object file", "libcudnn.so.9 of cuDNN", "nvidia-cudnn"),
        ("libcuda.so.1: cannot open shared object file", "libcuda.so.1 of the NVIDIA driver", "install the driver"),
        ("undefined symbol: x", "", ""),
    ],
)
def test_a_library_without_its_companion_names_it(said: str, names: str, command: str) -> None:
    from harness import companions

    missing, mend = companions.mend(ImportError(said))
    assert missing.startswith(names) and command in mend and bool(missing) is bool(names)


def test_what_it_belongs_to_is_part_of_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another GPU at `cuda:0`, or another TensorRT, makes its own engine; the same one asks once and finds it."""
    import contextlib
    import threading
    from collections.abc import Iterator

    from harness import prepare
    from harness.cache import Cache

    belongs = {"device": "Orin"}
    asked: list[str] = []

    class Told:
        def ask(self, op: str, timeout_s: float, **fields: Any) -> Any:
            asked.append(op)
            if op == "belongs_to":
                return dict(belongs)
            (Path(fields["folder"]) / "model.engine").write_bytes(b"engine")
            return {"file": "model.engine", "precision": "fp32", "inputs": [], "outputs": []}

    @contextlib.contextmanager
    def worker(self: object, purpose: str, python: str) -> Iterator[Told]:
        yield Told()

    monkeypatch.setattr(prepare.Line, "_worker", worker)
    want = Request("fp32", 1, device="cuda:0", options=dict(TensorRtEngine.options))

    def made() -> Artifact:
        line = prepare.Line(Backbone("x"), Cache(tmp_path / "cache"), tmp_path, lambda text: None, threading.Event())
        return [line._export("tensorrt_engine", source(tmp_path), "tensorrt-engine", want, ()) for _ in range(2)][-1]

    first = made()
    assert first.recipe.options["belongs_to"] == {"device": "Orin"}
    assert asked == ["belongs_to", "export"], "asked once a line, built once"
    belongs["device"] = "RTX 4090"
    assert made().path != first.path
    assert asked.count("export") == 2


def test_an_engine_is_made_again_when_any_part_of_its_exporter_changes() -> None:
    from harness.recipes import _own_modules

    parts = ("_specs", "_tensorrt", "_tensorrt_parse", "_tensorrt_timings")
    own = ("exporters.tensorrt_engine", *(f"exporters.{part}" for part in parts))
    assert _own_modules("exporters.tensorrt_engine") == own
