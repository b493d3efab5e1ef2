"""What A/A experiments say of the intervals: how often they contain 1.00, how wide they are, what time buys.

An experiment measures one cell against itself under another name, so that the true ratio is 1.00. Everything here is
computed from recorded bursts, so that it can be computed again with another estimator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness import schedule, stats
from harness.record import Interval, Rules
from harness.schedule import Trace

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Parts of every experiment's rounds at which its interval is looked at."""
_Z = 1.959963984540054


@dataclass(frozen=True)
class Experiment:
    """The bursts of one A/A experiment, and the keys of its two cells."""

    trace: Trace
    baseline: str
    twin: str


@dataclass(frozen=True)
class Point:
    """What the experiments' intervals look like after `seconds` of measuring per cell."""

    seconds: float
    half_width: float
    """Median over the experiments, relative: 0.02 reads ±2 %."""
    covered: int
    """Experiments whose interval contains 1.00."""
    experiments: int
    spread: float
    """Standard deviation of the experiments' log ratios: what the half-width should be 1.96 times of."""

    @property
    def coverage(self) -> float:
        """Share of the experiments whose interval contains 1.00."""
        return self.covered / self.experiments


@dataclass(frozen=True)
class Budget:
    """What reaches a half-width: seconds per cell, spread over fresh processes."""

    target: float
    seconds: float
    processes: int


@dataclass(frozen=True)
class Calibration:
    """The outcome of a series of A/A experiments."""

    intervals: tuple[Interval, ...]
    """Of every experiment, with all its rounds."""
    points: tuple[Point, ...]
    """In the order of `SHARES`."""
    coverage_interval: tuple[float, float]
    """95 % Wilson interval of the coverage with all rounds."""
    budgets: tuple[Budget, ...]
    disturbed: float
    """Share of bursts with the processors far apart."""

    @property
    def whole(self) -> Point:
        """What all rounds give."""
        return self.points[-1]

    @property
    def calibrated(self) -> bool:
        """Whether the coverage seen is compatible with a true one of 90 % to 99.9 %: neither too narrow nor idle."""
        low, high = self.coverage_interval
        return high >= 0.90 and low <= 0.999


def calibrate(experiments: Sequence[Experiment], rules: Rules, targets: Sequence[float] = (0.02, 0.01)) -> Calibration:
    """Judge the intervals of at least two experiments; a single one has no spread."""
    points = tuple(_point(experiments, rules, share) for share in SHARES)
    whole, one = points[-1], experiments[0]
    process_sd = schedule.log_ratios(one.trace, one.baseline, one.twin, rules).process_sd
    bursts = sum(len(e.trace.samples) for e in experiments)
    return Calibration(
        intervals=tuple(_interval(e, rules, 1.0) for e in experiments),
        points=points,
        coverage_interval=wilson(whole.covered, whole.experiments),
        budgets=tuple(budget(points, target, rules.processes, process_sd) for target in targets),
        disturbed=sum(len(e.trace.disturbed()) for e in experiments) / bursts,
    )


def _point(experiments: Sequence[Experiment], rules: Rules, share: float) -> Point:
    intervals = [_interval(e, rules, share) for e in experiments]
    logs = [math.log(i.value) for i in intervals]
    mean = sum(logs) / len(logs)
    spent = [sum(s.burst.seconds for s in _first(e, share).of(e.baseline)) for e in experiments]
    return Point(
        seconds=stats.median(spent),
        half_width=stats.median([i.half_width for i in intervals]),
        covered=sum(i.low <= 1.0 <= i.high for i in intervals),
        experiments=len(intervals),
        spread=math.sqrt(sum((x - mean) ** 2 for x in logs) / max(1, len(logs) - 1)),
    )


def _first(experiment: Experiment, share: float) -> Trace:
    """The first part of every process's rounds."""
    trace = experiment.trace
    last: dict[int, int] = {}
    for s in trace.samples:
        last[s.process] = max(last.get(s.process, 0), s.round)
    kept = [s for s in trace.samples if s.round < max(2, math.ceil(share * (last[s.process] + 1)))]
    return replace(trace, samples=kept)


def _interval(experiment: Experiment, rules: Rules, share: float) -> Interval:
    return schedule.log_ratios(_first(experiment, share), experiment.baseline, experiment.twin, rules).interval()


def budget(points: Sequence[Point], target: float, processes: int, process_sd: float = stats.PROCESS_SD) -> Budget:
    """What reaches a half-width of `target`: the rounds' part falls with time, the processes' part only with processes.

    half-width² = a / seconds + b / processes, with b from the process component that the estimator uses and `a` fitted to
    the points.
    """
    b = (_Z * process_sd) ** 2
    a = stats.median([max(0.0, p.half_width**2 - b / processes) * p.seconds for p in points])
    needed = max(1, math.ceil(2 * b / target**2)) if b > target**2 / 2 else 1
    return Budget(target, a / (target**2 - b / needed), needed)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share (Wilson 1927)."""
    p, z2 = hits / of, _Z**2
    centre = (p + z2 / (2 * of)) / (1 + z2 / of)
    reach = _Z / (1 + z2 / of) * math.sqrt(p * (1 - p) / of + z2 / (4 * of**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)


@dataclass(frozen=True)
class Noise:
    """Times of one fixed piece of arithmetic, sampled over some seconds while nothing else is asked of the machine."""

    samples: int
    best_ns: float
    quantiles: Mapping[str, float]
    """`p50`, `p95`, `p99` and `max`, relative to the best: 1.6 reads 60 % longer."""


def noise_of(times_ns: Sequence[int]) -> Noise:
    """Summary of the times of a fixed piece of work."""
    ordered, best = sorted(times_ns), min(times_ns)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    quantiles = {name: ordered[min(len(ordered) - 1, int(q * len(ordered)))] / best for name, q in shares.items()}
    return Noise(len(ordered), float(best), quantiles)
