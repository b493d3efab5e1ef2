"""Rank tests: whether two sets of rounds could be one, without assuming how they are distributed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

EXACT_UP_TO = 400
"""Product of the two sizes up to which the Mann-Whitney probability is counted out; beyond, it is the normal one."""


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of the Mann-Whitney U test; 1 where one side is empty.

    Exact without ties and up to `EXACT_UP_TO`, else normal with corrections for ties and continuity
    (Mann and Whitney, Ann. Math. Statist. 18 (1947) 50; Lehmann, Nonparametrics (1975), section 1.4).
    """
    n, m = len(first), len(second)
    if not n or not m:
        return 1.0
    counts = Counter([*first, *second])
    u = u_statistic(first, second)
    if n * m <= EXACT_UP_TO and max(counts.values()) == 1:
        return _exact(n, m, round(min(u, n * m - u)))
    return _normal(n, m, u, counts)


def u_statistic(first: Sequence[float], second: Sequence[float]) -> float:
    """Number of pairs in which `first` is the larger, ties counting half."""
    ranks: dict[float, float] = {}
    below = 0
    for value, number in sorted(Counter([*first, *second]).items()):
        ranks[value] = below + (number + 1) / 2
        below += number
    n = len(first)
    return sum(ranks[value] for value in first) - n * (n + 1) / 2


def _exact(n: int, m: int, u: int) -> float:
    """P of a U at most `u`, twice: the coefficients of the Gaussian binomial (n+m over n) count the orders."""
    ways = [1] + [0] * u
    for i in range(1, n + 1):
        for k in range(u, m + i - 1, -1):  # times 1 - q^(m+i)
            ways[k] -= ways[k - m - i]
        for k in range(i, u + 1):  # over 1 - q^i
            ways[k] += ways[k - i]
    return min(1.0, 2 * sum(ways) / math.comb(n + m, n))


def _normal(n: int, m: int, u: float, counts: Counter[float]) -> float:
    total = n + m
    ties = sum(t**3 - t for t in counts.values())
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0  # all are equal
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def sign_test(differences: Sequence[float]) -> float:
    """Exact two-sided p-value of the sign test on paired differences; zeros say nothing and are left out."""
    up = sum(d > 0 for d in differences)
    down = sum(d < 0 for d in differences)
    n = up + down
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(up, down) + 1)) / (1 << n)) if n else 1.0
