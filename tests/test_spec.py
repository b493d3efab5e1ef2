"""A plan file is checked as a whole: every fault, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import plan_file, spec
from harness.errors import PlanInvalid

BROKEN = """\
name: nightly
backbones:
  - resnet50
  - {name: vit_tiny_patch16_224, input_sise: 224}
runtimes: [ort_cpu]
precisions: [fp32, fp8]
batches: [0]
rules:
  budget: soon
  tarjet: 2%
"""


def test_all_mistakes_are_reported_each_with_its_line() -> None:
    with pytest.raises(PlanInvalid) as caught:
        spec.check(plan_file._data("x.yaml", BROKEN), "x.yaml", BROKEN)
    faults = "\n".join(caught.value.faults)
    assert len(caught.value.faults) == 5
    assert "x.yaml:4: backbones.1.input_sise: unknown key; did you mean 'input_size'?" in faults
    assert "x.yaml:6: precisions.1:" in faults
    assert "x.yaml:7: batches.0:" in faults
    assert "x.yaml:9: rules.budget: 'soon' is not a time such as 10s" in faults
    assert "x.yaml:10: rules.tarjet: unknown key; did you mean 'target'?" in faults


def test_a_list_whose_items_are_faulty_is_not_called_empty_too() -> None:
    with pytest.raises(PlanInvalid) as caught:
        spec.check({"backbones": [{"nam": "resnet18"}], "runtimes": ["ort_cpu"]})
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["backbones.0.name", "backbones.0.nam"]
    with pytest.raises(PlanInvalid, match="a mistake") as caught:
        spec.check({"backbones": [], "runtimes": ["ort_cpu"]})
    assert "it is empty" in caught.value.faults[0]


def test_a_key_that_stands_twice_is_refused() -> None:
    with pytest.raises(PlanInvalid, match="'name' stands here twice"):
        plan_file.mapping("p.yaml", "name: a\nbackbones: [resnet18]\nname: b\n", "a plan is a mapping")
    with pytest.raises(PlanInvalid, match="is not YAML"):
        plan_file.mapping("p.yaml", "[a, b]: c\n", "a plan is a mapping")


def test_an_empty_file_and_a_folder_are_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(PlanInvalid, match="and not nothing"):
        plan_file.read(str(tmp_path / "empty.yaml"))
    with pytest.raises(PlanInvalid, match="is a folder, and no plan file"):
        plan_file.read(str(tmp_path))


def test_paths_in_a_plan_are_relative_to_its_file(tmp_path: Path) -> None:
    file = tmp_path / "plans" / "p.yaml"
    file.parent.mkdir()
    file.write_text(
        "weights: w.pth\ncalibration: {folder: images}\n"
        "backbones: [resnet18, own.onnx, {name: ~/a.onnx}, {name: /b.onnx}, {name: vit, weights: pretrained}]\n"
    )
    read, beside = plan_file.read(str(file)), str(file.parent)
    assert read["weights"] == f"{beside}/w.pth"
    assert read["calibration"] == {"folder": f"{beside}/images"}
    assert read["backbones"] == [
        "resnet18", f"{beside}/own.onnx", {"name": "~/a.onnx"}, {"name": "/b.onnx"},
        {"name": "vit", "weights": "pretrained"},
    ]  # fmt: skip


def test_mistakes_are_in_the_order_of_their_lines_and_say_where_a_key_belongs() -> None:
    content = "runtimes: ort_cpu\nbudget: 2s\nbackbones: [{nam: a}]\n"
    with pytest.raises(PlanInvalid) as caught:
        spec.check(plan_file.mapping("p.yaml", content, ""), "p.yaml", content)
    assert [fault.split(":")[1] for fault in caught.value.faults] == ["1", "2", "3", "3"]
    assert "it should be a list, such as [a, b]" in caught.value.faults[0]
    assert "it belongs under `rules:`" in caught.value.faults[1]


def test_the_built_in_plan_is_sound() -> None:
    checked = spec.check(plan_file.read("quickstart"))
    assert [backbone.name for backbone in checked.backbones] == [
        "resnet50", "efficientnet_b0", "mobilenetv3_large_100", "vit_tiny_patch16_224",
    ]  # fmt: skip
    assert checked.rules.budget == 10.0


def test_an_unknown_plan_says_what_there_is() -> None:
    with pytest.raises(PlanInvalid, match="no plan file 'quikstart'") as caught:
        plan_file.read("quikstart")
    assert "did you mean 'quickstart'?" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"), [("a: [1", "is not YAML"), ("- a\n- b\n", "a plan is a mapping"), ("", "a plan is a mapping")]
)
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(PlanInvalid, match=said):
        plan_file.read(str(file))


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("backbones: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(PlanInvalid, match="is not YAML"):
        plan_file.read(str(file))


def test_calibration_images_may_be_smaller_than_their_crop_as_some_of_timms_are() -> None:
    def crop(value: float) -> object:
        return spec.check({"backbones": ["volo_d5_448"], "calibration": {"config": {"crop_pct": value}}})

    crop(1.15)
    with pytest.raises(PlanInvalid, match="crop_pct"):
        crop(87.5)
