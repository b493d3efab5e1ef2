"""`backbench doctor`: what is installed, what conflicts, and what each runtime reaches by a real inference."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from harness.listed import Diagnosis
from harness.units import show_bytes

if TYPE_CHECKING:
    from harness.cli.reach import Reached

_ORT = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-training",
)
_ROOM_BYTES = 5 * 10**9
_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red"), "none": ("–", "bright_black")}


@click.command("doctor", short_help="Check the installation, by a real inference of each runtime.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> None:
    """Say what is installed, what conflicts, and what each runtime reaches. Exit code 1 where something is broken."""
    sections = {
        "Machine": _machine,
        "Probes": _probes,
        "Accelerators": _accelerators,
        "Packages": _packages,
        "Runtimes": _runtimes,
    }
    found: list[Diagnosis] = []
    for title, section in sections.items():
        if not as_json:
            click.secho(title, bold=True)
        for finding in section():
            found.append(dataclasses.replace(finding, about=title.lower()))
            if not as_json:
                _show(finding)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in found], indent=1, ensure_ascii=False))
    if any(finding.level == "fail" for finding in found):
        raise click.exceptions.Exit(1)


def _show(finding: Diagnosis) -> None:
    mark, colour = _MARKS[finding.level]
    click.secho(f"  {mark} ", fg=colour, nl=False)
    click.echo(finding.text)
    if finding.mend:
        click.echo(f"      → {finding.mend}")


def _machine() -> Iterator[Diagnosis]:
    from harness import cache, machine

    facts = machine.facts()
    memory = facts["memory_bytes"]
    assert isinstance(memory, int)
    yield Diagnosis(
        "ok",
        f"{facts['cpu']}, {facts['cpus_usable']} usable CPUs, {show_bytes(memory)} of memory, {facts['system']}",
    )
    yield Diagnosis("ok", f"Python {facts['python']} in {sys.prefix}")
    governor = str(facts["governor"])
    if governor in ("powersave", "ondemand", "conservative", "schedutil"):
        yield Diagnosis(
            "warn",
            f"CPU governor {governor}: the clock rate follows the load",
            "sudo cpupower frequency-set -g performance",
        )
    else:
        yield Diagnosis("ok" if governor == "performance" else "none", f"CPU governor: {governor}")
    folder = cache.root()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Diagnosis(
            "fail",
            f"artifact cache {folder}: {error.strerror}",
            "set BACKBENCH_CACHE to a folder that can be written",
        )
        return
    if free > _ROOM_BYTES:
        yield Diagnosis("ok", f"artifact cache {folder}, {show_bytes(free)} free")
    else:
        yield Diagnosis(
            "warn",
            f"artifact cache {folder}: only {show_bytes(free)} free",
            "set BACKBENCH_CACHE to a disk with room",
        )


def _probes() -> Iterator[Diagnosis]:
    from harness.probes.panel import ALL, Panel

    missing = Panel.of_machine().missing
    for probe in ALL:
        if reason := missing.get(probe.name):
            yield Diagnosis("none", f"{probe.name}: unavailable: {reason}")
        else:
            yield Diagnosis("ok", f"{probe.name}: {probe.reads}")


def _accelerators() -> Iterator[Diagnosis]:
    from harness import edge

    yield from edge.diagnose()


def _packages() -> Iterator[Diagnosis]:
    from harness import machine

    for name, version in machine.versions().items():
        yield Diagnosis("ok", f"{name} {version}")
    several = [name for name in _ORT if _installed(name)]
    if len(several) > 1:
        yield Diagnosis(
            "fail",
            f"{' and '.join(several)} share one import folder, and break each other",
            f"pip uninstall -y {' '.join(several)} && pip install {several[-1]}",
        )


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _runtimes() -> Iterator[Diagnosis]:
    from harness.cli.reach import reach
    from harness.errors import StoreFailed

    try:
        yield from map(_reached, reach())
    except StoreFailed as error:
        yield Diagnosis("fail", f"no runtime could be tried: {error.message}", error.hint)


def _reached(reached: Reached) -> Diagnosis:
    if reached.devices:
        names = ", ".join(f"{device.id} ({device.name})" if device.name else device.id for device in reached.devices)
        return Diagnosis("ok", f"{reached.runtime}: {names}")
    if "not installed" in reached.error:
        return Diagnosis("none", f"{reached.runtime}: {reached.error}", reached.hint)
    return Diagnosis("fail", f"{reached.runtime}: {reached.error or 'reaches no device'}", reached.hint)
