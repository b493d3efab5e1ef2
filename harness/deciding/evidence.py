"""What a decision about a cell rests on: its record with everything that verdicts need beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness import registry, store
from harness.accuracy import join
from harness.model import CONTROL
from harness.record import Record, Run


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy (0..1) of what a record measured, and where the figure comes from."""

    kind: Literal["measured", "published", "unknown"]
    value: float | None = None
    low: float | None = None
    high: float | None = None
    source: str = ""


UNKNOWN = Accuracy("unknown")


@dataclass(frozen=True)
class Evidence:
    """One cell of one run."""

    run: Run
    record: Record
    baseline: Record | None
    """The record that its speed-up is relative to, where that was measured."""
    params: int | None
    accuracy: Accuracy
    folder: str

    @property
    def title(self) -> str:
        """`resnet50 ort_cpu fp32 b1`."""
        return f"{self.record.cell.backbone.name} {self.record.cell.title}"


def accuracy_of(record: Record) -> Accuracy:
    """The accuracy of a record's artifact, measured or published of exactly its weights; none is borrowed."""
    note = record.accuracy or join.of_tag(record)
    return UNKNOWN if note is None else Accuracy(note.source, note.top1, note.top1_low, note.top1_high, note.of)


def read(folders: Iterable[Path]) -> tuple[Evidence, ...]:
    """All cells of the runs in `folders`, without A/A controls, with the accuracies in any of them. Raises `StoreFailed`.

    Where a record is older than the intervals of latencies, they are computed from the raw samples.
    """
    runs, accuracies = join.split(folders)
    return tuple(
        one
        for folder in runs
        for one in of_run(folder, store.read_run(folder), join.joined(store.read_records(folder), accuracies))
    )


def of_run(folder: Path, run: Run, records: tuple[Record, ...]) -> list[Evidence]:
    """Records of the run in `folder`; the intervals that older ones lack are computed from the raw samples there."""
    return gather(run, _with_intervals(folder, records), str(folder))


def gather(run: Run, records: Sequence[Record], folder: str = "") -> list[Evidence]:
    """Records of one run, each with its baseline and what is known of its backbone."""
    by_key = {record.key: record for record in records}
    params = _params(records)
    return [
        Evidence(run, r, by_key.get(r.baseline), params.get(r.group), accuracy_of(r), folder)
        for r in records
        if r.cell.label != CONTROL
    ]


def _params(records: Sequence[Record]) -> Mapping[str, int]:
    """By group: its cells share the backbone, and in older runs only the framework's record tells."""
    found: dict[str, int] = {}
    for record in records:
        if record.artifact is not None:
            told = record.artifact.params or record.artifact.details.get("params")
            if isinstance(told, int):
                found[record.group] = told
    return found


def _with_intervals(folder: Path, records: tuple[Record, ...]) -> tuple[Record, ...]:
    from harness.schedule import Trace
    from harness.summary import latencies

    lacking = {r.key for r in records if any(not x.intervals_ns and x.samples > 1 for x in r.latency.values())}
    if not lacking or not (folder / store.SAMPLES).exists():
        return records
    kept = {r.key: Trace(process_sd={r.key: registry.process_sd(r.cell.runtime)}) for r in records if r.key in lacking}
    for sample in store.read_samples(folder):
        if sample.key in kept:
            kept[sample.key].samples.append(sample)
    return tuple(
        replace(r, latency={**r.latency, **latencies(kept[r.key], r.key)}) if r.key in kept else r for r in records
    )
