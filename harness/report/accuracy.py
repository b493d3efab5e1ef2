"""Accuracies as words and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.accuracy.record import Accuracy, ClassShare
from harness.record import Interval
from harness.report import naming

if TYPE_CHECKING:
    from rich.console import Console

HEADERS = (
    "runtime", "precision", "top-1 % [95 %]", "top-5 %", "drop [95 %]", "p", "lost/gained", "disagree", "verdict",
)  # fmt: skip
_STYLES = {"untrusted": "red", "caution": "yellow", "ok": "green"}
_WORST_CLASSES = 3
_MANY_IMAGES = 10_000
_LESSER = ("disagree", "p", "top-5 %", "lost/gained")
"""Columns that a narrow terminal does without, in this order."""


def percent(share: Interval, images: int) -> str:
    """`76.1 [75.7, 76.5]`, in percent, with as many digits as so many images tell."""
    digits = _digits(images)
    return f"{share.value * 100:.{digits}f} [{share.low * 100:.{digits}f}, {share.high * 100:.{digits}f}]"


def drop(record: Accuracy) -> str:
    """Points of top-1 against the baseline, below 0 for a loss; or `baseline`."""
    if record.is_baseline:
        return "baseline"
    if record.drop is None or record.data is None:
        return "–"
    points, digits = record.drop.top1, _digits(record.data.images)
    return f"{_signed(points.value, digits)} [{_signed(points.low, digits)}, {_signed(points.high, digits)}]"


def _digits(images: int) -> int:
    return 2 if images >= _MANY_IMAGES else 1


def _signed(share: float, digits: int) -> str:
    points = round(share * 100, digits)
    return f"{points:+.{digits}f}" if points else f"{0:.{digits}f}"


def _images(record: Accuracy) -> int:
    return record.data.images if record.data else 0


def verdict(record: Accuracy) -> str:
    """The outcome, or the worst of the findings."""
    if record.outcome != "ok":
        return record.outcome.replace("_", " ")
    levels = {finding.level for finding in record.findings}
    return "untrusted" if "untrusted" in levels else "caution" if "caution" in levels else "ok"


def line(record: Accuracy) -> str:
    """One cell in a log."""
    name = f"{naming.of(record.cell.backbone)} {record.cell.title}"
    if record.top1 is None:
        return f"{name}: {record.outcome.replace('_', ' ')}: {record.reason}"
    return f"{name}: top-1 {percent(record.top1, _images(record))} %" + (
        "" if record.drop is None else f", {drop(record)} points"
    )


def show(console: Console, records: Sequence[Accuracy]) -> None:
    """A table per backbone, what was found, the classes that lost most, and how to read the figures."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    for backbone in dict.fromkeys(record.cell.backbone for record in records):
        mine = [record for record in records if record.cell.backbone == backbone]
        rows = [row(record) for record in mine]
        keep = _fitting(rows, console.width)
        table = Table(title=title(mine), box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
        for i in keep:
            table.add_column(HEADERS[i], justify="right" if 2 <= i < len(HEADERS) - 1 else "left", no_wrap=True)
        for words in rows:
            drawn = [Text(words[i]) for i in keep]
            drawn[-1].stylize(_STYLES.get(words[-1], "red"))
            table.add_row(*drawn)
        console.print(table)
        for remark in remarks(mine):
            console.print(
                f"• {remark}", style="yellow", markup=False, highlight=False, soft_wrap=not console.is_terminal
            )
        for text in footer(mine):
            console.print(text, style="dim", markup=False, highlight=False, soft_wrap=not console.is_terminal)


def _fitting(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns that tell something and fit, the lesser ones left out first."""
    keep = [i for i in range(len(HEADERS)) if {words[i] for words in rows} - {"–"}]
    for header in _LESSER:
        if sum(max(len(HEADERS[i]), *(len(words[i]) for words in rows)) + 2 for i in keep) <= width:
            break
        keep = [i for i in keep if HEADERS[i] != header]
    return keep


def title(records: Sequence[Accuracy]) -> str:
    """The backbone, its weights, and what it was asked."""
    backbone = records[0].cell.backbone
    weights = backbone.weights.rpartition("/")[2]
    data = next((record.data for record in records if record.data), None)
    asked = f" · {data.images:,} images, {data.classes:,} classes" if data else ""
    return f"{naming.of(backbone)} · {weights} weights{asked}"


def row(record: Accuracy) -> tuple[str, ...]:
    """The words of one cell, in the order of `HEADERS`."""
    cell = record.cell
    lost = record.drop
    return (
        naming.of_runtime(cell),
        cell.precision,
        percent(record.top1, _images(record)) if record.top1 else "–",
        f"{record.top5.value * 100:.2f}" if record.top5 else "–",
        drop(record),
        "–" if lost is None else "<0.001" if lost.p < 0.001 else f"{lost.p:.3f}",
        "–" if lost is None else f"{lost.lost}/{lost.gained}",
        "–" if lost is None else str(lost.disagree),
        verdict(record),
    )


def remarks(records: Sequence[Accuracy]) -> list[str]:
    """Failures with their reasons, and what the findings say."""
    said = []
    for record in records:
        name = f"{naming.of(record.cell.backbone)} {record.cell.title}"
        if record.outcome != "ok":
            said.append(
                f"{name}: {record.outcome.replace('_', ' ')}: {record.reason}"
                + (f" → {record.hint}" if record.hint else "")
            )
        said += [f"{name}: {f.level}: {f.seen} → {f.advice}" for f in record.findings]
        if record.findings and (worst := _worst_classes(record)):
            said.append(f"{name}: classes that lost most: {worst}")
    if skipped := next((record.data.skipped for record in records if record.data), ()):
        said.append(f"{len(skipped)} images are left out: {'; '.join(skipped[:3])}{'; …' if len(skipped) > 3 else ''}")
    return list(dict.fromkeys(said))


def _worst_classes(record: Accuracy) -> str:
    def lost(share: ClassShare) -> int:
        return (share.baseline_right or 0) - share.right

    losing = sorted((c for c in record.per_class if lost(c) > 0), key=lost, reverse=True)[:_WORST_CLASSES]
    return ", ".join(f"{c.name} ({c.baseline_right} → {c.right} of {c.images})" for c in losing)


def footer(records: Sequence[Accuracy]) -> list[str]:
    """How to read the figures."""
    measured = next((record for record in records if record.top1), None)
    if measured is None or measured.data is None:
        return []
    compared = next((record.drop for record in records if record.drop), None)
    lines = [
        f"images: {measured.data.source}; classes: {measured.data.order}; preprocessing: "
        + ", ".join(f"{k} {_words(v)}" for k, v in measured.preprocessing.items()),
        f"top-1: share of images, {measured.interval} interval",
    ]
    if compared:
        lines[-1] += (
            f"; drop: over {measured.baseline_title}, on the same images, {compared.interval} interval; p: {compared.test}; "
            "lost/gained: right only there, right only here"
        )
    return lines


def _words(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
