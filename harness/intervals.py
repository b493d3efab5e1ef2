"""Intervals of a cell's own figures: latency percentiles from rounds of bursts, cold start from fresh processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Any

from harness.record import Interval
from harness.stats import PROCESS_SD, between_variance, samples_needed

if TYPE_CHECKING:
    import numpy as np

LEVEL = 0.95
RESAMPLES = 1000
ESTIMATOR = (
    "percentile of all samples; bootstrap over rounds widened by their correlation, normal process component, "
    "not narrower than order statistics"
)
PERCENTILES: Mapping[str, float] = {"median": 0.5, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
COLD_SD = 0.2
"""Prior standard deviation of the log of a cold-start figure between processes, until several of a run show theirs."""
COLD_PRIOR_DF = 4.0
_GRID, _WINDOW = 1000, 400
"""Values that a resampled percentile is read from: evenly spaced order statistics, and all near the percentile."""

Bursts = Sequence[Sequence[Sequence[int]]]
"""Samples (ns) of one cell: per process, per round in the order of measuring, one by one."""


def latency_interval(
    bursts: Bursts, percentile: float, *, level: float = LEVEL, seed: int = 0, process_sd: float = PROCESS_SD
) -> Interval | None:
    """Interval (ns) of a latency percentile (0..1); None where the samples do not support it (METHOD 3).

    The value is the percentile of all samples. Rounds are resampled as a whole, because the samples of a burst share the
    machine's state; what they vary by is widened where neighbouring rounds are alike (a clock that drifts) and where they
    are few. A normal component (`process_sd`) is the bias of a process. Order statistics (the binomial interval,
    which assumes independent samples) are the least width: a bootstrap cannot see beyond the largest sample.
    """
    return _intervals(bursts, {"": percentile}, level, seed, process_sd).get("")


def latency_intervals(
    bursts: Bursts, *, level: float = LEVEL, seed: int = 0, process_sd: float = PROCESS_SD
) -> Mapping[str, Interval]:
    """`latency_interval` of all `PERCENTILES` that the samples support, from one resampling."""
    return _intervals(bursts, PERCENTILES, level, seed, process_sd)


def cold_interval(values: Sequence[float], *, level: float = LEVEL) -> Interval:
    """Interval of a figure that a process shows once (load, first inference), from one value per fresh process.

    Student's t in the log domain with a variance that begins at a prior (`COLD_SD`): one process knows its figure to a
    factor of about 1.7, and says so.
    """
    logs = [math.log(max(value, 1e-9)) for value in values]
    centre, n = fmean(logs), len(logs)
    df = COLD_PRIOR_DF + n - 1
    variance = (COLD_PRIOR_DF * COLD_SD**2 + sum((x - centre) ** 2 for x in logs)) / df
    half = student(level, df) * math.sqrt(variance / n)
    return Interval(math.exp(centre), math.exp(centre - half), math.exp(centre + half), level)


def student(level: float, df: float) -> float:
    """Two-sided quantile of Student's t by its expansion around the normal one (under 1 % off from 4 degrees on)."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / df + second / df**2 + third / df**3


def _intervals(
    bursts: Bursts, percentiles: Mapping[str, float], level: float, seed: int, process_sd: float
) -> dict[str, Interval]:
    import numpy as np

    processes = [rounds for process in bursts if (rounds := [np.asarray(r, np.float64) for r in process if len(r)])]
    if not processes:
        return {}
    values = np.sort(np.concatenate([samples for rounds in processes for samples in rounds]))
    wanted = {n: p for n, p in percentiles.items() if _supported(p, len(values), sum(map(len, processes)))}
    if not wanted:
        return {}
    rng = np.random.default_rng(seed)
    draws = [_draws(rng, len(rounds)) for rounds in processes]
    pooled = _replicates([r for rounds in processes for r in rounds], np.hstack(draws), values, wanted)
    single = [
        _replicates(rounds, drawn, np.sort(np.concatenate(rounds)), wanted)
        for rounds, drawn in zip(processes, draws, strict=True)
        if len(processes) > 1
    ]
    widen = _widening(processes, level)
    found = {}
    for name, p in wanted.items():
        value = _percentile(values, p)
        own = [log[name] for log in single]
        within = float(np.mean([log.var() for log in own])) if own else 0.0
        between = between_variance([[float(np.median(log))] for log in own] or [[0.0]], within, process_sd)
        noise = rng.normal(0.0, math.sqrt(between / len(processes)), RESAMPLES)
        spread = (pooled[name] - math.log(value)) * widen + noise
        low, high = np.exp(np.quantile(spread, [(1 - level) / 2, (1 + level) / 2])) * value
        least = order_statistics(values, p, level)
        found[name] = Interval(value, float(min(low, least[0], value)), float(max(high, least[1], value)), level)
    return _ordered(found, wanted)


def _ordered(found: Mapping[str, Interval], percentiles: Mapping[str, float]) -> dict[str, Interval]:
    """A percentile is at least any lower one, and so are both ends of its interval."""
    names = sorted(found, key=lambda name: percentiles[name])
    lows = [max(found[below].low for below in names[: i + 1]) for i in range(len(names))]
    highs = [min(found[above].high for above in names[i:]) for i in range(len(names))]
    return {
        name: Interval(found[name].value, min(low, found[name].value), max(high, found[name].value), found[name].level)
        for name, low, high in zip(names, lows, highs, strict=True)
    }


def _widening(processes: Sequence[Sequence[Any]], level: float) -> float:
    """What a bootstrap over independent rounds is too narrow by: few rounds (Student's t), and rounds that are alike."""
    import numpy as np

    rho = correlation([[float(np.median(r)) for r in rounds] for rounds in processes])
    alike = (1 + rho) / (1 - rho)
    rounds = sum(map(len, processes))
    df = max(rounds / alike - len(processes), 3.0)
    t = student(level, df) / NormalDist().inv_cdf((1 + level) / 2)
    return t * math.sqrt(alike * rounds / max(rounds - len(processes), 1))


def _supported(percentile: float, samples: int, rounds: int) -> bool:
    """A median needs two rounds to differ; a percentile above it what METHOD 3 asks for."""
    return rounds >= 2 and (percentile <= 0.5 or samples >= samples_needed(percentile))


def _percentile(values: Any, percentile: float) -> float:
    import numpy as np

    found = np.median(values) if percentile == 0.5 else np.quantile(values, percentile, method="inverted_cdf")
    return max(float(found), 1.0)


def correlation(medians: Sequence[Sequence[float]]) -> float:
    """Lag-1 correlation of neighbouring rounds (0..0.9), from their medians per process, corrected for its small-sample bias.

    0 where it is no more than independent rounds show by chance.
    """
    import numpy as np

    parts = [np.log(np.maximum(process, 1.0)) for process in medians]
    parts = [x - x.mean() for x in parts]
    power, rounds = sum(float((x * x).sum()) for x in parts), sum(len(x) for x in parts)
    if power == 0 or rounds < 8:
        return 0.0
    rho = sum(float((x[1:] * x[:-1]).sum()) for x in parts) / power
    rho += (1 + 3 * rho) * len(parts) / rounds  # Kendall (1954): an estimate from few rounds is too low
    return min(rho, 0.9) if rho > 1.3 / math.sqrt(rounds) else 0.0


def _draws(rng: np.random.Generator, rounds: int) -> Any:
    """How often each round is drawn, per resample: an array of resamples × rounds."""
    return rng.multinomial(rounds, [1 / rounds] * rounds, RESAMPLES).astype(float)


def _replicates(rounds: Sequence[Any], draws: Any, values: Any, wanted: Mapping[str, float]) -> dict[str, Any]:
    """Logs of the resampled percentiles: how many samples of each round lie below each value of a grid, times its draws."""
    import numpy as np

    near = [np.arange(int(p * len(values)) - _WINDOW, int(p * len(values)) + _WINDOW) for p in wanted.values()]
    every = np.linspace(0, len(values) - 1, min(_GRID, len(values))).astype(int)
    grid = values[np.unique(np.clip(np.concatenate([every, *near]), 0, len(values) - 1))]
    below = np.stack([np.searchsorted(np.sort(samples), grid, side="right") for samples in rounds]).astype(np.float64)
    counted = draws @ below
    total = draws @ np.array([len(samples) for samples in rounds], np.float64)
    return {
        name: np.log(np.maximum(grid[(counted >= (p * total)[:, None] - 1e-9).argmax(axis=1)], 1.0))
        for name, p in wanted.items()
    }


def order_statistics(values: Any, percentile: float, level: float = LEVEL) -> tuple[float, float]:
    """Distribution-free interval of a percentile of sorted independent values, from the binomial distribution."""
    import numpy as np

    n = len(values)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    below = np.arange(n + 1)
    mass = np.exp(
        logs[n] - logs - logs[::-1] + below * math.log(percentile) + (n - below) * math.log1p(-percentile)
    ).cumsum()
    low = int(np.searchsorted(mass, (1 - level) / 2))
    high = int(np.searchsorted(mass, (1 + level) / 2))
    return float(values[max(low - 1, 0)]), float(values[min(high, n - 1)])
