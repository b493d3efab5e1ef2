"""The statistics: what samples support, when bursts are flat, and intervals that contain the truth as often as they say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.record import Interval, Latency

if TYPE_CHECKING:
    import numpy as np

PERCENTILES: Mapping[str, float] = {"p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
CONFIDENCE = 0.99
RESAMPLES = 2000
ESTIMATOR = "median of rounds per process, weighted mean; bootstrap over rounds, normal process component"
"""Name of what `ratio_interval` does, kept with every interval."""

# Each process has a small bias of its own (memory layout, placement) that no number of its rounds averages out.
# METHOD 1: 0.1-0.5 %. The standard deviation of a log ratio of two processes, and how many degrees of freedom this prior
# weighs against what several processes of a run show.
PROCESS_SD = 0.003
PROCESS_PRIOR_DF = 4.0


def samples_needed(percentile: float, confidence: float = CONFIDENCE) -> int:
    """Samples that support a percentile (0..1) with one sample above it allowed (MLPerf LoadGen's early-stopping rule).

    The smallest n with P(at most one of n samples lies above the percentile) <= 1 - confidence.
    """

    def too_few(n: int) -> bool:
        return percentile**n + n * (1 - percentile) * percentile ** (n - 1) > 1 - confidence

    high = 2
    while too_few(high):
        high *= 2
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if too_few(middle) else (low, middle)
    return high


def median(samples: Sequence[float]) -> float:
    """The median of at least one sample."""
    return float(statistics.median(samples))


def summarise(samples: Sequence[int]) -> Latency:
    """Summary of all samples (ns) of one scope; a percentile only where the samples support it."""
    import numpy as np

    values = np.asarray(samples, np.float64)
    need = {name: samples_needed(p) for name, p in PERCENTILES.items()}
    return Latency(
        samples=len(values),
        median_ns=float(np.median(values)),
        mean_ns=float(values.mean()),
        std_ns=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        min_ns=float(values.min()),
        max_ns=float(values.max()),
        percentiles_ns={
            name: float(np.quantile(values, p, method="inverted_cdf"))
            for name, p in PERCENTILES.items()
            if len(values) >= need[name]
        },
        samples_missing={name: n - len(values) for name, n in need.items() if len(values) < n},
    )


FLAT = 3
"""Bursts in a row that must be alike for the latency to be flat."""


def flat(medians: Sequence[float], window: int = FLAT, tolerance: float = 0.05) -> bool:
    """Whether the last `window` bursts' medians lie within `tolerance` of each other: warm-up is over."""
    last = medians[-window:]
    return len(last) == window and max(last) <= min(last) * (1 + tolerance)


def ratio_interval(
    log_ratios: Sequence[Sequence[float]],
    *,
    level: float = 0.95,
    seed: int = 0,
    process_sd: float = PROCESS_SD,
    resamples: int = RESAMPLES,
) -> Interval:
    """Interval of a ratio from its rounds' log ratios, one sequence per process (of at least one round each).

    Location: the median of rounds within a process, and over processes the mean, in which one with few rounds weighs less.
    Spread: a bootstrap over the rounds, plus a normal component for what differs between processes, whose variance is
    `process_sd` squared, corrected by what the processes of this run show.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    medians = np.array([np.median(rounds) for rounds in log_ratios])
    residuals = _residuals(log_ratios)
    weights = _weights([len(rounds) for rounds in log_ratios], residuals, process_sd)
    replicates = np.stack(
        [
            middle + np.median(residuals[rng.integers(0, len(residuals), (resamples, len(rounds)))], axis=1)
            for middle, rounds in zip(medians, log_ratios, strict=True)
        ]
    )
    centre = float(weights @ medians)
    between = between_variance(log_ratios, float(replicates.var(axis=1).mean()), process_sd)
    spread = weights @ replicates + rng.normal(0.0, math.sqrt(between * float(weights @ weights)), resamples)
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])
    return Interval(math.exp(centre), math.exp(min(low, centre)), math.exp(max(high, centre)), level)


def _residuals(log_ratios: Sequence[Sequence[float]]) -> np.ndarray[Any, Any]:
    """How far rounds are from the median of their process, of all processes: one with a single round tells nothing of it."""
    import numpy as np

    found = [np.asarray(rounds, np.float64) - np.median(rounds) for rounds in log_ratios if len(rounds) > 1]
    return np.concatenate(found) if found else np.zeros(1)


def _weights(counts: Sequence[int], residuals: np.ndarray[Any, Any], process_sd: float) -> np.ndarray[Any, Any]:
    """Of each process: one over the variance of its median, from what processes differ by and from its number of rounds.

    Rounds that were left out leave some processes with one or two; a plain mean would take such a one for a quarter of
    the evidence. The prior alone, not what this run shows, says what processes differ by: an outlier must not raise its own
    weight. The median of n rounds has pi/2 times the variance of their mean.
    """
    import numpy as np

    one_round = (1.4826 * float(np.median(np.abs(residuals)))) ** 2
    weights = 1.0 / (process_sd**2 + math.pi / 2 * one_round / np.asarray(counts, np.float64) + 1e-12)
    return np.asarray(weights / weights.sum())


def between_variance(log_ratios: Sequence[Sequence[float]], within: float, process_sd: float) -> float:
    """Variance of one process's bias: the prior, and what several processes show beyond `within` (of their medians)."""
    processes = len(log_ratios)
    prior = process_sd**2
    if processes < 2:
        return prior
    shown = max(0.0, statistics.variance([statistics.median(rounds) for rounds in log_ratios]) - within)
    return (PROCESS_PRIOR_DF * prior + (processes - 1) * shown) / (PROCESS_PRIOR_DF + processes - 1)
