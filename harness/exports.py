"""What a plan gives to exporters: their options, and calibration images where one watches some."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness import builds, calibration_images, registry, route
from harness.errors import BackbenchError, PlanInvalid
from harness.model import JSON, Calibration, Cell, Group
from harness.plan_file import Place, nowhere
from harness.spec import Spec


def faults(spec: Spec, place: Place = nowhere) -> list[BackbenchError]:
    """Wrong options, and a calibration folder that cannot serve: known before anything is started."""
    found: list[BackbenchError] = []
    for name, options in spec.exporters.items():
        try:
            registry.check_options(name, registry.exporter_class(name), options)
        except BackbenchError as error:
            found.append(error.at(place(["exporters", name])))
    try:
        calibration_images.choose(_calibration(spec))
    except BackbenchError as error:
        found.append(PlanInvalid(error.message, error.hint).at(place(["calibration"])))
    return found


def given(cell: Cell, steps: Sequence[route.Step], spec: Spec) -> Cell:
    """The cell with what the exporters of its chain are given: what its runtime asks of them, then what the plan says."""
    asks = registry.runtime_class(cell.runtime).asks
    chosen: dict[str, Mapping[str, JSON]] = {}
    watches = False
    for step in steps:
        for name in step.exporters:
            exporter = registry.exporter_class(name)
            watches = watches or step.makes in exporter.calibrated
            asked: dict[str, JSON] = json.loads(json.dumps(spec.exporters.get(name, {})))
            said = {**asks.get(name, {}), **asked}
            options = {k: v for k, v in sorted(said.items()) if v != exporter.options[k]}
            chosen |= {name: json.loads(json.dumps(options))} if options else {}
    made = replace(cell, exports=chosen, calibration=_calibration(spec) if watches else None)
    return builds.independent(made, steps, spec.rules.builds)


def refuse_idle(spec: Spec, groups: Sequence[Group]) -> None:
    """Raise `PlanInvalid` for what no cell's exporter needs: it would be ignored in silence."""
    cells = [cell for group in groups for cell in group.cells]
    for name, options in spec.exporters.items():
        changed = any(registry.exporter_class(name).options[key] != value for key, value in options.items())
        if cells and changed and not any(name in cell.exports for cell in cells):
            why = f"an option is given for {name!r}, which no cell of the plan needs"
            raise PlanInvalid(why, "drop it, or add the --precision that it makes")
    if cells and (spec.calibration.folder or _config(spec)) and not any(cell.calibration for cell in cells):
        raise PlanInvalid(
            "calibration images are asked for, and no cell of the plan is quantised", "add --precision int8"
        )


def _calibration(spec: Spec) -> Calibration:
    asked = spec.calibration
    folder = str(Path(asked.folder).expanduser().absolute()) if asked.folder else ""
    return Calibration(folder, asked.images, asked.seed, _config(spec))


def _config(spec: Spec) -> Mapping[str, JSON]:
    given: Mapping[str, JSON] = spec.calibration.config.model_dump(mode="json", exclude_none=True)
    return given
