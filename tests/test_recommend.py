"""One pick with its reasons; what every constraint cost; what could not be judged. No score anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness import again
from harness.cli.exits import FAILED, UNDECIDED
from harness.cli.recommend_command import _code, _deciding
from harness.deciding.constraints import Constraint, Only, Within
from harness.deciding.evidence import Accuracy, Evidence
from harness.deciding.explain import explain
from harness.deciding.limits import Limit
from harness.deciding.recommend import Question, Recommendation, recommend
from harness.model import Backbone, Cell
from harness.report.advice import headline
from tests.deciding import evidence

MS = 1e6
BIG = evidence("convnext_tiny", median_ms=40, accuracy=0.82, memory_mb=400, size_mb=115, params=28_000_000)
GOOD = evidence("efficientnet_b2", median_ms=12, accuracy=0.812, memory_mb=200, size_mb=37, params=9_000_000)
QUICK = evidence("mobilenetv3", median_ms=4, accuracy=0.757, memory_mb=150, size_mb=22, params=5_000_000)
POOR = evidence("old_net", median_ms=50, accuracy=0.70, memory_mb=500, size_mb=200, params=60_000_000)
ALL = (BIG, GOOD, QUICK, POOR)


def _ask(found: Sequence[Evidence] = ALL, *constraints: Constraint, **asked: object) -> Recommendation:
    return recommend(found, Question(constraints, **asked))  # type: ignore[arg-type]


def _pick(answer: Recommendation) -> str | None:
    return answer.pick.evidence.record.cell.backbone.name if answer.pick else None


def _latency(ms: float) -> Within:
    return Within(Limit("latency", ms * MS, "median"))


def test_the_fastest_within_a_point_of_the_most_accurate_that_fits() -> None:
    answer = _ask()
    assert _pick(answer) == "efficientnet_b2"
    assert answer.reasons[0] == (
        "fastest within 1 point of the most accurate that fits (convnext_tiny ort_cpu fp32 b1, 82.0%, published): "
        "latency median 12 ms [11.9, 12.1]"
    )


def test_a_constraint_leaves_cells_out_and_its_cost_is_told() -> None:
    answer = _ask(ALL, _latency(10), Within(Limit("memory", 450e6)))
    assert _pick(answer) == "mobilenetv3"
    latency, memory = answer.costs
    assert latency.instead is not None
    assert latency.instead.title.startswith("efficientnet_b2")
    assert latency.alone == 2
    assert memory.instead is None
    assert memory.alone == 0


def test_the_margin_and_the_preferred_axis_are_the_person_s() -> None:
    assert _pick(_ask(margin=0.0)) == "convnext_tiny"
    assert _pick(_ask(margin=0.1)) == "mobilenetv3"
    assert _pick(_ask(prefer="accuracy")) == "convnext_tiny"
    assert _pick(_ask(margin=0.2, prefer="memory")) == "mobilenetv3"


def test_the_front_has_what_nothing_beats_on_all_axes() -> None:
    answer = _ask()
    assert answer.front_axes == ("latency", "accuracy", "memory", "size")
    assert [c.evidence for c in answer.front] == [BIG, GOOD, QUICK]


def test_a_runner_up_for_each_axis_is_not_the_pick() -> None:
    answer = _ask()
    assert {r.axis: r.candidate.evidence for r in answer.runners_up} == {
        "latency": QUICK, "accuracy": BIG, "memory": QUICK, "size": QUICK, "params": QUICK,
    }  # fmt: skip


def test_without_any_accuracy_it_says_so_and_recommends_on_the_rest() -> None:
    found = [evidence("a", median_ms=5, size_mb=10), evidence("b", median_ms=7, size_mb=20)]
    answer = _ask(found, Within(Limit("accuracy", 0.7)), _latency(6))
    assert (_pick(answer), answer.accuracy_known) == ("a", False)
    assert any("accuracy unknown" in reason for reason in answer.reasons)
    assert [c.title for c in answer.not_applied] == ["accuracy ≥ 70.00%"]
    assert "accuracy" not in answer.front_axes


def test_a_cell_of_unknown_accuracy_is_not_picked_where_others_are_known() -> None:
    answer = _ask([*ALL, evidence("unknown_net", median_ms=1)])
    assert _pick(answer) == "efficientnet_b2"
    assert [(u.candidate.evidence.record.cell.backbone.name, u.reason) for u in answer.unjudged] == [
        ("unknown_net", "accuracy unknown, while others' is known")
    ]


def test_what_the_intervals_do_not_tell_apart_is_decided_by_accuracy_then_size_and_it_is_said() -> None:
    one = evidence("one", median_ms=10, width=0.05, size_mb=50)
    other = evidence("other", median_ms=10.2, width=0.05, size_mb=20)
    answer = _ask([one, other])
    assert _pick(answer) == "other"
    assert any("does not tell it from one ort_cpu" in r and "taken for its size 20 MB" in r for r in answer.reasons)
    better = [evidence("one", width=0.05, accuracy=0.8), evidence("other", width=0.05, accuracy=0.799, size_mb=1)]
    assert _pick(_ask(better)) == "one"


def test_what_could_not_be_judged_is_listed_with_the_reason() -> None:
    found = [
        GOOD, evidence("broken", outcome="crashed"), evidence("shaky", trust="untrusted", accuracy=0.9, median_ms=1),
        evidence("close", median_ms=15.05, width=0.02, accuracy=0.82), evidence("few", samples=20, accuracy=0.9),
    ]  # fmt: skip
    answer = recommend(found, Question((Within(Limit("latency", 16.6 * MS, "p90")),), percentile="p90"))
    said = {u.candidate.evidence.record.cell.backbone.name: (u.reason, u.advice) for u in answer.unjudged}
    assert said["broken"] == ("crashed: it broke", "mend it")
    assert said["shaky"] == ("untrusted: few_rounds was seen", "measure longer")
    assert "contains the limit" in said["close"][0]
    assert "--budget" in said["close"][1]
    assert "20 samples do not support p90" in said["few"][0]
    assert _pick(answer) == "efficientnet_b2"


def test_a_device_or_a_runtime_is_a_constraint_too() -> None:
    found = [evidence("a", "ort_cpu", 10), evidence("a", "ort_cuda", 2, cell={"device": "cuda:0"})]
    answer = _ask(found, Only("device", ("cpu",)))
    assert answer.pick is not None
    assert answer.pick.evidence is found[0]
    assert answer.costs[0].instead is not None
    assert answer.costs[0].instead.evidence is found[1]
    cuda = _ask(found, Only("device", ("cuda",)))
    assert cuda.pick is not None
    assert cuda.pick.evidence is found[1]


def test_where_nothing_fits_there_is_no_pick_and_the_cost_names_what_stands_in_the_way() -> None:
    answer = _ask(ALL, _latency(1), Within(Limit("memory", 10e9)))
    assert answer.pick is None
    assert answer.front == ()
    assert answer.costs[0].instead is not None
    assert _ask([]).pick is None


def test_explain_says_why_one_was_left_out() -> None:
    answer = _ask(ALL, _latency(45))
    assert explain(answer, "old_net")[0] == "old_net ort_cpu fp32 b1: left out by latency median ≤ 45 ms"
    assert explain(answer, "old_net")[1].endswith("FAIL: 50 ms [49.5, 50.5]")
    assert "6.3 points below the most accurate that fits" in explain(answer, "mobilenetv3")[0]
    assert "the pick: fastest within 1 point" in explain(answer, "efficientnet_b2 ort_cpu")[0]
    assert "on the front; latency median 40 ms" in explain(answer, "convnext*")[0]
    assert explain(answer, "nowhere") == []
    beaten = _ask([evidence("a"), evidence("b", median_ms=20, memory_mb=300)])
    assert "not on the front (a ort_cpu fp32 b1 is at least as good on latency" in explain(beaten, "b")[0]


def test_caution_is_told_with_the_pick() -> None:
    assert _ask([evidence("a", trust="caution")]).reasons[-1] == "with caution: few_rounds was seen"


def test_a_pick_by_a_latency_that_moved_says_so() -> None:
    moved = evidence("a", trust="untrusted", doubt="latency_moved", swing=2.0)
    assert _ask([moved]).reasons[-1] == "untrusted, and judged by the range in which it moved: latency_moved was seen"


def test_a_preferred_figure_that_nobody_knows_gives_no_pick_and_is_named() -> None:
    answer = _ask([evidence("a"), evidence("b")], prefer="accuracy")
    assert answer.pick is None
    assert answer.reasons == ("accuracy is unknown for every cell that fits",)
    assert "accuracy is unknown for every cell that fits" in explain(answer, "a")[0]
    assert headline(answer) == "No first choice."
    assert _code(answer) == UNDECIDED


def test_accuracies_of_other_images_are_not_compared() -> None:
    """70 % of hard images may be better than 95 % of easy ones."""
    hard, easy = (Accuracy("measured", top1, top1 - 0.01, top1 + 0.01, of) for top1, of in HARD_AND_EASY)
    quick = [replace(evidence(name, median_ms=5), accuracy=hard) for name in ("a", "c")]
    answer = _ask([*quick, replace(evidence("b", median_ms=30), accuracy=easy)])
    assert _pick(answer) == "a"
    (left,) = answer.unjudged
    assert left.reason == "accuracy is of 200 images of easy, and others' is not"
    assert "200 images of easy" in explain(answer, "b")[0]
    mixed = _ask([replace(evidence("b", median_ms=30), accuracy=easy), GOOD, QUICK])
    assert _pick(mixed) == "b", "what was measured here counts before what is published"


HARD_AND_EASY = ((0.70, "5000 images of hard"), (0.95, "200 images of easy"))


def test_a_cell_that_is_out_for_certain_leaves_nothing_undecided() -> None:
    """Its size is known, whatever disturbed its latency."""
    large = evidence("a", size_mb=100, trust="untrusted", doubt="throttled")
    answer = _ask([large], Within(Limit("artifact_size", 10e6)), _latency(20))
    assert _code(answer) == FAILED
    assert _code(_ask([large], Within(Limit("artifact_size", 200e6)), _latency(20))) == UNDECIDED


def test_the_command_that_decides_measures_the_same_cells() -> None:
    cell = {"precision": "int8", "batch": 8, "cpus": "0-1", "options": {"spinning": False}}
    one = evidence("resnet50", width=0.05, cell=cell)
    one = replace(one, record=replace(one.record, cell=replace(one.record.cell, backbone=PRETRAINED)))
    said = _deciding(_ask([one], _latency(10.2)))
    assert said.startswith(
        "backbench run -m resnet50.a1_in1k -r ort_cpu --precision int8 --batch 8 --threads 2 --cpus 0-1 "
        "--weights pretrained --input-size 160 -o ort_cpu.spinning=false --budget "
    )


PRETRAINED = Backbone("resnet50.a1_in1k", weights="pretrained", input_size=160)


def test_an_onnx_file_is_measured_again_by_its_path_alone() -> None:
    cell = Cell(Backbone("net", path="/models/net.onnx", weights="file"), "ort_cpu", threads=2)
    assert again.options([cell]) == ["-m", "/models/net.onnx", "-r", "ort_cpu", "--threads", "2"]
