"""What the kernel counted for the worker while its inferences were timed (getrusage(2), taken by the worker itself)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harness.probes.probe import Metered, Probe, Values


class WorkerUsage(Probe):
    """Page faults, context switches and processor time, from `Burst.usage`; the memory's peak is in `Record.memory`."""

    name: ClassVar = "worker"
    reads: ClassVar = "page faults, context switches and CPU time of the worker (getrusage)"

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """Sums and rates over the timed part of the bursts."""
        usages = [burst.burst.usage for burst in bursts]
        timed = sum(burst.timed for burst in bursts)
        wall_s = sum(usage.wall_ns for usage in usages) / 1e9
        minor, major = sum(u.minor_faults for u in usages), sum(u.major_faults for u in usages)
        forced = sum(u.involuntary_switches for u in usages)
        return {
            "cpus_busy": _over(sum(usage.cpu_ns for usage in usages) / 1e9, wall_s),
            "major_faults": major,
            "minor_faults_per_inference": _over(minor, timed),
            "involuntary_switches_per_s": _over(forced, wall_s),
            "voluntary_switches_per_s": _over(sum(u.voluntary_switches for u in usages), wall_s),
        }


def _over(amount: float, whole: float) -> float | str:
    return round(amount / whole, 6) if whole > 0 else "unavailable: the worker told no usage"
