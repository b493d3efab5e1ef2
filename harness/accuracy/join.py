"""Accuracy beside latency: a record gets what was measured of its artifact, or what is published of exactly its tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from harness import codec, published, store
from harness.accuracy import store as accuracy_store
from harness.accuracy.record import Accuracy, Drop
from harness.errors import StoreFailed
from harness.record import AccuracyNote, Record, Run

OWN_WEIGHTS = "pretrained"
"""The weights that a published figure belongs to."""


def read(folders: Iterable[Path]) -> list[tuple[Run, tuple[Record, ...]]]:
    """The runs in `folders`, with the accuracies in any of them. Raises what `split` raises."""
    runs, accuracies = split(folders)
    return [(store.read_run(folder), joined(store.read_records(folder), accuracies)) for folder in runs]


def split(folders: Iterable[Path]) -> tuple[list[Path], list[Accuracy]]:
    """The folders that hold a run, and the accuracies in all of them; a folder may hold accuracies alone.

    Raises `StoreFailed` where none holds a run. A folder that holds neither is among the runs: reading it says so.
    """
    folders = list(folders)
    kept = {folder: accuracy_store.read(folder) for folder in folders}
    runs = [folder for folder in folders if (folder / store.RUN).exists() or not kept[folder]]
    if folders and not runs:
        raise StoreFailed(f"{folders[0]} holds accuracies, but no run", "name the run's folder beside it")
    return runs, [one for found in kept.values() for one in found]


def joined(records: Sequence[Record], accuracies: Sequence[Accuracy]) -> tuple[Record, ...]:
    """Records with the measured accuracy of the same artifact, run the same way, else with a published one."""
    known = {key: one for one in accuracies if one.top1 is not None and (key := _key(one))}
    baselines = {(one.key, one.data): one for one in accuracies if one.is_baseline}

    def note(record: Record) -> AccuracyNote | None:
        one = known.get(_key(record)) if known else None
        return of_tag(record) if one is None else _note(one, baselines.get((one.baseline, one.data)))

    return tuple(_with(record, note(record)) for record in records)


def _with(record: Record, note: AccuracyNote | None) -> Record:
    return record if note is None and record.accuracy is None else replace(record, accuracy=note)


def _key(of: Record | Accuracy) -> str:
    """What decides the answers: the artifact, and how it is run. Batch and threads do not."""
    if of.artifact is None:
        return ""
    cell = of.cell
    return codec.dumps([of.artifact.digest, cell.runtime, cell.precision, cell.device, cell.options])


def _note(one: Accuracy, baseline: Accuracy | None) -> AccuracyNote:
    assert one.top1 is not None and one.data is not None
    # A loss against the baseline is a finding too, and no reason to doubt it: what the baseline has says that of all.
    doubts = tuple(f for f in baseline.findings if f.level == "untrusted") if baseline is not None else ()
    top5, drop = one.top5.value if one.top5 else None, _drop(one.drop)
    of = f"{one.data.images} images of {one.data.source}"
    return AccuracyNote("measured", of, one.top1.value, one.top1.low, one.top1.high, top5, *drop, doubts=doubts)


def _drop(drop: Drop | None) -> tuple[float | None, float | None, float | None, float | None]:
    return (None, None, None, None) if drop is None else (drop.top1.value, drop.top1.low, drop.top1.high, drop.p)


def of_tag(record: Record) -> AccuracyNote | None:
    """The published accuracy, where the record is of exactly those weights, in the precision they are published in."""
    backbone, cell = record.cell.backbone, record.cell
    if backbone.weights != OWN_WEIGHTS or backbone.path or backbone.features_only or cell.precision != "fp32":
        return None
    found = published.of_size(record)
    return None if found is None else AccuracyNote("published", found.source, found.top1, top5=found.top5)
