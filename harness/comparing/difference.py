"""How much longer one side took than the other when the two were not measured in turn, and how well that is known.

Three levels differ: rounds of a process, processes of a run, and runs of the machine. What rounds do is seen in the
samples. What differs between processes and between runs is hardly seen in one of each: it begins as a prior, and is
corrected by whatever repeats and unchanged cells show. All of it on the logarithm, where a ratio is a difference, so that
exchanging the sides exactly inverts the result.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness import stats
from harness.record import Interval

Rounds = Sequence[Sequence[Sequence[float]]]
"""Logarithms of the rounds' medians: runs, their processes, their rounds."""
RESAMPLES = 400


@dataclass(frozen=True)
class Prior:
    """What is assumed of runs before any are compared: the standard deviation of a log ratio of two, and its weight."""

    run_sd: float
    df: float
    process_sd: float
    """The standard deviation of one process's bias within a run."""


# Evidence (ARCHITECTURE.md): three runs of resnet18 within minutes took 24.9, 29.8 and 30.4 ms in PyTorch and had a speed-up
# of 1.46, 1.70 and 1.71 in ONNX Runtime, each known to 1 % within its run; the machine had changed its state.
_DF = 4.0
_LATENCY_SD: Mapping[bool, float] = {True: 0.05, False: 0.10}
_SPEEDUP_SD: Mapping[bool, float] = {True: 0.01, False: 0.07}


_CANCELS_BUT = 0.5
"""Share of a baseline's shift that is left in a speed-up: it was 0.5 to 0.85 where processors moved apart."""


def latency_prior(calm: bool, sides: Sequence[Rounds]) -> Prior:
    """What is assumed of two runs' latencies: they differ by no less than the rounds of either do (`scatter`).

    `calm`: all rounds are known to be of one state of the machine's processors.
    """
    sd = math.hypot(_LATENCY_SD[calm], max(map(scatter, sides)))
    return Prior(sd, _DF, stats.PROCESS_SD / math.sqrt(2))


def speedup_prior(calm: bool, shift: float) -> Prior:
    """What is assumed of latencies relative to a baseline of the same rounds, whose own log latency changed by `shift`."""
    return Prior(math.hypot(_SPEEDUP_SD[calm], _CANCELS_BUT * shift), _DF, stats.PROCESS_SD)


def scatter(runs: Rounds) -> float:
    """Standard deviation of the rounds of a process, from their quartiles; the mean over all processes."""
    return statistics.fmean(_quartile_sd(rounds) for processes in runs for rounds in processes)


def _quartile_sd(rounds: Sequence[float]) -> float:
    if len(rounds) < 2:
        return 0.0
    low, _, high = statistics.quantiles(rounds, n=4, method="inclusive")
    return (high - low) / 1.349


@dataclass(frozen=True)
class Part:
    """A component of a variance, with the degrees of freedom it is known with."""

    variance: float
    df: float


NONE = Part(0.0, 1.0)
"""A component that is not there."""


@dataclass(frozen=True)
class Difference:
    """Log ratio of NEW over BASE, and its variance by level."""

    log: float
    parts: Mapping[str, Part]
    """`rounds`, `processes`, `runs`."""
    runs: tuple[int, int]
    """Number of runs of BASE and of NEW."""

    @property
    def shift(self) -> float:
        """Where nothing is known to have changed: what this says of the variance that `runs` has."""
        return max(0.0, self.log**2 - self.own_variance)

    def seeing(self, shifts: Sequence[float]) -> Difference:
        """The same, knowing what unchanged cells showed (`shift`), each an independent sight of what runs differ by."""
        runs = self.parts["runs"]
        df = runs.df + len(shifts)
        return replace(self, parts={**self.parts, "runs": Part(math.fsum([runs.df * runs.variance, *shifts]) / df, df)})

    def interval(self, level: float = 0.95) -> Interval:
        """The ratio with its interval: Student's t with Satterthwaite's degrees of freedom."""
        reach = half_width(tuple(self.parts.values()), level)
        return Interval(math.exp(self.log), math.exp(self.log - reach), math.exp(self.log + reach), level)

    @property
    def own_variance(self) -> float:
        """Without what differs between runs."""
        return self.parts["rounds"].variance + self.parts["processes"].variance


def half_width(parts: Sequence[Part], level: float) -> float:
    """Half the interval of an estimate whose variance has these parts (Satterthwaite, Biometrics 2 (1946) 110)."""
    total = math.fsum(part.variance for part in parts)
    if total <= 0:
        return 0.0
    df = total**2 / math.fsum(part.variance**2 / part.df for part in parts)
    return t_quantile((1 + level) / 2, df) * math.sqrt(total)


def between(base: Rounds, new: Rounds, assumed: Prior) -> Difference:
    """The difference of two sides, of at least one round each."""
    sides = (base, new)
    repeats = [_run_centres(side) for side in sides if len(side) > 1]
    seen = [2 * statistics.variance(centres) * (len(centres) - 1) for centres in repeats]
    df = assumed.df + sum(len(centres) - 1 for centres in repeats)
    run_variance = math.fsum([assumed.df * assumed.run_sd**2, *seen]) / df
    parts = {
        "rounds": _sum([_rounds(side) for side in sides]),
        "processes": _sum([_processes(side, assumed.process_sd) for side in sides]),
        "runs": Part(run_variance / 2 * math.fsum(1 / len(side) for side in sides), df),
    }
    log = statistics.fmean(_run_centres(new)) - statistics.fmean(_run_centres(base))
    return Difference(log, parts, (len(base), len(new)))


def _sum(parts: Sequence[Part]) -> Part:
    """The sum of independent parts, with the degrees of freedom of the sum."""
    total = math.fsum(part.variance for part in parts)
    weak = math.fsum(part.variance**2 / part.df for part in parts)
    return Part(total, total**2 / weak if weak > 0 else math.fsum(part.df for part in parts))


def _run_centres(runs: Rounds) -> list[float]:
    return [statistics.fmean(statistics.median(rounds) for rounds in processes) for processes in runs]


def _rounds(runs: Rounds) -> Part:
    """The part of the mean over runs that comes from a limited number of rounds."""
    variance = math.fsum(
        median_variance(rounds) / (len(processes) * len(runs)) ** 2 for processes in runs for rounds in processes
    )
    return Part(variance, max(1.0, sum(len(rounds) - 1.0 for processes in runs for rounds in processes)))


def _processes(runs: Rounds, prior_sd: float) -> Part:
    """The part that comes from each process's own bias."""
    df = sum(len(processes) - 1 for processes in runs)
    shown = math.fsum(
        statistics.variance(medians) * (len(medians) - 1)
        for processes in runs
        if len(medians := [statistics.median(rounds) for rounds in processes]) > 1
    )
    noise = statistics.fmean(median_variance(rounds) for processes in runs for rounds in processes) if df else 0.0
    known = stats.PROCESS_PRIOR_DF + df
    variance = (stats.PROCESS_PRIOR_DF * prior_sd**2 + max(0.0, shown - df * noise)) / known
    return Part(variance * math.fsum(1 / len(processes) for processes in runs) / len(runs) ** 2, known)


def median_variance(rounds: Sequence[float], seed: int = 0) -> float:
    """Variance of the median of rounds in their order: a circular block bootstrap, for a machine that drifts meanwhile.

    Blocks of the cube root of the number of rounds (Politis and Romano, 1992; Hall, Horowitz and Jing, 1995).
    """
    import numpy as np

    n = len(rounds)
    length = max(1, round(n ** (1 / 3)))
    values = np.asarray(rounds, np.float64)
    starts = np.random.default_rng(seed).integers(0, n, (RESAMPLES, math.ceil(n / length)))
    places = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :n] % n
    return float(np.median(values[places], axis=1).var(ddof=1))


def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t for a probability over one half and at least one degree of freedom."""
    if df > 1e6:
        return statistics.NormalDist().inv_cdf(probability)
    # With x = sqrt(df) tan(angle), the density becomes cos(angle)^(df - 1): smooth on a finite range, and its integral
    # concave, so that Newton's steps from 0 come up to the root and never pass it.
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    angle = 0.0
    for _ in range(100):
        step = (probability - 0.5 - scale * _cosine_integral(angle, df - 1)) / (scale * math.cos(angle) ** (df - 1))
        angle += step
        if step < 1e-12:
            break
    return math.sqrt(df) * math.tan(angle)


def _cosine_integral(angle: float, power: float, steps: int = 200) -> float:
    """Integral of cos^power from 0 to `angle` (Simpson)."""
    width = angle / steps
    inner = math.fsum((4 if i % 2 else 2) * math.cos(i * width) ** power for i in range(1, steps))
    return float(1.0 + inner + math.cos(angle) ** power) * width / 3
