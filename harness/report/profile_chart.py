"""A profile as a chart: a bar per cell, its operator groups stacked, unattributed time at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import MissingLibrary, PlanInvalid
from harness.explaining import layers
from harness.explaining.profiling import Profiled
from harness.report import naming
from harness.whole_file import whole

FORMATS = (".png", ".svg", ".pdf", ".html", ".json")
_COLOURS = (
    "#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#5b7083",
    "#c9b458", "#7f8fa6", "#b07aa1",
)  # fmt: skip
_GREY = "#c8c8c8"


def write(profiled: Profiled, path: Path) -> None:
    """Draw into `path`; its suffix is the format. Raises `PlanInvalid`, `MissingLibrary`, `StoreFailed`."""
    check(path)
    with whole(path, "--chart") as file:
        chart(profiled).save(str(file), **({"ppi": 144} if path.suffix == ".png" else {}))


def check(path: Path) -> None:
    """Raise before anything is measured where the chart could not be drawn."""
    import importlib.util

    if path.suffix not in FORMATS:
        raise PlanInvalid(
            f"a chart has no format {path.suffix or 'without a suffix'!r}", f"one of: {' '.join(FORMATS)}"
        )
    if missing := [name for name in ("altair", "vl_convert") if importlib.util.find_spec(name) is None]:
        raise MissingLibrary(f"a chart needs {', '.join(missing)}", "pip install 'backbench[report]'")


def chart(profiled: Profiled) -> Any:
    """An Altair chart."""
    import altair as alt

    names = naming.names(profile.cell.backbone for profile in profiled.profiles)
    titles = [f"{names[profile.cell.backbone]} {profile.cell.title}" for profile in profiled.profiles]
    rows = [row for title, profile in zip(titles, profiled.profiles, strict=True) for row in _rows(title, profile)]
    groups = list(dict.fromkeys(row["group"] for row in rows if row["group"] != layers.UNATTRIBUTED))
    domain = [*groups, layers.UNATTRIBUTED]
    colours = [*(_COLOURS[i % len(_COLOURS)] for i in range(len(groups))), _GREY]
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    order = {name: i for i, name in enumerate(domain)}
    data = alt.Data(values=[{**row, "order": order[row["group"]]} for row in rows])
    cell = alt.Y("cell:N", sort=cells, title=None, axis=alt.Axis(labelLimit=360))
    bars = (
        alt.Chart(data)
        .mark_bar(stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("ms:Q", title="ms per inference: layers as profiled, and the measured latency (black)"),
            y=cell,
            color=alt.Color(
                "group:N",
                title="operators",
                scale=alt.Scale(domain=domain, range=colours),
                legend=alt.Legend(orient="bottom", columns=5),
            ),
            order=alt.Order("order:Q"),
            tooltip=[
                "cell:N", "group:N", alt.Tooltip("ms:Q", format=".3f"), alt.Tooltip("share:Q", format=".1%"), "layers:Q",
            ],
        )
    )  # fmt: skip
    measured = [{"cell": t, "ms": one.latency_ns / 1e6} for t, one in zip(titles, profiled.profiles, strict=True)]
    ticks = (
        alt.Chart(alt.Data(values=measured))
        .mark_tick(color="black", thickness=3, size=34)
        .encode(x="ms:Q", y=cell, tooltip=["cell:N", alt.Tooltip("ms:Q", format=".3f", title="measured latency, ms")])
    )
    return (bars + ticks).properties(width=620, height={"step": 40})


def _rows(cell: str, profile: layers.Profile) -> list[dict[str, Any]]:
    sums: dict[str, tuple[int, float]] = {}
    for total in layers.totals(profile, lambda layer: layer.group):
        number, time_ns = sums.get(total.name, (0, 0.0))
        sums[total.name] = (number + total.layers, time_ns + total.time_ns)
    named = [(name, number, time_ns) for name, (number, time_ns) in sums.items()]
    if profile.unattributed_ns > 0:
        named.append((layers.UNATTRIBUTED, 0, profile.unattributed_ns))
    return [
        {"cell": cell, "group": name, "ms": ns / 1e6, "share": ns / profile.latency_ns, "layers": number}
        for name, number, ns in named
    ]
