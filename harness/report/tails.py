"""Distributions from raw samples: which cells are drawn, and how few ranks of a large sample show its whole shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import store
from harness.report import points
from harness.report.points import Point

PANELS, CURVES, RANKS = 12, 8, 120
"""At most so many panels, curves in one, and ranks of one curve."""


@dataclass(frozen=True)
class Curve:
    """The distribution of one cell's `compute` samples: (latency in ms, share of samples that are at least as slow)."""

    point: Point
    samples: int
    steps: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """Cells that were measured in turn, with the distribution of each."""

    title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Tails:
    """All distributions that are drawn, and what was left out."""

    panels: tuple[Panel, ...]
    remarks: tuple[str, ...]


def read(folders: Sequence[Path], cells: Sequence[Point]) -> Tails:
    """Distributions of the most telling groups: those with a cell on a Pareto front first. Reads only their samples."""
    groups = _groups(cells)
    shown = {name: _curves_of(members) for name, members in list(groups.items())[:PANELS]}
    wanted = [point for members in shown.values() for point in members]
    drawn = {point.id: samples for point, samples in _samples(folders, wanted)}
    panels = []
    for members in shown.values():
        curves = [Curve(p, len(drawn[p.id]), decimated(drawn[p.id])) for p in members if drawn.get(p.id)]
        if curves:
            panels.append(Panel(_title(members[0], cells), tuple(curves)))
    return Tails(tuple(panels), tuple(_remarks(groups, shown, drawn)))


def decimated(samples: Iterable[float], ranks: int = RANKS) -> tuple[tuple[float, float], ...]:
    """At most `ranks` of the samples with the share of all that are at least as slow, from fast to slow.

    The maximum, the minimum and the slowest samples are all kept; further in, ranks are taken ever more sparsely (half of
    them evenly in the logarithm of the rank from the slow end, half evenly in the rank), and none is interpolated.
    """
    ordered = sorted(samples)
    count = len(ordered)
    if count <= ranks:
        kept = set(range(count))
    else:
        half = ranks // 2
        even = {round(i * (count - 1) / (half - 1)) for i in range(half)}
        slow = {count - round(count ** (i / (half - 1))) for i in range(half)}
        kept = even | slow
    return tuple((ordered[i], (count - i) / count) for i in sorted(kept))


def _groups(cells: Sequence[Point]) -> dict[tuple[int, str], list[Point]]:
    """Measured cells by group; groups with a cell on a front first, otherwise in the order of the run."""
    leading = {(p.folder, p.group) for members in points.contexts(cells).values() for p in points.best(members)}
    found: dict[tuple[int, str], list[Point]] = {}
    for point in cells:
        if point.measured:
            found.setdefault((point.folder, point.group), []).append(point)
    return dict(sorted(found.items(), key=lambda item: item[0] not in leading))


def _curves_of(members: Sequence[Point]) -> list[Point]:
    """The baseline and the fastest, as many as can be told apart, in the order of the run."""
    if len(members) <= CURVES:
        return list(members)
    first = sorted(members, key=lambda p: (not p.baseline, p.latency_ms or 0.0))[:CURVES]
    return [point for point in members if point in first]


def _samples(folders: Sequence[Path], wanted: Sequence[Point]) -> Iterable[tuple[Point, list[float]]]:
    for number, folder in enumerate(folders):
        mine = {point.key: point for point in wanted if point.folder == number}
        found: dict[str, list[float]] = {key: [] for key in mine}
        if mine and (folder / store.SAMPLES).exists():
            for sample in store.read_samples(folder, mine.keys()):
                found[sample.key].extend(ns / 1e6 for ns in sample.burst.compute_ns)
        yield from ((mine[key], samples) for key, samples in found.items())


def _title(point: Point, cells: Sequence[Point]) -> str:
    several = len({p.batch for p in cells if p.backbone == point.backbone}) > 1
    return f"{point.backbone}, batch {point.batch}" if several else point.backbone


def _remarks(
    groups: dict[tuple[int, str], list[Point]],
    shown: dict[tuple[int, str], list[Point]],
    drawn: dict[str, list[float]],
) -> Iterable[str]:
    if len(groups) > len(shown):
        yield (
            f"{len(shown)} of {len(groups)} groups are drawn: those with a cell on a Pareto front first, then in the "
            "order of the run."
        )
    cut = sum(len(groups[name]) > len(members) for name, members in shown.items())
    if cut:
        yield f"In {cut} of them only the baseline and the {CURVES - 1} fastest cells are drawn."
    most = max((len(samples) for samples in drawn.values()), default=0)
    if most > RANKS:
        yield (
            f"Of up to {most:,} samples a curve draws at most {RANKS}: the slowest ones all, the others ever more sparsely, "
            "none interpolated. Nothing is clipped."
        )
    lacking = sum(not samples for samples in drawn.values())
    if lacking:
        yield f"Of {lacking} cells there are no raw samples."
    if any(p.verdict == "untrusted" for members in shown.values() for p in members):
        yield "Untrusted cells are drawn too: their distribution shows why."
