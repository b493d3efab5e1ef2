"""What many cells are put together to, where one mark each would show nothing; whoever draws it says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from harness.report.points import Point
from harness.units import show_bytes, show_ms

SINGLE = 600
"""Cells that a scatter plot shows one by one."""
_GRID = 28


@dataclass(frozen=True)
class Rows:
    """Rows of a bar chart: `single` if each is one cell, else each is a variant over many backbones."""

    marks: tuple[dict[str, Any], ...]
    single: bool
    remark: str


def bars(cells: Sequence[Point], reads: Mapping[str, Callable[[Point], float | None]], most: int) -> Rows:
    """Cells as rows, in their order; more than `most` become the median of each variant, with 10th and 90th percentile."""
    if len(cells) <= most:
        return Rows(tuple(_row(p) | {name: read(p) or 0.0 for name, read in reads.items()} for p in cells), True, "")
    families: dict[str, list[Point]] = {}
    for point in cells:
        families.setdefault(point.variant, []).append(point)
    kept = dict(sorted(families.items(), key=lambda item: -len(item[1]))[:most])
    marks = []
    for name, members in kept.items():
        mark: dict[str, Any] = {"row": f"{name} · {len(members):,} cells", "runtime": members[0].runtime, "verdict": ""}
        for quantity, read in reads.items():
            values = [value for p in members if (value := read(p)) is not None]
            mark |= _spread(quantity, values)
        marks.append(mark)
    left = f" The {most} largest of {len(families):,} sets are drawn." if len(families) > most else ""
    return Rows(
        tuple(marks), False,
        f"{len(cells):,} cells are too many to draw one by one: each row is the median over the cells of one runtime and "
        f"precision.{left}",
    )  # fmt: skip


def _spread(name: str, values: Sequence[float]) -> Mapping[str, float]:
    if not values:
        return {name: 0.0, f"{name}_low": 0.0, f"{name}_high": 0.0}
    tenths = quantiles(values, n=10, method="inclusive") if len(values) > 1 else [values[0]] * 9
    return {name: median(values), f"{name}_low": tenths[0], f"{name}_high": tenths[-1]}


def scatter(cells: Sequence[Point], leading: Sequence[Point], what: str) -> list[Mapping[str, Any]]:
    """Cells as marks over latency and `what`; beyond `SINGLE`, what lies close together is one mark, except on the front."""
    chosen = {point.id for point in leading}
    front = [_mark(point, what, True) for point in leading if getattr(point, what) is not None]
    rest = [point for point in cells if point.id not in chosen]

    def across(point: Point) -> float:
        return math.log(max(point.latency_ms or 0.0, 1e-9))

    def up(point: Point) -> float:
        value = float(getattr(point, what))
        return value if what == "accuracy" else math.log(max(value, 1e-9))

    return [_together(members, what) for members in near(rest, across, up)] + front


def near(
    cells: Sequence[Point], across: Callable[[Point], float], up: Callable[[Point], float], fields: int = _GRID
) -> Sequence[Sequence[Point]]:
    """Each cell alone; beyond `SINGLE`, those of one runtime and precision together that share one of `fields` × `fields`."""
    if len(cells) <= SINGLE:
        return [[point] for point in cells]
    ends = [(min(map(read, cells)), max(map(read, cells))) for read in (across, up)]
    bins: dict[tuple[str, str, int, int], list[Point]] = {}
    for point in cells:
        column, row = (
            int(fields * (read(point) - low) / ((high - low) or 1.0))
            for read, (low, high) in zip((across, up), ends, strict=True)
        )
        bins.setdefault((point.runtime, point.precision, column, row), []).append(point)
    return list(bins.values())


def _row(point: Point) -> dict[str, Any]:
    return {"row": point.title, "runtime": point.runtime, "verdict": point.verdict}


def _mark(point: Point, what: str, front: bool) -> Mapping[str, Any]:
    return {
        "title": point.title, "backbone": point.backbone, "runtime": point.runtime, "precision": point.precision,
        "latency_ms": point.latency_ms, "y": getattr(point, what), "front": front, "memory": point.memory_bytes,
        "latency": point.latency_words, "p99": f"{show_ms(point.p99_ms * 1e6)} ms" if point.p99_ms else "–",
        "speedup": point.speedup_words, "accuracy_words": point.accuracy_words,
        "size": f"{point.params / 1e6:.3g} M" if point.params else "–",
        "artifact": show_bytes(point.artifact_bytes) if point.artifact_bytes else "–",
        "memory_words": show_bytes(point.memory_bytes) if point.memory_bytes else "–", "verdict": point.verdict,
        "published": what == "accuracy" and point.accuracy_kind == "published",
    }  # fmt: skip


def _together(members: Sequence[Point], what: str) -> Mapping[str, Any]:
    if len(members) == 1:
        return _mark(members[0], what, False)
    times = [point.latency_ms or 0.0 for point in members]
    return {
        "title": f"{len(members):,} cells, {members[0].backbone} and others", "backbone": "",
        "runtime": members[0].runtime, "precision": members[0].precision, "latency_ms": median(times),
        "y": median(getattr(point, what) for point in members), "front": False, "memory": None,
        "latency": f"{show_ms(min(times) * 1e6)} to {show_ms(max(times) * 1e6)} ms",
    }  # fmt: skip
