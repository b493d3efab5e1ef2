"""The charts of a report as one picture: PNG, SVG or PDF."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from harness.errors import PlanInvalid
from harness.report import charts, points, tails
from harness.report.content import Reported
from harness.report.drawing import Drawing

Kind = Literal["png", "svg", "pdf"]
WIDTH = 720
"""Width of a chart in points; panels stand two in a row."""


def picture(
    reported: Sequence[Reported], folders: Sequence[Path], kind: Kind, names: Collection[str] = charts.NAMES
) -> bytes:
    """The charts called `names`, one below the other, black on white.

    Raises `MissingLibrary`, and `PlanInvalid` where the runs have no data for any of them.
    """
    cells = points.of(reported, folders)
    drawings = [d for d in charts.draw(cells, tails.read(folders, cells)) if d.name in names]
    if not drawings:
        raise PlanInvalid(
            f"the runs have nothing to draw for {', '.join(names)}",
            "charts need cells that were measured: backbench report RUN… shows why there are none",
        )
    return _converted(_together(drawings), kind)


def _together(drawings: Sequence[Drawing]) -> dict[str, Any]:
    import altair as alt

    rows: list[Any] = []
    for name in dict.fromkeys(d.name for d in drawings):
        mine = [d for d in drawings if d.name == name]
        wide = (WIDTH - 60) // 2 if name == "tails" and len(mine) > 1 else WIDTH
        shown = [d.chart.properties(width=wide, title=alt.Title(d.title, anchor="start")) for d in mine]
        rows.append(alt.concat(*shown, columns=2 if wide < WIDTH else 1).resolve_scale(color="independent"))
    sheet = alt.vconcat(*rows).resolve_scale(color="independent", shape="independent", size="independent")
    made: dict[str, Any] = sheet.configure_view(stroke=None).properties(background="white", padding=16).to_dict()
    return made | {"datasets": {name: list(marks) for d in drawings for name, marks in d.data.items()}}


def _converted(spec: dict[str, Any], kind: Kind) -> bytes:
    try:
        import vl_convert
    except ImportError as error:
        raise charts.missing("vl-convert-python") from error
    if kind == "svg":
        return str(vl_convert.vegalite_to_svg(spec)).encode()
    return bytes(vl_convert.vegalite_to_pdf(spec) if kind == "pdf" else vl_convert.vegalite_to_png(spec, scale=2))
