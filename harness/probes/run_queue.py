"""How many others want the processors (Linux: Documentation/filesystems/proc.rst, `loadavg`)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import ClassVar

from harness.errors import Unreadable
from harness.probes.kernel_files import as_number, text
from harness.probes.probe import Metered, Probe, Target, Values, fold


class RunQueue(Probe):
    """Threads that run or wait for a processor right after a burst, the reader itself not counted."""

    name: ClassVar = "run_queue"
    reads: ClassVar = "load and runnable threads from /proc/loadavg"

    def instants(self, target: Target) -> Values:
        """`load_1min`, and `runnable` threads beside the reader."""
        path = self.root / "proc/loadavg"
        words = text(path).split()
        if len(words) < 4:
            raise Unreadable(f"{path} is cut short")
        try:
            load = float(words[0])
        except ValueError:
            raise Unreadable(f"{path} holds {words[0]!r} where a number should be") from None
        return {"load_1min": load, "runnable": max(0, as_number(words[3].partition("/")[0], path) - 1)}

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """Medians, and the most that was seen."""
        return {
            "load_1min_median": fold(bursts, "load_1min", statistics.median),
            "runnable_threads_median": fold(bursts, "runnable", statistics.median),
            "runnable_threads_max": fold(bursts, "runnable", max),
        }
