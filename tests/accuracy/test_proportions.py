"""The statistics of right answers give what the papers print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.accuracy import proportions

AIRWAYS = (7, 1, 21)
"""Bentur et al. 2009 as in Fagerland, Lydersen & Laake (2013; 2014, Stat. Med. 33:2850): counts of change."""
THERAPY = (16, 6, 161)
"""Cavo et al. 2012, in the same papers."""


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_newcombes_table(right: int, total: int, low: float, high: float) -> None:
    """Newcombe 1998, Stat. Med. 17:857, table I, method 3."""
    found = proportions.wilson(right, total)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.value == right / total


def test_wilson_ends_at_zero_and_one() -> None:
    assert proportions.wilson(0, 5).low == 0
    assert proportions.wilson(5, 5).high == 1


@pytest.mark.parametrize(
    ("counts", "mid_p", "exact"), [(AIRWAYS, 0.039, 0.070), (THERAPY, 0.035, 0.052), ((0, 0, 9), 1.0, 1.0)]
)
def test_mcnemar_is_fagerlands(counts: tuple[int, int, int], mid_p: float, exact: float) -> None:
    lost, gained, _ = counts
    assert round(proportions.mcnemar(lost, gained), 3) == mid_p
    assert round(proportions.mcnemar(gained, lost), 3) == mid_p
    assert round(proportions.mcnemar_exact(lost, gained), 3) == exact


@pytest.mark.parametrize(("each", "p"), [(1, 0.75), (3, 0.84375)])
def test_a_tie_counts_half_of_its_own_probability(each: int, p: float) -> None:
    assert proportions.mcnemar(each, each) == p


def test_many_disagreements_do_not_overflow() -> None:
    assert proportions.mcnemar(9000, 9000) == pytest.approx(1, abs=0.01)
    assert 0 <= proportions.mcnemar(5000, 12000) < 1e-300


def test_the_paired_interval_is_tangos() -> None:
    """As Fagerland, Lydersen & Laake 2014 print it for the airways: -0.517 to -0.026."""
    found = proportions.paired_difference(*AIRWAYS)
    assert (round(found.low, 3), round(found.high, 3)) == (-0.517, -0.026)
    assert found.value == pytest.approx(-6 / 21)


def test_the_paired_interval_without_disagreement_has_a_width() -> None:
    found = proportions.paired_difference(0, 0, 100)
    assert found.value == 0
    assert found.high == -found.low == pytest.approx(1.96**2 / (1.96**2 + 100), rel=1e-3)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 400))
def test_the_paired_interval_excludes_zero_where_mcnemars_score_test_rejects(
    lost: int, gained: int, agree: int
) -> None:
    total = lost + gained + agree
    if not total:
        return
    found = proportions.paired_difference(lost, gained, total)
    assert -1 <= found.low <= found.value <= found.high <= 1
    mirrored = proportions.paired_difference(gained, lost, total)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-9)
    statistic = (lost - gained) ** 2 / (lost + gained) if lost + gained else 0.0
    if abs(statistic - 3.8415) > 0.001:
        assert (found.low > 0 or found.high < 0) == (statistic > 3.8415)


@pytest.mark.parametrize("counts", [(1, 2, 2), (-1, 0, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no paired counts"):
        proportions.paired_difference(*counts)
    with pytest.raises(ValueError, match="no share"):
        proportions.wilson(3, 2)
    with pytest.raises(ValueError, match="negative"):
        proportions.mcnemar(-1, 2)
