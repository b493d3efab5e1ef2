"""What each runtime reaches here, found out by its own probe in a worker of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness import cache, codec, interpreter, registry
from harness.errors import BackbenchError
from harness.launch import Worker
from harness.model import Device

_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Reached:
    """A runtime with the devices it reached, or the error that kept it from any."""

    runtime: str
    devices: tuple[Device, ...]
    error: str = ""
    hint: str = ""


def reach(pythons: Mapping[str, str] | None = None) -> Iterator[Reached]:
    """Every runtime in turn, those in `pythons` in that interpreter.

    Raises `StoreFailed` before the first where the workers' logs cannot be written, `UnknownName`, `PlanInvalid`.
    """
    for name in pythons or {}:
        registry.plugin("runtimes", name)
    places = {name: interpreter.probe(path).python for name, path in (pythons or {}).items()}
    logs = cache.root() / "logs"
    with cache.writing(cache.root()):
        logs.mkdir(parents=True, exist_ok=True)
    for name in registry.found("runtimes"):
        try:
            python = places.get(name, "")
            interpreter.check_installed(name, registry.runtime_class(name).needs, python)
            with Worker(logs / f"devices-{name}.log", python=python, name=name) as worker:
                reply = worker.ask("devices", _TIMEOUT_S, runtime=name)
            yield Reached(name, tuple(codec.decode(Device, device) for device in reply))
        except BackbenchError as error:
            yield Reached(name, (), error.message, error.hint)
