"""`trtexec` as a runtime, with a scripted program in its place: options, JSON, clock. No figure of it means anything."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import checks, measure, registry
from harness.errors import MissingLibrary, OpenFailed, RunFailed, Unsupported
from harness.launch import Worker
from harness.model import Artifact, Device, Facts, Pace, Precision, Recipe, Setup, TensorSpec
from harness.record import Rules
from runtimes import _trtexec
from runtimes._trtexec_json import Sample, outputs, samples
from runtimes.trtexec import Trtexec
from tests import making

GPU = Device("cuda", 0)
SPECS = tuple(TensorSpec(name, ("batch", 3, 2, 2), "float32") for name in ("x", "y"))
# Prints and writes what trtexec does, in the forms of its source; y = 2 x. The times are made up.
_SCRIPT = """#!{python}
import json, os, struct, sys
options = dict(part.partition("=")[::2] for part in sys.argv[1:])
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if "--help" in options:
    print({help!r}); sys.exit(0)
if os.path.exists({fails!r}):
    print(open({fails!r}).read()); sys.exit(1)
if int(options.get("--useDLACore", 0)) >= {dla_cores}:
    print("[E] Cannot create DLA engine, {dla_cores} not available"); sys.exit(1)
print("[I] Selected Device: Orin\\n[I] Compute Capability: 8.7\\n[I] TensorRT version: 8.5.2")
if "--saveEngine" in options:
    open(options["--saveEngine"], "w").write("engine")
if "--exportTimes" in options:
    if os.path.exists({uncaptured!r}):
        print("[W] The inference will be launched without using CUDA graph launch.")
    eleven = "--includeDataTransfers" in {help!r}
    still = "--includeDataTransfers" not in options if eleven else "--noDataTransfers" in options
    times = [dict(startComputeMs=at, h2dMs=0.0 if still else 1.0, computeMs=2.0 if still else 3.0,
                  d2hMs=0.0 if still else 0.5) for at in (1.0, 200.0, 210.0, 220.0, 230.0, 240.0)]
    json.dump(times, open(options["--exportTimes"], "w"))
if "--exportLayerInfo" in options:
    tensor = {{"Name": "x", "Format/Datatype": "Half"}}
    kinds = ("DLA", "SoftMax") if "--useDLACore" in options else ("CaskConvolution",)
    layers = [dict(Name=kind.lower(), LayerType=kind, Inputs=[tensor], Outputs=[tensor]) for kind in kinds]
    json.dump(dict(Layers=layers, Bindings=["x", "y"]), open(options["--exportLayerInfo"], "w"))
if "--exportOutput" in options:
    data = open(options["--loadInputs"].partition(":")[2], "rb").read()
    values = [2 * v for v in struct.unpack("<%df" % (len(data) // 4), data)]
    shape = "x".join(options["--shapes"].partition(":")[2].split("x"))
    json.dump([dict(name="y", dimensions=shape, values=values)], open(options["--exportOutput"], "w"))
"""
_OLD = "--fp16 --int8 --noTF32 --buildOnly --exposeDMA --useSpinWait --useCudaGraph"
_DLA = "--fp16 --int8 --stronglyTyped --noTF32 --skipInference --exposeDMA --useSpinWait --useCudaGraph --useDLACore=N"
_NEW = "--stronglyTyped --builderOptimizationLevel=N --skipInference --exposeDMA --useSpinWait --useCudaGraph --noTF32"
_ELEVEN = f"{_NEW} --noDataTransfers --includeDataTransfers --noCudaGraph --noSpinWait"
"""What does nothing any more is still listed."""


class Scripted:
    """A scripted trtexec, and what it was called with."""

    def __init__(self, folder: Path, knows: str) -> None:
        self.log, self.fails, self.path = folder / "log", folder / "fails", folder / "trtexec"
        self.uncaptured = folder / "uncaptured"
        text = _SCRIPT.format(
            python=sys.executable, log=str(self.log), help=knows, fails=str(self.fails), dla_cores=1,
            uncaptured=str(self.uncaptured),
        )  # fmt: skip
        self.path.write_text(text)
        self.path.chmod(self.path.stat().st_mode | stat.S_IXUSR)

    def calls(self, containing: str) -> list[list[str]]:
        """Arguments of the calls that had such an option."""
        calls = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [call for call in calls if any(option.startswith(containing) for option in call)]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Scripted:
    made = Scripted(tmp_path, getattr(request, "param", _OLD))
    monkeypatch.setenv("TRTEXEC", str(made.path))
    _trtexec._help.cache_clear()
    return made


def artifact(tmp_path: Path) -> Artifact:
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    return Artifact("onnx", str(tmp_path / "model.onnx"), "fp16", SPECS[:1], SPECS[1:], "d" * 64, 4, Recipe("x", ""))


def opened(tmp_path: Path, precision: Precision = "fp16", batch: int = 2, device: Device = GPU, **options: Any) -> Any:
    setup = Setup(device, precision, batch, 0, {**Trtexec.options, **options}, str(tmp_path / "cache"))
    return Trtexec().open(artifact(tmp_path), setup)


def test_it_reaches_the_gpu_that_it_ran_on(tool: Scripted) -> None:
    (device,) = Trtexec().devices()
    assert (device.id, device.name) == ("cuda:0", "Orin")
    assert device.details == {"compute_capability": "8.7", "tensorrt": "8.5.2"}


@pytest.mark.parametrize("tool", [_OLD, _NEW], indirect=True)
def test_a_build_has_the_options_that_its_version_knows(tool: Scripted, tmp_path: Path) -> None:
    opened(tmp_path).close()
    (call,) = tool.calls("--saveEngine")
    new = "--stronglyTyped" in call
    assert ("--fp16" in call) is not new
    assert ("--skipInference" in call) is new and ("--buildOnly" in call) is not new
    assert ("--builderOptimizationLevel=3" in call) is new
    assert {"--noTF32", "--minShapes=x:2x3x2x2", "--maxShapes=x:2x3x2x2", "--profilingVerbosity=detailed"} <= set(call)
    opened(tmp_path, "tf32").close()
    assert "--noTF32" not in tool.calls("--saveEngine")[-1]


@pytest.mark.parametrize("tool", ["--noTF32 --skipInference"], indirect=True)
def test_eleven_needs_no_flag_for_a_precision(tool: Scripted, tmp_path: Path) -> None:
    """Its networks are typed, whether or not its help still lists the option."""
    tool.path.write_text(tool.path.read_text().replace("8.5.2", "11.4.0"))
    opened(tmp_path).close()
    (call,) = tool.calls("--saveEngine")
    assert "--fp16" not in call and "--stronglyTyped" not in call and "--skipInference" in call


def test_an_engine_is_built_once_for_its_options(tool: Scripted, tmp_path: Path) -> None:
    for batch in (2, 2, 3):
        opened(tmp_path, batch=batch).close()
    assert len(tool.calls("--saveEngine")) == 2


@pytest.mark.parametrize("tool", [_OLD, _ELEVEN], indirect=True)
def test_both_scopes_come_from_trtexecs_own_times(tool: Scripted, tmp_path: Path) -> None:
    """Through the harness's own loop: 2 ms without transfers, 1 + 3 + 0.5 ms with them."""
    feeds = [{"x": np.full((2, 3, 2, 2), value, np.float32)} for value in (1.0, 2.0)]
    with opened(tmp_path) as session:
        bench = measure.Bench(session, feeds, [[0, 1], [2, 3]])
        assert bench.timer_name == "foreign (runtimes._trtexec_session)"
        burst = bench.burst(Pace(0.02, 0.02, 3))
    assert set(burst.compute_ns) == {2_000_000}
    assert set(burst.end_to_end_ns) == {4_500_000}
    copies = [call for call in tool.calls("--exportTimes") if "--exposeDMA" in call]
    eleven = bool(tool.calls("--includeDataTransfers"))
    assert all(("--includeDataTransfers" in call) is eleven for call in copies)
    assert (tool.calls("--noDataTransfers") == []) is eleven, "11 ignores it"
    assert len(tool.calls("--exportOutput")) <= len(feeds), "the outputs of one input are computed once"


@pytest.mark.parametrize("tool", [_OLD, _ELEVEN], indirect=True)
@pytest.mark.parametrize("asked", [False, True])
def test_graphs_and_spinning_are_as_asked_whatever_is_on_by_itself(asked: bool, tool: Scripted, tmp_path: Path) -> None:
    with opened(tmp_path, cuda_graph=asked, spin_wait=asked) as session:
        session.run()
        facts = session.facts()
    (call,) = tool.calls("--exportTimes")
    given = {option for option in call if "Graph" in option or "Spin" in option}
    on, off = {"--useCudaGraph", "--useSpinWait"}, {"--noCudaGraph", "--noSpinWait"}
    eleven = "--noCudaGraph" in tool.path.read_text()
    assert given == ((set() if asked else off) if eleven else (on if asked else set()))
    assert (facts.settings["cuda_graph"], facts.settings["spin_wait"]) == (asked, asked)


def test_an_engine_that_was_not_captured_ran_without_a_graph(tool: Scripted, tmp_path: Path) -> None:
    """trtexec warns and goes on."""
    tool.uncaptured.touch()
    with opened(tmp_path, cuda_graph=True) as session:
        session.run()
        assert session.facts().settings["cuda_graph"] is False


def test_outputs_are_of_the_bound_inputs(tool: Scripted, tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        for value in (1.0, 5.0):
            session.bind({"x": np.full((2, 3, 2, 2), value, np.float32)})
            session.run()
            session.sync()
            assert (session.fetch()["y"] == 2 * value).all()


def test_the_record_says_that_it_was_not_in_turn(tool: Scripted, tmp_path: Path) -> None:
    with opened(tmp_path) as session:
        facts = session.facts()
    assert facts.precision == "fp16" and facts.settings["interleaved"] is False
    record = replace(making.record(), facts=facts)
    trust, findings = checks.judge(record, Rules())
    assert "not_interleaved" in {finding.check for finding in findings} and trust != "trusted"
    assert "not_interleaved" not in {
        f.check for f in checks.judge(replace(record, facts=Facts("fp16", "cpu")), Rules())[1]
    }


@pytest.mark.parametrize("tool", [_DLA], indirect=True)
def test_a_dla_core_that_trtexec_takes_is_listed_as_not_proven(tool: Scripted) -> None:
    _, core = Trtexec().devices()
    assert (core.id, core.name, core.details["proven"]) == ("dla:0", "DLA core of Orin", False)
    asked = [call for call in tool.calls("--useDLACore") if "--allowGPUFallback" in call]
    assert len(asked) == 2, "the second core is not there"


@pytest.mark.parametrize("tool", [_DLA], indirect=True)
def test_a_network_on_a_dla_is_built_and_run_there_and_what_is_left_is_named(tool: Scripted, tmp_path: Path) -> None:
    with opened(tmp_path, device=Device("dla", 0)) as session:
        session.run()
        facts = session.facts()
    (build,) = tool.calls("--saveEngine")
    assert {"--fp16", "--useDLACore=0", "--allowGPUFallback"} <= set(build)
    assert "--stronglyTyped" not in build, "before 11 a DLA's types are the builder's flags"
    assert all("--useDLACore=0" in call for call in tool.calls("--loadEngine"))
    assert (facts.device, facts.precision, facts.placement) == ("dla:0", "fp16", {"DLA": 1, "GPU": 1})
    assert facts.settings["gpu_layers"] == ["softmax"] and facts.settings["left_to"] == {"GPU": {"SoftMax": 1}}


@pytest.mark.parametrize("tool", [_DLA], indirect=True)
def test_a_core_that_is_not_there_is_said_by_trtexec(tool: Scripted, tmp_path: Path) -> None:
    with pytest.raises(OpenFailed, match="Cannot create DLA engine, 1 not available"):
        opened(tmp_path, device=Device("dla", 1))


def test_a_worker_finds_the_trtexec_of_its_parents_environment(tool: Scripted, tmp_path: Path) -> None:
    with Worker(tmp_path / "worker.log", name="trtexec") as worker:
        devices = worker.ask("devices", 120, runtime="trtexec")
    assert [device["name"] for device in devices][:1] == ["Orin"]


def test_where_there_is_none_the_message_says_what_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRTEXEC", str(tmp_path / "nothing"))
    with pytest.raises(MissingLibrary, match="is no program") as caught:
        Trtexec().devices()
    assert "libnvinfer-bin" in caught.value.hint
    monkeypatch.delenv("TRTEXEC")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(_trtexec, "_PLACES", ())
    with pytest.raises(MissingLibrary, match="trtexec is not installed"):
        Trtexec().devices()


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        ("[E] Error[1]: no implementation\n[E] later", "Error[1]: no implementation"),
        ("[E] Requested 5 bytes: out of memory", "the GPU's memory is full"),
        ("trtexec: error while loading shared libraries: libnvinfer.so.8: cannot open", "libnvinfer.so.8 is missing"),
        ("", "exit status 1"),
    ],
)
def test_what_trtexec_says_goes_into_the_message(printed: str, says: str, tool: Scripted, tmp_path: Path) -> None:
    tool.fails.write_text(printed)
    with pytest.raises(RunFailed) as caught:
        Trtexec().devices()
    assert says in caught.value.message


def test_a_failed_build_leaves_no_engine(tool: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trtexec.Tool, "probe", lambda self: Device("cuda", 0, "Orin", None, {"tensorrt": "8.5.2"}))
    tool.fails.write_text("[E] no space")
    with pytest.raises(OpenFailed, match=r"built no engine of model\.onnx"):
        opened(tmp_path)
    assert not list((tmp_path / "cache").glob("*.engine")) and not list((tmp_path / "cache").glob("*.part"))


def test_a_precision_it_does_not_know_is_unsupported(tool: Scripted, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="has no --bf16"):
        opened(tmp_path, "bf16")
    with pytest.raises(Unsupported, match="first GPU alone"):
        Trtexec().open(artifact(tmp_path), Setup(Device("cuda", 1), "fp16", 1, 0, dict(Trtexec.options), str(tmp_path)))


# ── its JSON ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _time(**changed: Any) -> Mapping[str, Any]:
    return {"startComputeMs": 300.0, "h2dMs": 0.1, "computeMs": 1.5, "d2hMs": 0.2, **changed}


def test_warm_up_is_left_out_where_a_version_exports_it(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    file.write_text(json.dumps([_time(startComputeMs=10.0, computeMs=9.0), _time()]))
    assert samples(file, 200) == [Sample(100_000, 1_500_000, 200_000)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "did not write"), ("", "is no JSON"), ("[{", "is no JSON"), ("{}", "holds no list"), ("[]", "no inference"),
        (json.dumps([_time(computeMs=0)]), "no duration"), (json.dumps([_time(h2dMs=-1)]), "no duration"),
        ('[{"startComputeMs": 300, "h2dMs": 0, "computeMs": nan, "d2hMs": 0}]', "no number 'computeMs'"),
        (json.dumps([{"latency": 1}]), "no number"), (json.dumps([3]), "no number"),
    ],
)  # fmt: skip
def test_times_that_are_none_are_an_error(content: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RunFailed, match=says):
        samples(file, 200)


def test_outputs_keep_what_is_not_finite_and_miss_nothing(tmp_path: Path) -> None:
    file, spec = tmp_path / "outputs.json", TensorSpec("nan", ("batch", 3), "float32")
    file.write_text('[\n  { "name" : "nan"\n  , "dimensions" : "1x3"\n  , "values" : [ -nan, inf, -1.5e-3 ]\n  }\n]')
    values = outputs(file, [spec])["nan"]
    assert np.isnan(values[0, 0]) and np.isposinf(values[0, 1]) and values[0, 2] == np.float32(-1.5e-3)
    with pytest.raises(RunFailed, match="no output 'z', but nan"):
        outputs(file, [replace(spec, name="z")])
    file.write_text('[{"name": "nan", "dimensions": "1x4", "values": [1, 2, 3]}]')
    with pytest.raises(RunFailed, match="wrote 3 values"):
        outputs(file, [spec])


def test_it_is_found_among_the_runtimes() -> None:
    assert registry.runtime_class("trtexec") is Trtexec
