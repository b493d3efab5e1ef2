"""A report as one HTML file for a person who decides: nothing is fetched, everything is in the file."""

from __future__ import annotations

import base64
import functools
import gzip
import importlib.util
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from harness import __version__
from harness.errors import StoreFailed
from harness.report import answer, charts, content, listing, points, roofs, tails
from harness.report.content import Reported, versions_told
from harness.report.drawing import Drawing
from harness.report.points import Point
from harness.units import counted

LIMIT = 2_000_000
"""Bytes that a page may have."""
LISTED = (2000, 1500, 1000, 500, 200, 50)
"""Cells in its table: the most that fit are taken."""
_TONES = {"trusted": "good", "ok": "none", "caution": "fair", "untrusted": "bad", "unsupported": "none"}
_SHORT = {
    "front": "Choice",
    "speedup": "Speed-up",
    "tails": "Distributions",
    "cold": "Cold start",
    "memory": "Memory",
    "roofline": "Roofline",
}
_CONFIG: Mapping[str, Any] = {
    "background": "transparent", "font": 'system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif',
    "view": {"stroke": None}, "title": {"color": "currentColor"},
    "axis": {"labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor", "domainOpacity": 0.5,
             "tickColor": "currentColor", "tickOpacity": 0.5, "gridColor": "currentColor", "gridOpacity": 0.13,
             "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "labelFlush": True},
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12, "symbolStrokeWidth": 2},
}  # fmt: skip
"""`currentColor` is what the page writes in: one drawing does for light, dark and print."""


@dataclass(frozen=True)
class _Figure:
    number: int
    title: str
    caption: str
    described: str


@dataclass(frozen=True)
class _Section:
    name: str
    short: str
    title: str
    caption: str
    figures: tuple[_Figure, ...]
    table: roofs.Table | None


@dataclass(frozen=True)
class _Origin:
    title: str
    command: str
    facts: tuple[tuple[str, str], ...]


def page(reported: Sequence[Reported], folders: Sequence[Path] = ()) -> str:
    """The whole page, below `LIMIT` bytes. `folders` hold the raw samples of the runs, in their order.

    Raises `MissingLibrary`, and `StoreFailed` where not even the shortest table fits.
    """
    cells = points.of(reported, folders)
    drawings = charts.draw(cells, tails.read(folders, cells))
    many = len(cells) > LISTED[-1]
    ranked, summed = (listing.ranked(cells), listing.summary(cells)) if many else (cells, None)
    fixed = _fixed(reported, cells, _sections(drawings, {"roofline": roofs.table(ranked, reported)}), _packed(drawings))
    size = 0
    for limit in LISTED:
        table = listing.of(cells, ranked, limit)
        made = _render({**fixed, "listing": table, "summary": summed if table.remark else None})
        size = len(made.encode())
        if size < LIMIT:
            return made
    raise StoreFailed(
        f"the page would have {size:,} bytes, over the {LIMIT:,} that it may have", "report fewer runs at a time"
    )


def _fixed(
    reported: Sequence[Reported], cells: Sequence[Point], sections: Sequence[_Section], packed: Mapping[str, str]
) -> dict[str, Any]:
    said, left = listing.doubts(cells)
    return {
        "version": __version__, "title": " + ".join(dict.fromkeys(one.run.plan.name for one in reported)),
        "counts": _counts(cells), "answers": answer.of(cells), "sections": sections,
        "doubts": said, "doubts_left": left, "origins": [_origin(one) for one in reported], "notes": _notes(reported),
        "packed": packed, "tones": _TONES, "zip": zip,
        "css": _own("report.css"), "script": _own("report.js"),
    }  # fmt: skip


def _render(values: Mapping[str, Any]) -> str:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise charts.missing("Jinja2") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("harness.report") / "page" / "report.html.j2").read_text("utf-8"))
    return template.render(values) + "\n"


def _counts(cells: Sequence[Point]) -> str:
    verdicts: dict[str, int] = {}
    for point in cells:
        verdicts[point.verdict] = verdicts.get(point.verdict, 0) + 1
    said = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(verdicts.items(), key=lambda item: -item[1]))
    backbones = len({point.backbone for point in cells})
    return (
        f"{counted(len(cells), 'cell')} of {counted(backbones, 'backbone')}: {said}"
        if cells
        else "No cells: nothing has finished yet."
    )


def _sections(drawings: Sequence[Drawing], tables: Mapping[str, roofs.Table | None]) -> list[_Section]:
    """Charts by name, with the table of that name; what the captions of several have in common is said once."""
    made: list[_Section] = []
    for name in dict.fromkeys(d.name for d in drawings):
        mine = [(number, drawing) for number, drawing in enumerate(drawings) if drawing.name == name]
        same = len({drawing.caption for _, drawing in mine}) == 1
        figures = tuple(_Figure(n, d.title, "" if same else d.caption, d.described) for n, d in mine)
        title = "Latency distributions" if name == "tails" else mine[0][1].title if len(mine) == 1 else _SHORT[name]
        made.append(_Section(name, _SHORT[name], title, mine[0][1].caption if same else "", figures, tables.get(name)))
    return made


def _notes(reported: Sequence[Reported]) -> list[str]:
    lines = [line for one in reported for line in content.footer(one)]
    read = [line for line in dict.fromkeys(lines) if line.partition(":")[0] in ("latency", "speed-up", "weights")]
    verdicts = "verdicts: trusted, caution (the figure may be off; the reason is given), untrusted (do not use it)"
    several = ["runs: cells of different runs were not measured in turn; drift of the machine is in their difference"]
    return [*read, verdicts, *(several if len(reported) > 1 else [])]


def _origin(one: Reported) -> _Origin:
    run, machine = one.run, one.run.machine
    facts = {
        "machine": f"{machine.get('cpu')}, {machine.get('cpus_usable')} CPUs"
        + (", virtual" if machine.get("virtual_machine") else ""),
        "system": f"{machine.get('system')}, {machine.get('kernel') or machine.get('architecture') or ''}".strip(", "),
        "versions": versions_told(run.versions),
        **{f"versions in {python}": versions_told(found) for python, found in run.elsewhere.items()},
        "started": run.started, "finished": run.finished or "unfinished: cells may be missing",
    }  # fmt: skip
    if run.overhead_ns is not None:
        facts["overhead"] = f"the harness's own time per inference: {run.overhead_ns / 1000:.2g} µs"
    return _Origin(run.id, shlex.join(run.command), tuple(facts.items()))


def _packed(drawings: Sequence[Drawing]) -> Mapping[str, str]:
    """Specifications and libraries, compressed: base64 holds nothing that could end the element it stands in."""
    specs = [_fitted(drawing.spec()) for drawing in drawings]
    data = _pack(json.dumps({"specs": specs, "config": _CONFIG}, ensure_ascii=False, allow_nan=False))
    return {"data": data, "vega": _vega(), "datatables": _datatables()}


@functools.cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed; bundling them takes a second."""
    try:
        import vl_convert
    except ImportError as error:
        raise charts.missing("vl-convert-python") from error
    return _pack(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


@functools.cache
def _datatables() -> str:
    """DataTables with its extensions, as itables brings it; importing itables itself takes a second and is not needed."""
    found = importlib.util.find_spec("itables")
    if found is None or not found.submodule_search_locations:
        raise charts.missing("itables")
    return _pack((Path(found.submodule_search_locations[0]) / "html" / "dt_bundle.js").read_text("utf-8"))


def _fitted(spec: dict[str, Any]) -> dict[str, Any]:
    """The specification as wide as its place on the page."""
    own = {key: value for key, value in spec.items() if key != "config"}
    return own | {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}


def _pack(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _own(name: str) -> Any:
    """A file of the page, as text that is not escaped."""
    from markupsafe import Markup

    return Markup((files("harness.report") / "page" / name).read_text("utf-8"))
