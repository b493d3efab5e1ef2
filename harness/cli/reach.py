"""What each runtime reaches here, found out by its own probe in a worker of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness import cache, codec, registry
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


def reach() -> Iterator[Reached]:
    """Every runtime in turn. Raises `StoreFailed` before the first where the workers' logs cannot be written."""
    logs = cache.root() / "logs"
    with cache.writing(cache.root()):
        logs.mkdir(parents=True, exist_ok=True)
    for name in registry.found("runtimes"):
        try:
            registry.check_installed(name, registry.runtime_class(name).needs)
            with Worker(logs / f"devices-{name}.log", name=name) as worker:
                reply = worker.ask("devices", _TIMEOUT_S, runtime=name)
            yield Reached(name, tuple(codec.decode(Device, device) for device in reply))
        except BackbenchError as error:
            yield Reached(name, (), error.message, error.hint)
