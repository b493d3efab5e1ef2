"""The chart of `backbench selftest`: every experiment's interval, and how intervals narrow with time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import whole_file
from harness.errors import MissingLibrary

if TYPE_CHECKING:
    import altair as alt

    from harness.selftest import Selftest


def write(found: Selftest, file: Path) -> None:
    """Draw into FILE.html (self-contained, no network), FILE.png or FILE.svg. Raises `BackbenchError`."""
    try:
        import altair  # noqa: F401
        import vl_convert as convert
    except ImportError as error:
        raise MissingLibrary(f"drawing needs {error.name}", "pip install 'backbench[report]'") from error
    data = chart(found).to_dict()
    if file.suffix == ".html":
        made: bytes | str = convert.vegalite_to_html(data, bundle=True)
    else:
        made = convert.vegalite_to_svg(data) if file.suffix == ".svg" else convert.vegalite_to_png(data, scale=2)
    whole_file.write(file, made, "--plot")


def chart(found: Selftest) -> alt.VConcatChart:
    """The two charts, one above the other."""
    import altair as alt

    calibration = found.calibration
    experiments = [
        {
            "experiment": number,
            "ratio": i.value,
            "low": i.low,
            "high": i.high,
            "interval": "contains 1.00" if i.low <= 1 <= i.high else "misses 1.00",
        }
        for number, i in enumerate(sorted(calibration.intervals, key=lambda i: i.value), 1)
    ]
    scale = alt.Scale(domain=["contains 1.00", "misses 1.00"], range=["#3b76af", "#c8553d"])
    colour = alt.Color("interval:N", title=None, scale=scale, legend=alt.Legend(orient="top"))
    base = alt.Chart(alt.Data(values=experiments)).encode(
        x=alt.X("experiment:Q", title="experiment, in order of its ratio", axis=alt.Axis(tickMinStep=1, grid=False)),
        color=colour,
    )
    ratio = alt.Y("low:Q", title="ratio of a cell to itself", scale=alt.Scale(zero=False))
    tooltip = [alt.Tooltip(f"{name}:Q", format=".4f") for name in ("ratio", "low", "high")]
    intervals = base.mark_rule(strokeWidth=2).encode(y=ratio, y2="high:Q", tooltip=tooltip) + base.mark_point(
        filled=True, size=60, opacity=1
    ).encode(y="ratio:Q", tooltip=tooltip)
    one = alt.Chart(alt.Data(values=[{"y": 1}])).mark_rule(strokeDash=[4, 4], color="#777").encode(y="y:Q")
    widths = [
        {"seconds": p.seconds, "share": value, "what": what}
        for p in calibration.points
        for what, value in (("half-width of the interval", p.half_width), ("1.96 × spread", 1.96 * p.spread))
    ]
    width = (
        alt.Chart(alt.Data(values=widths))
        .mark_line(point=True)
        .encode(
            x=alt.X("seconds:Q", title="measuring time per cell, s", scale=alt.Scale(type="log", nice=False)),
            y=alt.Y("share:Q", title="of the ratio", axis=alt.Axis(format=".1%"), scale=alt.Scale(zero=True)),
            color=alt.Color(
                "what:N", title=None, scale=alt.Scale(range=["#8a8a8a", "#3b76af"]), legend=alt.Legend(orient="top")
            ),
        )
    )
    title = f"{found.cell} against itself: 1.00 in {calibration.whole.covered} of {calibration.whole.experiments}"
    return (
        alt.vconcat((one + intervals).properties(width=560, height=260), width.properties(width=560, height=180))
        .resolve_scale(color="independent")
        .properties(title=title)
    )
