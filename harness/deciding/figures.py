"""The figures of a cell that a limit or a comparison may be put on, each with the range it lies in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from harness import checks, intervals, stats
from harness.checks import Of
from harness.deciding.evidence import Evidence, accuracy_of
from harness.probes.energy import energy_j_per_inference
from harness.record import Finding, Record
from harness.units import show_bytes, show_count, show_ms, show_seconds

SAFETY = 1.2
"""How much longer than estimated is advised to measure."""


@dataclass(frozen=True)
class Figure:
    """A value in the metric's unit with the range it lies in; a counted one (a size) has no width."""

    value: float
    low: float
    high: float

    @classmethod
    def counted(cls, value: float) -> Figure:
        """A figure that is known exactly."""
        return cls(value, value, value)


@dataclass(frozen=True)
class Decide:
    """What to measure with, so that a verdict can be given; all zero where more measuring decides nothing."""

    budget_s: float = 0.0
    processes: int = 0
    advice: str = ""

    def __str__(self) -> str:
        words = [f"--budget {math.ceil(self.budget_s)}s"] if self.budget_s else []
        words += [f"--processes {self.processes}"] if self.processes else []
        return " ".join(words) or self.advice


@dataclass(frozen=True)
class Missing:
    """Why there is no figure, and what would give one."""

    reason: str
    decide: Decide = Decide()
    exceeds: float | None = None
    """A value that the figure cannot be below: a percentile is at least any lower one."""


@dataclass(frozen=True)
class Metric:
    """One kind of figure: how it reads from the evidence, how it is shown, and what kind of uncertainty it has."""

    name: str
    read: Callable[[Evidence, str], Figure | Missing | Doubtful]
    show: Callable[[float], str]
    kind: Literal["timed", "cold", "counted"] = "counted"
    at_least: bool = False
    """Whether more is better: the limit is then the least that is allowed."""
    of: checks.Of = "artifact"
    """What its value rests on, and so which findings make it doubtful."""


@dataclass(frozen=True)
class Doubtful:
    """Findings for which a figure decides nothing."""

    findings: tuple[Finding, ...]

    @property
    def seen(self) -> str:
        """What was seen."""
        return "; ".join(finding.seen for finding in self.findings)

    @property
    def advice(self) -> str:
        """What to do about it."""
        return "; ".join(finding.advice for finding in self.findings)


def read(metric: Metric, evidence: Evidence, percentile: str) -> Figure | Missing | Doubtful:
    """The figure as far as it can be trusted.

    A latency that only moved is no single number, but the range in which it moved is known: the figure has that range,
    so that a limit far from it is decided all the same. Whatever else makes it untrusted makes it `Doubtful`.
    """
    if doubts := unusable(evidence.record, metric.of):
        return Doubtful(doubts)
    found = metric.read(evidence, percentile)
    if isinstance(found, Doubtful) or not checks.doubts(evidence.record, metric.of):
        return found
    factor = checks.swing(evidence.record)
    if isinstance(found, Missing):
        return replace(found, exceeds=found.exceeds / factor if found.exceeds is not None else None)
    return Figure(found.value, min(found.low, found.value / factor), max(found.high, found.value * factor))


def unusable(record: Record, of: Of) -> tuple[Finding, ...]:
    """Why no figure of a kind may be judged; a latency that only moved is judged by the range in which it did."""
    return tuple(doubt for doubt in checks.doubts(record, of) if doubt.check != "latency_moved")


def in_words(metric: Metric, figure: Figure) -> str:
    """`3.54 ms [3.43, 3.67]`: the unit is said once where it is one."""
    value, low, high = (metric.show(x) for x in (figure.value, figure.low, figure.high))
    if figure.low == figure.high:
        return value
    unit = value.lstrip("-+0123456789.,e")
    if unit and low.endswith(unit) and high.endswith(unit):
        low, high = low.removesuffix(unit), high.removesuffix(unit)
    return f"{value} [{low}, {high}]"


def _latency(scope: str) -> Callable[[Evidence, str], Figure | Missing]:
    def read(evidence: Evidence, percentile: str) -> Figure | Missing:
        latency = evidence.record.latency.get(scope)
        if latency is None:
            return Missing(f"no {scope.replace('_', '-')} latency was measured")
        if (found := latency.intervals_ns.get(percentile)) is not None:
            return Figure(found.value, found.low, found.high)
        needed = stats.samples_needed(intervals.PERCENTILES[percentile]) if percentile != "median" else 2
        lower = [x.low for name, x in latency.intervals_ns.items() if _below(name, percentile)]
        if latency.samples >= needed:
            return Missing(f"no interval: the run keeps no raw samples of two rounds ({store_hint(evidence)})")
        factor = max(needed / latency.samples, 1.0) * SAFETY
        measured = max(evidence.record.measured_s, 0.1)
        return Missing(
            f"{latency.samples} samples do not support {percentile}, which needs {needed}",
            Decide(measured * factor),
            max(lower, default=None),
        )

    return read


def _below(name: str, percentile: str) -> bool:
    return intervals.PERCENTILES[name] < intervals.PERCENTILES[percentile]


def store_hint(evidence: Evidence) -> str:
    """Where they should lie."""
    return f"{evidence.folder or 'RUN'}/samples.jsonl"


def _throughput(evidence: Evidence, _: str) -> Figure | Missing:
    found = _latency("compute")(evidence, "median")
    if isinstance(found, Missing):
        return found
    images = evidence.record.cell.batch * 1e9
    return Figure(images / found.value, images / found.high, images / found.low)


def _speedup(evidence: Evidence, _: str) -> Figure | Missing:
    if evidence.record.is_baseline:
        return Figure.counted(1.0)
    found = evidence.record.speedup.get("compute")
    if found is None:
        return Missing("no speed-up: no round has both the cell and its baseline")
    return Figure(found.ratio.value, found.ratio.low, found.ratio.high)


def _cold(part: str) -> Callable[[Evidence, str], Figure | Missing]:
    def read(evidence: Evidence, _: str) -> Figure | Missing:
        record = evidence.record
        colds = record.colds or ((record.cold,) if record.cold else ())
        if not colds:
            return Missing("no cold start was measured")
        found = intervals.cold_interval([float(getattr(cold, part)) for cold in colds])
        return Figure(found.value, found.low, found.high)

    return read


def _memory(part: str, absent: str) -> Callable[[Evidence, str], Figure | Missing]:
    def read(evidence: Evidence, _: str) -> Figure | Missing:
        memory = evidence.record.memory
        value = getattr(memory, part) if memory is not None else None
        return Missing(absent) if value is None else Figure.counted(value)

    return read


def _params(evidence: Evidence, _: str) -> Figure | Missing:
    if evidence.params is None:
        return Missing("the number of parameters is not in the run", Decide(advice="measure it again"))
    return Figure.counted(evidence.params)


def _accuracy(evidence: Evidence, _: str) -> Figure | Missing | Doubtful:
    known = evidence.accuracy
    if known.value is None:
        return Missing("accuracy unknown")
    if doubts := _doubted(evidence):
        return Doubtful(doubts)
    low = known.value if known.low is None else known.low
    return Figure(known.value, low, known.value if known.high is None else known.high)


def _doubted(evidence: Evidence) -> tuple[Finding, ...]:
    """Why what was measured of its accuracy says nothing."""
    note = evidence.record.accuracy
    return note.doubts if note is not None else ()


def _accuracy_drop(evidence: Evidence, _: str) -> Figure | Missing | Doubtful:
    """Top-1 of the baseline minus that of the cell, both measured; a published figure belongs to neither artifact.

    Where both answered the same images, the interval is the paired one, which is far narrower.
    """
    if doubts := _doubted(evidence):
        return Doubtful(doubts)
    paired = evidence.record.accuracy
    if paired is not None and None not in (ends := (paired.top1_drop, paired.top1_drop_high, paired.top1_drop_low)):
        return Figure(*(0.0 - end for end in ends if end is not None))
    base = accuracy_of(evidence.baseline) if evidence.baseline is not None else None
    mine = evidence.accuracy
    if base is None or base.kind != "measured" or mine.kind != "measured" or base.value is None or mine.value is None:
        return Missing("the accuracy of this cell and of its baseline was not measured")
    drop = base.value - mine.value
    if mine.low is None or mine.high is None or base.low is None or base.high is None:
        return Figure.counted(drop)
    up = math.hypot(mine.value - mine.low, base.high - base.value)
    down = math.hypot(mine.high - mine.value, base.value - base.low)
    return Figure(drop, drop - down, drop + up)


def _energy(evidence: Evidence, _: str) -> Figure | Missing:
    told = energy_j_per_inference(evidence.record)
    if isinstance(told, str):
        return Missing(f"energy {told}")
    return Figure.counted(told / evidence.record.cell.batch)


def _ms(ns: float) -> str:
    return f"{show_ms(ns)} ms"


def _seconds(s: float) -> str:
    return _ms(s * 1e9) if s < 1 else show_seconds(s)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("latency", _latency("compute"), _ms, "timed", of="latency"),
        Metric("end_to_end", _latency("end_to_end"), _ms, "timed", of="latency"),
        Metric("throughput", _throughput, lambda x: f"{x:.4g} images/s", "timed", at_least=True, of="latency"),
        Metric("speedup", _speedup, lambda x: f"{x:.3g}×", "timed", at_least=True, of="speedup"),
        Metric("first_inference", _cold("first_inference_s"), _seconds, "cold", of="cold"),
        Metric("load", _cold("load_s"), _seconds, "cold", of="cold"),
        Metric("memory", _memory("rss_peak_bytes", "memory was not measured"), show_bytes, of="memory"),
        Metric("device_memory", _memory("device_bytes", "the runtime tells no device memory"), show_bytes, of="memory"),
        Metric("artifact_size", _memory("artifact_bytes", "the artifact's size is unknown"), show_bytes),
        Metric("params", _params, show_count),
        Metric("accuracy", _accuracy, lambda x: f"{x:.2%}", at_least=True),
        Metric("accuracy_drop", _accuracy_drop, lambda x: f"{100 * x:.2f} points"),
        Metric("energy", _energy, lambda x: f"{1000 * x:.3g} mJ/image", of="latency"),
    )
}
"""Every figure that can be limited, by name."""
