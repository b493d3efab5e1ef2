"""A plan file with the command line's choices in place of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import PlanInvalid


def override(data: Mapping[str, Any], matrix: Mapping[str, Any]) -> dict[str, Any]:
    """The plan's data with the command line's choices in place of the file's."""
    merged = dict(data)
    for key, option in {
        "backbones": "models",
        "precisions": "precisions",
        "batches": "batches",
        "devices": "devices",
    }.items():
        if matrix[option]:
            merged[key] = list(matrix[option])
    _forget(merged, "backbones", [key for key in ("weights", "input_size") if matrix[key] is not None])
    _forget(merged, "runtimes", [key for key, many in _OWN.items() if matrix[many]])
    for key in ("threads", "cpus", "weights", "input_size", "baseline"):
        if matrix[key] is not None:
            merged[key] = matrix[key]
    rules = {
        key: matrix[key]
        for key in ("budget", "target", "wait", "processes", "builds", "control", "seed", "patience")
        if matrix[key] is not None
    }
    if rules:
        given = merged.get("rules")
        merged["rules"] = {**(given if isinstance(given, dict) else {}), **rules}
    watched = {"folder": matrix["calib"], "images": matrix["calib_images"], "config": matrix["calib_config"] or None}
    _override_mapping(merged, "calibration", {key: value for key, value in watched.items() if value is not None})
    for precision, limits in matrix["tolerances"].items():
        _override_mapping(merged, "tolerances", {precision: limits})
    _override_exporters(merged, matrix)
    _override_runtimes(merged, matrix)
    return merged


_OWN = {"precisions": "precisions", "device": "devices"}
"""What a runtime's entry may have of its own -> the option of the command line that is in its place."""


def _forget(merged: dict[str, Any], listed: str, keys: Sequence[str]) -> None:
    """Take out of a file's entries what the command line says for all."""
    if isinstance(entries := merged.get(listed), list):
        merged[listed] = [
            {k: v for k, v in entry.items() if k not in keys} if isinstance(entry, dict) else entry for entry in entries
        ]


def _override_mapping(merged: dict[str, Any], key: str, given: Mapping[str, Any]) -> None:
    """Put `given` over what the file has under `key`, two levels deep; a file's mistake stays for the check to report."""
    held = merged.get(key, {})
    if not given or not isinstance(held, dict):
        return
    merged[key] = held | {
        name: {**held[name], **value} if isinstance(value, Mapping) and isinstance(held.get(name), dict) else value
        for name, value in given.items()
    }


def _override_exporters(merged: dict[str, Any], matrix: Mapping[str, Any]) -> None:
    from harness import registry

    for name, options in matrix["options"].items():
        if name in registry.found("exporters"):
            _override_mapping(merged, "exporters", {name: options})


def _override_runtimes(merged: dict[str, Any], matrix: Mapping[str, Any]) -> None:
    if matrix["runtimes"]:
        merged["runtimes"] = list(matrix["runtimes"])
    from harness import plan, registry

    options_of = {name: given for name, given in matrix["options"].items() if name not in registry.found("exporters")}
    pythons = matrix["pythons"]
    if not options_of and not pythons:
        return
    listed = merged.get("runtimes", [])
    if not isinstance(listed, list):
        return  # a mistake, which the check of the whole plan reports with its line
    taken = listed or plan.default_runtimes()
    entries: list[Any] = [{"name": entry} if isinstance(entry, str) else copy.copy(entry) for entry in taken]
    named: list[dict[str, Any]] = [entry for entry in entries if isinstance(entry, dict)]
    for name in (*options_of, *pythons):
        if name not in [entry.get("name") for entry in named]:
            raise _unmeasured(name, "an option" if name in options_of else "an interpreter")
    for runtime, options in options_of.items():
        for entry in named:
            given = entry.get("options", {})
            if entry.get("name") == runtime and isinstance(given, dict):
                entry["options"] = {**given, **options}
    for runtime, path in pythons.items():
        mine = [entry for entry in named if entry.get("name") == runtime]
        if len({entry.get("python", "") for entry in mine}) > 1:
            raise PlanInvalid(f"the plan has {runtime} in several interpreters", f"leave out --python {runtime}={path}")
        for entry in mine:
            entry["python"] = path
    merged["runtimes"] = entries


def _unmeasured(name: str, what: str) -> PlanInvalid:
    """An option or interpreter is of a runtime that the plan does not measure, or of nothing that there is."""
    from harness import registry
    from harness.errors import UnknownName, did_you_mean

    runtimes, exporters = registry.found("runtimes"), registry.found("exporters")
    if name in runtimes:
        return PlanInvalid(f"{what} is given for {name!r}, which the plan does not measure", f"add -r {name}")
    if what == "an interpreter":
        exporter = "an exporter: give its runtime" if name in exporters else "no runtime"
        return UnknownName(f"{what} is given for {name!r}, which is {exporter}", did_you_mean(name, runtimes, ""))
    hint = did_you_mean(name, [*runtimes, *exporters], "see: backbench list runtimes, backbench list exporters")
    return UnknownName(f"{what} is given for {name!r}, which is neither a runtime nor an exporter", hint)
