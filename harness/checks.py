"""The trust verdict: one table of checks, each with what it saw and advice (METHOD 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.model import Trust
from harness.record import Finding, Record, Rules

Check = Callable[[Record, Rules], Finding | None]
_ORDER: Sequence[Trust] = ("trusted", "caution", "untrusted")


def judge(record: Record, rules: Rules) -> tuple[Trust, tuple[Finding, ...]]:
    """The verdict on a measured record: the worst level among its findings, and the findings."""
    findings = tuple(finding for check in CHECKS if (finding := check(record, rules)) is not None)
    worst = max((_ORDER.index(finding.level) for finding in findings), default=0)
    return _ORDER[worst], findings


def _wide_interval(record: Record, rules: Rules) -> Finding | None:
    speedup = record.speedup.get("compute")
    if speedup is None or speedup.ratio.half_width <= rules.target or rules.target <= 0:
        return None
    reached = speedup.ratio.half_width
    level: Trust = "caution" if reached <= 2.5 * rules.target else "untrusted"
    advice = f"measure longer: --budget {rules.budget_s * (reached / rules.target) ** 2:.0f}s"
    if rules.target < 0.01:
        advice += f" and in fresh processes: --processes {max(3, rules.processes * 2)}"
    return Finding(
        "wide_interval",
        level,
        f"the speed-up is known to ±{reached:.1%}, the target is ±{rules.target:.1%}",
        advice,
    )


def _not_steady(record: Record, rules: Rules) -> Finding | None:
    if record.warmup is None or record.warmup.steady:
        return None
    seen = f"warm-up did not become flat in {record.warmup.seconds:.1f} s"
    return Finding("not_steady", "caution", seen, "close what else runs, or fix the clock rate (governor, power mode)")


def _few_rounds(record: Record, rules: Rules) -> Finding | None:
    if record.rounds >= rules.min_rounds:
        return None
    seen = f"{record.rounds} rounds, and {rules.min_rounds} are the least"
    return Finding("few_rounds", "untrusted", seen, f"give it more time: --budget {2 * rules.budget_s:.0f}s")


def _processors_apart(record: Record, rules: Rules) -> Finding | None:
    speedup = record.speedup.get("compute")
    if speedup is None or not (speedup.mixed or speedup.left_out):
        return None
    if speedup.mixed:
        seen = "a hypervisor moved the processors apart for so many rounds that the speed-up is of a mixture"
        advice = f"wait for it: --wait {max(60.0, 3 * rules.wait_s):.0f}s, or measure on a machine of its own"
        return Finding("processors_apart", "caution", seen, advice)
    total = speedup.rounds + speedup.left_out
    seen = f"{speedup.left_out} of {total} rounds are not in the speed-up: a hypervisor had moved the processors apart"
    return Finding("processors_apart", "trusted", seen, "nothing to do; latencies are of all rounds")


def control_failed(twin: Record) -> Finding | None:
    """What an A/A control says of its whole group: the baseline, measured against itself, must give 1.00.

    The interval is taken at 99 %, because one at 95 % misses 1.00 in one group of twenty on the best of machines.
    """
    speedup = twin.speedup.get("compute")
    if speedup is None:
        return None
    ratio, wider = speedup.ratio, 2.576 / 1.960
    low, high = (ratio.value + wider * (end - ratio.value) for end in (ratio.low, ratio.high))
    if low <= 1.0 <= high:
        return None
    seen = (
        f"the baseline against itself came out as {ratio.value:.3f} (99 % interval {low:.3f} to {high:.3f}), not 1.00"
    )
    return Finding(
        "control_failed",
        "untrusted",
        seen,
        "something moves that rounds do not cancel: backbench selftest shows how much",
    )


def with_finding(record: Record, finding: Finding) -> Record:
    """The record with one more finding, and the verdict that follows."""
    if record.trust is None:
        return record
    trust = max(record.trust, finding.level, key=_ORDER.index)
    return replace(record, trust=trust, findings=(*record.findings, finding))


CHECKS: tuple[Check, ...] = (_wide_interval, _not_steady, _few_rounds, _processors_apart)
