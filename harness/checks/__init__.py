"""The trust verdict: one table of checks, each with what it saw, its advice, and the figures that it touches (METHOD 7).

A check reads a finished record, and among it `conditions`: what the probes read of the machine, the shape of the cell's
latencies, and the distance between the processors. What a probe could not read is a string that says why; a check that finds
one says nothing, and `unknown` says once what is not known.

The verdict is of the whole record. A decision rests on single figures, and asks for `doubts` of those: a latency that swung
says nothing of the memory, and a speed-up that is too wide nothing of the latency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from harness.checks import execution, measurement, surroundings
from harness.checks.measurement import swing
from harness.checks.reading import ORDER, Seen
from harness.model import Trust
from harness.record import Finding, Record, Rules

__all__ = ["CHECKS", "Check", "Of", "control_failed", "doubts", "judge", "swing", "with_finding"]

Of = Literal["latency", "speedup", "cold", "memory", "artifact"]
"""Kinds of figures by what can disturb them. What is of the artifact (size, accuracy) no measuring disturbs."""


@dataclass(frozen=True)
class Check:
    """A check and the kinds of figures that are doubtful where it finds something."""

    look: Callable[[Record, Rules], Seen | None]
    touches: frozenset[Of]

    @property
    def name(self) -> str:
        """`wide_interval`: as its findings are named."""
        return self.look.__name__


_TIMED: tuple[Of, ...] = ("latency", "speedup", "cold")


def _table(*rows: tuple[Callable[[Record, Rules], Seen | None], tuple[Of, ...]]) -> Mapping[str, Check]:
    checks = [Check(look, frozenset(touches)) for look, touches in rows]
    return {check.name: check for check in checks}


CHECKS: Mapping[str, Check] = _table(
    (measurement.wide_interval, ("speedup",)),
    (measurement.not_steady, ("latency", "speedup")),
    (measurement.few_rounds, ("latency", "speedup")),
    (measurement.few_shared_rounds, ("speedup",)),
    (measurement.latency_moved, ("latency",)),
    (measurement.spikes, ("latency",)),
    (measurement.not_interleaved, ("speedup",)),
    (measurement.builds_differ, ("latency", "speedup")),
    (surroundings.processors_apart, ("speedup",)),
    (surroundings.steal, _TIMED),
    (surroundings.busy_neighbour, _TIMED),
    (surroundings.throttled, _TIMED),
    (surroundings.clock_changed, _TIMED),
    (surroundings.memory_pressure, (*_TIMED, "memory")),
    (surroundings.unknown, _TIMED),
    (execution.random_weights, ()),
    (execution.near_tolerance, ()),
    (execution.int8_saturates, ()),
    (execution.partly_int8, ("latency", "speedup")),
    (execution.provider_fallback, ("latency", "speedup")),
    (execution.precision_unproven, ("latency", "speedup")),
)
_CONTROL: frozenset[Of] = frozenset({"latency", "speedup"})


def judge(record: Record, rules: Rules) -> tuple[Trust, tuple[Finding, ...]]:
    """The verdict on a measured record: the worst level among its findings, and the findings."""
    findings = tuple(
        Finding(name, *seen) for name, check in CHECKS.items() if (seen := check.look(record, rules)) is not None
    )
    worst = max((ORDER.index(finding.level) for finding in findings), default=0)
    return ORDER[worst], findings


def with_finding(record: Record, finding: Finding) -> Record:
    """The record with one more finding, and the verdict that follows."""
    if record.trust is None:
        return record
    trust = max(record.trust, finding.level, key=ORDER.index)
    return replace(record, trust=trust, findings=(*record.findings, finding))


def control_failed(twin: Record) -> Finding | None:
    """What an A/A control says of its whole group, where the baseline measured against itself did not give 1.00."""
    seen = measurement.control_failed(twin)
    return Finding("control_failed", *seen) if seen is not None else None


def doubts(record: Record, of: Of) -> tuple[Finding, ...]:
    """Findings for which a figure of that kind is not to be trusted.

    A finding of a check that is not known here, as another version's, is taken to touch everything that was measured.
    """
    if record.trust == "untrusted" and not record.findings:
        return (Finding("unknown_reason", "untrusted", "no reason is kept", "measure it again"),)
    return tuple(f for f in record.findings if f.level == "untrusted" and of in _touched(f.check))


def _touched(name: str) -> frozenset[Of]:
    if name == "control_failed":
        return _CONTROL
    return CHECKS[name].touches if name in CHECKS else frozenset((*_TIMED, "memory"))
