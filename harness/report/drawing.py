"""What every chart of a report is made of: its words beside it, one meaning of colours, shapes and dashes, its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.points import Point

PALETTE = ("#3f86c7", "#dd7c1a", "#2a9d6f", "#a06cd5", "#d1495b", "#179fb0", "#a67c52", "#8a8f98")
"""Told apart on white and on black, and by most who see colours differently; shapes and dashes say the same again."""


@dataclass(frozen=True)
class Drawing:
    """One chart: `chart` is Altair's, its width is left to whoever shows it."""

    name: str
    """`front`, `speedup`, `tails`, `cold`, `memory` or `roofline`; panels of one name belong together."""
    title: str
    caption: str
    """How to read it, and what was left out or put together."""
    described: str
    """What it shows, for who does not see it."""
    chart: Any
    data: Mapping[str, Sequence[Mapping[str, Any]]]
    """What `chart` refers to by name."""

    def spec(self) -> dict[str, Any]:
        """The Vega-Lite specification, with the data in it."""
        made: dict[str, Any] = self.chart.to_dict()
        return made | {"datasets": {name: list(marks) for name, marks in self.data.items()}}


@dataclass(frozen=True)
class Domain:
    """Runtimes and precisions of the whole report: a colour, shape or dash means the same in every chart."""

    runtimes: tuple[str, ...]
    precisions: tuple[str, ...]

    @classmethod
    def of(cls, cells: Sequence[Point]) -> Domain:
        """Those of the cells, in their order."""
        return cls(tuple(dict.fromkeys(p.runtime for p in cells)), tuple(dict.fromkeys(p.precision for p in cells)))

    def colour(self, legend: bool = True) -> Any:
        """The colour of a runtime."""
        import altair as alt

        colours = [PALETTE[i % len(PALETTE)] for i in range(len(self.runtimes))]
        shown = alt.Legend(title=None, orient="top", columns=4) if legend else None
        return alt.Color(
            "runtime:N", scale=alt.Scale(domain=list(self.runtimes), range=colours), legend=shown, title="runtime"
        )

    def shape(self) -> Any:
        """The shape of a precision."""
        import altair as alt

        shown = (
            alt.Legend(title=None, orient="top", symbolFillColor="currentColor") if len(self.precisions) > 1 else None
        )
        return alt.Shape("precision:N", scale=alt.Scale(domain=list(self.precisions)), legend=shown)


class Sheet:
    """The data of one chart, beside it: Altair checks every value that stands in a chart itself, which takes seconds."""

    def __init__(self, chart: str) -> None:
        """`chart` names it among all of a report."""
        self._chart = chart
        self.data: dict[str, list[Mapping[str, Any]]] = {}

    def __call__(self, marks: Sequence[Mapping[str, Any]]) -> Any:
        """A reference to these marks, for a chart."""
        import altair as alt

        name = f"{self._chart}/{len(self.data)}"
        self.data[name] = list(marks)
        return alt.NamedData(name=name)
