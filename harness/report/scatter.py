"""Accuracy, or size where no accuracy is known, against latency, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.report import points, thinning
from harness.report.drawing import Domain, Drawing, Sheet
from harness.report.points import Point
from harness.units import show_bytes


def front(context: str, cells: Sequence[Point], domain: Domain) -> Drawing:
    import altair as alt

    sheet = Sheet(f"front/{context}")
    leading = points.best(cells)
    by_accuracy = "accuracy" in points.axes(cells)
    what = "accuracy" if by_accuracy else points.size_of(cells)
    placed = [p for p in cells if getattr(p, what) is not None]
    marks = thinning.scatter(placed, leading, what)
    across, up = _axes(what)
    tips = [alt.Tooltip(f"{name}:N", title=title) for name, title in _TIPS.items()]
    big = alt.Size("memory:Q", legend=None, scale=alt.Scale(type="log", range=[40, 400], nice=False))
    dots = [
        alt.Chart(sheet(some)).mark_point(filled=filled, opacity=0.85, strokeWidth=2)
        .encode(x=across, y=up, color=domain.colour(), shape=domain.shape(), tooltip=tips)
        for some, filled in _by_origin(marks)
    ]  # fmt: skip
    if all(p.memory_bytes for p in placed) and len(marks) == len(placed):
        dots = [layer.encode(size=big) for layer in dots]
    leaders = [mark for mark in marks if mark["front"]]
    on_front = alt.Chart(sheet(leaders)).encode(x=across, y=up)
    line = on_front.mark_line(
        strokeDash=[4, 3], strokeWidth=1.5, color="currentColor", opacity=0.6, interpolate="step-after"
    )
    rings = on_front.mark_point(size=110, color="currentColor", strokeWidth=1.5, opacity=1)
    named = _named(leaders, marks)
    names = [_name(sheet([mark]), number, len(named)) for number, mark in enumerate(named)]
    shown = "top-1 accuracy" if by_accuracy else _SIZES[what]
    return Drawing(
        "front", f"{shown[0].upper()}{shown[1:]} against latency ({context})",
        _front_caption(cells, placed, marks, what), _front_words(leading, shown, len(placed)),
        alt.layer(line, rings, *dots, *(name.encode(x=across, y=up) for name in names)).properties(height=360),
        sheet.data,
    )  # fmt: skip


_SIZES = {"params": "number of parameters", "artifact_bytes": "artifact size"}
_TIPS = {
    "title": "cell", "latency": "latency, median [95 %]", "p99": "p99", "speedup": "speed-up [95 %]",
    "accuracy_words": "accuracy", "size": "parameters", "artifact": "artifact", "memory_words": "memory, peak",
    "verdict": "verdict",
}  # fmt: skip


def _axes(what: str) -> tuple[Any, Any]:
    import altair as alt

    across = alt.X(
        "latency_ms:Q", title="latency, median (ms, log scale)", scale=alt.Scale(type="log", padding=30, nice=False)
    )
    if what == "accuracy":
        up = alt.Y(
            "y:Q",
            title="top-1 accuracy",
            scale=alt.Scale(zero=False, padding=30, nice=False),
            axis=alt.Axis(format="%"),
        )
    else:
        unit = "bytes, " if what == "artifact_bytes" else ""
        title = f"{_SIZES[what]} ({unit}log scale)"
        up = alt.Y(
            "y:Q", title=title, scale=alt.Scale(type="log", padding=30, nice=False), axis=alt.Axis(format=".3~s")
        )
    return across, up


def _by_origin(marks: Sequence[Mapping[str, Any]]) -> list[tuple[list[Mapping[str, Any]], bool]]:
    """Marks that are drawn filled, and those that are drawn hollow because their accuracy is somebody else's figure."""
    hollow = [mark for mark in marks if mark.get("published")]
    filled = [mark for mark in marks if not mark.get("published")]
    return [(some, fill) for some, fill in ((filled, True), (hollow, False)) if some]


def _named(leaders: Sequence[Mapping[str, Any]], marks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The leaders that get their name written: from the fastest on, each far enough from the last for both to be read."""
    ends = [math.log(pick(mark["latency_ms"] for mark in marks)) for pick in (min, max)] if marks else [0.0, 0.0]
    apart, named = (ends[1] - ends[0]) / 12, list[Mapping[str, Any]]()
    for mark in leaders:
        if not named or math.log(mark["latency_ms"]) - math.log(named[-1]["latency_ms"]) >= apart:
            named.append(mark)
    return named


def _name(mark: Any, number: int, count: int) -> Any:
    """The name beside a leader: towards the middle of the chart, above and below in turn."""
    import altair as alt

    side: Any = "left" if number < count / 2 else "right"
    text = alt.Chart(mark).mark_text(
        align=side,
        dx=-6 if side == "left" else 6,
        dy=17 if number % 2 else -16,
        fontSize=11,
        color="currentColor",
        limit=180,
    )
    return text.encode(text="backbone:N")


def _front_caption(
    cells: Sequence[Point], placed: Sequence[Point], marks: Sequence[Mapping[str, Any]], what: str
) -> str:
    said = []
    if what == "accuracy":
        kinds = sorted({p.accuracy_kind for p in placed})
        said.append(f"Accuracy is {' or '.join(kinds)}; up and to the left is better.")
        if "published" in kinds:
            said.append("Hollow marks: published of exactly these weights, not measured here.")
    else:
        said.append(
            "No accuracy was measured: this shows which cells are faster and smaller, not which are more often right. "
            "Down and to the left is better."
        )
    said.append(
        "The dashed line is the Pareto front: no other cell beats these on one axis without losing on the other."
    )
    if len(marks) == len(placed) and all(p.memory_bytes for p in placed):
        low, high = (pick(p.memory_bytes or 0 for p in placed) for pick in (min, max))
        said.append(f"The larger a mark, the more memory ({show_bytes(low)} to {show_bytes(high)}).")
    if len(marks) < len(placed):
        said.append(
            f"{len(placed):,} cells are drawn as {len(marks):,} marks: cells on the front one by one, the others "
            "together where they lie close to each other (the tooltip tells how many)."
        )
    if len(placed) < len(cells):
        said.append(
            f"{len(cells) - len(placed):,} measured cells are missing: their {what.split('_')[0]} is not known."
        )
    return " ".join(said)


def _front_words(leading: Sequence[Point], shown: str, count: int) -> str:
    named = ", ".join(f"{p.title} at {p.latency_words}" for p in leading[:8])
    more = f" and {len(leading) - 8} more" if len(leading) > 8 else ""
    return f"Scatter plot of {count} cells, {shown} over latency. On the Pareto front: {named}{more}."
