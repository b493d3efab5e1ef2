"""`backbench list`: what there is to measure, with and on; and why something is not available."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import click

from harness import registry
from harness.cli.matrix import python_option
from harness.errors import UnknownName, did_you_mean
from harness.listed import ListedDevice, ListedExporter, ListedModel, ListedPrecisions, ListedRuntime
from harness.model import PRECISIONS

KINDS = ("models", "runtimes", "exporters", "devices", "precisions")


@click.command("list", short_help="List models, runtimes, exporters, devices or precisions.")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("pattern", default="*", metavar="[PATTERN]")
@python_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(kind: str, pattern: str, pythons: Mapping[str, str], as_json: bool) -> None:
    """List what can be measured (`models [PATTERN]`), with (`runtimes`, `exporters`) and on (`devices`).

    `precisions [RUNTIME]` tells in which precisions each runtime executes on each device, and why not in others.
    A pattern that matches nothing is an error (2), with the nearest names.
    """
    if pythons and kind != "devices":
        raise click.UsageError(f"--python is for the devices that a runtime reaches, not for {kind}")
    listed: Mapping[str, Callable[[str], Sequence[Any]]] = {
        "models": _models,
        "runtimes": _runtimes,
        "exporters": _exporters,
        "devices": partial(_devices, pythons=pythons),
        "precisions": _precisions,
    }
    rows = [dataclasses.asdict(row) for row in listed[kind](pattern)]
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=1))
    elif kind == "models":
        for row in rows:
            click.echo(_model_line(row))
    elif kind == "precisions":
        _show([_flat(row) for row in rows])
    else:
        _show(rows)


def _flat(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A line for each precision, in the order in which they are known."""
    refused = {name: f"unsupported: {why}" for name, why in row["unsupported"].items()}
    said = {**row["ok"], **refused}
    return {"name": row["name"], "state": row["state"], **{name: said[name] for name in PRECISIONS if name in said}}


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Plain aligned text: rich costs as much to import as the rest of this command."""
    from harness.units import show_bytes

    for row in rows:
        click.secho(f"{row['name']}", bold=True, nl=False)
        click.secho(f"  {row['state']}", fg="green" if row["state"] == "available" else "yellow")
        for name, value in row.items():
            if name not in ("name", "state", "words") and value not in ("", [], (), {}, None):
                bytes_ = name.endswith("_bytes")
                said = show_bytes(value) if bytes_ else _options(row) if name == "options" else _words(value)
                click.echo(f"    {name.removesuffix('_bytes').replace('_', ' ')}: {said}")


def _options(row: Mapping[str, Any]) -> str:
    """Each as `-o` takes it, with its default, and the other words that it takes."""
    import json

    said = []
    for name, value in row["options"].items():
        other = [word or repr(word) for word in row["words"].get(name, ()) if word != value]
        shown = value if isinstance(value, str) and value else json.dumps(value)
        said.append(f"{name}={shown}" + (f" (or {', '.join(other)})" if other else ""))
    return ", ".join(said)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_words(v)}" if isinstance(v, (list, tuple)) else f"{k}={v}" for k, v in value.items())
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _state(needs: Mapping[str, str]) -> tuple[str, str]:
    lacking = registry.missing(needs)
    return (f"not installed: {', '.join(lacking)}", registry.install_line(lacking)) if lacking else ("available", "")


def _matching(kind: str, names: Sequence[str], pattern: str) -> list[str]:
    """The names that a pattern means. Raises `UnknownName` with the nearest where it means none."""
    import fnmatch

    if (hits := fnmatch.filter(names, pattern)) or pattern == "*":
        return hits
    hint = did_you_mean(pattern, names, f"there are: {', '.join(names)}" if names else f"see: backbench list {kind}")
    raise UnknownName(f"no {kind.removesuffix('s')} matches {pattern!r}", hint)


def _runtimes(pattern: str) -> list[ListedRuntime]:
    rows = []
    for name in _matching("runtimes", list(registry.found("runtimes")), pattern):
        runtime = registry.runtime_class(name)
        state, install = _state(runtime.needs)
        precisions = {kind: tuple(values) for kind, values in runtime.precisions.items()}
        opens, options = tuple(runtime.accepts), dict(runtime.options)
        rows.append(ListedRuntime(name, state, install, opens, precisions, options, runtime.words, _about(runtime)))
    return rows


def _exporters(pattern: str) -> list[ListedExporter]:
    rows = []
    for name in _matching("exporters", list(registry.found("exporters")), pattern):
        exporter = registry.exporter_class(name)
        state, install = _state(exporter.needs)
        makes, precisions = f"{exporter.source} → {exporter.target}", tuple(exporter.precisions)
        options = dict(exporter.options)
        rows.append(ListedExporter(name, state, install, makes, precisions, options, exporter.words, _about(exporter)))
    return rows


def _precisions(pattern: str) -> list[ListedPrecisions]:
    from harness import precisions

    rows = []
    for name in _matching("runtimes", list(registry.found("runtimes")), pattern):
        entries = [entry for entry in precisions.table() if entry.runtime == name]
        for device in dict.fromkeys(entry.device for entry in entries):
            mine = [entry for entry in entries if entry.device == device]
            ok = {e.precision: e.how for e in mine if e.chain is not None}
            unsupported = {e.precision: e.reason or "not declared" for e in mine if e.chain is None}
            state, _ = _state(registry.runtime_class(name).needs)
            rows.append(ListedPrecisions(f"{name} on {device}", state, ok, unsupported))
    return rows


def _about(plugin: type) -> str:
    return (plugin.__doc__ or "").strip().split("\n")[0]


def _models(pattern: str) -> list[ListedModel]:
    from harness import cache, catalog
    from harness.coverage import table

    known = catalog.load(cache.root())
    names = known.pretrained if "." in pattern else known.models
    folder = table.committed()
    tried = table.read(folder) if folder else None
    return [
        tried.listed(name) if tried else ListedModel(name)
        for name in (names if pattern == "*" else known.expand(pattern))
    ]


def _model_line(row: Mapping[str, Any]) -> str:
    """The name first, so that `| cut -d' ' -f1` gives the names alone."""
    from harness.units import show_count

    if not row["tried"]:
        return str(row["model"])
    said = ", ".join(f"{name} {outcome}" for name, outcome in row["outcomes"].items())
    batch = f"batch {row['batch']}" if row["batch"] else ""
    return "  ".join(filter(None, [row["model"], show_count(row["params"]), row["input_size"], batch, said]))


def _devices(pattern: str, pythons: Mapping[str, str] | None = None) -> list[ListedDevice]:
    """Devices that a runtime reached; and the runtimes that reach none, with the reason."""
    from harness import device_facts
    from harness.cli.reach import reach

    rows: dict[str, ListedDevice] = {}
    unable: list[ListedDevice] = []
    for reached in reach(pythons):
        for device in reached.devices:
            row, known = rows.get(device.id, ListedDevice(device.id, "available")), device_facts.describe(device)
            which = "not_tried_by" if device.details.get("proven") is False else "reached_by"
            rows[device.id] = dataclasses.replace(
                row,
                called=row.called or device_facts.name_of(device),
                memory_bytes=row.memory_bytes or device.memory_bytes or known.memory_bytes,
                driver=row.driver or known.driver,
                power_mode=row.power_mode or known.power_mode,
                **{which: (*getattr(row, which), reached.runtime)},  # type: ignore[arg-type]
            )
        if not reached.devices:
            unable.append(ListedDevice(f"({reached.runtime})", reached.error or "reaches no device", mend=reached.hint))
    return [rows[name] for name in _matching("devices", sorted(rows), pattern)] + (unable if pattern == "*" else [])
