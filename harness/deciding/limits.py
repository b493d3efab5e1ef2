"""A limit on a figure of a cell, and the verdict: PASS, FAIL or INCONCLUSIVE, with what would decide it (METHOD 8). Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from harness import registry, stats
from harness.deciding.evidence import Evidence
from harness.deciding.figures import METRICS, SAFETY, Decide, Doubtful, Figure, Metric, Missing, in_words, read
from harness.record import Record

Result = Literal["PASS", "FAIL", "INCONCLUSIVE"]
_Z = 1.96
_MOST_PROCESSES = 20


@dataclass(frozen=True)
class Limit:
    """What a figure may be at most (or must be at least)."""

    metric: str
    value: float
    percentile: str = ""
    line: int = 0
    """Where it stands in the targets file."""

    @property
    def title(self) -> str:
        """`latency p90 ≤ 10 ms`."""
        metric = METRICS[self.metric]
        return f"{self.name} {'≥' if metric.at_least else '≤'} {metric.show(self.value)}"

    @property
    def name(self) -> str:
        """`latency p90`."""
        return f"{self.metric.replace('_', ' ').replace('end to end', 'end-to-end')} {self.percentile}".rstrip()


@dataclass(frozen=True)
class Verdict:
    """The answer to one limit of one cell."""

    result: Result
    said: str
    """The figure in words, or why there is none."""
    figure: Figure | None = None
    decide: Decide = field(default_factory=Decide)


def judge(limit: Limit, evidence: Evidence) -> Verdict:
    """Whether the cell keeps the limit."""
    record, metric = evidence.record, METRICS[limit.metric]
    if record.outcome == "unsupported":
        return Verdict("INCONCLUSIVE", f"not measured: {record.reason}", decide=Decide(advice=record.hint))
    if record.outcome != "ok":
        outcome = record.outcome.replace("_", " ")
        return Verdict("FAIL", f"{outcome}: {record.reason}", decide=Decide(advice=record.hint))
    figure = read(metric, evidence, limit.percentile)
    if isinstance(figure, Doubtful):
        return Verdict("INCONCLUSIVE", f"untrusted: {figure.seen}", decide=Decide(advice=figure.advice))
    if isinstance(figure, Missing):
        if figure.exceeds is not None and not metric.at_least and figure.exceeds > limit.value:
            return Verdict("FAIL", f"a lower percentile is above {metric.show(figure.exceeds)} already")
        return Verdict("INCONCLUSIVE", figure.reason, decide=figure.decide)
    return _compared(limit, metric, figure, evidence)


def _compared(limit: Limit, metric: Metric, figure: Figure, evidence: Evidence) -> Verdict:
    said = in_words(metric, figure)
    worst, best = (figure.low, figure.high) if metric.at_least else (figure.high, figure.low)
    within = worst >= limit.value if metric.at_least else worst <= limit.value
    if within:
        return Verdict("PASS", said, figure)
    beyond = best < limit.value if metric.at_least else best > limit.value
    if beyond:
        return Verdict("FAIL", said, figure)
    return Verdict("INCONCLUSIVE", f"{said} contains the limit", figure, deciding(limit, metric, figure, evidence))


def deciding(limit: Limit, metric: Metric, figure: Figure, evidence: Evidence) -> Decide:
    """The budget at which an interval of the same value would no longer contain the limit.

    The part of the width that rounds cause falls with the root of the time, the part of the processes with the root of
    their number (`harness.stats`); a limit within a thousandth of the value is not worth deciding by measuring.
    """
    if metric.kind == "counted" or min(figure.value, figure.low, limit.value) <= 0:
        return Decide(advice="more measuring does not decide it")
    distance = abs(math.log(limit.value / figure.value))
    if distance < 0.001:
        return Decide(
            advice="the figure is at the limit itself: no budget decides it; change the limit or the backbone"
        )
    half = math.log(figure.high / figure.value) if limit.value > figure.value else math.log(figure.value / figure.low)
    have = evidence.run.plan.rules.processes
    if metric.kind == "cold":
        needed = math.ceil(max(len(evidence.record.colds), 1) * (half / distance) ** 2 * SAFETY)
        if needed > 10 * _MOST_PROCESSES:
            return Decide(advice=f"it would take {needed} processes: change the limit")
        return Decide(processes=max(needed, have + 1))
    process_sd = _process_sd(metric, evidence.record)
    processes = max(have, math.ceil((_Z * process_sd / (0.6 * distance)) ** 2))
    if processes > _MOST_PROCESSES:
        return Decide(advice=f"the figure is {distance:.1%} from the limit: no sensible budget decides it")
    rounds = max(half**2 - (_Z * process_sd) ** 2 / have, 0.0)
    allowed = (0.9 * distance) ** 2 - (_Z * process_sd) ** 2 / processes
    measured = max(evidence.record.measured_s, evidence.run.plan.rules.budget_s)
    budget = max(measured * rounds / allowed, measured) * SAFETY
    return Decide(budget, processes if processes > 1 else 0)


def _process_sd(metric: Metric, record: Record) -> float:
    """How much the log of a figure differs from one process to the next, before anything is seen."""
    if metric.of == "speedup":
        return record.speedup["compute"].process_sd
    return max(stats.PROCESS_SD, registry.process_sd(record.cell.runtime))
