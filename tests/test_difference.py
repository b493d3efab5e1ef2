"""Intervals of what was not measured in turn: by level, inverted by exchange, and covering as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.comparing import difference
from harness.comparing.difference import Prior, Rounds

ROUNDS = st.lists(st.floats(-1, 1), min_size=1, max_size=15)
SIDE = st.lists(st.lists(ROUNDS, min_size=1, max_size=3), min_size=1, max_size=3)
PRIOR = difference.speedup_prior(calm=True, shift=0.0)


@pytest.mark.parametrize(
    ("df", "quantile"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (30, 2.042), (1e9, 1.960)]
)
def test_students_quantiles_are_those_of_the_table(df: float, quantile: float) -> None:
    assert difference.t_quantile(0.975, df) == pytest.approx(quantile, abs=5e-4)


@given(SIDE, SIDE)
@settings(max_examples=60, deadline=None)
def test_exchanging_the_sides_inverts_ratio_and_interval(base: Rounds, new: Rounds) -> None:
    there = difference.between(base, new, PRIOR).interval()
    back = difference.between(new, base, PRIOR).interval()
    assert back.value == pytest.approx(1 / there.value)
    assert back.low == pytest.approx(1 / there.high)
    assert back.high == pytest.approx(1 / there.low)
    assert there.low <= there.value <= there.high


def test_more_rounds_never_beat_what_runs_differ_by() -> None:
    few, many = ([[list(np.random.default_rng(1).normal(0, 0.01, n))]] for n in (20, 2000))
    assert difference.between(few, few, PRIOR).interval().half_width > PRIOR.run_sd
    assert difference.between(many, many, PRIOR).interval().half_width > PRIOR.run_sd


def test_repeats_narrow_the_interval_and_runs_that_differ_widen_it() -> None:
    one: Rounds = [[[0.0, 0.001, -0.001] * 8]]
    alike, apart = list(one) * 4, [[[shift + x for x in one[0][0]]] for shift in (-0.05, 0.05, 0.03, -0.03)]
    single = difference.between(one, one, PRIOR).interval().half_width
    assert difference.between(alike, alike, PRIOR).interval().half_width < single / 2
    assert difference.between(apart, apart, PRIOR).interval().half_width > single


def test_unchanged_cells_say_what_runs_differ_by() -> None:
    side: Rounds = [[[0.0, 0.001, -0.001] * 8]]
    found = difference.between(side, side, PRIOR)
    moved = difference.between(side, [[[0.2 + x for x in side[0][0]]]], PRIOR)
    assert found.shift == 0.0
    assert found.seeing([found.shift] * 5).interval().half_width < found.interval().half_width
    assert found.seeing([moved.shift]).interval().half_width > 2 * found.interval().half_width


def test_a_machine_that_scatters_within_a_run_is_taken_to_differ_as_much_between_runs() -> None:
    draw = np.random.default_rng(3)
    still, wild = ([[list(draw.normal(0, sd, 400))]] for sd in (0.005, 0.5))
    assert difference.latency_prior(True, (still, still)).run_sd == pytest.approx(0.05, rel=0.05)
    assert difference.latency_prior(True, (still, wild)).run_sd == pytest.approx(0.5, rel=0.1)


def test_a_baseline_that_shifted_cancels_in_part_only() -> None:
    assert difference.speedup_prior(True, 0.2).run_sd == difference.speedup_prior(True, -0.2).run_sd > 0.09


def test_a_block_bootstrap_sees_a_drift_that_rounds_alone_hide() -> None:
    drift = [0.1 * math.sin(i / 10) for i in range(64)]
    shuffled = list(np.random.default_rng(0).permutation(drift))
    assert difference.median_variance(drift) > 1.5 * difference.median_variance(shuffled)


@pytest.mark.parametrize("runs", [1, 3])
def test_a_95_percent_interval_covers_about_95_percent(runs: int) -> None:
    """A/A of synthetic runs whose bias is as the prior says."""
    rng = np.random.default_rng(7)
    assumed = Prior(run_sd=0.02, df=3.0, process_sd=0.003)

    def side() -> Rounds:
        biases = rng.normal(0, assumed.run_sd / math.sqrt(2), runs)
        return [[list(bias + rng.normal(0, 0.003) + rng.normal(0, 0.02, 25))] for bias in biases]

    hits = [(i := difference.between(side(), side(), assumed).interval()).low <= 1 <= i.high for _ in range(200)]
    assert 0.92 <= sum(hits) / len(hits) <= 1.0
