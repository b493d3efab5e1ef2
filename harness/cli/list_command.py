"""`backbench list`: what there is to measure, with and on; and why something is not available."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from harness import registry

KINDS = ("models", "runtimes", "exporters", "devices")


@click.command("list", short_help="List models, runtimes, exporters or devices.")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("pattern", default="*", metavar="[PATTERN]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(kind: str, pattern: str, as_json: bool) -> None:
    """List what can be measured (`models [PATTERN]`), with (`runtimes`, `exporters`) and on (`devices`)."""
    rows = {"models": _models, "runtimes": _runtimes, "exporters": _exporters, "devices": _devices}[kind](pattern)
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=1))
    elif kind == "models":
        for row in rows:
            click.echo(row["model"])
    else:
        _show(rows)


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Plain aligned text: rich costs as much to import as the rest of this command."""
    for row in rows:
        click.secho(f"{row['name']}", bold=True, nl=False)
        click.secho(f"  {row['state']}", fg="green" if row["state"] == "available" else "yellow")
        for name, value in row.items():
            if name not in ("name", "state") and value not in ("", [], {}, None):
                click.echo(f"    {name.replace('_', ' ')}: {_words(value)}")


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_words(v)}" if isinstance(v, (list, tuple)) else f"{k}={v}" for k, v in value.items())
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _state(needs: Mapping[str, str]) -> tuple[str, str]:
    lacking = registry.missing(needs)
    return (f"not installed: {', '.join(lacking)}", registry.install_line(lacking)) if lacking else ("available", "")


def _matching(names: Sequence[str], pattern: str) -> list[str]:
    import fnmatch

    return fnmatch.filter(names, pattern)


def _runtimes(pattern: str) -> list[dict[str, Any]]:
    rows = []
    for name in _matching(list(registry.found("runtimes")), pattern):
        runtime = registry.runtime_class(name)
        state, install = _state(runtime.needs)
        precisions = {kind: list(values) for kind, values in runtime.precisions.items()}
        rows.append(
            {
                "name": name, "state": state, "install": install, "opens": list(runtime.accepts), "precisions": precisions,
                "options": dict(runtime.options), "about": _about(runtime),
            }
        )  # fmt: skip
    return rows


def _exporters(pattern: str) -> list[dict[str, Any]]:
    rows = []
    for name in _matching(list(registry.found("exporters")), pattern):
        exporter = registry.exporter_class(name)
        state, install = _state(exporter.needs)
        rows.append(
            {
                "name": name, "state": state, "install": install, "makes": f"{exporter.source} → {exporter.target}",
                "precisions": list(exporter.precisions), "options": dict(exporter.options), "about": _about(exporter),
            }
        )  # fmt: skip
    return rows


def _about(plugin: type) -> str:
    return (plugin.__doc__ or "").strip().split("\n")[0]


def _models(pattern: str) -> list[dict[str, Any]]:
    from harness import cache, catalog

    known = catalog.load(cache.root())
    names = known.pretrained if "." in pattern else known.models
    return [{"model": name} for name in (names if pattern == "*" else known.expand(pattern))]


def _devices(pattern: str) -> list[dict[str, Any]]:
    """Devices that a runtime reached; and the runtimes that reach none, with the reason."""
    from harness import machine
    from harness.cli.reach import reach

    rows: dict[str, dict[str, Any]] = {}
    unable: list[dict[str, Any]] = []
    for reached in reach():
        for device in reached.devices:
            blank: dict[str, Any] = {
                "name": device.id,
                "state": "available",
                "called": "",
                "memory_bytes": None,
                "reached_by": [],
            }
            row = rows.setdefault(device.id, blank)
            row["reached_by"].append(reached.runtime)
            row["called"] = row["called"] or device.name or (machine.cpu_name() if device.kind == "cpu" else "")
            row["memory_bytes"] = row["memory_bytes"] or device.memory_bytes
        if not reached.devices:
            unable.append(
                {"name": f"({reached.runtime})", "state": reached.error or "reaches no device", "mend": reached.hint}
            )
    return [rows[name] for name in _matching(sorted(rows), pattern)] + (unable if pattern == "*" else [])
