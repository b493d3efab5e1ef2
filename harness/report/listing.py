"""The table of all cells on a page: its columns, which cells it lists where there are too many, and what sums them up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import mean, median

from harness.report import points
from harness.report.points import Point
from harness.units import show_bytes, show_ms, show_seconds

REASON = 400
"""Letters of a reason that a row shows."""
REASONS = 250
"""Reasons of failures that come before the fastest cells."""


@dataclass(frozen=True)
class Cell:
    """One field: what is read, and what it is sorted by (empty sorts last)."""

    words: str
    order: str = ""


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    title: str
    meaning: str
    read: Callable[[Point], Cell]
    numeric: bool = True


@dataclass(frozen=True)
class Filter:
    """A choice above the table: values of one column, by its position."""

    title: str
    column: int
    values: tuple[str, ...]


@dataclass(frozen=True)
class Listing:
    """The table: columns that say something, and a row for each listed cell."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    filters: tuple[Filter, ...]
    remark: str


@dataclass(frozen=True)
class Summary:
    """Cells put together by runtime and precision."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remark: str


@dataclass(frozen=True)
class Doubt:
    """A failure or a reason not to trust, with the cells it concerns."""

    verdict: str
    cells: str
    why: str


def _number(read: Callable[[Point], float | None], show: Callable[[float], str]) -> Callable[[Point], Cell]:
    def cell(point: Point) -> Cell:
        value = read(point)
        return Cell("–", "") if value is None else Cell(show(value), f"{value:.5g}")

    return cell


def _word(read: Callable[[Point], str]) -> Callable[[Point], Cell]:
    return lambda point: Cell(read(point), read(point))


def _ms(value: float) -> str:
    return show_ms(value * 1e6)


def _verdict(point: Point) -> Cell:
    ranks = ("trusted", "ok", "caution", "untrusted")
    return Cell(point.verdict, str(ranks.index(point.verdict) if point.verdict in ranks else len(ranks)))


def _change(point: Point) -> Cell:
    note = point.evidence.record.accuracy if point.evidence else None
    if note is None or note.top1_drop is None:
        return Cell("–")
    words = f"{100 * note.top1_drop:+.2f}"
    if note.top1_drop_low is not None and note.top1_drop_high is not None:
        words += f" [{100 * note.top1_drop_low:+.2f}, {100 * note.top1_drop_high:+.2f}]"
    return Cell(words, f"{note.top1_drop:.5g}")


def _cut(text: str) -> str:
    return text if len(text) <= REASON else f"{text[:REASON]}… (the whole reason: --format json)"


_ALL = (
    Column("backbone", "", _word(lambda p: p.backbone), numeric=False),
    Column("runtime", "with device and options where they are not the default", _word(lambda p: p.variant), numeric=False),
    Column("precision", "as labelled and as read back", _word(lambda p: p.precision), numeric=False),
    Column("batch", "images per inference", _number(lambda p: p.batch, str)),
    Column("verdict", "how far to trust the figures, or what failed", _verdict, numeric=False),
    Column("latency ms", "median of compute (run + sync)", _number(lambda p: p.latency_ms, _ms)),
    Column("p90 ms", "only where at least 64 samples support it", _number(lambda p: p.p90_ms, _ms)),
    Column("p99 ms", "only where at least 662 samples support it", _number(lambda p: p.p99_ms, _ms)),
    Column("end-to-end ms", "median of bind + run + sync + fetch", _number(lambda p: p.end_to_end_ms, _ms)),
    Column("images/s", "batch / median latency, one inference at a time", _number(lambda p: p.throughput, "{:.4g}".format)),
    Column("speed-up", "over the baseline, with its 95 % interval",
           lambda p: Cell(p.speedup_words, f"{p.speedup.value:.5g}" if p.speedup else "1" if p.baseline else "")),
    Column("accuracy", "top-1, measured unless marked", lambda p: Cell(p.accuracy_words, str(p.accuracy or ""))),
    Column("accuracy change", "top-1 against the baseline on the same images, points, with its 95 % interval", _change),
    Column("parameters", "millions", _number(lambda p: p.params, lambda value: f"{value / 1e6:.3g} M")),
    Column("artifact", "size on disk", _number(lambda p: p.artifact_bytes, show_bytes)),
    Column("memory", "largest resident memory of the worker", _number(lambda p: p.memory_bytes, show_bytes)),
    Column("import", "importing the runtime's libraries", _number(lambda p: p.import_s, show_seconds)),
    Column("load", "artifact to session, compilation included", _number(lambda p: p.load_s, show_seconds)),
    Column("first inference", "", _number(lambda p: p.first_s, show_seconds)),
    Column("why", "reason of a failure or of a doubt", lambda p: Cell(_cut(p.why), p.why[:20]), numeric=False),
)  # fmt: skip
_ALWAYS = ("backbone", "runtime", "verdict", "latency ms")
_FILTERED = {"runtime": "runtime", "precision": "precision", "batch": "batch", "verdict": "verdict"}


def of(cells: Sequence[Point], ranked: Sequence[Point], limit: int) -> Listing:
    """The table of all cells, or of the first `limit` of the `ranked` where there are more."""
    listed = cells if len(cells) <= limit else ranked[:limit]
    columns = [c for c in _ALL if c.title in _ALWAYS or any(c.read(p).words not in ("–", "") for p in listed)]
    columns = [
        c for c in columns if c.title not in ("precision", "batch") or len({c.read(p).words for p in listed}) > 1
    ]
    rows = tuple(tuple(column.read(point) for column in columns) for point in listed)
    filters = []
    for number, column in enumerate(columns):
        values = tuple(dict.fromkeys(row[number].words for row in rows))
        if column.title in _FILTERED and 1 < len(values) <= 60:
            filters.append(Filter(column.title, number, tuple(sorted(values, key=_natural))))
    remark = ""
    if len(listed) < len(cells):
        remark = (
            f"{len(cells):,} cells are too many for one page: {len(listed):,} are listed (those on a Pareto front, one for "
            "each reason of a failure, then the fastest). All of them: backbench report RUN… --format csv or parquet."
        )
    return Listing(tuple(columns), rows, tuple(filters), remark)


def _natural(words: str) -> tuple[int, float, str]:
    return (0, float(words), "") if words.replace(".", "", 1).isdigit() else (1, 0.0, words)


def ranked(cells: Sequence[Point]) -> tuple[Point, ...]:
    """All cells, those first that a table shows where it cannot show all."""
    leading = [p for members in points.contexts(cells).values() for p in points.best(members)]
    failures = {(p.verdict, p.why): p for p in reversed(cells) if not p.measured}
    fastest = sorted((p for p in cells if p.measured), key=lambda p: p.latency_ms or 0.0)
    first = [*leading, *list(failures.values())[:REASONS], *fastest, *cells]
    return tuple({point.id: point for point in first}.values())


def summary(cells: Sequence[Point], most: int = 60) -> Summary:
    """Every runtime and precision in one row: how many cells, how they ended, how fast they are."""
    families: dict[tuple[str, int], list[Point]] = {}
    for point in cells:
        families.setdefault((point.variant, point.batch), []).append(point)
    ordered = sorted(families.items(), key=lambda item: -len(item[1]))
    rows = tuple(_summed(variant, batch, members) for (variant, batch), members in ordered[:most])
    headers = (
        "runtime",
        "batch",
        "cells",
        "measured",
        "trusted",
        "failed",
        "median latency",
        "speed-up, geometric mean",
    )
    left = f"{len(ordered) - most:,} smaller sets are left out." if len(ordered) > most else ""
    return Summary(headers, rows, left)


def _summed(variant: str, batch: int, members: Sequence[Point]) -> tuple[str, ...]:
    times = [p.latency_ms for p in members if p.latency_ms is not None]
    ratios = [p.speedup.value for p in members if p.speedup and p.speedup.value > 0]
    trusted = sum(p.verdict == "trusted" for p in members)
    return (
        variant, str(batch), f"{len(members):,}", f"{len(times):,}", f"{trusted:,}", f"{len(members) - len(times):,}",
        f"{_ms(median(times))} ms" if times else "–",
        f"{exp(mean(map(log, ratios))):.2f}×" if ratios else "–",
    )  # fmt: skip


def doubts(cells: Sequence[Point], most: int = 30) -> tuple[tuple[Doubt, ...], str]:
    """Failures and doubts by reason, failures first and the most frequent first; and what was left out."""
    found: dict[tuple[str, str], list[Point]] = {}
    for point in cells:
        if point.why:
            found.setdefault((point.verdict, point.why), []).append(point)
    ranks = {"caution": 2, "untrusted": 1}
    ordered = sorted(found.items(), key=lambda item: (ranks.get(item[0][0], 0), -len(item[1])))
    said = tuple(Doubt(verdict, _names(members), _cut(why)) for (verdict, why), members in ordered[:most])
    left = f"{len(ordered) - most:,} more reasons are in the table or in --format json." if len(ordered) > most else ""
    return said, left


def _names(members: Iterable[Point]) -> str:
    titles = [point.title for point in members]
    return ", ".join(titles) if len(titles) <= 4 else f"{', '.join(titles[:3])} and {len(titles) - 3:,} more"
