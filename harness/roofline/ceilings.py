"""The machine's measured ceilings: the arithmetic rate of a large matrix product, and the rate at which memory is read.

Both are measured with the threads, processors and precision of a cell, by worker processes, before anything else is
measured, and kept in the cache for the same machine, versions and place. Method: the roofline model (Williams, Waterman
and Patterson, CACM 52(4), 2009, https://doi.org/10.1145/1498765.1498785); bandwidth as STREAM's copy.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness import codec, machine, registry
from harness.errors import BackbenchError
from harness.launch import Worker, environment, pinned
from harness.memo import Memo, source_digest
from harness.model import Cell, Precision

TIMEOUT_S = 120.0
QUIET = 0.8
"""Share of the processors' time above which nothing else was busy: threads of one product wait for each other too."""
TORCH, NUMPY = "torch", "numpy"
_TORCH_PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Place:
    """Where and in what a cell computes: all that its ceilings depend on beside the machine and the versions."""

    device: str
    precision: Precision
    threads: int
    cpus: str = ""

    @classmethod
    def of(cls, cell: Cell) -> Place:
        """The place of a cell."""
        return cls(cell.device, cell.precision, cell.threads, cell.cpus)


@dataclass(frozen=True)
class Rate:
    """A rate that was measured (operations or bytes per second), and what it was measured with."""

    per_s: float
    method: str
    available: float = 1.0
    """Share of the processors' time that it got; well under 1, other processes took the rest."""

    @property
    def quiet(self) -> bool:
        """Whether the machine was its own, so that the rate can be kept."""
        return self.available >= QUIET

    @property
    def told(self) -> str:
        """The method, and under what it was measured where the machine was busy."""
        if self.quiet:
            return self.method
        return f"{self.method}; too low: other processes left {self.available:.0%} of the processors, so it is not kept"


@dataclass(frozen=True)
class Arithmetic:
    """Operations per second of a matrix product, the best of everything installed; None where nothing could."""

    best: Rate | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    """Why, for each method that could not."""


@dataclass(frozen=True)
class Bandwidth:
    """Bytes per second; None where it could not be measured, and then `failed` says why."""

    memory: Rate | None = None
    """With arrays far larger than the last-level cache."""
    cache: Rate | None = None
    """With arrays that fit in the last-level cache together."""
    cache_bytes: int = 0
    """Size of the last-level caches of the processors in use; 0 where it is not told."""
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ceilings:
    """What a place reaches at most."""

    place: Place
    arithmetic: Arithmetic
    bandwidth: Bandwidth

    def to_load(self, bytes_moved: int) -> Rate | None:
        """The bandwidth for data of that size: the cache's where it stays there from one inference to the next."""
        fits = bytes_moved <= self.bandwidth.cache_bytes and self.bandwidth.cache is not None
        return self.bandwidth.cache if fits else self.bandwidth.memory


def measured(
    places: Iterable[Place], memo: Memo, logs: Path, tell: Callable[[str], None], *, refresh: bool = False
) -> Mapping[Place, Ceilings]:
    """Ceilings by place, from the cache or measured now. What cannot be measured is None, with the reason.

    What was measured while other processes were busy is not kept: it is too low, and is measured again next time.
    """
    found: dict[Place, Ceilings] = {}
    streams: dict[tuple[int, str], Bandwidth] = {}
    for place in dict.fromkeys(places):
        if place.device != "cpu":
            failed = {place.device: f"no ceiling of {place.device} is measured, only those of the CPU are"}
            found[place] = Ceilings(place, Arithmetic(failed=failed), Bandwidth(failed=failed))
            continue
        key = _key(place)
        beside = (place.threads, place.cpus)
        if beside not in streams:
            make = functools.partial(_bandwidth, place, logs, tell)
            streams[beside] = memo.value(Bandwidth, "ceilings", key, make, refresh=refresh, keep=_quiet_stream)
        make_product = functools.partial(_arithmetic, place, logs, tell)
        products = {**key, "precision": place.precision}
        best = memo.value(Arithmetic, "ceilings", products, make_product, refresh=refresh, keep=_quiet_product)
        found[place] = Ceilings(place, best, streams[beside])
    return found


def _quiet_product(found: Arithmetic) -> bool:
    return found.best is None or found.best.quiet


def _quiet_stream(found: Bandwidth) -> bool:
    return all(rate is None or rate.quiet for rate in (found.memory, found.cache))


def _key(place: Place) -> Mapping[str, object]:
    """What bandwidth depends on; arithmetic depends on the precision too."""
    facts = machine.facts()
    return {
        "threads": place.threads,
        "cpus": place.cpus,
        "machine": {name: facts[name] for name in ("cpu", "architecture", "cpus_usable", "memory_bytes")},
        "versions": dict(machine.versions()),
        "source": source_digest("harness.roofline.ceilings", "harness.roofline.rates"),
    }


def _arithmetic(place: Place, logs: Path, tell: Callable[[str], None]) -> Arithmetic:
    """The best of all methods: every runtime that opens ONNX, and torch; numpy where none of them can."""
    tell(f"measuring the machine: matrix products in {place.precision}, {place.threads} threads")
    found: list[Rate] = []
    failed: dict[str, str] = {}
    for method in (*_runtimes(place), *_libraries(place)):
        if method == NUMPY and found:
            continue
        try:
            found.append(codec.decode(Rate, _ask("gemm", place, place.threads, logs, method)))
        except BackbenchError as error:
            failed[method] = error.message
    if not found:
        failed[place.precision] = f"nothing that is installed multiplies matrices in {place.precision}"
        return Arithmetic(None, failed)
    return Arithmetic(max(found, key=lambda rate: rate.per_s), failed)


def _runtimes(place: Place) -> list[str]:
    """Installed runtimes that open ONNX and execute the precision."""
    able = []
    for name in registry.found("runtimes"):
        runtime = registry.runtime_class(name)
        executes = place.precision in runtime.precisions.get(place.device, ())
        if executes and "onnx" in runtime.accepts and runtime.needs and not registry.missing(runtime.needs):
            able.append(name)
    return able


def _libraries(place: Place) -> list[str]:
    torch = place.precision in _TORCH_PRECISIONS and not registry.missing({"torch": "torch"})
    return [*([TORCH] if torch else []), *([NUMPY] if place.precision == "fp32" else [])]


def _bandwidth(place: Place, logs: Path, tell: Callable[[str], None]) -> Bandwidth:
    tell(f"measuring the machine: memory bandwidth, {place.threads} threads")
    try:  # its threads are its own: a library's pool would only be in the way
        return codec.decode(Bandwidth, _ask("bandwidth", place, 1, logs))
    except BackbenchError as error:
        return Bandwidth(failed={"memory": error.message})


def _ask(kind: str, place: Place, threads: int, logs: Path, method: str = "") -> object:
    name = f"ceilings-{method or kind}"
    prefix, env = pinned(place.cpus), environment(threads)
    with (
        tempfile.TemporaryDirectory(prefix="backbench-") as folder,
        Worker(logs / f"{name}.log", prefix=prefix, env=env, name=name) as worker,
    ):
        fields = {"kind": kind, "place": codec.encode(place), "folder": folder, "method": method}
        reply: object = worker.ask("rate", TIMEOUT_S, **fields)
        return reply
