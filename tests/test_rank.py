"""Rank tests agree with published tables, with counting by hand, and with scipy where it is installed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.comparing import rank

NUMBERS = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=12)


def _with_u(n: int, m: int, u: int) -> tuple[list[float], list[float]]:
    """Two samples without ties whose statistic is `u`: the largest of the first are raised above the second."""
    raised, rest = divmod(u, m)
    ranks = [i + (m if i >= n - raised else rest if i == n - raised - 1 else 0) for i in range(n)]
    return [float(r) for r in ranks], [float(r) for r in range(n + m) if r not in ranks]


@pytest.mark.parametrize(("n", "m", "u", "p"), [(3, 4, 0, 0.028), (5, 5, 1, 0.008), (5, 5, 4, 0.048), (5, 5, 5, 0.075)])
def test_the_probabilities_of_mann_and_whitney_1947(n: int, m: int, u: int, p: float) -> None:
    """Their table I is one-sided."""
    first, second = _with_u(n, m, u)
    assert rank.u_statistic(first, second) == u
    assert rank.mann_whitney(first, second) / 2 == pytest.approx(p, abs=6e-4)


@pytest.mark.parametrize(("size", "critical"), [(5, 2), (8, 13), (10, 23), (15, 64), (20, 127)])
def test_the_critical_values_at_5_percent(size: int, critical: int) -> None:
    """Two-sided, as every table of the test prints them."""
    assert rank.mann_whitney(*_with_u(size, size, critical)) <= 0.05
    assert rank.mann_whitney(*_with_u(size, size, critical + 1)) > 0.05


def test_counting_all_orders_gives_the_same() -> None:
    first, second = [1.0, 4.0, 6.0], [2.0, 3.0, 5.0, 7.0]
    u = min(rank.u_statistic(first, second), 12 - rank.u_statistic(first, second))
    pool = [*first, *second]
    all_u = [rank.u_statistic(c, [v for v in pool if v not in c]) for c in itertools.combinations(pool, 3)]
    extreme = sum(min(x, 12 - x) <= u for x in all_u)
    assert rank.mann_whitney(first, second) == pytest.approx(min(1.0, extreme / len(all_u)))


@given(NUMBERS, NUMBERS)
def test_exchanging_the_samples_changes_nothing(first: list[float], second: list[float]) -> None:
    p = rank.mann_whitney(first, second)
    assert 0 < p <= 1
    assert rank.mann_whitney(second, first) == pytest.approx(p)


@given(NUMBERS, NUMBERS)
@settings(deadline=None)
def test_scipy_says_the_same(first: list[float], second: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    ties = len({*first, *second}) < len(first) + len(second)
    if len({*first, *second}) == 1:
        assert rank.mann_whitney(first, second) == 1.0
        return
    said = stats.mannwhitneyu(first, second, method="asymptotic" if ties else "exact").pvalue
    assert rank.mann_whitney(first, second) == pytest.approx(said, abs=1e-9)


def test_many_rounds_take_the_normal_approximation() -> None:
    first, second = [i + 0.5 for i in range(60)], [i + 8.0 for i in range(60)]
    assert rank.mann_whitney(first, second) == pytest.approx(0.022, abs=0.005)


def test_nothing_and_equals_are_no_evidence() -> None:
    assert rank.mann_whitney([], [1.0]) == 1.0
    assert rank.mann_whitney([2.0] * 30, [2.0] * 30) == 1.0
    assert rank.sign_test([]) == rank.sign_test([0.0, 0.0]) == 1.0


@pytest.mark.parametrize(
    ("down", "up", "p"), [(0, 5, 0.0625), (0, 6, 0.03125), (1, 9, 0.0215), (2, 10, 0.0386), (5, 5, 1.0)]
)
def test_the_sign_test_is_binomial(down: int, up: int, p: float) -> None:
    assert rank.sign_test([-1.0] * down + [1.0] * up) == pytest.approx(p, abs=1e-4)
