"""What accuracy leaves in a results folder: `accuracy.jsonl`, `predictions.jsonl` and `disagreements.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import codec, store, upgrade
from harness.accuracy.answers import Answers, Top, disagreements
from harness.accuracy.record import Accuracy
from harness.model import SCHEMA

ACCURACY, PREDICTIONS, DISAGREEMENTS, LOGS = "accuracy.jsonl", "predictions.jsonl", "disagreements.csv", "logs"
_REPEAT = "the same --out"
_COLUMNS = ("backbone", "cell", "key", "image", "label", "baseline_class", "class", "baseline_right", "right")


@dataclass(frozen=True)
class Predicted:
    """A line of `predictions.jsonl`: what a cell answered to every image of the set, in its order."""

    key: str
    data: str
    """Digest of the labelled set."""
    top: Top
    schema: int = SCHEMA


@dataclass(frozen=True)
class AccuracyStore:
    """A results folder that accuracy is written into; a run may lie in it too."""

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> AccuracyStore:
        """The folder, made where there is none. Raises `StoreFailed` where it cannot be written."""
        with store.writing(folder, _REPEAT):
            (folder / LOGS).mkdir(parents=True, exist_ok=True)
            for file in (folder / ACCURACY, folder / PREDICTIONS, folder / DISAGREEMENTS):
                file.touch()
                store.drop_torn_line(file)
            if not (folder / DISAGREEMENTS).stat().st_size:
                store.append(folder / DISAGREEMENTS, [_csv(_COLUMNS)])
        return cls(folder)

    @property
    def logs(self) -> Path:
        """Where the workers' logs go."""
        return self.folder / LOGS

    def add(self, record: Accuracy, answers: Answers | None, baseline: Answers | None, images: Sequence[str]) -> None:
        """Append what became known of a cell; the record, which counts, comes last."""
        with store.writing(self.folder, _REPEAT):
            if answers is not None and record.data is not None:
                predicted = Predicted(record.key, record.data.digest, answers.top)
                store.append(self.folder / PREDICTIONS, [codec.dumps(predicted)])
            if _answered(record):
                rows: Iterable[str] = ()
                if answers is not None and baseline is not None and not record.is_baseline:
                    rows = _disagreements(record, answers, baseline, images)
                self._disagree(record.key, rows)
            store.append(self.folder / ACCURACY, [codec.dumps(record)])

    def finished(self) -> Mapping[str, tuple[Accuracy, Top]]:
        """Cells that have answers already, by key: the record and what was answered to the same images."""
        answered = {(p.key, p.data): p.top for p in read_predictions(self.folder)}
        done = ((r, (r.key, r.data.digest)) for r in read(self.folder) if r.outcome == "ok" and r.data is not None)
        return {r.key: (r, answered[of]) for r, of in done if of in answered}

    def _disagree(self, key: str, rows: Iterable[str]) -> None:
        """Put a cell's rows in place of those that a repeat, or one that was killed, has left of it."""
        file = self.folder / DISAGREEMENTS
        kept = [row for row in _rows(file) if row[_COLUMNS.index("key")] != key]
        store.rewrite(file, [*map(_csv, kept), *rows])


def read(folder: Path) -> tuple[Accuracy, ...]:
    """Accuracies kept in a folder, of each cell the last that tells something; none where none was measured.

    A repeat that failed (no network, no memory) leaves an accuracy as it was.
    """
    file = folder / ACCURACY
    if not file.exists():
        return ()
    known: dict[str, Accuracy] = {}
    for record in store.decoded(Accuracy, upgrade.accuracy, file):
        if _answered(record) or record.key not in known or not _answered(known[record.key]):
            known[record.key] = record
    return tuple(known.values())


def _answered(record: Accuracy) -> bool:
    """Whether the cell answered all images, rightly or with NaN: other outcomes say nothing of its accuracy."""
    return record.outcome in ("ok", "wrong_output")


def read_predictions(folder: Path) -> tuple[Predicted, ...]:
    """What cells answered."""
    file = folder / PREDICTIONS
    return tuple(store.decoded(Predicted, upgrade.predictions, file)) if file.exists() else ()


def _disagreements(record: Accuracy, answers: Answers, baseline: Answers, images: Sequence[str]) -> Iterable[str]:
    mine, its = answers.first(), baseline.first()
    head = (record.cell.backbone.name, record.cell.title, record.key)
    for i in disagreements(answers, baseline):
        label = answers.labels[i]
        yield _csv((*head, images[i], label, its[i], mine[i], int(its[i] == label), int(mine[i] == label)))


def _rows(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return [row for row in csv.reader(opened) if len(row) == len(_COLUMNS)]


def _csv(words: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(words)
    return line.getvalue()
