"""Statistics of right and wrong answers: intervals of a share and of a paired difference, and McNemar's test. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from harness.record import Interval

INTERVAL = "Wilson score"
"""Name of what `wilson` does, kept with every accuracy."""
PAIRED_INTERVAL = "Tango score, paired"
PAIRED_TEST = "McNemar mid-p"


def wilson(right: int, total: int, level: float = 0.95) -> Interval:
    """Share of right answers with Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22:209).

    Raises `ValueError` for counts that are none.
    """
    if not 0 <= right <= total or total == 0:
        raise ValueError(f"{right} of {total} is no share")
    z = _normal_quantile(level)
    share = right / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    low, high = (centre - spread) / scale, (centre + spread) / scale
    return Interval(share, 0.0 if right == 0 else low, 1.0 if right == total else high, level)


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided mid-p value of McNemar's exact conditional test.

    `lost` answers are right only in the first of two paired classifiers, `gained` only in the second. The mid-p version
    keeps the level and is less conservative than the exact one (Fagerland, Lydersen & Laake 2013, BMC Med. Res. Methodol.
    13:91).
    """
    twice, point = _binomial_half(lost, gained)
    if lost + gained == 0:
        return 1.0
    return 1.0 - point / 2 if lost == gained else twice - point  # P(X = k) is in both tails of a tie, and counts half


def mcnemar_exact(lost: int, gained: int) -> float:
    """Two-sided p value of McNemar's exact conditional test."""
    return min(1.0, _binomial_half(lost, gained)[0])


def _binomial_half(lost: int, gained: int) -> tuple[float, float]:
    """Twice P(X ≤ min) and P(X = min) of a binomial with probability 1/2, without rounding on the way."""
    if min(lost, gained) < 0:
        raise ValueError(f"negative counts: {lost}, {gained}")
    total, least = lost + gained, min(lost, gained)
    term = tail = 1
    for k in range(least):
        term = term * (total - k) // (k + 1)
        tail += term
    return 2 * tail / 2**total, term / 2**total


def paired_difference(lost: int, gained: int, total: int, level: float = 0.95) -> Interval:
    """Share right in the second minus share right in the first of two classifiers on the same `total` images.

    Tango's score interval (1998, Stat. Med. 17:891): the differences that McNemar's score statistic, constrained to
    them, does not reject. It needs no correction where there are few or no disagreements.
    """
    if min(lost, gained) < 0 or total <= 0 or lost + gained > total:
        raise ValueError(f"{lost} lost and {gained} gained of {total} are no paired counts")
    z = _normal_quantile(level)
    value = (gained - lost) / total

    def score(difference: float) -> float:
        linear = (2 * total - gained + lost) * difference - gained - lost
        constant = -lost * difference * (1 - difference)
        root = math.sqrt(max(0.0, linear * linear - 8 * total * constant))
        only_first = (root - linear) / (4 * total)
        variance = total * (2 * only_first + difference * (1 - difference))
        over = gained - lost - total * difference
        return over / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, over) if over else 0.0

    low = _root(lambda d: score(d) - z, -1.0, value)
    high = _root(lambda d: score(d) + z, value, 1.0)
    return Interval(value, low, high, level)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0 between two ends."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _normal_quantile(level: float) -> float:
    return statistics.NormalDist().inv_cdf((1 + level) / 2)
