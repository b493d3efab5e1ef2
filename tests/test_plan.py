"""What a person asks for becomes cells, groups and baselines; what is impossible is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import codec, machine, plan, plan_file, registry, spec
from harness.catalog import Catalog
from harness.errors import PlanInvalid, UnknownName
from harness.record import Plan

CATALOG = Catalog("1.0", ("resnet18", "resnet50", "vit_tiny_patch16_224"), ("resnet50.a1_in1k",))
ONNX = {"precision": "fp32", "inputs": [{"name": "x", "shape": ["n", 3, 8, 8], "dtype": "float32"}]}


def _resolve(inspected: dict[str, Any] | None = None, **data: Any) -> Plan:
    sources = plan.Sources(lambda: CATALOG, lambda path: inspected or ONNX)
    return plan.resolve(spec.check({"backbones": ["resnet50"], "threads": 1, **data}), sources)


def _titles(made: Plan) -> list[list[str]]:
    return [[cell.title for cell in group.cells] for group in made.groups]


def _baseline(made: Plan) -> str:
    group = made.groups[0]
    return next(cell.title for cell in group.cells if codec.key(cell) == group.baseline)


def test_a_group_is_a_backbone_and_a_batch() -> None:
    made = _resolve(backbones=["resnet18", "resnet50"], batches=[1, 4], runtimes=["torch_eager", "ort_cpu"])
    assert len(made.groups) == 4
    assert _titles(made)[1] == ["torch_eager fp32 b4", "ort_cpu fp32 b4"]


def test_the_framework_is_the_baseline_even_where_it_was_not_asked_for() -> None:
    made = _resolve(runtimes=["ort_cpu"])
    assert _titles(made) == [["torch_eager fp32 b1", "ort_cpu fp32 b1"]]
    assert _baseline(made) == "torch_eager fp32 b1"


def test_an_onnx_file_is_compared_with_onnxruntime() -> None:
    made = _resolve(backbones=["model.onnx"], runtimes=["openvino"])
    assert _baseline(made) == "ort_cpu fp32 b1"


def test_another_baseline_can_be_chosen() -> None:
    assert _baseline(_resolve(runtimes=["torch_eager", "ort_cpu"], baseline="ort_cpu")) == "ort_cpu fp32 b1"


def test_where_the_framework_is_not_installed_the_first_runtime_is_the_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = registry.missing
    monkeypatch.setattr(registry, "missing", lambda needs: ("torch",) if "torch" in needs else real(needs))
    made = _resolve(runtimes=["ort_cpu", "openvino", "torch_compile"])
    assert _baseline(made) == "ort_cpu fp32 b1"
    assert made.refused[0].outcome == "unsupported"
    assert "needs torch, which is not installed" in made.refused[0].reason
    assert made.refused[0].hint == "pip install torch"


def test_a_wildcard_means_every_architecture_that_matches() -> None:
    made = _resolve(backbones=["resnet*"], runtimes=["ort_cpu"])
    assert [group.cells[0].backbone.name for group in made.groups] == ["resnet18", "resnet50"]


def test_a_mistyped_model_gets_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no model 'resnt50'") as caught:
        _resolve(backbones=["resnt50"])
    assert "did you mean 'resnet50'" in caught.value.hint


def test_all_unknown_names_are_reported_together() -> None:
    with pytest.raises(PlanInvalid) as caught:
        _resolve(backbones=["resnt50"], runtimes=["openvno", {"name": "ort_cpu", "options": {"spining": False}}])
    assert len(caught.value.faults) == 3
    assert "ort_cpu has no option 'spining';  did you mean 'spinning'?" in "\n".join(caught.value.faults)


def test_every_mistake_in_a_file_has_its_line_unless_the_command_line_made_it(tmp_path: Path) -> None:
    content = "backbones: [resnet18]\nruntimes:\n- torch_eager\n- ort_cp\ndevices: [cuda0]\nweights: gone.pth\n"
    checked = spec.check(plan_file.mapping("p.yaml", content, ""), "p.yaml", content)
    sources = plan.Sources(lambda: CATALOG, lambda path: ONNX)
    with pytest.raises(PlanInvalid) as caught:
        plan.resolve(checked, sources, lambda keys: f"p.yaml:{plan_file.line_of(content, keys)}")
    assert [fault[:8] for fault in caught.value.faults] == ["p.yaml:1", "p.yaml:4", "p.yaml:5"]
    with pytest.raises(PlanInvalid) as caught:
        plan.resolve(checked, sources)
    assert not any(fault.startswith("p.yaml") for fault in caught.value.faults)


def test_a_plan_is_no_backbone() -> None:
    with pytest.raises(PlanInvalid, match="is a plan file, and no backbone") as caught:
        _resolve(backbones=["plans/p.yaml"])
    assert "backbench run plans/p.yaml" in caught.value.hint


def test_a_precision_that_a_runtime_does_not_execute_is_refused_and_the_plan_goes_on() -> None:
    made = _resolve(runtimes=["ort_cpu"], precisions=["fp32", "tf32"])
    assert _titles(made) == [["torch_eager fp32 b1", "ort_cpu fp32 b1"]]
    (refused,) = made.refused
    assert refused.outcome == "unsupported"
    assert refused.reason.startswith("ort_cpu does not execute tf32 on cpu: ")


def test_a_device_that_a_runtime_does_not_have_is_refused() -> None:
    made = _resolve(runtimes=["ort_cpu", {"name": "openvino", "device": "cuda:0"}])
    assert made.refused[0].reason == "openvino does not run on cuda:0"


def test_a_fixed_batch_is_the_only_one() -> None:
    fixed = {"precision": "fp32", "inputs": [{"name": "x", "shape": [4, 3, 8, 8], "dtype": "float32"}]}
    made = _resolve(fixed, backbones=["model.onnx"], runtimes=["ort_cpu"], batches=[1, 4])
    assert [group.cells[0].batch for group in made.groups] == [4]
    assert made.refused[0].hint == "give --batch 4"


def test_more_threads_than_processors_are_refused() -> None:
    usable = machine.usable_cpus()
    with pytest.raises(PlanInvalid, match="would wait for each other") as caught:
        _resolve(threads=usable + 1)
    assert f"--threads {usable}" in caught.value.hint
    with pytest.raises(PlanInvalid, match="2 threads on 1 processors"):
        _resolve(threads=2, cpus="0")


@pytest.mark.parametrize("cpus", ["a", "3-1", "0-", "-1", "0-99999999999", ""])
def test_a_list_of_processors_is_checked(cpus: str) -> None:
    if cpus:
        with pytest.raises(PlanInvalid, match="processor") as caught:
            _resolve(cpus=cpus)
        assert caught.value.hint == "give processors as 0-3 or 0,2,4"
        assert "literal" not in caught.value.message
    else:
        assert _resolve(cpus=cpus).groups[0].cells[0].cpus == ""


@pytest.mark.parametrize(("cpus", "outside"), [("7", "7"), ("0,5", "5"), ("0-99", "2, 3, 4, 5, …")])
def test_processors_that_are_not_here_are_refused(cpus: str, outside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine.processors
    monkeypatch.setattr(machine, "processors", lambda spec="": real(spec) if spec else frozenset({0, 1}))
    with pytest.raises(PlanInvalid, match="may not run on processor") as caught:
        _resolve(cpus=cpus)
    assert caught.value.message.endswith(f"processor {outside}")
    assert caught.value.hint == "give some of 0, 1"


@pytest.mark.parametrize(
    ("device", "hint"),
    [
        ("cpu:abc", "give cpu, which takes no number"), ("cpu:0", "give cpu, which takes no number"),
        ("auto:0", "give auto, which takes no number"), ("CPU", "give cpu, which takes no number"),
        ("cuda", "give cuda:0 (see: backbench list devices)"), ("cuda:", "give cuda:0 (see: backbench list devices)"),
        ("CUDA:0", "give cuda:0 (see: backbench list devices)"), ("cuda:x", "give cuda:0 (see: backbench list devices)"),
        ("gpu", "give cuda:0 or intel-gpu:0"), ("gpu:1", "give cuda:0 or intel-gpu:0"), ("npu", "give intel-npu"),
        ("cudaa:0", "did you mean 'cuda:0'?"), ("", "devices: cpu, "),
    ],
)  # fmt: skip
def test_what_is_no_device_is_refused_with_what_was_meant(device: str, hint: str) -> None:
    with pytest.raises(PlanInvalid, match="unknown device") as caught:
        _resolve(devices=[device])
    assert caught.value.hint.startswith(hint)
    if device:
        with pytest.raises(PlanInvalid, match="unknown device"):
            _resolve(runtimes=[{"name": "ort_cpu", "device": device}])


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "dla:0", "intel-gpu:0", "intel-npu", "auto", "hetero"])
def test_a_device_that_there_can_be_is_planned_or_refused_by_its_runtime(device: str) -> None:
    assert len(_resolve(devices=["cpu", device], runtimes=["ort_cpu"]).refused) == (device != "cpu")


def test_weights_that_are_nowhere_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanInvalid, match=r"weights 'nowhere\.pth' is neither"):
        _resolve(weights="nowhere.pth")
    file = tmp_path / "w.pth"
    file.touch()
    assert _resolve(weights=str(file)).groups[0].cells[0].backbone.weights == str(file)


def test_the_control_is_a_twin_of_the_baseline() -> None:
    made = _resolve(runtimes=["ort_cpu"], rules={"control": True})
    assert _titles(made)[0][-1] == "torch_eager fp32 b1 [control]"


def test_the_same_request_gives_the_same_keys() -> None:
    assert codec.digest(_resolve(runtimes=["ort_cpu"])) == codec.digest(_resolve(runtimes=["ort_cpu"]))
    assert codec.digest(_resolve(runtimes=["ort_cpu"])) != codec.digest(_resolve(runtimes=["ort_cpu"], batches=[2]))


def test_what_the_command_line_says_stands_before_what_entries_of_a_file_say() -> None:
    """A user who adds `--precision int8` to a plan file measures int8, whatever its runtimes have of their own."""
    from harness.cli import matrix, override

    file = {
        "backbones": [{"name": "resnet18", "weights": "pretrained", "input_size": 160}, "vit_tiny_patch16_224"],
        "runtimes": [{"name": "ort_cpu", "precisions": ["fp32"], "device": "intel-gpu:0"}, "openvino"],
    }
    typed = {"weights": "random", "input_size": 224, "precisions": ("int8",), "devices": ("cpu",)}
    merged = override.override(file, matrix.blank() | typed)
    assert merged["backbones"] == [{"name": "resnet18"}, "vit_tiny_patch16_224"]
    assert merged["runtimes"] == [{"name": "ort_cpu"}, "openvino"]
    assert (merged["weights"], merged["precisions"]) == ("random", ["int8"])
    untouched = override.override(file, matrix.blank())
    assert (untouched["backbones"], untouched["runtimes"]) == (file["backbones"], file["runtimes"])


@pytest.mark.parametrize(
    ("entry", "said"),
    [({"input_size": 384}, "takes images of 224 pixels, not of 384"), ({"weights": "pretrained"}, "has weights"),
     ({"features_only": True}, "outputs of its own")],
)  # fmt: skip
def test_an_onnx_file_is_what_it_is(tmp_path: Path, entry: dict[str, Any], said: str) -> None:
    """Its size, weights and outputs would stand in the record as asked for, and be others."""
    seen = {"precision": "fp32", "inputs": [{"shape": ["batch", 3, 224, 224]}]}
    (tmp_path / "m.onnx").touch()
    file = {"name": str(tmp_path / "m.onnx")}
    with pytest.raises(PlanInvalid, match=said):
        _resolve(seen, backbones=[file | entry], runtimes=["ort_cpu"])
    assert _resolve(seen, backbones=[file | {"input_size": 224}], runtimes=["ort_cpu"]).groups


def test_a_baseline_that_was_asked_for_and_cannot_be_is_told() -> None:
    """The first cell stands in its place, and nobody should take the speed-ups for those that were asked for."""
    made = _resolve(backbones=["resnet18"], runtimes=["ort_cpu"], baseline="ort_openvino", devices=["cpu"])
    assert made.groups[0].baseline == codec.key(made.groups[0].cells[0])
    if registry.missing(registry.runtime_class("ort_openvino").needs):
        (told,) = made.refused
        assert (told.cell.runtime, told.outcome) == ("ort_openvino", "unsupported")
