"""The ONNX file of a backbone in a precision, for what compares files and measures nothing."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

from harness import prepare, registry, route
from harness.cache import Cache
from harness.errors import UnknownName, Unsupported, did_you_mean
from harness.model import Artifact, Backbone, Calibration, Cell, Precision


def make(
    backbone: Backbone, precision: Precision, exporter: str, cache: Cache, logs: Path, tell: prepare.Tell
) -> tuple[Artifact, Artifact]:
    """The ONNX file of a backbone in a precision, and its reference. `exporter` has no rivals; empty for any.

    Raises `Unsupported` where no chain leads there, and what exporting raises.
    """
    known = registry.exporter_classes()
    if exporter:
        edge = (known[exporter].source, known[exporter].target) if exporter in known else None
        if edge is None:
            raise UnknownName(f"no exporter is called {exporter!r}", did_you_mean(exporter, known, ""))
        known = {name: kind for name, kind in known.items() if name == exporter or (kind.source, kind.target) != edge}
    steps = route.chain(known, backbone.source, backbone.precision, [("onnx", precision)])
    line = prepare.Line(backbone, cache, logs, tell, threading.Event())
    with ExitStack() as stack:
        artifact, reference = line.source_and_reference(stack)
    cell = Cell(backbone, "", precision, backbone.fixed_batch or 1, calibration=Calibration())
    source = artifact
    for step in steps:
        artifact = line.step(step, artifact, cell, None, False, line.calibration(cell, step, source))
    if exporter and exporter not in {name for step in steps for name in step.exporters}:
        raise Unsupported(
            f"{exporter} is not on the way to an ONNX file in {precision}", "see: backbench list exporters"
        )
    return artifact, reference
