"""Cells below the measured ceilings of their machine (the roofline), as a chart and a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.record import Roofline
from harness.report import roofline, thinning
from harness.report.content import Reported
from harness.report.drawing import Domain, Drawing, Sheet
from harness.report.points import Point
from harness.report.roofline import giga

ROWS = 60
"""Cells that the table lists."""
LINES = 6
"""Ceilings of one kind that a chart shows."""
_FIELDS = 12
"""Of the grid for many cells: coarser than a scatter plot's, which is what a page is read for first."""
_ALIKE = 1.05
"""Ceilings of one name within this factor are one line: they were measured twice."""
_NAMED = 1.3
"""How far up a slope its name stands."""
_HEADERS = ("backbone", "runtime", *roofline.HEADERS[4:])


@dataclass(frozen=True)
class Table:
    """The table beside the charts."""

    caption: str
    headers: tuple[str, ...]
    numeric: frozenset[str]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Ceiling:
    name: str
    per_s: float
    """Operations, or bytes."""


@dataclass(frozen=True)
class _Frame:
    """What a chart spans: operations per byte across, GFLOP/s up; and the ceilings in it."""

    flats: tuple[_Ceiling, ...]
    slopes: tuple[_Ceiling, ...]
    across: tuple[float, float]
    up: tuple[float, float]


def contexts(cells: Sequence[Point]) -> Mapping[str, tuple[Point, ...]]:
    """Cells whose operations were counted, by machine and device."""
    found: dict[str, list[Point]] = {}
    for point in cells:
        if point.roofline is not None:
            found.setdefault(point.machine if point.device == "cpu" else f"{point.machine}, {point.device}", []).append(
                point
            )
    return {name: tuple(members) for name, members in found.items()}


def table(ranked: Sequence[Point], reported: Sequence[Reported]) -> Table | None:
    """Every cell that has a roofline, the first of the `ranked` where there are many; None where none has."""
    placed = [point for point in ranked if point.roofline is not None]
    if not placed:
        return None
    rows = tuple(
        (p.backbone, p.variant, *roofline.figures(p.roofline, p.latency_ms * 1e6))
        for p in placed[:ROWS]
        if p.roofline is not None and p.latency_ms is not None
    )
    notes = roofline.footer([record for one in reported for record in one.records])
    if len(placed) > ROWS:
        notes = [f"{ROWS} of {len(placed):,} cells are listed; all of them: backbench report RUN… --format csv", *notes]
    return Table("How far each cell is from its machine's ceilings", _HEADERS, roofline.NUMERIC, rows, tuple(notes))


def roofs(context: str, cells: Sequence[Point], domain: Domain) -> Drawing:
    """Operations per second over operations per byte, below the ceilings, both on log axes."""
    import altair as alt

    sheet, frame = Sheet(f"roofline/{context}"), _frame(cells)
    groups = thinning.near(cells, lambda p: math.log(_of(p).intensity), lambda p: math.log(_of(p).flops_per_s), _FIELDS)
    marks = [_mark(members) for members in groups]
    across = alt.X(
        "flop_per_byte:Q",
        title="FLOP per byte that must be moved (log scale)",
        scale=alt.Scale(type="log", domain=list(frame.across), nice=False),
        axis=alt.Axis(format=".3~s"),
    )
    up = alt.Y(
        "gflops:Q",
        title="GFLOP/s (log scale)",
        scale=alt.Scale(type="log", domain=list(frame.up), nice=False),
        axis=alt.Axis(format="~f"),
    )
    tips = [alt.Tooltip(f"{name}:N", title=title) for name, title in _TIPS.items()]
    dots = alt.Chart(sheet(marks)).mark_point(filled=True, size=90, opacity=0.85)
    layers = [dots.encode(x=across, y=up, color=domain.colour(), shape=domain.shape(), tooltip=tips)]
    lines, names = _lines(frame)
    if lines:
        drawn = alt.Chart(sheet(lines)).mark_line(color="currentColor", strokeWidth=1.5, opacity=0.7, clip=True)
        layers.insert(0, drawn.encode(x=across, y=up, detail="line:N"))
    layers += [_text(sheet(mine), side).encode(x=across, y=up, text="words:N")
               for side in _SIDES if (mine := [name for name in names if name["side"] == side])]  # fmt: skip
    return Drawing(
        "roofline", f"Roofline: {context}", _caption(cells, marks, frame), _words(cells),
        alt.layer(*layers).properties(height=340), sheet.data,
    )  # fmt: skip


_SIDES: Mapping[str, Mapping[str, Any]] = {"left": {"dx": 14, "dy": 8}, "right": {"dx": -4, "dy": -7}}
"""Where the name of a ceiling stands: below a slope at its beginning, above a flat at its end."""
_TIPS = {
    "title": "cell", "rate": "operations per second", "moved": "of what must be moved", "latency": "latency, median [95 %]",
    "fraction": "of roofline", "bound": "bound by",
}  # fmt: skip


def _text(data: Any, side: str) -> Any:
    import altair as alt

    return alt.Chart(data).mark_text(align=side, fontSize=11, color="currentColor", **_SIDES[side])


def _of(point: Point) -> Roofline:
    assert point.roofline is not None
    return point.roofline


def _mark(members: Sequence[Point]) -> Mapping[str, Any]:
    """One cell, or several that lie together, at their medians."""
    point, found = members[0], [_of(p) for p in members]
    fractions = [one.fraction for one in found if one.fraction is not None]
    several = f"{len(members):,} cells, {point.title} and others"
    return {
        "title": point.title if len(members) == 1 else several, "runtime": point.runtime, "precision": point.precision,
        "flop_per_byte": float(f"{median(one.intensity for one in found):.4g}"),
        "gflops": float(f"{median(one.flops_per_s for one in found) / 1e9:.4g}"),
        "rate": f"{giga(median(one.flops_per_s for one in found))} GFLOP/s",
        "moved": f"{giga(median(one.bytes_per_s for one in found))} GB/s",
        "latency": point.latency_words if len(members) == 1 else "–",
        "fraction": f"{median(fractions):.0%}" if fractions else "–",
        "bound": " or ".join(sorted({one.bound for one in found if one.bound})) or "–",
    }  # fmt: skip


# ── ceilings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _frame(cells: Sequence[Point]) -> _Frame:
    found = [(p.precision, _of(p)) for p in cells]
    flats = _distinct((name, one.peak_flops_per_s) for name, one in found)
    slopes = _distinct((one.memory_level, one.peak_bytes_per_s) for _, one in found)
    wide = [one.intensity for _, one in found]
    high = [one.flops_per_s / 1e9 for _, one in found]
    if flats:
        high += [flat.per_s / 1e9 for flat in flats]
        wide += [flat.per_s / slope.per_s for slope in slopes for flat in (flats[0], flats[-1])]
    return _Frame(flats, slopes, (min(wide) / 3, max(wide) * 3), (min(high) / 2.5, max(high) * 1.8))


def _distinct(named: Iterable[tuple[str, float | None]]) -> tuple[_Ceiling, ...]:
    """The ceilings, the highest first; those of one name that are alike are one."""
    kept: list[_Ceiling] = []
    for name, value in sorted({(n, v) for n, v in named if v is not None}, key=lambda pair: -pair[1]):
        if not any(one.name == name and one.per_s / value < _ALIKE for one in kept):
            kept.append(_Ceiling(name, value))
    return tuple(kept[:LINES])


def _lines(frame: _Frame) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The ends of all lines: slopes up to the highest flat, flats from the steepest slope on; and their names."""
    lines: list[Mapping[str, Any]] = []
    names: list[Mapping[str, Any]] = []
    if not (frame.flats and frame.slopes):
        return lines, names
    top, steepest = frame.flats[0].per_s, frame.slopes[0].per_s
    for slope in frame.slopes:
        begin = max(frame.across[0], frame.up[0] * 1e9 / slope.per_s)
        ends = [(begin, begin * slope.per_s), (top / slope.per_s, top)]
        lines += _line(f"slope {slope.per_s}", ends)
        named = begin * _NAMED  # a name at the very end of a slope would lie over the axis
        names.append(_name(f"{slope.name} {giga(slope.per_s)} GB/s", named, named * slope.per_s, "left"))
    for flat in frame.flats:
        lines += _line(
            f"flat {flat.name} {flat.per_s}", [(flat.per_s / steepest, flat.per_s), (frame.across[1], flat.per_s)]
        )
    for value, group in _close(frame.flats):
        words = ", ".join(f"{flat.name} {giga(flat.per_s)}" for flat in group)
        names.append(_name(f"{words} GFLOP/s", frame.across[1], value, "right"))
    return lines, names


def _close(flats: Sequence[_Ceiling]) -> list[tuple[float, list[_Ceiling]]]:
    """Flats whose names would be written over each other get one, above the highest of them."""
    groups: list[tuple[float, list[_Ceiling]]] = []
    for flat in flats:
        if groups and groups[-1][1][-1].per_s / flat.per_s < 1.25:
            groups[-1][1].append(flat)
        else:
            groups.append((flat.per_s, [flat]))
    return groups


def _line(name: str, ends: Sequence[tuple[float, float]]) -> list[Mapping[str, Any]]:
    return [{"line": name, "flop_per_byte": x, "gflops": y / 1e9} for x, y in ends]


def _name(words: str, across: float, up: float, side: str) -> Mapping[str, Any]:
    return {"words": words, "flop_per_byte": across, "gflops": up / 1e9, "side": side}


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _caption(cells: Sequence[Point], marks: Sequence[object], frame: _Frame) -> str:
    if frame.flats and frame.slopes:
        said = [
            "The lines are ceilings that were measured on this machine: the slope is what memory or cache delivers, the "
            "flat is what arithmetic of a precision reaches. A cell under the slope is bound by memory, one under the flat "
            "by computing; how far it is below the line of its precision is what better kernels could still give."
        ]
    else:
        said = [f"No ceilings are drawn: {next((r for p in cells if (r := _of(p).unavailable)), 'none was measured')}."]
    if len(marks) < len(cells):
        said.append(f"{len(cells):,} cells are drawn as {len(marks):,} marks: those close to each other together.")
    return " ".join(said)


def _words(cells: Sequence[Point]) -> str:
    known = sorted((p for p in cells if _of(p).fraction is not None), key=lambda p: _of(p).fraction or 0.0)
    counted = (
        f"Scatter plot of {len(cells):,} cells, operations per second over operations per byte, below the ceilings."
    )
    if not known:
        return counted
    low, high = ("; ".join(f"{p.title} {_of(p).fraction:.0%}" for p in some) for some in (known[:4], known[:-5:-1]))
    return f"{counted} Of the roofline reach the most: {high}. The least: {low}."
