"""Two runs are compared cell by cell, and nothing is said that they do not show."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import codec, store
from harness.comparing import comparable, compare, pairing
from harness.comparing.comparison import Compared, Comparison
from harness.comparing.judge import How, in_turn
from harness.comparing.pairing import Measured, Pair
from harness.errors import NotComparable
from harness.model import JSON, Backbone, Facts
from harness.record import Finding, Record
from tests import comparing
from tests.comparing import USUAL, measured

ROOT = Path(__file__).parent.parent
HOW = How()
SLOW_ORT = {**USUAL, "ort_cpu": 11.0}
NEWER = {"ort_cpu": "1.1"}


def _verdicts(found: Compared, runtime: str) -> set[str | None]:
    return {cell.verdict for cell in found.cells if cell.new is not None and cell.new.runtime == runtime}


def _cell(found: Compared, runtime: str) -> Comparison:
    return next(cell for cell in found.cells if cell.base is not None and cell.base.runtime == runtime)


def _changed(run: Measured, runtime: str, **changes: object) -> Measured:
    """The run with other fields in the cells of a runtime; their keys and samples follow."""
    records, medians, apart = [], dict(run.medians), dict(run.apart_ns)
    for record in run.records:
        if record.cell.runtime == runtime:
            cell = replace(record.cell, **changes)  # type: ignore[arg-type]
            key = codec.key(cell)
            medians[key], apart[key] = medians.pop(record.key), apart.pop(record.key)
            record = replace(record, key=key, cell=cell)
        records.append(record)
    return replace(run, records=tuple(records), medians=medians, apart_ns=apart)


def _with(run: Measured, runtime: str, **changes: object) -> Measured:
    """The run with other fields in the records of a runtime."""
    records = [replace(r, **changes) if r.cell.runtime == runtime else r for r in run.records]  # type: ignore[arg-type]
    return replace(run, records=tuple(records))


# ── verdicts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_runtime_that_became_10_percent_slower_is_found_and_no_other() -> None:
    found = compare.compare([measured("a")], [measured("b", SLOW_ORT, versions=NEWER)], HOW)
    assert _verdicts(found, "ort_cpu") == {"slower"}
    assert not {"slower", "faster"} & (_verdicts(found, "openvino") | _verdicts(found, "torch_eager"))
    ort = _cell(found, "ort_cpu")
    assert ort.estimate is not None
    assert ort.estimate.by == "speedup"
    assert ort.estimate.ratio.low < 1.1 < ort.estimate.ratio.high
    assert [(c.field, c.base, c.new) for c in ort.changes] == [("versions.ort_cpu", "1.0", "1.1")]


def test_what_the_machine_did_meanwhile_cancels_in_the_speedup_and_shows_as_drift() -> None:
    slow = {**USUAL, "ort_cpu": 11.5}
    found = compare.compare([measured("a")], [measured("b", slow, machine=1.06, versions=NEWER)], HOW)
    assert _verdicts(found, "ort_cpu") == {"slower"}
    assert not {"slower", "faster"} & _verdicts(found, "openvino")
    assert found.drift is not None
    assert found.drift.ratio.value == pytest.approx(1.06, rel=0.01)
    assert _verdicts(found, "torch_eager") == {"cant_tell"}
    assert "two runs of a machine" in _cell(found, "torch_eager").reason
    beside = _cell(found, "openvino").latency
    assert beside is not None
    assert beside.ratio.value == pytest.approx(1.06, rel=0.01)


def test_a_machine_that_slows_one_runtime_more_than_another_fools_nobody() -> None:
    """What three real runs of resnet18 did, in which nothing had changed: PyTorch x1.20, the others x1.03."""
    state = {"torch_eager": 20.0 * 1.2, "ort_cpu": 10.0 * 1.03, "openvino": 9.0 * 1.03}
    for versions in ({}, NEWER):
        before, after = measured("a", calm=False), measured("b", state, calm=False, versions=versions)
        assert {cell.verdict for cell in compare.compare([before], [after], HOW).cells} == {"cant_tell"}


def test_what_moved_though_nothing_changed_needs_repeats() -> None:
    slow = {**USUAL, "ort_cpu": 15.0}
    single = _cell(compare.compare([measured("a")], [measured("b", slow)], HOW), "ort_cpu")
    assert single.verdict == "cant_tell"
    assert "nothing of it that is recorded changed" in single.reason
    several = [[measured(f"{side}{i}", script) for i in range(4)] for side, script in (("a", USUAL), ("b", slow))]
    assert _verdicts(compare.compare(several[0], several[1], HOW), "ort_cpu") == {"slower"}


def test_runs_without_any_change_are_the_same_where_unchanged_cells_vouch_for_it() -> None:
    found = compare.compare([measured("a")], [measured("b")], HOW)
    assert _verdicts(found, "ort_cpu") == _verdicts(found, "openvino") == {"same"}


def test_a_baseline_that_was_lost_on_the_way_carries_nothing() -> None:
    """Its samples are there, and its latency is not known."""
    lost = _with(measured("b"), "torch_eager", outcome="crashed", latency={}, trust=None)
    found = compare.compare([measured("a")], [lost], HOW)
    assert {cell.status for cell in found.cells} == {"compared", "broken"}
    assert {cell.estimate.by for cell in found.cells if cell.estimate} == {"latency"}


def test_in_turn_too_a_ratio_is_known_no_better_than_processes_allow() -> None:
    """One process of PyTorch against one: what they differ by is no change of PyTorch."""
    script = {"torch_eager": 20.0, "ort_cpu": 10.0, "torch_compile": 10.0}
    run = measured("a", script)
    found = {
        runtime: in_turn([_pair_of(run, runtime)], run, HOW)[0][0].estimate for runtime in ("ort_cpu", "torch_compile")
    }
    ort, torch = found["ort_cpu"], found["torch_compile"]
    assert ort is not None
    assert torch is not None
    assert torch.ratio.half_width > 0.04
    assert ort.ratio.half_width < torch.ratio.half_width
    assert torch.variance["processes"] > 0.8 * sum(torch.variance.values())


def test_a_ratio_of_rounds_that_are_near_for_one_alone_does_not_rest_on_the_few_that_are_near_for_both() -> None:
    run = measured("a")
    ort = next(record for record in run.records if record.cell.runtime == "ort_cpu")
    apart = {
        key: {place: 9000 if place[1] % 2 == odd and place[1] > 1 else 300 for place in run.medians[key]}
        for odd, key in enumerate((ort.baseline, ort.key))
    }
    ((calm,),) = pairing.calm([[replace(run, apart_ns={**run.apart_ns, **apart})]])
    assert len(pairing.relative([calm], ort)[0][0]) >= run.run.plan.rules.min_rounds
    assert ort.key not in calm.calm


def test_what_is_near_is_not_the_same_on_other_processors() -> None:
    """Compared by force: BASE was pinned to the two threads of one core, and NEW to two cores."""
    run = measured("a")
    pinned = replace(run, records=tuple(replace(r, cell=replace(r.cell, cpus="0,1")) for r in run.records))
    nearer = {key: dict.fromkeys(places, 60) for key, places in run.apart_ns.items()}
    (base,), (new,) = pairing.calm([[replace(pinned, apart_ns=nearer)], [run]])
    assert base.calm == new.calm == {record.key for record in run.records}


def _pair_of(run: Measured, runtime: str) -> Pair:
    """The baseline and a cell that stand in one run."""
    new = next(record for record in run.records if record.cell.runtime == runtime)
    return Pair(next(record for record in run.records if record.key == new.baseline), new, (), (), ())


@pytest.mark.parametrize(
    "changed",
    [
        {"outcome": "crashed", "latency": {}, "trust": None},
        {"trust": "untrusted", "findings": (Finding("throttled", "untrusted", "it was slow", "cool it"),)},
        {"facts": Facts("fp32", "cpu", threads=2, versions={"ort_cpu": "9.9"})},
    ],
)
def test_a_repeat_that_is_none_moves_nothing(changed: dict[str, object]) -> None:
    """It ended on the way, was disturbed, or ran another library."""
    other = _with(measured("d", {**USUAL, "ort_cpu": 30.0}), "ort_cpu", **changed)
    found = compare.compare([measured("a"), measured("c")], [measured("b"), other], HOW)
    estimate = _cell(found, "ort_cpu").estimate
    assert estimate is not None
    assert estimate.runs == (2, 1)
    assert estimate.ratio.value == pytest.approx(1.0, abs=0.02)


def test_a_baseline_that_changed_cannot_carry_the_comparison() -> None:
    found = compare.compare([measured("a")], [measured("b", SLOW_ORT, versions={"torch_eager": "2.0"})], HOW)
    assert {cell.estimate.by for cell in found.cells if cell.estimate} == {"latency"}
    assert found.drift is None
    assert [overall.by for overall in found.overall] == ["latency"]


def test_rounds_that_scatter_leave_it_open() -> None:
    found = compare.compare([measured("a", noise=0.2, rounds=12)], [measured("b", noise=0.2, rounds=12)], HOW)
    assert {cell.verdict for cell in found.cells} == {"cant_tell"}


def test_a_machine_whose_state_is_not_known_gets_a_wider_interval() -> None:
    known = compare.compare([measured("a")], [measured("b")], HOW)
    unknown = compare.compare([measured("a", calm=False)], [measured("b", calm=False)], HOW)
    widths = [_cell(found, "ort_cpu").estimate.ratio.half_width for found in (known, unknown)]  # type: ignore[union-attr]
    assert widths[1] > 2 * widths[0]


def test_rounds_with_the_processors_apart_do_not_count() -> None:
    head, records, samples = comparing.run("b")
    apart = [
        replace(s, core_to_core_ns=500, burst=replace(s.burst, compute_ns=tuple(3 * ns for ns in s.burst.compute_ns)))
        if s.round % 3 == 0
        else s
        for s in samples
    ]
    disturbed = pairing.measured("b", head, records, apart, "compute")
    found = compare.compare([measured("a")], [disturbed], HOW)
    assert _verdicts(found, "torch_eager") <= {"same", "cant_tell"}
    estimate = _cell(found, "torch_eager").estimate
    assert estimate is not None
    assert estimate.ratio.value == pytest.approx(1.0, abs=0.02)
    assert estimate.rounds[1] < estimate.rounds[0]


def test_repeats_of_both_sides_tell_latencies_apart_that_single_runs_cannot() -> None:
    changed = {"torch_eager": "2.0"}
    slow = {**USUAL, "torch_eager": 21.5}
    single = compare.compare([measured("a")], [measured("b", slow, versions=changed)], HOW)
    before = [measured(f"a{i}") for i in range(6)]
    after = [measured(f"b{i}", slow, versions=changed) for i in range(6)]
    several = compare.compare(before, after, HOW)
    assert _verdicts(single, "torch_eager") == {"cant_tell"}
    assert _verdicts(several, "torch_eager") == {"slower"}
    estimate = _cell(several, "torch_eager").estimate
    assert estimate is not None
    assert estimate.runs == (6, 6)


def test_a_run_is_the_same_as_itself() -> None:
    folder = ROOT / "results" / "quickstart"
    whole = store.read_run(folder), store.read_records(folder)
    sides = [pairing.measured("q", *whole, store.read_samples(folder), "compute") for _ in range(2)]
    found = compare.compare([sides[0]], [sides[1]], HOW)
    assert {cell.verdict for cell in found.cells} == {"same"}
    assert found.changes == ()


def test_an_untrusted_figure_decides_nothing() -> None:
    doubt = (Finding("few_rounds", "untrusted", "4 rounds", "more time"),)
    doubted = _with(measured("b", SLOW_ORT), "ort_cpu", trust="untrusted", findings=doubt)
    found = compare.compare([measured("a")], [doubted], HOW)
    assert _verdicts(found, "ort_cpu") == {"cant_tell"}
    assert _cell(found, "ort_cpu").reason == "NEW is untrusted: 4 rounds"


@given(
    st.floats(0.8, 1.25), st.floats(0.7, 1.5), st.sampled_from([0.002, 0.02, 0.1]), st.booleans(), st.integers(0, 10**6)
)
@settings(max_examples=15, deadline=None)
def test_exchanging_the_runs_inverts_everything(
    factor: float, machine: float, noise: float, calm: bool, seed: int
) -> None:
    one = comparing.BACKBONES[:2]
    base = measured(f"a{seed}", noise=noise, rounds=12, calm=calm, backbones=one)
    script = {**USUAL, "ort_cpu": 10.0 * factor}
    new = measured(
        f"b{seed}", script, noise=noise, rounds=12, machine=machine, calm=calm, versions=NEWER, backbones=one
    )
    there, back = compare.compare([base], [new], HOW), compare.compare([new], [base], HOW)
    inverse = {"faster": "slower", "slower": "faster"}
    for a, b in zip(there.cells, back.cells, strict=True):
        assert a.verdict is not None
        assert b.verdict == inverse.get(a.verdict, a.verdict)
        assert a.estimate is not None and b.estimate is not None
        assert math.log(b.estimate.ratio.low) == pytest.approx(-math.log(a.estimate.ratio.high))
        assert b.estimate.p == pytest.approx(a.estimate.p)
        assert [(c.field, c.new, c.base) for c in a.changes] == [(c.field, c.base, c.new) for c in b.changes]
    for x, y in zip(there.overall, back.overall, strict=True):
        assert math.log(y.ratio.low) == pytest.approx(-math.log(x.ratio.high))


# ── what is comparable ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_jetson_and_a_gpu_are_part_of_the_machine() -> None:
    """They are told in a place of their own (`machine.facts`)."""
    orin: dict[str, JSON] = {"jetson": {"board": "AGX Orin", "power_mode": "MAXN"}, "gpus": ["NVIDIA L4"]}
    nano: dict[str, JSON] = {"jetson": {"board": "Orin Nano", "power_mode": "15W"}, "gpus": ["NVIDIA T4"]}
    sides = [replace(measured("a").run, machine=told) for told in (orin, nano)]
    found = {change.field: field for field, change in comparable.runs_differ(*sides)}
    assert found == {"board": "machine", "gpus": "machine", "power_mode": "power"}


@pytest.mark.parametrize(
    ("field", "entry", "value"),
    [("machine", "cpu", "Other CPU"), ("cpus", "cpus_usable", 8), ("power", "governor", "powersave"),
     ("power", "power_mode", "15W")],
)  # fmt: skip
def test_other_machines_and_power_modes_are_refused_unless_forced(field: str, entry: str, value: object) -> None:
    base, new = measured("a"), measured("b")
    known = {"governor": "performance", "power_mode": "MAXN"}
    base = replace(base, run=replace(base.run, machine={**base.run.machine, **known}))
    new = replace(new, run=replace(new.run, machine={**new.run.machine, **known, entry: value}))  # type: ignore[dict-item]
    with pytest.raises(NotComparable, match=f"{field}: b: {entry} ") as refused:
        compare.compare([base], [new], HOW)
    assert refused.value.exit_code == 2
    assert f"--force-compare {field}" in refused.value.hint
    found = compare.compare([base], [new], replace(HOW, force=frozenset({field})))
    assert [change.field for change in found.forced] == [entry]


def test_what_one_side_does_not_tell_is_not_held_against_it() -> None:
    base, new = measured("a"), measured("b")
    base = replace(base, run=replace(base.run, machine={**base.run.machine, "governor": "unavailable: no cpufreq"}))
    new = replace(new, run=replace(new.run, machine={**new.run.machine, "governor": "performance"}))
    found = compare.compare([base], [new], HOW)
    assert "machine.governor" in [change.field for change in found.changes]


@pytest.mark.parametrize(
    ("field", "changes"),
    [("batch", {"batch": 8}), ("precision", {"precision": "int8"}), ("threads", {"threads": 1}), ("pinning", {"cpus": "0"}),
     ("options", {"options": {"arena": False}}), ("device", {"device": "cuda:0"})],
)  # fmt: skip
def test_a_cell_that_differs_is_refused_alone_naming_the_field(field: str, changes: dict[str, object]) -> None:
    base, new = measured("a"), _changed(measured("b", SLOW_ORT), "ort_cpu", **changes)
    found = compare.compare([base], [new], HOW)
    refused = [cell for cell in found.cells if cell.status == "not_comparable"]
    assert len(refused) == len(comparing.BACKBONES)
    assert all(cell.reason.startswith(f"{field} ") and cell.verdict is None for cell in refused)
    assert not {"slower", "faster"} & _verdicts(found, "openvino")
    forced = compare.compare([base], [new], replace(HOW, force=frozenset({field})))
    assert _verdicts(forced, "ort_cpu") == {"slower"}
    assert all(cell.forced for cell in forced.cells if cell.new and cell.new.runtime == "ort_cpu")


def test_the_input_is_part_of_what_must_be_alike() -> None:
    backbone = Backbone("resnet18", input_size=160)
    base = measured("a", backbones=comparing.BACKBONES[:1])
    new = measured("b", backbones=(backbone,))
    with pytest.raises(NotComparable, match="input_size 0 → 160") as refused:
        compare.compare([base], [new], HOW)
    assert "--force-compare input_size" in refused.value.hint


def test_a_scope_that_was_not_measured_is_refused() -> None:
    bare = [replace(r, latency={"compute": r.latency["compute"]}) for r in measured("b").records]
    with pytest.raises(NotComparable, match="scope end_to_end → –"):
        compare.compare([measured("a")], [replace(measured("b"), records=tuple(bare))], How(scope="end_to_end"))


def test_another_file_of_the_same_name_is_compared_and_said() -> None:
    moved = tuple(replace(b, path=f"/new/{b.name}.onnx", weights="file") for b in comparing.BACKBONES)
    at = tuple(replace(b, path=f"/old/{b.name}.onnx", weights="file") for b in comparing.BACKBONES)
    found = compare.compare([measured("a", backbones=at)], [measured("b", backbones=moved)], HOW)
    assert {cell.status for cell in found.cells} == {"compared"}


def test_runtimes_can_be_set_against_each_other_when_forced() -> None:
    def only(run: Measured, runtime: str) -> Measured:
        return replace(run, records=tuple(r for r in run.records if r.cell.runtime in ("torch_eager", runtime)))

    base, new = only(measured("a"), "ort_cpu"), only(measured("b"), "openvino")
    assert {c.status for c in compare.compare([base], [new], HOW).cells} == {"compared", "only_base", "only_new"}
    forced = compare.compare([base], [new], replace(HOW, force=frozenset({"runtime"})))
    assert _verdicts(forced, "openvino") == {"faster"}


def test_runs_of_other_models_have_nothing_in_common() -> None:
    with pytest.raises(NotComparable, match="no cell in common"):
        compare.compare(
            [measured("a", backbones=comparing.BACKBONES[:1])], [measured("b", backbones=comparing.BACKBONES[1:])], HOW
        )


# ── what is not there ────────────────────────────────────────────────────────────────────────────────────────────


def _fails(record: Record) -> Record:
    return replace(record, outcome="crashed", reason="killed by SIGSEGV", latency={}, speedup={}, trust=None)


def test_a_cell_that_fails_in_new_is_broken_and_one_that_failed_in_base_mended() -> None:
    good = measured("a")
    bad = replace(good, records=tuple(_fails(r) if r.cell.runtime == "ort_cpu" else r for r in measured("b").records))
    for base, new, status in ((good, bad, "broken"), (bad, good, "mended"), (bad, bad, "failed")):
        cell = _cell(compare.compare([base], [new], HOW), "ort_cpu")
        assert (cell.status, cell.verdict) == (status, None)
        assert cell.reason == "crashed: killed by SIGSEGV"


def test_a_cell_without_samples_is_not_guessed() -> None:
    base, new = measured("a"), measured("b")
    key = next(r.key for r in base.records if r.cell.runtime == "ort_cpu")
    new = replace(new, medians={k: v for k, v in new.medians.items() if k != key})
    cell = _cell(compare.compare([base], [new], HOW), "ort_cpu")
    assert (cell.status, cell.estimate) == ("not_comparable", None)
    assert "samples are missing" in cell.reason
