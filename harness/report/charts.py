"""The charts of a report, drawn by Altair; each says in words what it shows, what it left out and how to read it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from harness.errors import MissingLibrary
from harness.report import bars, curves, points, roofs, scatter
from harness.report.drawing import Domain, Drawing
from harness.report.points import Point
from harness.report.tails import Tails

NAMES = ("front", "speedup", "tails", "cold", "memory", "roofline")
"""Names of the charts, in the order in which they are shown."""
CONTEXTS = 4
"""Machines and batch sizes (for the roofline, machines and devices) that get a chart of their own."""


def draw(cells: Sequence[Point], tails: Tails) -> tuple[Drawing, ...]:
    """All charts that the cells have data for, in the order of `NAMES`. Raises `MissingLibrary`."""
    if importlib.util.find_spec("altair") is None:
        raise missing("altair")
    domain = Domain.of(cells)
    drawn = [scatter.front(name, members, domain) for name, members in list(points.contexts(cells).items())[:CONTEXTS]]
    drawn += [curves.tail(panel, tails, domain) for panel in tails.panels]
    drawn += [roofs.roofs(name, members, domain) for name, members in list(roofs.contexts(cells).items())[:CONTEXTS]]
    rows = (bars.speedup(cells, domain), bars.cold(cells), bars.memory(cells, domain))
    drawn += [drawing for drawing in rows if drawing is not None]
    return tuple(sorted(drawn, key=lambda drawing: NAMES.index(drawing.name)))


def missing(name: str) -> MissingLibrary:
    """The error that says which library of the extra `report` is not installed, and what installs it."""
    return MissingLibrary(f"this report needs {name}, which is not installed", "pip install 'backbench[report]'")
