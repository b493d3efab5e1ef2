"""Cells as flat points: what charts, tables and the answer on a page are drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.deciding import evidence
from harness.deciding.evidence import Accuracy, Evidence
from harness.deciding.figures import unusable
from harness.deciding.pareto import Direction, front
from harness.model import Backbone
from harness.record import Interval, Record, Roofline, Run
from harness.report.content import Reported, called
from harness.units import show_ms

RECOMPUTED = 500
AXES: Mapping[str, Direction] = {"accuracy": "max", "latency_ms": "min"}
SIZES: Mapping[str, Direction] = {"latency_ms": "min", "size": "min"}
"""The axes where no accuracy is known: what is then called better is only faster and smaller."""


@dataclass(frozen=True)
class Point:
    """One cell. A quantity is None where it was not measured; milliseconds, bytes and seconds as the names say."""

    id: str
    """Unique in the report: run and key."""
    folder: int
    """Which of the report's runs it is from, counted from 0."""
    key: str
    group: str
    machine: str
    context: str
    """What latencies may be compared within: the machine and the batch size."""
    backbone: str
    variant: str
    """Runtime with precision, device, options and label: what distinguishes cells of one backbone."""
    runtime: str
    precision: str
    batch: int
    device: str
    verdict: str
    """trusted, caution or untrusted; else the outcome, in words."""
    why: str
    """Reasons of a failure or of a doubt; empty where there are none."""
    control: bool
    baseline: bool
    doubtful: bool = False
    """Whether its latency is none to choose by. `verdict` is of all figures: a speed-up may be in doubt alone."""
    latency_ms: float | None = None
    latency_interval: tuple[float, float] | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    end_to_end_ms: float | None = None
    throughput: float | None = None
    speedup: Interval | None = None
    accuracy: float | None = None
    """Top-1, 0 to 1."""
    accuracy_interval: tuple[float, float] | None = None
    accuracy_kind: str = ""
    """`measured` or `published`; empty where none is known."""
    params: int | None = None
    artifact_bytes: int | None = None
    memory_bytes: int | None = None
    export_s: float | None = None
    import_s: float | None = None
    load_s: float | None = None
    first_s: float | None = None
    roofline: Roofline | None = field(default=None, repr=False)
    """None where nothing was measured, or its operations were not counted."""
    evidence: Evidence | None = field(default=None, repr=False)
    """What `harness.deciding.recommend` judges; None for an A/A control."""

    @property
    def title(self) -> str:
        """Backbone and variant."""
        return f"{self.backbone} · {self.variant}"

    @property
    def measured(self) -> bool:
        """Whether it has a latency."""
        return self.latency_ms is not None

    @property
    def eligible(self) -> bool:
        """Whether a choice may fall on it: measured, with a latency that can be judged, and no twin of another cell."""
        return self.measured and not self.doubtful and not self.control

    @property
    def latency_words(self) -> str:
        """Median with its interval where that is known."""
        if self.latency_ms is None:
            return "–"
        words = f"{show_ms(self.latency_ms * 1e6)} ms"
        if self.latency_interval is None:
            return words
        low, high = (show_ms(end * 1e6) for end in self.latency_interval)
        return f"{words} [{low}, {high}]"

    @property
    def speedup_words(self) -> str:
        """Ratio with its interval, or that it is the baseline."""
        if self.baseline:
            return "baseline"
        if self.speedup is None:
            return "–"
        return f"{self.speedup.value:.2f}× [{self.speedup.low:.2f}, {self.speedup.high:.2f}]"

    @property
    def accuracy_words(self) -> str:
        """Percent with interval and origin."""
        if self.accuracy is None:
            return "–"
        words = f"{self.accuracy:.1%}"
        if self.accuracy_interval:
            words += f" [{self.accuracy_interval[0]:.1%}, {self.accuracy_interval[1]:.1%}]"
        return words if self.accuracy_kind == "measured" else f"{words} ({self.accuracy_kind})"


def of(reported: Sequence[Reported], folders: Sequence[Path] = ()) -> tuple[Point, ...]:
    """All cells of all runs as points, in the order of the runs.

    With the runs' `folders`, intervals that records of older versions lack are computed from the raw samples, as long as
    there are no more than `RECOMPUTED` cells.
    """
    names = called(record for one in reported for record in one.records)
    again = len(folders) == len(reported) and sum(len(one.records) for one in reported) <= RECOMPUTED
    found = [
        point
        for number, one in enumerate(reported)
        for point in _of_run(
            number, one, evidence.of_run(folders[number], one.run, one.records) if again else _gathered(one), names
        )
    ]
    return _distinct(_distinct(found, lambda p: f"run {p.folder + 1}"), lambda p: p.key[:6])


def contexts(points: Iterable[Point]) -> Mapping[str, tuple[Point, ...]]:
    """Measured cells by what may be compared, in the order of machines and batch sizes."""
    found: dict[str, list[Point]] = {}
    for point in points:
        if point.measured:
            found.setdefault(point.context, []).append(point)
    machines = list(dict.fromkeys(members[0].machine for members in found.values()))
    ordered = sorted(found.items(), key=lambda item: (machines.index(item[1][0].machine), item[1][0].batch))
    return {name: tuple(members) for name, members in ordered}


def axes(points: Sequence[Point]) -> Mapping[str, Direction]:
    """What the front of these cells is over: accuracy and latency where any accuracy is known, else latency and size."""
    return AXES if any(point.accuracy is not None for point in points) else SIZES


def size_of(points: Sequence[Point]) -> str:
    """What stands for size: `params` where they are known of all measured cells, else `artifact_bytes`."""
    return "params" if all(point.params is not None for point in points if point.measured) else "artifact_bytes"


def best(points: Sequence[Point]) -> tuple[Point, ...]:
    """The Pareto front of cells that may be compared, from fast to slow."""
    size = size_of(points)
    chosen = [point for point in points if point.eligible]
    coordinates: list[Mapping[str, float | None]] = [
        {"latency_ms": p.latency_ms, "accuracy": p.accuracy, "size": getattr(p, size)} for p in chosen
    ]
    found = [chosen[index] for index in front(coordinates, axes(points))]
    return tuple(sorted(found, key=lambda point: point.latency_ms or 0.0))


def _distinct(found: Sequence[Point], by: Callable[[Point], str]) -> tuple[Point, ...]:
    """The points, those of one title and batch told apart by what `by` gives."""
    often = Counter((point.title, point.batch) for point in found)
    return tuple(replace(p, variant=f"{p.variant} ({by(p)})") if often[p.title, p.batch] > 1 else p for p in found)


def _gathered(one: Reported) -> Sequence[Evidence]:
    return evidence.gather(one.run, one.records)


def _of_run(number: int, one: Reported, known: Iterable[Evidence], names: Mapping[Backbone, str]) -> Iterable[Point]:
    machine = _machine(one.run)
    by_key = {item.record.key: item for item in known}
    return (
        _point(number, machine, names[record.cell.backbone], record, by_key.get(record.key)) for record in one.records
    )


def _point(number: int, machine: str, backbone: str, record: Record, known: Evidence | None) -> Point:
    record = known.record if known else record
    accuracy = known.accuracy if known else evidence.UNKNOWN
    cell, compute, end = record.cell, record.latency.get("compute"), record.latency.get("end_to_end")
    ok, memory, cold = record.outcome == "ok", record.memory, record.cold
    found = record.speedup.get("compute")
    percentiles = compute.percentiles_ns if compute else {}
    return Point(
        machine=machine, id=f"{number}-{record.key}", folder=number, key=record.key, group=record.group,
        context=f"{machine} · batch {cell.batch}", backbone=backbone,
        variant=cell.title.replace(f" b{cell.batch}", "" if cell.batch == 1 else f" b{cell.batch}", 1),
        runtime=cell.runtime, precision=cell.precision, batch=cell.batch, device=cell.device,
        verdict=(record.trust or "ok") if ok else record.outcome.replace("_", " "), why=_why(record),
        control=bool(cell.label), baseline=record.is_baseline, doubtful=bool(unusable(record, "latency")),
        latency_ms=compute.median_ns / 1e6 if ok and compute else None,
        p90_ms=_ms(percentiles.get("p90")), p99_ms=_ms(percentiles.get("p99")),
        end_to_end_ms=end.median_ns / 1e6 if ok and end else None,
        throughput=cell.batch / (compute.median_ns / 1e9) if ok and compute else None,
        speedup=found.ratio if ok and found else None, params=known.params if known else None,
        latency_interval=_interval(compute.intervals_ns.get("median")) if ok and compute else None,
        accuracy=accuracy.value, accuracy_kind=accuracy.kind if accuracy.value is not None else "",
        accuracy_interval=_range(accuracy), evidence=known,
        artifact_bytes=memory.artifact_bytes if memory else None,
        memory_bytes=memory.rss_peak_bytes if memory else None,
        export_s=cold.export_s if cold else None, import_s=cold.import_s if cold else None,
        load_s=cold.load_s if cold else None, first_s=cold.first_inference_s if cold else None,
        roofline=record.roofline if ok and compute and record.roofline and record.roofline.intensity else None,
    )  # fmt: skip


def _interval(found: Interval | None) -> tuple[float, float] | None:
    return (found.low / 1e6, found.high / 1e6) if found else None


def _range(accuracy: Accuracy) -> tuple[float, float] | None:
    return None if accuracy.low is None or accuracy.high is None else (accuracy.low, accuracy.high)


def _ms(ns: float | None) -> float | None:
    return None if ns is None else ns / 1e6


def _why(record: Record) -> str:
    if record.outcome != "ok":
        return f"{record.reason} → {record.hint}" if record.hint else record.reason
    return "; ".join(f"{f.seen} → {f.advice}" if f.advice else f.seen for f in record.findings if f.level != "trusted")


def _machine(run: Run) -> str:
    """What two runs share if their latencies can be put side by side; they still were not measured in turn."""
    return f"{run.machine.get('cpu') or 'unknown machine'}, {run.machine.get('cpus_usable')} CPUs"
