"""OpenVINO on the CPU: in the precision that was asked for, proven by its layers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from harness.api import Device, OpenFailed, RunFailed, Unsupported
from harness.label import contradiction
from harness.model import Backbone, Cell, Precision, Setup
from tests.runtimes.opening import conv_onnx, conv_reference, images, infer, opened

openvino = pytest.importorskip("openvino")


def _capable(of: str) -> bool:
    return of in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.mark.parametrize("batch", [1, 4])
def test_inputs_are_copied_in_place_and_the_batch_is_fixed(tmp_path: Path, batch: int) -> None:
    with opened("openvino", conv_onnx(tmp_path / "x.onnx"), batch=batch) as session:
        first, second = infer(session, images(batch, 1)), infer(session, images(batch, 2))
    np.testing.assert_allclose(first, conv_reference(images(batch, 1)), atol=1e-5)
    np.testing.assert_allclose(second, conv_reference(images(batch, 2)), atol=1e-5)


def test_binding_leaves_the_array_it_was_given_alone(tmp_path: Path) -> None:
    with opened("openvino", conv_onnx(tmp_path / "x.onnx")) as session:
        given, kept = images(1, 1), images(1, 1)
        infer(session, given)
        infer(session, images(1, 2))
    assert (given == kept).all()


@pytest.mark.parametrize("batch", [1, 2])
def test_an_input_of_another_shape_is_refused_and_never_broadcast(tmp_path: Path, batch: int) -> None:
    with opened("openvino", conv_onnx(tmp_path / "x.onnx"), batch=4) as session:
        infer(session, images(4))
        with pytest.raises(RunFailed, match="has shape"):
            infer(session, images(batch))


def test_a_first_input_of_a_wrong_shape_is_refused(tmp_path: Path) -> None:
    with opened("openvino", conv_onnx(tmp_path / "x.onnx"), batch=4) as session, pytest.raises(RunFailed):
        infer(session, images(2))


def test_facts_hold_every_property(tmp_path: Path) -> None:
    with opened("openvino", conv_onnx(tmp_path / "x.onnx"), pinning=False) as session:
        infer(session, images())
        facts = session.facts()
    assert (facts.precision, facts.threads, facts.streams, facts.providers) == ("fp32", 1, 1, ("CPU",))
    assert facts.settings["ENABLE_CPU_PINNING"] is False
    assert facts.settings["PERFORMANCE_HINT"] == "LATENCY"
    assert "SCHEDULING_CORE_TYPE" in facts.settings
    assert set(facts.layer_precisions) == {"f32"}


@pytest.mark.skipif(not _capable("BF16"), reason="this CPU has no bf16")
def test_a_false_label_is_seen(tmp_path: Path) -> None:
    """OpenVINO runs fp32 models in bf16 unless told otherwise; asked for fp32 so, the facts contradict the label."""
    with opened("openvino", conv_onnx(tmp_path / "x.onnx"), precision_hint="bf16") as session:
        infer(session, images())
        facts = session.facts()
    assert facts.precision == "bf16"
    cell = Cell(Backbone("test"), "openvino", precision="fp32", threads=1)
    assert contradiction(cell, facts) == "labelled fp32, but bf16 runs"
    with opened("openvino", conv_onnx(tmp_path / "x.onnx"), precision="bf16") as session:
        infer(session, images())
        assert session.facts().precision == "bf16"


@pytest.mark.skipif(not _capable("INT8"), reason="this CPU has no int8")
def test_a_quantised_model_runs_in_int8(tmp_path: Path) -> None:
    with opened("openvino", conv_onnx(tmp_path / "x.onnx", "qdq"), precision="int8") as session:
        output = infer(session, images())
        facts = session.facts()
    assert facts.precision == "int8"
    np.testing.assert_allclose(output, conv_reference(images()), atol=0.05)


@pytest.mark.skipif(_capable("FP16"), reason="this CPU has fp16")
def test_a_precision_that_the_cpu_lacks_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"this CPU has no fp16 \(it has: .*FP32"):
        opened("openvino", conv_onnx(tmp_path / "x.onnx"), precision="fp16")


def test_a_wrong_option_is_told_without_places_in_its_sources(tmp_path: Path) -> None:
    with pytest.raises(OpenFailed, match="PERFORMANCE_HINT") as caught:
        opened("openvino", conv_onnx(tmp_path / "x.onnx"), hint="FASTEST")
    assert "Exception from" not in caught.value.message


@pytest.mark.parametrize(
    ("device", "name", "mend"),
    [(Device("intel-gpu", 7), r"GPU\.7", "scripts/edge/intel"), (Device("intel-npu"), "NPU", "--npu-debs")],
)
def test_a_device_that_is_not_there_is_unsupported_and_what_is_there_is_named(
    device: Device, name: str, mend: str, tmp_path: Path
) -> None:
    if any(listed.startswith(name[:3]) for listed in openvino.Core().available_devices):
        pytest.skip("it is there")
    with pytest.raises(Unsupported, match=f"OpenVINO reaches no {name}: it lists CPU") as caught:
        opened("openvino", conv_onnx(tmp_path / "x.onnx"), device=device, precision="fp16")
    assert mend in caught.value.hint


# ── AUTO and HETERO ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["auto", "hetero"])
@pytest.mark.parametrize("batch", [1, 4])
def test_auto_and_hetero_run_on_the_cpu_and_say_so(kind: str, batch: int, tmp_path: Path) -> None:
    device = Device(kind)
    with opened("openvino", conv_onnx(tmp_path / "x.onnx"), device=device, batch=batch, priorities="CPU") as session:
        output = infer(session, images(batch, 1))
        facts = session.facts()
    np.testing.assert_allclose(output, conv_reference(images(batch, 1)), atol=1e-5)
    assert (facts.device, facts.precision) == (kind, "fp32")
    assert any("CPU" in name for name in facts.providers), "what was chosen is told"
    assert (facts.threads, facts.streams) == (1, 1), "the chosen device got its own properties"
    assert contradiction(Cell(Backbone("test"), "openvino", device=kind, threads=1), facts) == ""


@pytest.mark.parametrize("kind", ["auto", "hetero"])
def test_a_precision_that_the_chosen_device_would_not_keep_is_not_promised(kind: str, tmp_path: Path) -> None:
    from harness import registry

    runtime = registry.runtime_class("openvino")
    assert "fp16" not in runtime.precisions[kind] and runtime.refuses[kind]["fp16"]


def test_a_priority_that_is_not_there_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"OpenVINO reaches no GPU\.9: it lists CPU"):
        opened("openvino", conv_onnx(tmp_path / "x.onnx"), device=Device("auto"), priorities="GPU.9,CPU")


def test_devices_are_found_by_an_inference_and_described() -> None:
    from runtimes._openvino_devices import probe

    found = {device.id: device for device in probe()}
    assert {"cpu", "auto", "hetero"} <= set(found)
    assert found["cpu"].name and "OPTIMIZATION_CAPABILITIES" in found["cpu"].details
    assert found["hetero"].name.startswith("HETERO over ") and found["hetero"].name.endswith("CPU")


def test_a_device_that_runs_nothing_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from runtimes import _openvino_devices as devices

    really = devices._run

    def refuse(core: object, name: str) -> None:
        if name == "CPU":
            raise RuntimeError("Exception from x.cpp:1:\nno driver")
        really(core, name)

    monkeypatch.setattr(devices, "_run", refuse)
    with pytest.raises(OpenFailed, match="OpenVINO runs nothing here: CPU: no driver"):
        devices.probe()
    assert "OpenVINO lists a device that runs nothing: CPU: no driver" in capsys.readouterr().err


class Laptop:
    """A core that lists a CPU and an NPU, whose plug-ins are not there."""

    available_devices: ClassVar = ["CPU", "NPU"]
    told: ClassVar = {
        "CPU": {"OPTIMIZATION_CAPABILITIES": ["FP32", "BF16", "INT8"], "FULL_DEVICE_NAME": "a processor"},
        "NPU": {"OPTIMIZATION_CAPABILITIES": ["FP16", "INT8"], "FULL_DEVICE_NAME": "an NPU"},
    }

    def get_property(self, device: str, name: str) -> Any:
        return list(self.told[device]) if name == "SUPPORTED_PROPERTIES" else self.told[device][name]


@pytest.mark.parametrize(
    ("refused", "reached"),
    [
        ("NPU", ["cpu", "auto", "hetero"]),
        ("HETERO", ["cpu", "intel-npu", "auto"]),
        ("", ["cpu", "intel-npu", "auto", "hetero"]),
    ],
)
def test_what_does_not_compile_is_left_out_of_auto_and_hetero_too(
    refused: str, reached: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An NPU that is listed and has no compiler: the CPU is reached all the same."""
    from runtimes import _openvino_devices as devices

    def run(core: object, name: str) -> None:
        if refused and refused in name:
            raise RuntimeError("no compiler")

    monkeypatch.setattr(devices, "_run", run)
    monkeypatch.setattr(openvino, "Core", Laptop)
    found = devices.probe()
    assert [device.id for device in found] == reached
    assert found[-1].name.endswith("over CPU" if refused == "NPU" else "over NPU,CPU")
    told = capsys.readouterr().err
    assert ("no compiler" in told and refused in told) if refused else not told


def setup_on(kind: str, precision: Precision, priorities: str = "") -> Setup:
    from runtimes.openvino import OpenVino

    return Setup(Device(kind), precision, 1, 1, {**OpenVino.options, "priorities": priorities}, "")


@pytest.mark.parametrize("kind", ["auto", "hetero"])
def test_auto_chooses_among_the_devices_that_have_the_precision(kind: str) -> None:
    from runtimes._openvino_devices import check_capable, name_of

    core = Laptop()
    names = [name_of(core, setup_on(kind, precision)) for precision in ("fp32", "int8")]
    assert names == [f"{kind.upper()}:CPU", f"{kind.upper()}:NPU,CPU"]
    check_capable(core, names[0], "fp32")
    given = name_of(core, setup_on(kind, "fp32", "NPU,CPU"))
    assert given == f"{kind.upper()}:NPU,CPU", "what was asked for is not changed in silence"
    with pytest.raises(Unsupported, match="this NPU has no fp32") as caught:
        check_capable(core, given, "fp32")
    assert "-o openvino.priorities=GPU,CPU" in caught.value.hint


def test_a_precision_that_no_device_has_is_unsupported_also_where_some_device_tells_nothing() -> None:
    from runtimes._openvino_devices import name_of

    class Silent(Laptop):
        told: ClassVar = {"CPU": {"OPTIMIZATION_CAPABILITIES": ["FP32"]}, "NPU": {}}

    assert name_of(Silent(), setup_on("auto", "fp32")) == "AUTO:CPU"
    with pytest.raises(Unsupported, match="OpenVINO has int8 on no device here: it lists CPU, NPU"):
        name_of(Silent(), setup_on("auto", "int8"))


def test_its_own_clock_is_beside_the_wall(tmp_path: Path) -> None:
    with opened("openvino", conv_onnx(tmp_path / "x.onnx")) as session:
        infer(session, images())
        clock = session.clock()
        assert clock is not None
        assert clock.elapsed_ns() > 0


def test_the_model_cache_lies_in_the_runtimes_folder_and_only_when_asked_for(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    opened("openvino", conv_onnx(tmp_path / "x.onnx"), cache=str(cache)).close()
    assert not list(cache.iterdir())
    opened("openvino", conv_onnx(tmp_path / "x.onnx"), cache=str(cache), model_cache=True).close()
    assert list(cache.iterdir())


def test_a_cold_cache_is_empty_and_a_warm_one_is_found(tmp_path: Path) -> None:
    cache, artifact = tmp_path / "cache", conv_onnx(tmp_path / "x.onnx")
    cache.mkdir()
    with pytest.raises(OpenFailed, match="model_cache=warm was asked for, and the model was compiled"):
        opened("openvino", artifact, cache=str(cache), model_cache="warm")
    with opened("openvino", artifact, cache=str(cache), model_cache="warm") as session:
        assert session.facts().settings["LOADED_FROM_CACHE"] is True
    with opened("openvino", artifact, cache=str(cache), model_cache="cold") as session:
        assert session.facts().settings["LOADED_FROM_CACHE"] is False
    with pytest.raises(OpenFailed, match="model_cache='hot' is none of false, true, cold, warm"):
        opened("openvino", artifact, cache=str(cache), model_cache="hot")


def test_a_warm_cache_is_filled_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Through a whole run: loading is timed with the cache full, in the first run too."""
    from harness import plan, spec, store
    from tests import making
    from tests.test_run import _carry_out, _inspect, _no_catalog

    data = {
        "name": "caches", "backbones": [str(making.identity_onnx(tmp_path / "identity.onnx"))], "threads": 1,
        "runtimes": [{"name": "openvino", "options": {"model_cache": kind}} for kind in ("cold", "warm")],
        "rules": {"budget": 0.3, "min_rounds": 3, "burst": 0.01, "target": 0, "patience": 20},
    }  # fmt: skip
    sources = plan.Sources(_no_catalog, _inspect)
    _carry_out(tmp_path, plan.resolve(spec.check(data), sources))
    records = [record for record in store.read_records(tmp_path / "run") if record.cell.runtime == "openvino"]
    told = {record.cell.options["model_cache"]: record for record in records}
    assert {record.outcome for record in told.values()} == {"ok"}, [record.reason for record in told.values()]
    loaded = {kind: record.facts.settings["LOADED_FROM_CACHE"] for kind, record in told.items() if record.facts}
    assert loaded == {"cold": False, "warm": True}


def test_the_profile_names_layers(tmp_path: Path) -> None:
    with opened("openvino", conv_onnx(tmp_path / "x.onnx")) as session:
        infer(session, images())
        inferences = session.profile(2)
    assert len(inferences) == 2
    layers = inferences[-1].layers
    conv = next(layer for layer in layers if layer.kind == "Convolution")
    assert (conv.precision, conv.device) == ("f32", "CPU") and conv.time_ns > 0
    assert conv.nodes and conv.kernel
    assert sum(layer.time_ns for layer in layers) <= inferences[-1].latency_ns * 2


def test_counters_of_the_cpu_are_averages_over_all_inferences_of_a_compiled_model() -> None:
    """What the profile takes apart: a library that told the last inference alone would need no such thing."""
    from openvino import opset13

    x = opset13.parameter([-1, 256], np.float32)
    weights = opset13.constant(np.ones((256, 256), np.float32))
    model = openvino.Model([opset13.matmul(x, weights, False, False)], [x])
    compiled = openvino.Core().compile_model(model, "CPU", {"PERF_COUNT": True, "NUM_STREAMS": 1})
    told = []
    for rows in (20_000, 1, 1, 1):
        request = compiled.create_infer_request()
        request.infer([np.ones((rows, 256), np.float32)])
        told.append(sum(counter.real_time.total_seconds() for counter in request.get_profiling_info()))
    assert all(number * average > 0.9 * told[0] for number, average in enumerate(told, 1))


def test_the_time_of_the_last_inference_is_what_it_adds_to_the_sum() -> None:
    from runtimes._openvino_layers import of_last

    taken = ({"a": 16676e3, "b": 0.0}, {"a": 20e3, "b": 8e3}, {"a": 28e3, "b": 4e3})  # the first also allocates
    before: dict[str, float] = {}
    sums = dict.fromkeys(taken[0], 0.0)
    for number, own in enumerate(taken, 1):
        sums = {name: sums[name] + own[name] for name in sums}
        told = {name: whole / number for name, whole in sums.items()}
        assert of_last(told, before, number) == pytest.approx(own, abs=1e-6)
        before = told
    assert of_last({"a": 3e3, "new": 5e3}, {"a": 4e3}, 9) == {"a": 0.0, "new": 5e3}, "rounding never makes it negative"


class Scripted:
    """A compiled model and its request: the first inference takes 1 ms, all others 7 µs, of which averages are told."""

    latency, ran = 1.0, 0

    def __init__(self, device: str, streams: int = 1) -> None:
        self.properties = {
            "EXECUTION_DEVICES": [device],
            "NUM_STREAMS": streams,
            "SUPPORTED_PROPERTIES": ["NUM_STREAMS"],
        }

    def get_property(self, name: str) -> Any:
        return self.properties[name]

    def get_runtime_model(self) -> Any:
        x = openvino.opset13.parameter([1])
        return openvino.Model([x], [x])

    def create_infer_request(self) -> Scripted:
        return self

    def infer(self, *_: object, **__: object) -> None:
        self.ran += 1

    def get_profiling_info(self) -> list[SimpleNamespace]:
        time = SimpleNamespace(total_seconds=lambda: (1000 + 7 * (self.ran - 1)) / self.ran / 1e6)
        return [SimpleNamespace(node_name="conv", node_type="Convolution", exec_type="jit", real_time=time)]


@pytest.mark.parametrize(("device", "ns"), [("CPU", (7000, 7000)), ("GPU.0", (7000, 7000)), ("NPU", (255250, 205600))])
def test_the_profile_has_no_part_of_the_warm_up_in_it(tmp_path: Path, device: str, ns: tuple[int, int]) -> None:
    session: Any = opened("openvino", conv_onnx(tmp_path / "x.onnx"))
    session._again = lambda _: Scripted(device)
    found = [layer.time_ns for inference in session.profile(2) for layer in inference.layers]
    assert found == pytest.approx(ns), "of the NPU, whose counters are of the last inference, they are as told"


def test_a_session_of_several_streams_is_profiled_in_one_of_them(tmp_path: Path) -> None:
    session: Any = opened("openvino", conv_onnx(tmp_path / "x.onnx"))
    again, asked = session._again, list[Any]()

    def compile_with(more: Any) -> Any:
        asked.append(more)
        return again(more)

    session._again = compile_with
    infer(session, images())
    for streams in (1, 2):
        session._compiled = Scripted("CPU", streams)
        assert len(session.profile(1)) == 1
    assert asked == [{"PERF_COUNT": True}, {"PERF_COUNT": True, "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}]


@pytest.mark.parametrize(
    ("layers", "precision"),
    [
        ([("Convolution", "bf16"), ("Reorder", "f32"), ("Eltwise", "f32")], "bf16"),
        ([("fully_connected", "f16"), ("reorder", "f32"), ("permute", "f32")], "fp16"),
        ([("Convolution", "i8"), ("Convolution", "u8"), ("FullyConnected", "f32")], "int8"),
        ([("Eltwise", "f32")], "fp32"),
        ([("Convolution", "f64")], None),
        ([], None),
    ],
)
def test_convolutions_and_products_decide(layers: list[tuple[str, str]], precision: str | None) -> None:
    from runtimes._openvino_layers import Layer, deciding

    assert deciding([Layer(kind, told, "", "", ()) for kind, told in layers]) == precision


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    session = opened("openvino", conv_onnx(tmp_path / "x.onnx"))
    session.close()
    session.close()
