"""Rounds are interleaved, drawn from a seed, and end when the rules are met."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from harness import schedule
from harness.model import JSON
from harness.record import Rules
from harness.schedule import Trace
from tests.scripted import Scripted, lost, silent

RULES = Rules(budget_s=4.0, burst_s=0.1, min_rounds=10, target=0.0)


def _measure(subjects: dict[str, Scripted], rules: Rules) -> Trace:
    trace = Trace()
    for process in range(rules.processes):
        schedule.measure(subjects, "base", rules, process, trace, silent)
    return trace


def test_every_round_measures_every_cell_once_in_an_order_of_its_own() -> None:
    trace = _measure(
        {"base": Scripted(lambda _: 1e7), "a": Scripted(lambda _: 2e7), "b": Scripted(lambda _: 3e7)}, RULES
    )
    rounds: dict[int, list[str]] = {}
    for sample in trace.samples:
        rounds.setdefault(sample.round, []).append(sample.key)
    assert all(sorted(keys) == ["a", "b", "base"] for keys in rounds.values())
    assert len({tuple(keys) for keys in rounds.values()}) > 1


def test_the_same_seed_gives_the_same_orders() -> None:
    first, second, other = (schedule.orders("abcdef", seed) for seed in (1, 1, 2))
    drawn = [[next(orders) for _ in range(20)] for orders in (first, second, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_budget_ends_measuring() -> None:
    trace = _measure({"base": Scripted(lambda _: 1e7), "a": Scripted(lambda _: 1e7)}, RULES)
    assert 8.0 <= trace.spent_s() <= 8.5


def test_the_least_rounds_hold_however_small_the_budget() -> None:
    trace = _measure({"base": Scripted(lambda _: 1e9)}, replace(RULES, budget_s=0.01))
    assert len(trace.samples) == RULES.min_rounds


def test_a_reached_target_ends_measuring_before_the_budget() -> None:
    subjects = {"base": Scripted(lambda _: 1e7, 0.01), "a": Scripted(lambda _: 2e7, 0.01, seed=1)}
    trace = _measure(subjects, replace(RULES, budget_s=1000.0, target=0.02))
    assert trace.spent_s() < 20


def test_an_unreachable_target_is_not_reached() -> None:
    """One process cannot know a ratio to a tenth of a per mille, so the budget decides."""
    subjects = {"base": Scripted(lambda _: 1e7), "a": Scripted(lambda _: 2e7)}
    trace = _measure(subjects, replace(RULES, target=0.0001))
    assert trace.spent_s() >= 8.0


def test_drift_cancels_in_the_ratio() -> None:
    """The machine slows by half over the run; back to back that would be a speed-up."""
    subjects = {"base": Scripted(lambda n: 1e7 * (1 + n / 60)), "a": Scripted(lambda n: 0.5e7 * (1 + n / 60))}
    trace = _measure(subjects, RULES)
    ratios = schedule.log_ratios(trace, "base", "a", RULES).by_process
    assert math.exp(ratios[0][0]) == pytest.approx(2.0, rel=1e-3)
    assert math.exp(ratios[0][-1]) == pytest.approx(2.0, rel=1e-3)


def test_a_cell_that_crashes_is_left_out_and_the_others_go_on() -> None:
    trace = _measure({"base": Scripted(lambda _: 1e7), "a": Scripted(lambda _: 1e7, crash_at=3)}, RULES)
    assert lost(trace.lost.get("a")) == "WorkerCrashed"
    assert len(list(trace.of("a"))) == 3
    assert len(list(trace.of("base"))) > 20


def test_a_lost_baseline_leaves_latencies_without_ratios() -> None:
    trace = _measure({"base": Scripted(lambda _: 1e7, crash_at=0), "a": Scripted(lambda _: 1e7)}, RULES)
    assert schedule.log_ratios(trace, "base", "a", RULES).by_process == ()
    assert len(list(trace.of("a"))) >= RULES.min_rounds


def test_one_ratio_is_not_on_target_however_narrow() -> None:
    subjects = {"base": Scripted(lambda _: 2e6, crash_at=1), "cell": Scripted(lambda _: 1e6)}
    trace = _measure(subjects, Rules(budget_s=0.2, min_rounds=5, target=0.5))
    ratios = schedule.log_ratios(trace, "base", "cell", Rules(min_rounds=5))
    assert ratios.rounds == 1
    assert not schedule.on_target(trace, "base", ["base", "cell"], Rules(min_rounds=5, target=0.5))


def test_processes_share_the_budget_and_are_told_apart() -> None:
    trace = _measure({"base": Scripted(lambda _: 1e7), "a": Scripted(lambda _: 1e7)}, replace(RULES, processes=4))
    assert {sample.process for sample in trace.samples} == {0, 1, 2, 3}
    assert trace.spent_s() == pytest.approx(8.0, abs=1.0)
    assert len(schedule.log_ratios(trace, "base", "a", RULES).by_process) == 4


def test_nobody_is_asked_when_everybody_is_lost() -> None:
    trace = _measure({"base": Scripted(lambda _: 1e7, crash_at=0)}, RULES)
    assert trace.samples == []


class Processors:
    """A meter: processors that a hypervisor moves apart and together as scripted."""

    def __init__(self, far: Callable[[int], bool]) -> None:
        self.reads = 0
        self._far = far

    def __call__(self) -> int:
        """300 ns together, 480 ns apart."""
        self.reads += 1
        return 480 if self._far(self.reads) else 300


def _apart(far: Callable[[int], bool], rules: Rules) -> tuple[Trace, schedule.Ratios]:
    """The baseline suffers from the distance twice as much as the other: 1.5 together, 2.0 apart."""
    trace, meter = Trace(), Processors(far)

    def latency(near: float, apart: float) -> Callable[[int], float]:
        return lambda _: apart if far(meter.reads) else near

    subjects = {"base": Scripted(latency(1.5e7, 2.4e7)), "a": Scripted(latency(1e7, 1.2e7))}
    schedule.measure(subjects, "base", rules, 0, trace, silent, meter=meter)
    return trace, schedule.log_ratios(trace, "base", "a", rules)


def test_rounds_with_the_processors_far_apart_do_not_count() -> None:
    trace, ratios = _apart(lambda n: n % 40 > 20, replace(RULES, wait_s=0.0))
    assert ratios.by_process[0] == pytest.approx([math.log(1.5)] * ratios.rounds)
    assert ratios.left_out > 5 and not ratios.mixed
    assert ratios.rounds + ratios.left_out == len(list(trace.of("base")))


def test_a_burst_that_ends_far_apart_is_disturbed_too() -> None:
    """A reading tells of the burst that follows it, and of the one before."""
    trace, _ = _apart(lambda n: n == 10, replace(RULES, wait_s=0.0))
    assert len(trace.disturbed()) == 2


def test_too_few_undisturbed_rounds_leave_a_mixture_that_says_so() -> None:
    _, ratios = _apart(lambda n: n > 6, replace(RULES, wait_s=0.0))
    assert ratios.mixed
    assert ratios.left_out == 0


def test_a_group_waits_for_the_processors_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("harness.schedule.time.sleep", slept.append)
    trace, ratios = _apart(lambda n: 10 < n < 30, replace(RULES, wait_s=20.0))
    assert len(ratios.by_process[0]) >= 10 and not ratios.mixed
    assert 0 < sum(slept) < 20
    slept.clear()
    trace, _ = _apart(lambda n: n > 10, replace(RULES, wait_s=20.0))
    assert sum(slept) == trace.waited_s == pytest.approx(20.0)


def test_a_distance_that_is_always_the_same_disturbs_nothing() -> None:
    """Two sockets of a real machine are as far apart as they are."""
    trace, ratios = _apart(lambda _: True, RULES)
    assert trace.disturbed() == frozenset()
    assert trace.waited_s == 0 == ratios.left_out


def test_the_machine_is_read_around_every_burst_and_after_it_only_where_it_gave_one() -> None:
    said: list[str] = []

    def around(key: str) -> Callable[[], Mapping[str, JSON]]:
        said.append(f"before {key}")

        def after() -> Mapping[str, JSON]:
            said.append(f"after {key}")
            return {"seconds": len(said)}

        return after

    trace = Trace()
    subjects = {"base": Scripted(lambda _: 1e7), "a": Scripted(lambda _: 1e7, crash_at=2)}
    schedule.measure(subjects, "base", replace(RULES, budget_s=0.01), 0, trace, silent, around=around)
    assert said.count("before a") == 3 and said.count("after a") == 2
    assert [word.split()[1] for word in said if word.startswith("after")] == [s.key for s in trace.samples]
    assert all(s.machine["seconds"] for s in trace.samples)
