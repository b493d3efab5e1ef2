"""Latency distributions: every timed inference, sorted, on an axis that is stretched towards the tail."""

from __future__ import annotations

from harness.report.drawing import Domain, Drawing, Sheet
from harness.report.tails import Panel, Tails


def tail(panel: Panel, tails: Tails, domain: Domain) -> Drawing:
    import altair as alt

    sheet = Sheet(f"tails/{panel.curves[0].point.id}")
    marks = [
        {"cell": curve.point.variant, "runtime": curve.point.runtime, "precision": curve.point.precision,
         "ms": round(ms, 6), "slower": share, "rank": f"p{100 * (1 - share):.4g}", "samples": curve.samples}
        for curve in panel.curves for ms, share in curve.steps
    ]  # fmt: skip
    ticks = [1, 0.5, 0.1, 0.05, 0.01, 0.001, 0.0001]
    fewest = min(share for curve in panel.curves for _, share in curve.steps)
    up = alt.Y(
        "slower:Q", title="percentile", scale=alt.Scale(type="log", reverse=True, domain=[fewest, 1], nice=False),
        axis=alt.Axis(values=[t for t in ticks if t >= fewest],
                      labelExpr="'p' + format(100 * (1 - datum.value), '.4~g')"),
    )  # fmt: skip
    tips = [alt.Tooltip("cell:N"), alt.Tooltip("rank:N", title="percentile"),
            alt.Tooltip("ms:Q", title="latency (ms)", format=".3~r"), alt.Tooltip("samples:Q", format=",")]  # fmt: skip
    across = alt.X("ms:Q", title="latency of single inferences (ms, log scale)",
                   scale=alt.Scale(type="log", nice=False, padding=10))  # fmt: skip
    encoded = alt.Chart(sheet(marks)).encode(x=across, y=up, color=domain.colour(), detail="cell:N", tooltip=tips)
    if len(domain.precisions) > 1:
        encoded = encoded.encode(
            strokeDash=alt.StrokeDash("precision:N", scale=alt.Scale(domain=list(domain.precisions)),
                                      legend=alt.Legend(title=None, orient="top", symbolType="stroke",
                                                        symbolStrokeColor="currentColor"))
        )  # fmt: skip
    line = encoded.mark_line(interpolate="step-before", strokeWidth=2, order=False) + encoded.mark_circle(
        size=90, opacity=0
    )
    caption = (
        "Every timed inference, sorted (an empirical distribution whose axis is stretched towards the tail). The higher a "
        f"curve bends to the right, the longer its tail. {' '.join(tails.remarks)}"
    )
    words = "; ".join(
        f"{c.point.variant}: {c.samples} samples, median {c.point.latency_words}, slowest {c.steps[-1][0]:.3g} ms"
        for c in panel.curves
    )
    return Drawing(
        "tails", panel.title, caption, f"Distribution of latencies. {words}.", line.properties(height=230), sheet.data
    )
