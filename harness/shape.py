"""The shape of a cell's latencies over a run: steady, drifting, stepping, swinging, with spikes. Pure, from its bursts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.model import Burst
from harness.stats import median

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]

STEADY = 1.10
"""Bursts' medians whose 95th percentile lies below this multiple of their 5th are steady."""
SPIKE = 2.0
"""A sample above this multiple of the median burst is a spike."""
_LEAST = 8
_MOST = 1000
"""Points that a line or a step is sought among: that takes the square of them in time, and for the line in memory."""
_EXPLAINS = 0.5
"""A model explains a run where it leaves less than this share of what a constant leaves."""

Kind = Literal["steady", "drift", "step", "swings"]


@dataclass(frozen=True)
class Shape:
    """How a cell's latency moved while it was measured."""

    kind: Kind
    spread: float
    """95th over 5th percentile of the bursts' medians."""
    change: float
    """Latency at the end over latency at the beginning, as the drift or step has it; 1.0 where there is neither."""
    spikes: float
    """Share of the samples that are spikes."""


def shape(bursts: Sequence[Burst]) -> Shape:
    """The shape of a cell's bursts in the order in which they were measured (at least one)."""
    import numpy as np

    medians = np.array([max(median(b.compute_ns), 1.0) for b in bursts])
    typical = float(np.median(medians))
    samples = [ns for b in bursts for ns in b.compute_ns]
    spikes = sum(ns > SPIKE * typical for ns in samples) / len(samples)
    spread = float(np.quantile(medians, 0.95) / np.quantile(medians, 0.05))
    if spread < STEADY or len(medians) < _LEAST:
        return Shape("steady" if spread < STEADY else "swings", spread, 1.0, spikes)
    logs = np.log(medians)
    flat = float(np.abs(logs - np.median(logs)).sum())
    (drift, drift_left), (step, step_left) = _drift(logs), _step(logs)
    if min(drift_left, step_left) > _EXPLAINS * flat:
        return Shape("swings", spread, 1.0, spikes)
    kind, change = ("drift", drift) if drift_left <= step_left else ("step", step)
    return Shape("drift" if kind == "drift" else "step", spread, math.exp(change), spikes)


def _drift(logs: Floats) -> tuple[float, float]:
    """Theil and Sen's line: its change from end to end, and the sum of what it leaves."""
    import numpy as np

    every = np.arange(len(logs))
    x, y = (_thinned(values) for values in (every, logs))
    i, j = np.triu_indices(len(x), 1)
    slope = float(np.median((y[j] - y[i]) / (x[j] - x[i])))
    left = logs - slope * every
    return slope * (len(logs) - 1), float(np.abs(left - np.median(left)).sum())


def _thinned(values: Any) -> Any:
    """The medians of consecutive blocks of equal length; up to `_MOST` values as they are."""
    import numpy as np

    length = -(-len(values) // _MOST)
    if length == 1:
        return values
    return np.array([np.median(block) for block in np.array_split(values, len(values) // length)])


def _step(logs: Floats) -> tuple[float, float]:
    """The best single step: its height, and the sum of what it leaves."""
    import numpy as np

    best = (0.0, math.inf)
    for at in range(3, len(logs) - 2, -(-len(logs) // _MOST)):
        before, after = np.median(logs[:at]), np.median(logs[at:])
        left = float(np.abs(logs[:at] - before).sum() + np.abs(logs[at:] - after).sum())
        if left < best[1]:
            best = (float(after - before), left)
    return best
