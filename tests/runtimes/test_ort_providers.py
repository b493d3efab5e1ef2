"""ONNX Runtime's other providers: asked for by name, options said outright and read back, what is missing named.

No GPU: provider libraries are not executed. What runs is ONNX Runtime's real CPU session over the double of cuda-core.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from harness import nvidia, registry
from harness.api import MissingLibrary, OpenFailed, RunFailed, Unsupported
from harness.model import JSON, Device, Precision, Setup
from runtimes import _ort_profile as profile_of
from runtimes import _ort_provider as provider
from runtimes._ort_cuda import CudaOrtSession, behind, cuda_options
from runtimes._ort_provider import CPU, CUDA, TENSORRT, absent, differing, prove, require, told_options, untold
from runtimes._ort_tensorrt import (
    cache_folder,
    engines,
    fixed_sizes,
    profile_shapes,
    tensorrt_options,
    timing_folder,
)
from tests import tensorrt_double as double
from tests.runtimes.opening import conv_onnx, conv_reference, images, infer

ort = pytest.importorskip("onnxruntime")
GPU = Device("cuda", 0, "Orin")


def setup_for(runtime: str, precision: Precision = "fp32", batch: int = 1, cache: str = "", **options: JSON) -> Setup:
    known = registry.runtime_class(runtime).options
    assert set(options) <= set(known)
    return Setup(GPU, precision, batch, 1, {**known, **options}, cache)


# ── what is not there ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [CUDA, TENSORRT])
def test_a_provider_that_is_not_built_in_is_refused_with_the_distribution_and_the_mend(name: str) -> None:
    if name in ort.get_available_providers():
        pytest.skip("this onnxruntime has it")
    with pytest.raises(Unsupported) as caught:
        require(name)
    assert f"(onnxruntime {importlib.metadata.version('onnxruntime')}) is built without {name}" in caught.value.message
    assert CPU in caught.value.message
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in caught.value.hint
    assert caught.value.hint.endswith("tensorrt") is (name == TENSORRT)


@pytest.mark.parametrize("runtime", ["ort_cuda", "ort_tensorrt"])
def test_a_session_of_it_is_refused_before_anything_is_opened(runtime: str, tmp_path: Path, gpu: None) -> None:
    if CUDA in ort.get_available_providers():
        pytest.skip("this onnxruntime has it")
    setup = setup_for(runtime, cache=str(tmp_path))
    with pytest.raises(Unsupported, match="is built without"):
        registry.runtime_class(runtime)().open(conv_onnx(tmp_path / "x.onnx"), setup)


def test_the_probe_of_a_provider_that_is_left_out_fails(recwarn: pytest.WarningsRecorder) -> None:
    """ONNX Runtime warns and computes on the CPU: the right result is no proof."""
    with pytest.raises(OpenFailed, match="left out XnnpackExecutionProvider: it ran the model on another provider"):
        prove("XnnpackExecutionProvider")
    prove(CPU)


@pytest.fixture
def broken_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A provider's library that needs another one, which is not there: a real loader refuses it."""
    if (gcc := shutil.which("gcc")) is None:
        pytest.skip("no C compiler")
    monkeypatch.setattr(provider, "_folder", lambda: tmp_path)

    def made(lacks: str, name: str) -> None:
        for file in (lacks, "libonnxruntime_providers_shared.so"):
            command: list[str | Path] = [
                gcc,
                "-shared",
                "-fPIC",
                "-x",
                "c",
                "/dev/null",
                "-o",
                tmp_path / file,
                f"-Wl,-soname,{file}",
            ]
            subprocess.run(command, check=True)
        target = tmp_path / provider._LIBRARIES[name]
        needs = [f"-L{tmp_path}", "-Wl,--no-as-needed", f"-l:{lacks}"]
        subprocess.run(
            [gcc, "-shared", "-fPIC", "-x", "c", "/dev/null", "-x", "none", "-o", target, *needs], check=True
        )
        (tmp_path / lacks).unlink()

    return made


@pytest.mark.parametrize(
    ("lacks", "name", "what", "command"),
    [
        ("libcudnn.so.9", CUDA, "libcudnn.so.9 of cuDNN", "nvidia-cudnn-cu12"),
        ("libcublasLt.so.12", CUDA, "libcublasLt.so.12 of cuBLAS", "pip install nvidia-cublas-cu12"),
        ("libnvinfer.so.10", TENSORRT, "libnvinfer.so.10 of TensorRT", "pip install 'tensorrt==10.*'"),
    ],
)
def test_a_provider_whose_library_lacks_a_companion_names_it(
    lacks: str, name: str, what: str, command: str, broken_library: Any
) -> None:
    broken_library(lacks, name)
    error = absent(name, "in use: CPUExecutionProvider")
    assert isinstance(error, MissingLibrary)
    assert error.message == f"{name} does not load: {what} is missing or does not load"
    assert command in error.hint


def test_without_a_driver_that_is_what_is_said() -> None:
    error = absent(CUDA, "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version")
    assert isinstance(error, Unsupported)
    assert "the NVIDIA driver is too old for this CUDA" in error.message
    assert "nvidia-smi" in error.hint
    assert isinstance(absent(CUDA, "in use: CPUExecutionProvider"), OpenFailed)


def test_an_old_gpu_does_not_hide_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimes import _ort_cuda

    broken = {"0"}

    def refuse(name: str, options: Mapping[str, str]) -> None:
        if options["device_id"] in broken:
            raise OpenFailed(f"{name} has no kernels for number {options['device_id']}")

    monkeypatch.setattr(_ort_cuda, "require", lambda name: None)
    monkeypatch.setattr(_ort_cuda, "prove", refuse)
    monkeypatch.setattr(nvidia, "gpus", lambda: (GPU, Device("cuda", 1)))
    assert [device.id for device in _ort_cuda.gpus(CUDA)] == ["cuda:1"]
    broken.add("1")
    with pytest.raises(OpenFailed, match="no kernels for number 0"):
        _ort_cuda.gpus(CUDA)


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_option_of_cuda_that_matters_is_said_outright() -> None:
    made = cuda_options(setup_for("ort_cuda"), graph=False)
    assert made == {
        "device_id": "0", "use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE", "cudnn_conv_use_max_workspace": "1",
        "prefer_nhwc": "0", "do_copy_in_default_stream": "1", "enable_cuda_graph": "0",
    }  # fmt: skip
    assert cuda_options(setup_for("ort_cuda", "tf32"), graph=True)["use_tf32"] == "1"
    limited = setup_for("ort_cuda", gpu_mem_limit_mib=512, cudnn_conv_algo_search="HEURISTIC")
    assert cuda_options(limited, graph=True) == {
        **made, "gpu_mem_limit": str(512 << 20), "cudnn_conv_algo_search": "HEURISTIC", "enable_cuda_graph": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "fp16", "int8"),
    [("fp32", "False", "False"), ("tf32", "False", "False"), ("fp16", "True", "False"), ("int8", "False", "True")],
)
def test_flags_and_caches_of_tensorrt(precision: Precision, fp16: str, int8: str, tmp_path: Path, gpu: None) -> None:
    artifact = conv_onnx(tmp_path / "x.onnx")
    folder = tmp_path / "cache" / "engines"
    setup = setup_for("ort_tensorrt", precision, 4, str(tmp_path / "cache"), builder_level=5)
    told = tensorrt_options(artifact, setup, folder)
    assert (told["trt_fp16_enable"], told["trt_int8_enable"]) == (fp16, int8)
    assert told["trt_builder_optimization_level"] == "5"
    assert told["trt_engine_cache_enable"] == "False" and "trt_engine_cache_path" not in told
    assert (told["trt_timing_cache_enable"], told["trt_timing_cache_path"]) == ("True", str(timing_folder(setup)))
    assert told["trt_cuda_graph_enable"] == "False"
    kept = tensorrt_options(artifact, setup_for("ort_tensorrt", engine_cache=True, timing_cache=False), folder)
    assert (kept["trt_engine_cache_path"], kept["trt_timing_cache_enable"]) == (str(folder), "False")
    assert "trt_timing_cache_path" not in kept


def test_the_profile_is_of_the_batch_or_of_three(tmp_path: Path) -> None:
    artifact = conv_onnx(tmp_path / "x.onnx")
    alone = setup_for("ort_tensorrt", batch=4)
    assert (profile_shapes(artifact, alone), fixed_sizes(artifact, alone)) == ({}, {"batch": 4})
    three = profile_shapes(artifact, setup_for("ort_tensorrt", batch=4, profile=[1, 4, 16]))
    assert three["trt_profile_min_shapes"] == "x:1x3x8x8"
    assert three["trt_profile_opt_shapes"] == "x:4x3x8x8"
    assert three["trt_profile_max_shapes"] == "x:16x3x8x8"
    assert fixed_sizes(artifact, setup_for("ort_tensorrt", batch=4, profile=[1, 4, 16])) == {}


@pytest.mark.parametrize("given", [[8, 1, 32], [1, 2], "many", [0, 1, 2], [1, "2", 3], {"least": 1}])
def test_a_profile_that_is_none_is_refused(given: JSON, tmp_path: Path) -> None:
    with pytest.raises(OpenFailed, match="least, best and largest batch") as caught:
        profile_shapes(conv_onnx(tmp_path / "x.onnx"), setup_for("ort_tensorrt", profile=given))
    assert "-o ort_tensorrt.profile=[1,8,32]" in caught.value.hint


def test_a_batch_outside_the_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OpenFailed, match=r"batch 64 is not within profile=\[1, 8, 32\]"):
        profile_shapes(conv_onnx(tmp_path / "x.onnx"), setup_for("ort_tensorrt", batch=64, profile=[1, 8, 32]))


def test_engines_of_another_precision_option_batch_or_gpu_lie_elsewhere(
    tmp_path: Path, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact, cache = conv_onnx(tmp_path / "x.onnx"), str(tmp_path / "cache")
    setups = [
        setup_for("ort_tensorrt", cache=cache), setup_for("ort_tensorrt", "fp16", cache=cache),
        setup_for("ort_tensorrt", batch=2, cache=cache), setup_for("ort_tensorrt", cache=cache, builder_level=1),
    ]  # fmt: skip
    folders = [cache_folder(artifact, setup) for setup in setups]
    assert len(set(folders)) == 4 and all(folder.is_dir() for folder in folders)
    assert cache_folder(artifact, setups[0]) == folders[0]
    monkeypatch.setattr(double.CudaDevice, "name", "another of the same compute capability")
    assert cache_folder(artifact, setups[0]) not in folders
    (folders[0] / "TensorrtExecutionProvider_x_sm87.engine").write_bytes(b"e")
    assert engines(folders[0]) == ["TensorrtExecutionProvider_x_sm87.engine"] and not engines(folders[1])


def test_timings_of_another_gpu_version_or_tf32_lie_elsewhere(
    tmp_path: Path, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime names the file by the compute capability alone."""
    cache = str(tmp_path / "cache")
    setup = setup_for("ort_tensorrt", cache=cache)
    first = timing_folder(setup)
    assert first.is_dir() and timing_folder(setup) == first
    assert timing_folder(setup_for("ort_tensorrt", batch=8, cache=cache, builder_level=1)) == first, "cells share them"
    found = {first, timing_folder(setup_for("ort_tensorrt", "tf32", cache=cache))}
    monkeypatch.setattr(double.CudaDevice, "name", "another of the same compute capability")
    found.add(timing_folder(setup))
    monkeypatch.setattr(ort, "__version__", "9.9")
    found.add(timing_folder(setup))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "10.99")
    found.add(timing_folder(setup))
    assert len(found) == 5


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path, gpu: None) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OpenFailed, match=r"the engine cache .* cannot be written: Not a directory") as caught:
        cache_folder(conv_onnx(tmp_path / "x.onnx"), setup_for("ort_tensorrt", cache=str(tmp_path / "cache")))
    assert "BACKBENCH_CACHE" in caught.value.hint


def test_options_are_compared_as_they_are_told() -> None:
    told = {
        "use_tf32": "0", "prefer_nhwc": "False", "cudnn_conv_algo_search": "HEURISTIC", "device_id": "0",
        "trt_fp16_enable": "1", "trt_int8_enable": "0",
    }  # fmt: skip
    asked = {
        "use_tf32": "1", "prefer_nhwc": "0", "cudnn_conv_algo_search": "EXHAUSTIVE", "new_option": "1",
        "trt_fp16_enable": "True", "trt_int8_enable": "False",
    }  # fmt: skip
    assert differing(asked, told) == [
        "use_tf32 was asked to be 1, and is 0", "cudnn_conv_algo_search was asked to be EXHAUSTIVE, and is HEURISTIC"
    ]  # fmt: skip
    assert untold(asked, told) == ["new_option"]


def test_addresses_are_no_facts() -> None:
    session = SimpleNamespace(
        get_provider_options=lambda: {CUDA: {"use_tf32": "0", "user_compute_stream": "140", "device_id": 0}}
    )
    assert told_options(session) == {CUDA: {"use_tf32": "0", "device_id": "0"}}


def test_an_option_that_does_not_hold_fails_the_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimes import _onnxruntime

    monkeypatch.setattr(_onnxruntime, "told_options", lambda session: {CPU: {"arena": "0"}})
    monkeypatch.setattr(_onnxruntime, "create", lambda path, options, providers: ort.InferenceSession(path))
    setup = Setup(Device("cpu"), "fp32", 1, 1, dict(registry.runtime_class("ort_cpu").options), "")
    with pytest.raises(OpenFailed, match="do not hold: arena was asked to be 1, and is 0"):
        _onnxruntime.OnnxRuntimeSession(conv_onnx(tmp_path / "x.onnx"), setup, [(CPU, {"arena": "1"})])


def test_a_wrong_option_is_onnxruntimes_own_error_and_no_cpu_session(tmp_path: Path) -> None:
    """Without `enable_fallback=0` it would print the error and go on with the CPU."""
    from runtimes._ort_open import create

    with pytest.raises(OpenFailed, match="cannot open the model"):
        create(str(tmp_path / "not there.onnx"), ort.SessionOptions(), [(CPU, {})])


# ── a session over page-locked memory, in a stream ───────────────────────────────────────────────────────────────


class OnHost(CudaOrtSession):
    """The double's device memory is the host's, and ONNX Runtime's CPU provider computes in it."""

    STREAMED: ClassVar[tuple[str, ...]] = ()
    PLACE: ClassVar = "cpu"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    core = double.cuda_core()
    monkeypatch.setattr(double, "STREAM", double.CudaStream())
    for name, module in {"cuda": SimpleNamespace(core=core), "cuda.core": core}.items():
        monkeypatch.setitem(sys.modules, name, module)


def on_host(tmp_path: Path, batch: int = 1, **options: JSON) -> OnHost:
    return OnHost(conv_onnx(tmp_path / "x.onnx"), setup_for("ort_cuda", "fp32", batch, "", **options), [(CPU, {})])


@pytest.mark.parametrize("batch", [1, 4])
def test_inputs_and_outputs_stay_at_their_addresses(tmp_path: Path, batch: int, gpu: None) -> None:
    session = on_host(tmp_path, batch)
    with session:
        first = infer(session, images(batch, 1))
        where = {name: pair.address for name, pair in session._pairs.items()}
        second = infer(session, images(batch, 2))
        assert {name: pair.address for name, pair in session._pairs.items()} == where
        with pytest.raises(RunFailed, match="has shape"):
            session.bind({"x": images(batch + 1)})
    np.testing.assert_allclose(first, conv_reference(images(batch, 1)), atol=1e-5)
    np.testing.assert_allclose(second, conv_reference(images(batch, 2)), atol=1e-5)
    session.close()


class Fixed(OnHost):
    """Opened as `ort_tensorrt` opens a graph."""

    def _fixed(self) -> Mapping[str, int]:
        return fixed_sizes(self._artifact, setup_for("ort_tensorrt", batch=self._setup.batch))


def test_a_graph_is_opened_with_the_cells_batch_where_no_profile_is_asked_for(tmp_path: Path, gpu: None) -> None:
    """What the provider then divides has no dynamic input; the process that profiles opens the same."""
    session = Fixed(conv_onnx(tmp_path / "x.onnx", "fp16"), setup_for("ort_cuda", "fp16", 4), [(CPU, {})])
    with session:
        assert session._session.get_inputs()[0].shape == [4, 3, 8, 8]
        assert session._session.get_outputs()[0].shape[0] == 4
        np.testing.assert_allclose(infer(session, images(4)), conv_reference(images(4)), atol=1e-2)
        order = session._order(1)
        assert order["fixed"] == {"batch": 4} and profile_of.profiled(order)
    free = on_host(tmp_path, 4)
    assert free._session.get_inputs()[0].shape[0] == "batch"
    free.close()


def test_the_devices_clock_is_around_the_inference(tmp_path: Path, gpu: None) -> None:
    with on_host(tmp_path) as session:
        session.bind({"x": images()})
        clock = session.clock()
        assert clock is not None
        clock.start()
        session.run()
        clock.end()
        session.sync()
        assert clock.elapsed_ns() == 1_000_000, "the double's events are a millisecond apart"


def test_an_inference_is_divided_into_copies_and_compute_by_the_devices_clock(tmp_path: Path, gpu: None) -> None:
    """From the session to the summary: what is divided is no sample of a scope."""
    from harness import measure, summary
    from harness.model import Pace
    from harness.record import Samples
    from harness.schedule import Trace

    with on_host(tmp_path) as session:
        session.bind({"x": images()})
        assert session.split() == dict.fromkeys(("h2d", "compute", "d2h"), 1_000_000)
        feeds, indices = [{"x": images(1, seed)} for seed in (1, 2)], [[0], [1]]
        burst = measure.Bench(session, feeds, indices).burst(Pace(0.01, 0.01, 3))
    assert burst.split_ns == dict.fromkeys(("h2d", "compute", "d2h"), (1_000_000,) * measure.SPLITS)
    assert len(burst.device_ns) == len(burst.compute_ns)
    trace = Trace()
    trace.samples.append(Samples("key", 0, 0, 0, burst))
    told = summary.latencies(trace, "key")
    assert {"compute", "end_to_end", "device", "split_h2d", "split_compute", "split_d2h"} == set(told)
    assert told["split_h2d"].median_ns == 1e6


def test_what_is_computed_on_the_host_has_nothing_to_divide(tmp_path: Path) -> None:
    from harness import measure
    from harness.model import Pace
    from tests.runtimes.opening import opened

    with opened("ort_cpu", conv_onnx(tmp_path / "x.onnx")) as session:
        burst = measure.Bench(session, [{"x": images(1, seed)} for seed in (1, 2)], [[0], [1]]).burst(
            Pace(0.01, 0.01, 3)
        )
    assert burst.split_ns == {} and burst.end_to_end_ns


def test_what_goes_wrong_on_the_gpu_is_said(tmp_path: Path, gpu: None) -> None:
    session = on_host(tmp_path)
    session.bind({"x": images()})
    double.STREAM.error = "CUDA_ERROR_OUT_OF_MEMORY"
    with pytest.raises(RunFailed, match="the GPU's memory is full") as caught:
        session.sync()
    assert "nvidia-smi" in caught.value.hint
    held: list[Any] = [pair._device for pair in session._pairs.values()]
    session.close()
    assert held and all(memory.closed for memory in held), "an error that stays keeps no memory"


def test_what_cuda_core_refuses_is_said(tmp_path: Path, gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is a plain Exception."""

    def full(*_: object, **__: object) -> None:
        raise double.CUDAError("CUDA_ERROR_OUT_OF_MEMORY")

    session = on_host(tmp_path)
    monkeypatch.setattr(double.CudaDevice, "allocate", full)
    with pytest.raises(RunFailed, match="does not take memory on the GPU: the GPU's memory is full"):
        session.bind({"x": images()})
    monkeypatch.setattr(double.CudaDevice, "set_current", full)
    with pytest.raises(OpenFailed, match="CUDA does not start on cuda:0: the GPU's memory is full"):
        on_host(tmp_path)


def test_a_gpu_that_is_not_there_is_unsupported(tmp_path: Path, gpu: None) -> None:
    setup = Setup(Device("cuda", 7), "fp32", 1, 1, dict(registry.runtime_class("ort_cuda").options), "")
    with pytest.raises(Unsupported, match="there is no cuda:7: CUDA sees 1 GPUs"):
        OnHost(conv_onnx(tmp_path / "x.onnx"), setup, [(CPU, {})])


@pytest.mark.parametrize(("told", "precision"), [({"use_tf32": "0"}, "fp32"), ({"use_tf32": "1"}, "tf32"), ({}, None)])
def test_float_weights_are_fp32_only_where_tf32_is_told_to_be_off(
    tmp_path: Path, told: dict[str, str], precision: str | None, gpu: None
) -> None:
    session = on_host(tmp_path)
    with session:
        infer(session, images())
        session._told = {CUDA: told}
        facts = session.facts()
    assert facts.precision == precision
    assert ("precision" in facts.settings) is (precision is None)


def test_nodes_left_to_another_provider_are_counted_by_operator() -> None:
    part = SimpleNamespace
    nodes = [part(op_type=kind) for kind in ("Shape", "Shape", "Gather")]
    session = part(
        get_provider_graph_assignment_info=lambda: [
            part(ep_name=CUDA, get_nodes=lambda: [part(op_type="Conv")] * 5),
            part(ep_name=CPU, get_nodes=lambda: nodes),
        ]
    )
    assert provider.placed_operators(session) == {CUDA: {"Conv": 5}, CPU: {"Shape": 2, "Gather": 1}}
    assert provider.placement(session) == {CUDA: 5, CPU: 3}
    assert provider.placement(part()) == {}, "an older onnxruntime tells nothing"


def test_the_profile_is_made_without_graphs(tmp_path: Path, gpu: None) -> None:
    session = on_host(tmp_path)
    told = session._profiled({"enable_cuda_graph": "1", "trt_cuda_graph_enable": "True", "use_tf32": "1"})
    assert told == {"enable_cuda_graph": "0", "trt_cuda_graph_enable": "False", "use_tf32": "1"}
    with session:
        assert session._order(1)["providers"] == [(CPU, {})]


def test_times_of_launching_kernels_are_no_profile(tmp_path: Path, gpu: None) -> None:
    """Without CUPTI a node's time is the host's; what its kernels run in is told all the same."""
    session = OnHost(conv_onnx(tmp_path / "x.onnx", "fp16"), setup_for("ort_cuda", "fp16"), [(CPU, {})])
    with session:
        session.bind({"x": images()})
        with pytest.raises(Unsupported, match="this onnxruntime tells launch times only") as caught:
            session.profile(1)
        assert session.facts().layer_precisions["float"] >= 1
    assert "the runtime tensorrt or torch_eager" in caught.value.hint


def test_with_cupti_a_nodes_time_is_that_of_its_kernels() -> None:
    """In the form of ONNX Runtime's documentation: the device's events right behind the host's."""

    def node(name: str, at_us: int, dur_us: int) -> dict[str, Any]:
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": at_us, "dur": dur_us, "args": {"op_name": name}}

    def kernel(dur_us: int) -> dict[str, Any]:
        return {"cat": "Kernel", "name": "sm80_xmma_fprop", "ts": 9, "dur": dur_us, "args": {}}

    run = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 900}
    events = [node("Conv", 1, 17), kernel(300), kernel(33), node("Shape", 20, 5), run]
    (inference,) = profile_of.inferences(profile_of.device_times(events))
    assert [(layer.kind, layer.time_ns) for layer in inference.layers] == [("Conv", 333_000.0), ("Shape", 5_000.0)]


def test_what_is_left_out_by_tensorrt_has_cuda_behind_it() -> None:
    assert [name for name, _ in behind(setup_for("ort_tensorrt", cuda_graph=True))] == [CUDA, CPU]
    assert dict(behind(setup_for("ort_tensorrt", cuda_graph=True)))[CUDA]["enable_cuda_graph"] == "0"


def test_a_plan_goes_on_where_a_provider_is_not_there(
    tmp_path: Path, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, through a worker: this onnxruntime has no CUDA, which is what the record says."""
    if CUDA in ort.get_available_providers():
        pytest.skip("this onnxruntime has it")
    from harness import plan, spec, store
    from tests import making
    from tests.test_run import _carry_out, _inspect, _no_catalog

    monkeypatch.setattr(registry.runtime_class("ort_cuda"), "needs", {"onnxruntime": "onnxruntime"})
    made = {
        "name": "goes-on", "backbones": [str(making.identity_onnx(tmp_path / "identity.onnx"))], "threads": 1,
        "runtimes": ["ort_cpu", {"name": "ort_cuda", "device": "cuda:0"}],
        "rules": {"budget": 0.3, "min_rounds": 3, "burst": 0.01, "target": 0, "patience": 20},
    }  # fmt: skip
    _carry_out(tmp_path, plan.resolve(spec.check(made), plan.Sources(_no_catalog, _inspect)))
    records = {record.cell.runtime: record for record in store.read_records(tmp_path / "run")}
    assert records["ort_cpu"].outcome == "ok"
    assert records["ort_cuda"].outcome == "unsupported"
    if registry.missing({"cuda.core": "cuda-core"}):
        assert "needs cuda-core" in records["ort_cuda"].reason
    else:
        assert "is built without CUDAExecutionProvider" in records["ort_cuda"].reason
