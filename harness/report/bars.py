"""Bars and intervals: a row for each cell, or for each runtime and precision where there are too many cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.report import thinning
from harness.report.drawing import Domain, Drawing, Sheet
from harness.report.points import Point
from harness.units import show_bytes

BARS = 36
"""Rows that a chart has at most."""
_PHASES = {"import": "#8a8f98", "load": "#3f86c7", "first inference": "#dd7c1a"}


def speedup(cells: Sequence[Point], domain: Domain) -> Drawing | None:
    import altair as alt

    found = [p for p in cells if p.speedup is not None and not p.baseline]
    if not found:
        return None
    rows = thinning.bars(found, {"value": lambda p: p.speedup.value if p.speedup else None}, BARS)
    if rows.single:
        intervals = {p.title: p.speedup for p in found if p.speedup}
        marks = [row | {"low": intervals[row["row"]].low, "high": intervals[row["row"]].high} for row in rows.marks]
    else:
        marks = [row | {"low": row["value_low"], "high": row["value_high"]} for row in rows.marks]
    sheet = Sheet("speedup")
    marks = [mark | {"words": f"{mark['value']:.2f}× [{mark['low']:.2f}, {mark['high']:.2f}]"} for mark in marks]
    base = alt.Chart(sheet(marks)).encode(y=_rows(marks), color=domain.colour())
    tips = [alt.Tooltip("row:N", title="cell"), alt.Tooltip("words:N", title="speed-up"), alt.Tooltip("verdict:N")]
    scale = alt.Scale(type="log", padding=16, nice=False)
    rule = base.mark_rule(strokeWidth=3).encode(
        x=alt.X("low:Q", title="speed-up over the baseline (×, log scale)", scale=scale, axis=_few()),
        x2="high:Q",
        tooltip=tips,
    )
    dot = base.mark_point(filled=True, size=70, opacity=1).encode(x="value:Q", tooltip=tips)
    one = (
        alt.Chart(sheet([{"one": 1}])).mark_rule(strokeDash=[4, 3], color="currentColor", opacity=0.6).encode(x="one:Q")
    )
    said = "Right of the dashed line is faster than the baseline; the bar is the 95 % interval." if rows.single else (
        "Right of the dashed line is faster than the baseline; the bar goes from the 10th to the 90th percentile."
    )  # fmt: skip
    over = " or ".join(sorted({f"{p.runtime} {p.precision}" for p in cells if p.baseline})) or "the baseline"
    words = "; ".join(f"{mark['row']} {mark['words']}" for mark in marks[:BARS])
    return Drawing("speedup", f"Speed-up over {over}", f"{said} {rows.remark}".strip(), f"Intervals: {words}.",
                   (one + rule + dot + _labels(marks, sheet)).properties(height=_height(marks)), sheet.data)  # fmt: skip


def cold(cells: Sequence[Point]) -> Drawing | None:
    import altair as alt

    found = [p for p in cells if p.measured and p.load_s is not None and not p.control]
    if not found:
        return None
    reads = {"import": lambda p: p.import_s, "load": lambda p: p.load_s, "first inference": lambda p: p.first_s}
    rows, sheet = thinning.bars(found, reads, BARS), Sheet("cold")
    marks = [
        {"row": row["row"], "phase": phase, "seconds": row[phase], "order": order}
        for row in rows.marks for order, phase in enumerate(_PHASES)
    ]  # fmt: skip
    bars = alt.Chart(sheet(marks)).mark_bar(size=11).encode(
        y=_rows(rows.marks), x=alt.X("seconds:Q", title="seconds from the start of a process", stack=True, axis=_few()),
        color=alt.Color("phase:N", scale=alt.Scale(domain=list(_PHASES), range=list(_PHASES.values())),
                        legend=alt.Legend(title=None, orient="top")),
        order="order:Q",
        tooltip=[alt.Tooltip("row:N", title="cell"), "phase:N", alt.Tooltip("seconds:Q", format=".3f")],
    )  # fmt: skip
    words = "; ".join(f"{row['row']} {sum(row[phase] for phase in _PHASES):.2f} s" for row in rows.marks)
    caption = (
        "What passes before the second inference: importing the runtime's libraries, artifact to session (compilation "
        f"included), first inference. Making the artifact is not in it; it is done once. {rows.remark}"
    )
    return Drawing("cold", "Cold start", caption.strip(), f"Stacked bars: {words}.",
                   (bars + _labels(rows.marks, sheet)).properties(height=_height(rows.marks)), sheet.data)  # fmt: skip


def memory(cells: Sequence[Point], domain: Domain) -> Drawing | None:
    import altair as alt

    found = [p for p in cells if p.measured and p.memory_bytes is not None and not p.control]
    if not found:
        return None
    reads = {"peak": lambda p: p.memory_bytes, "artifact": lambda p: p.artifact_bytes}
    rows, sheet = thinning.bars(found, reads, BARS), Sheet("memory")
    marks = [
        row | {"peak_mb": row["peak"] / 1e6, "artifact_mb": row["artifact"] / 1e6,
               "words": show_bytes(row["peak"]), "artifact_words": show_bytes(row["artifact"])}
        for row in rows.marks
    ]  # fmt: skip
    tips = [alt.Tooltip("row:N", title="cell"), alt.Tooltip("words:N", title="memory, peak"),
            alt.Tooltip("artifact_words:N", title="artifact")]  # fmt: skip
    base = alt.Chart(sheet(marks)).encode(y=_rows(marks), tooltip=tips)
    bars = base.mark_bar(size=11).encode(x=alt.X("peak_mb:Q", title="MB", axis=_few()), color=domain.colour())
    ticks = base.mark_tick(thickness=3, size=17, color="currentColor").encode(x="artifact_mb:Q")
    caption = (
        "Bar: largest resident memory of the worker process that held this cell alone, its interpreter and libraries "
        f"included. Tick: size of the artifact on disk. {rows.remark}"
    )
    words = "; ".join(f"{mark['row']} {mark['words']}" for mark in marks)
    return Drawing("memory", "Memory and artifact size", caption.strip(), f"Bars: {words}.",
                   (bars + ticks + _labels(marks, sheet)).properties(height=_height(marks)), sheet.data)  # fmt: skip


def _rows(marks: Sequence[Mapping[str, Any]]) -> Any:
    import altair as alt

    return alt.Y("row:N", sort=[mark["row"] for mark in marks], axis=None, scale=alt.Scale(paddingOuter=0.4))


def _few() -> Any:
    import altair as alt

    return alt.Axis(tickCount=8, labelOverlap="greedy")


def _labels(marks: Sequence[Mapping[str, Any]], sheet: Sheet) -> Any:
    """The name of each row above its bar, so that a phone has room for both."""
    import altair as alt

    text = alt.Chart(sheet(marks)).mark_text(align="left", baseline="bottom", dy=-8, fontSize=11, color="currentColor")
    return text.encode(y=_rows(marks), x=alt.value(2), text="row:N")


def _height(marks: Sequence[Mapping[str, Any]]) -> int:
    return max(90, 32 * len(marks))
