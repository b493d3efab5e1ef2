"""The probes of this machine, read together around bursts, and what a record keeps of their readings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.cgroup import Cgroup
from harness.probes.cpu_frequency import CpuFrequency
from harness.probes.cpu_throttle import CpuThrottle
from harness.probes.cpu_time import CpuTime
from harness.probes.ina3221 import Ina3221
from harness.probes.jetson import Jetson
from harness.probes.nvml import Nvml
from harness.probes.pressure import Pressure
from harness.probes.probe import UNAVAILABLE, Metered, Probe, Target, Values, is_number, is_unavailable
from harness.probes.rapl import Rapl
from harness.probes.run_queue import RunQueue
from harness.probes.thermal import Thermal
from harness.probes.worker import WorkerUsage
from harness.record import Samples

ALL: tuple[type[Probe], ...] = (
    RunQueue, Nvml, Ina3221, CpuFrequency, Jetson, Thermal, Rapl, CpuTime, CpuThrottle, Pressure, Cgroup, WorkerUsage,
)  # fmt: skip
"""In the order in which they are read after a burst: what fades within milliseconds first."""
SECONDS = "seconds"
"""Name, beside the probes', of the time between the two readings of a burst."""
_LEAST_S = 0.1
"""Readings begin at most ten times a second."""


class Panel:
    """All probes, those that cannot be read among them with the reason."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = probes
        self.missing: Mapping[str, str] = {probe.name: reason for probe in probes if (reason := probe.available())}
        self._present = [probe for probe in probes if probe.name not in self.missing]
        self._last_ns = -(1 << 62)

    @classmethod
    def of_machine(cls, root: Path = Path("/")) -> Panel:
        """Every probe there is, below `root`."""
        return cls([kind(root) for kind in ALL])

    def around(self, target: Target) -> Callable[[], Mapping[str, JSON]]:
        """Read before a burst; what it returns reads after it, and gives the content of `Samples.machine`.

        Nothing is read, and nothing given, within 0.1 s of the reading before.
        """
        now_ns = time.monotonic_ns()
        if now_ns - self._last_ns < _LEAST_S * 1e9:
            return dict
        self._last_ns = now_ns
        before = {probe.name: _read(probe.counters, target) for probe in self._present}
        begin_ns = time.monotonic_ns()

        def after() -> Mapping[str, JSON]:
            seconds = (time.monotonic_ns() - begin_ns) / 1e9
            instants = {probe.name: _read(probe.instants, target) for probe in self._present}
            read: dict[str, JSON] = {SECONDS: round(seconds, 6)}
            for probe in self._present:
                passed = _differences(probe, before[probe.name], _read(probe.counters, target))
                if values := _joined(passed, instants[probe.name]):
                    read[probe.name] = values
            return read

        return after

    def conditions(self, samples: Sequence[Samples]) -> Mapping[str, JSON]:
        """One entry per probe over a cell's bursts: its summary, or `unavailable: <reason>`."""
        return {probe.name: self._condition(probe, samples) for probe in self._probes}

    def _condition(self, probe: Probe, samples: Sequence[Samples]) -> JSON:
        if probe.name in self.missing:
            return f"{UNAVAILABLE}{self.missing[probe.name]}"
        bursts, reason = (
            [],
            f"{UNAVAILABLE}not read: timed by a clock of its own, or every burst began within 0.1 s of a reading",
        )
        for sample in samples:
            values, seconds = sample.machine.get(probe.name, {}), sample.machine.get(SECONDS)
            if isinstance(values, Mapping) and is_number(seconds):
                bursts.append(Metered(values, seconds, sample.burst))
            elif is_unavailable(values):
                reason = values
        return dict(probe.summarise(bursts)) if bursts else reason


def _read(read: Callable[[Target], Values], target: Target) -> Values | str:
    try:
        return read(target)
    except Unreadable as error:
        return f"{UNAVAILABLE}{error.message}"


def _differences(probe: Probe, before: Values | str, after: Values | str) -> Values | str:
    """By how much each counter grew; a counter that began again in between is carried over its full scale."""
    if isinstance(before, str) or isinstance(after, str):
        return after if isinstance(after, str) else before
    grown: dict[str, JSON] = {}
    for name, end in after.items():
        start = before.get(name, f"{UNAVAILABLE}{name} was not there before the burst")
        if not is_number(start) or not is_number(end):
            grown[name] = start if is_number(end) else end
            continue
        passed, scale = end - start, probe.full_scale(name)
        if passed < 0 and scale is not None:
            passed += scale
        grown[name] = round(passed, 9) if passed >= 0 else f"{UNAVAILABLE}{name} was set back during the burst"
    return grown


def _joined(passed: Values | str, instants: Values | str) -> JSON:
    """Both as one; the reason where neither gave anything."""
    values = {name: value for part in (passed, instants) if not isinstance(part, str) for name, value in part.items()}
    return values or next((part for part in (instants, passed) if isinstance(part, str)), values)
