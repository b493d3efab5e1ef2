"""Stand-ins for what is measured: bursts from scripted latencies, with no process and no clock."""

from __future__ import annotations

import random
from collections.abc import Callable

from harness.errors import BackbenchError, WorkerCrashed
from harness.model import Burst, Pace


class Scripted:
    """A subject whose n-th burst has latencies of `latency_ns(n)`; it crashes at burst `crash_at`."""

    def __init__(
        self, latency_ns: Callable[[int], float], noise: float = 0.0, seed: int = 0, crash_at: int = -1
    ) -> None:
        self.bursts = 0
        self._latency_ns = latency_ns
        self._noise = noise
        self._random = random.Random(seed)
        self._crash_at = crash_at

    def burst(self, pace: Pace) -> Burst:
        """As many inferences as fit, at least the least."""
        if self.bursts == self._crash_at:
            raise WorkerCrashed("scripted crash")
        base = self._latency_ns(self.bursts)
        self.bursts += 1
        number = max(pace.inferences, int(pace.seconds * 1e9 / base))
        times = tuple(round(base * self._random.lognormvariate(0, self._noise)) for _ in range(number))
        return Burst(times, times[: pace.inferences], seconds=sum(times) / 1e9)


def silent(key: str, number: int, trace: object) -> None:
    """A watch that draws nothing."""


def lost(error: BackbenchError | None) -> str:
    """The kind of an error, for a comparison."""
    return type(error).__name__
