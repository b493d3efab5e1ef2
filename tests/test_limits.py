"""PASS, FAIL and INCONCLUSIVE, and the budget that would decide."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness import intervals
from harness.deciding.evidence import Accuracy
from harness.deciding.figures import METRICS
from harness.deciding.limits import Limit, judge
from tests import deciding

MS = 1e6


@pytest.mark.parametrize(
    ("limit", "result"),
    [
        (Limit("latency", 11 * MS, "median"), "PASS"),
        (Limit("latency", 9 * MS, "median"), "FAIL"),
        (Limit("latency", 10.05 * MS, "median"), "INCONCLUSIVE"),
        (Limit("latency", 12 * MS, "p90"), "PASS"),
        (Limit("end_to_end", 10 * MS, "median"), "FAIL"),
        (Limit("throughput", 90), "PASS"),
        (Limit("throughput", 110), "FAIL"),
        (Limit("throughput", 100.5), "INCONCLUSIVE"),
        (Limit("speedup", 1.9), "PASS"),
        (Limit("speedup", 2.1), "FAIL"),
        (Limit("memory", 250e6), "PASS"),
        (Limit("memory", 249e6), "FAIL"),
        (Limit("artifact_size", 99e6), "FAIL"),
        (Limit("params", 25e6), "PASS"),
        (Limit("load", 1.0), "PASS"),
        (Limit("load", 0.25), "INCONCLUSIVE"),
        (Limit("first_inference", 0.01), "FAIL"),
        (Limit("device_memory", 1e9), "INCONCLUSIVE"),
        (Limit("accuracy", 0.7), "INCONCLUSIVE"),
        (Limit("accuracy_drop", 0.01), "INCONCLUSIVE"),
        (Limit("energy", 0.1), "INCONCLUSIVE"),
    ],
    ids=lambda value: value.title if isinstance(value, Limit) else value,
)
def test_a_limit_is_kept_where_the_whole_interval_keeps_it(limit: Limit, result: str) -> None:
    verdict = judge(limit, deciding.evidence())
    assert verdict.result == result, verdict.said


def test_every_metric_can_be_judged_of_any_record() -> None:
    for metric in METRICS:
        for one in (deciding.evidence(), deciding.evidence(outcome="crashed"), deciding.evidence(trust="untrusted")):
            assert judge(Limit(metric, 1.0, "p90" if metric in ("latency", "end_to_end") else ""), one).said


def test_an_unsupported_percentile_says_how_long_to_measure() -> None:
    verdict = judge(Limit("latency", 20 * MS, "p99"), deciding.evidence(samples=69))
    assert verdict.result == "INCONCLUSIVE"
    assert "69 samples do not support p99, which needs 662" in verdict.said
    assert 662 / 69 * 10 < verdict.decide.budget_s < 1.5 * 662 / 69 * 10, "the record was measured for 10 s"


def test_a_percentile_is_at_least_the_median() -> None:
    """p99 is not supported, but the median alone is beyond the limit."""
    verdict = judge(Limit("latency", 5 * MS, "p99"), deciding.evidence(samples=69))
    assert verdict.result == "FAIL"
    assert "a lower percentile is above 9.9 ms already" in verdict.said


def test_an_untrusted_measurement_decides_nothing_but_what_is_of_the_artifact() -> None:
    one = deciding.evidence(trust="untrusted")
    assert judge(Limit("latency", 100 * MS, "median"), one).result == "INCONCLUSIVE"
    assert "few_rounds was seen" in judge(Limit("latency", 100 * MS, "median"), one).said
    assert judge(Limit("artifact_size", 200e6), one).result == "PASS"


@pytest.mark.parametrize(
    ("doubt", "touched"),
    [
        ("wide_interval", {"speedup"}),
        ("few_rounds", {"latency", "end_to_end", "throughput", "speedup", "energy"}),
        ("busy_neighbour", {"latency", "end_to_end", "throughput", "speedup", "energy", "load", "first_inference"}),
        (
            "memory_pressure",
            {
                "latency",
                "end_to_end",
                "throughput",
                "speedup",
                "energy",
                "load",
                "first_inference",
                "memory",
                "device_memory",
            },
        ),
        (
            "a check of another version",
            {
                "latency",
                "end_to_end",
                "throughput",
                "speedup",
                "energy",
                "load",
                "first_inference",
                "memory",
                "device_memory",
            },
        ),
    ],
)
def test_a_doubt_touches_the_figures_that_rest_on_it_and_no_others(doubt: str, touched: set[str]) -> None:
    one = deciding.evidence(trust="untrusted", doubt=doubt, loads=(0.2, 0.2, 0.2))
    percentiles = {"latency": "median", "end_to_end": "median"}
    said = {name: judge(Limit(name, 1.0, percentiles.get(name, "")), one).said for name in METRICS}
    assert {name for name, words in said.items() if words == f"untrusted: {doubt} was seen"} == touched


@pytest.mark.parametrize(
    ("limit_ms", "result"), [(21.0, "PASS"), (19.0, "INCONCLUSIVE"), (6.0, "INCONCLUSIVE"), (4.0, "FAIL")]
)
def test_a_latency_that_moved_is_judged_by_the_range_in_which_it_moved(limit_ms: float, result: str) -> None:
    one = deciding.evidence(median_ms=10.0, trust="untrusted", doubt="latency_moved", swing=2.0)
    verdict = judge(Limit("latency", limit_ms * MS, "median"), one)
    assert verdict.result == result, verdict.said
    assert verdict.said.startswith("10 ms [5, 20]")
    assert judge(Limit("speedup", 1.0), one).result == "PASS", "paired by rounds"


def test_a_lower_percentile_fails_a_limit_only_as_far_as_it_is_known() -> None:
    """20 samples do not support p90; the median of 10 ms alone is beyond 8 ms, but not if it may be 5 ms, or anything."""
    limit = Limit("latency", 8 * MS, "p90")
    assert judge(limit, deciding.evidence(samples=20)).result == "FAIL"
    for doubt in ("latency_moved", "busy_neighbour"):
        one = deciding.evidence(samples=20, trust="untrusted", doubt=doubt, swing=2.0)
        assert judge(limit, one).result == "INCONCLUSIVE", doubt


@pytest.mark.parametrize("outcome", ["failed", "crashed", "timed_out", "wrong_output"])
def test_what_does_not_run_fails(outcome: Any) -> None:
    verdict = judge(Limit("memory", 1e12), deciding.evidence(outcome=outcome))
    assert (verdict.result, verdict.said) == ("FAIL", f"{outcome.replace('_', ' ')}: it broke")


def test_what_cannot_be_measured_here_is_inconclusive() -> None:
    assert judge(Limit("memory", 1e12), deciding.evidence(outcome="unsupported")).result == "INCONCLUSIVE"


def test_the_advised_budget_is_enough() -> None:
    """Measured again for that long, the same figure no longer contains the limit (rounds that vary by 5 %)."""
    rng = np.random.default_rng(0)

    def bursts(rounds: int) -> Any:
        return [[list((rng.lognormal(rng.normal(0, 0.05), 0.02, 15) * 10 * MS).astype(int)) for _ in range(rounds)]]

    short = deciding.evidence()
    found = intervals.latency_intervals(bursts(20))["median"]
    limit = Limit("latency", found.value * 1.018, "median")
    timed = replace(short.record.latency["compute"], intervals_ns={"median": found})
    verdict = judge(limit, replace(short, record=replace(short.record, latency={"compute": timed})))
    assert verdict.result == "INCONCLUSIVE"
    rounds = math.ceil(20 * verdict.decide.budget_s / 10.0)
    longer = intervals.latency_intervals(bursts(rounds))["median"]
    assert longer.half_width < 0.018


def test_a_limit_close_to_the_value_needs_processes_and_one_at_the_value_nothing_decides() -> None:
    one = deciding.evidence(width=0.02)
    near = judge(Limit("latency", 10.04 * MS, "median"), one).decide
    assert near.processes > 1
    assert near.budget_s > 10
    at = judge(Limit("latency", 10.001 * MS, "median"), one).decide
    assert "at the limit itself" in at.advice
    assert not at.budget_s
    hair = judge(Limit("latency", 10.011 * MS, "median"), one).decide
    assert "no sensible budget" in hair.advice


def test_what_one_process_cannot_know_is_decided_by_processes() -> None:
    """A budget for one process of PyTorch would never decide what is nearer than its processes differ."""
    one = deciding.evidence(runtime="torch_eager", width=0.06)
    assert judge(Limit("latency", 10.4 * MS, "median"), one).decide.processes >= 4
    near = deciding.evidence(runtime="ort_cpu", width=0.06)
    assert judge(Limit("latency", 10.4 * MS, "median"), near).decide.processes == 0


def test_a_cold_start_is_decided_by_processes() -> None:
    decide = judge(Limit("load", 0.25), deciding.evidence(loads=(0.2,))).decide
    assert (decide.processes > 1, decide.budget_s) == (True, 0.0)
    assert judge(Limit("load", 0.25), deciding.evidence(loads=(0.2,) * 9)).result == "PASS"


def test_a_drop_in_accuracy_needs_both_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.deciding import figures

    one = replace(deciding.evidence(), accuracy=Accuracy("measured", 0.75, 0.74, 0.76))
    monkeypatch.setattr(figures, "accuracy_of", lambda record: Accuracy("measured", 0.76, 0.75, 0.77))
    verdict = judge(Limit("accuracy_drop", 0.05), one)
    assert (verdict.result, verdict.said) == ("PASS", "1.00 points [-0.41, 2.41]")
    assert judge(Limit("accuracy_drop", 0.02), one).result == "INCONCLUSIVE"
    monkeypatch.setattr(figures, "accuracy_of", lambda record: Accuracy("published", 0.76))
    assert judge(Limit("accuracy_drop", 0.05), one).result == "INCONCLUSIVE"
