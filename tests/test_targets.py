"""Targets: every mistake of the file at once, the cells that are meant, and a plan of exactly those."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import plan
from harness.catalog import Catalog
from harness.deciding import targets, targets_file
from harness.deciding.targets_file import Targets
from harness.errors import PlanInvalid
from tests import deciding

BROKEN = """\
name: camera
defaults: {runtime: ort_cpu, precison: fp32}
targets:
  - backbone: resnet50
    limits: {latency: {p91: 5ms, p90: soon}, memmory: 3MB}
  - {backbone: resnet50, batch: 0, limits: {}}
  - backbone: resnet50
    limits:
      throughput: -1
rules: {budget: 10s, processes: none}
"""


def _read(tmp_path: Path, text: str) -> Targets:
    file = tmp_path / "targets.yaml"
    file.write_text(text)
    return targets_file.read(str(file))


def _one(tmp_path: Path, target: str) -> Targets:
    return _read(tmp_path, f"targets:\n  - {target}\n")


def test_all_mistakes_are_reported_each_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(PlanInvalid) as caught:
        _read(tmp_path, BROKEN)
    faults = "\n".join(caught.value.faults)
    for expected in (
        "targets.yaml:2: defaults.precison: unknown key; did you mean 'precision'?",
        "targets.yaml:5: targets.0.limits.latency.p91",
        "'p91' is not one of median, p90, p95, p99, p99.9",
        "'soon' is not a time such as 10s",
        "targets.yaml:5: targets.0.limits.memmory: unknown key; did you mean 'memory'?",
        "targets.yaml:6: targets.1.batch:",
        "no limit is given; known: latency, end_to_end, throughput",
        "targets.yaml:9: targets.2.limits.throughput:",
        "targets.yaml:10: rules.processes:",
    ):
        assert expected in faults, faults


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a targets file is a mapping"),
        ("- a", "a targets file is a mapping"),
        ("targets: [1", "is not YAML"),
        ("targets: []", "a mistake"),
        ("targets: {a: 1}", "a mistake"),
        ("targets: [3]", "targets.0"),
        ("targets: [{backbone: a, runtime: ort_cpu, limits: {latency: , load: 1s}}]", "latency: no value is given"),
        (
            "targets: [{backbone: a, limits: {load: 1s}}]",
            "no runtime: give `runtime: ort_cpu` here or under `defaults`",
        ),
        ("targets: [{backbone: a, runtime: ort_cp, limits: {load: 1s}}]", "did you mean 'ort_cpu'"),
        (
            "targets: [{backbone: a, runtime: ort_cpu, options: {spining: 1}, limits: {load: 1s}}]",
            "no option 'spining'",
        ),
        ("targets: [{backbone: a, runtime: ort_cuda, device: gpu, limits: {load: 1s}}]", "give cuda:0 or intel-gpu:0"),
    ],
)
def test_what_is_no_targets_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PlanInvalid) as caught:
        _read(tmp_path, text)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(PlanInvalid, match=r"nowhere\.yaml cannot be read: No such file"):
        targets_file.read("nowhere.yaml")


def test_a_bare_time_limits_the_median_and_units_are_read(tmp_path: Path) -> None:
    limits = "{latency: 5ms, throughput: 200, memory: 300MB, load: 2s, accuracy_drop: 0.5%, energy: 100mJ}"
    made = _one(tmp_path, f"{{backbone: a, runtime: ort_cpu, limits: {limits}}}").targets[0]
    assert {limit.name: limit.value for limit in made.limits} == {
        "latency median": 5e6, "throughput": 200, "memory": 3e8, "load": 2, "accuracy drop": 0.005, "energy": 0.1,
    }  # fmt: skip
    assert [limit.line for limit in made.limits] == [2] * 6
    assert [limit.title for limit in made.limits][:2] == ["latency median ≤ 5 ms", "throughput ≥ 200 images/s"]


def test_a_limit_without_a_unit_is_refused_with_what_it_may_mean(tmp_path: Path) -> None:
    limits = "{latency: 50, end_to_end: {p90: '7'}, memory: 700, load: 1.5, artifact_size: 3, accuracy_drop: 0.5}"
    with pytest.raises(PlanInvalid) as caught:
        _one(tmp_path, f"{{backbone: a, runtime: ort_cpu, limits: {limits}}}")
    assert [fault.partition(" has no unit: give ")[2].partition(" (")[0] for fault in caught.value.faults[:6]] == [
        "50ms or 50s", "7ms or 7s", "1.5ms or 1.5s", "700MB or 700GB", "3MB or 3GB", "0.5% or 0.5 points",
    ]  # fmt: skip
    points = _one(tmp_path, "{backbone: a, runtime: ort_cpu, limits: {accuracy_drop: 0.5 points}}").targets[0]
    none = _one(tmp_path, "{backbone: a, runtime: ort_cpu, limits: {accuracy_drop: 0}}").targets[0]
    assert [target.limits[0].value for target in (points, none)] == [0.005, 0]


def test_a_target_s_own_words_come_before_the_defaults(tmp_path: Path) -> None:
    made = _read(
        tmp_path,
        "defaults: {runtime: ort_cpu, batch: 4}\n"
        "targets: [{backbone: a, limits: {load: 1s}}, {backbone: a, runtime: openvino, batch: 1, limits: {load: 1s}}]\n",
    )
    assert [(t.asked.runtime, t.asked.batch) for t in made.targets] == [("ort_cpu", 4), ("openvino", 1)]
    assert made.rules.target == 0, "no early stop: a speed-up is not what is judged"


def test_a_wildcard_is_judged_cell_by_cell(tmp_path: Path) -> None:
    found = [deciding.evidence("resnet18", median_ms=3), deciding.evidence("resnet50"), deciding.evidence("vit")]
    checks = targets.check(_one(tmp_path, "{backbone: 'resnet*', runtime: ort_cpu, limits: {latency: 5ms}}"), found)
    assert [(c.target, c.verdict.result) for c in checks] == [
        ("resnet18 ort_cpu fp32 b1", "PASS"), ("resnet50 ort_cpu fp32 b1", "FAIL"),
    ]  # fmt: skip
    assert targets.overall(checks) == "FAIL"


@pytest.mark.parametrize(
    ("asked", "option"),
    [("batch: 2", "--batch 2"), ("precision: bf16", "--precision bf16"), ("threads: 1", "--threads 1"),
     ("device: cuda", "--device cuda:0"), ("weights: pretrained", "--weights pretrained"),
     ("input_size: 160", "--input-size 160"), ("options: {spinning: false}", "-o ort_cpu.spinning=false")],
)  # fmt: skip
def test_another_cell_is_not_the_one_that_is_meant(tmp_path: Path, asked: str, option: str) -> None:
    wanted = _one(tmp_path, f"{{backbone: resnet50, runtime: ort_cpu, {asked}, limits: {{latency: 5ms}}}}")
    (check,) = targets.check(wanted, [deciding.evidence()])
    assert check.verdict.result == "INCONCLUSIVE"
    assert "no cell of the run is resnet50 ort_cpu" in check.verdict.said
    assert str(check.verdict.decide) == f"backbench run -m resnet50 -r ort_cpu {option}", "which measures it"


def test_options_are_those_that_differ_from_the_runtime_s_defaults(tmp_path: Path) -> None:
    plain = "{backbone: resnet50, runtime: ort_cpu, limits: {latency: 20ms}}"
    tuned = "{backbone: resnet50, runtime: ort_cpu, options: {spinning: false}, limits: {latency: 20ms}}"
    found = [deciding.evidence(), deciding.evidence(cell={"options": {"spinning": False}})]
    assert [c.target for c in targets.check(_one(tmp_path, plain), found)] == ["resnet50 ort_cpu fp32 b1"]
    assert [c.target for c in targets.check(_one(tmp_path, tuned), found)] == [
        "resnet50 ort_cpu fp32 b1 spinning=False"
    ]


def _planned(tmp_path: Path, *wanted: str) -> list[tuple[list[str], str]]:
    text = "targets:\n" + "".join(f"  - {target}\n" for target in wanted)
    sources = plan.Sources(lambda: Catalog("1.0", ("resnet18", "resnet50"), ()), lambda path: {})
    made = targets.planned(_read(tmp_path, text), sources, {"budget": 3.0})
    assert made.rules.budget_s == 3.0
    return [
        (
            [f"{c.backbone.name} {c.title}" for c in g.cells],
            next(c.title for c in g.cells if plan.key_of(c) == g.baseline),
        )
        for g in made.groups
    ]


def test_exactly_the_cells_that_are_named_are_planned(tmp_path: Path) -> None:
    limits = "limits: {latency: 5ms}"
    assert _planned(
        tmp_path,
        f"{{backbone: resnet50, runtime: ort_cpu, {limits}}}",
        f"{{backbone: resnet50, runtime: openvino, precision: bf16, {limits}}}",
        f"{{backbone: resnet18, runtime: openvino, batch: 2, {limits}}}",
    ) == [
        (["resnet50 ort_cpu fp32 b1", "resnet50 openvino bf16 b1"], "ort_cpu fp32 b1"),
        (["resnet18 openvino fp32 b2"], "openvino fp32 b2"),
    ]


def test_a_speed_up_needs_the_framework(tmp_path: Path) -> None:
    assert _planned(
        tmp_path,
        "{backbone: resnet50, runtime: openvino, limits: {latency: 5ms}}",
        "{backbone: resnet50, runtime: ort_cpu, limits: {speedup: 2}}",
    ) == [
        (
            ["resnet50 torch_eager fp32 b1", "resnet50 openvino fp32 b1", "resnet50 ort_cpu fp32 b1"],
            "torch_eager fp32 b1",
        )
    ]


def test_the_example_of_the_documents_is_sound() -> None:
    made = targets_file.read("docs/targets.yaml")
    assert sum(len(target.limits) for target in made.targets) == 11
