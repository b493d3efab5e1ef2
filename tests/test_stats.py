"""The statistics keep what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import stats


@pytest.mark.parametrize(("percentile", "samples"), [(0.90, 64), (0.95, 130), (0.99, 662), (0.999, 6636)])
def test_samples_needed_are_those_of_loadgen(percentile: float, samples: int) -> None:
    """METHOD 3 gives these four."""
    assert stats.samples_needed(percentile) == samples


def test_a_percentile_appears_with_the_sample_that_supports_it() -> None:
    assert "p90" not in stats.summarise(range(1, 64)).percentiles_ns
    assert stats.summarise(range(1, 64)).samples_missing["p90"] == 1
    summary = stats.summarise(range(1, 65))
    assert summary.percentiles_ns["p90"] == 58
    assert "p90" not in summary.samples_missing


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=200))
def test_a_summary_clips_nothing(samples: list[int]) -> None:
    summary = stats.summarise(samples)
    assert summary.samples == len(samples)
    assert (summary.min_ns, summary.max_ns) == (min(samples), max(samples))
    assert summary.min_ns <= summary.median_ns <= summary.max_ns


def test_bursts_are_flat_when_the_last_three_agree() -> None:
    assert not stats.flat([100, 100])
    assert not stats.flat([300, 120, 100])
    assert stats.flat([300, 102, 100, 101])


def test_the_ratio_is_the_median_of_rounds() -> None:
    interval = stats.ratio_interval([[math.log(2.0)] * 9 + [math.log(50.0)]])
    assert interval.value == pytest.approx(2.0)
    assert interval.low <= 2.0 <= interval.high


def test_an_interval_never_is_narrower_than_what_one_process_can_know() -> None:
    """Thousands of identical rounds of one process leave the process's own bias."""
    one = stats.ratio_interval([[0.0] * 5000])
    many = stats.ratio_interval([[0.0] * 50] * 16)
    assert one.half_width > 1.5 * stats.PROCESS_SD
    assert many.half_width < one.half_width / 2


def _covered(processes: int, rounds: int, process_sd: float, round_sd: float, trials: int = 300) -> float:
    rng = np.random.default_rng(42)
    hits = 0
    for trial in range(trials):
        data = [list(rng.normal(rng.normal(0, process_sd), round_sd, rounds)) for _ in range(processes)]
        interval = stats.ratio_interval(data, seed=trial, resamples=400)
        hits += interval.low <= 1.0 <= interval.high
    return hits / trials


@pytest.mark.parametrize(("processes", "rounds"), [(1, 20), (1, 80), (3, 20), (5, 40)])
def test_a_95_percent_interval_covers_about_95_percent(processes: int, rounds: int) -> None:
    """Synthetic A/A with the noise of METHOD 1: 3 % between rounds, 0.3 % between processes."""
    assert 0.90 <= _covered(processes, rounds, stats.PROCESS_SD, 0.03) <= 0.995


def test_a_process_of_few_rounds_weighs_less() -> None:
    """Of four processes three have six rounds at 1.5, and one has a single round, at 2.0."""
    usual = [math.log(1.5) + shift for shift in (-0.03, -0.01, 0.0, 0.01, 0.02, 0.04)]
    interval = stats.ratio_interval([usual, usual, usual, [math.log(2.0)]], process_sd=0.01)
    plain = math.exp((3 * math.log(1.5) + math.log(2.0)) / 4)
    assert 1.5 < interval.value < 1.55 < plain
    assert interval.low < interval.value < interval.high
    alike = stats.ratio_interval([usual, [math.log(2.0) + shift for shift in (-0.03, -0.01, 0.0, 0.01, 0.02, 0.04)]])
    assert alike.value == pytest.approx(math.sqrt(1.5 * 2.0), rel=0.01)


def test_processes_that_differ_widen_the_interval() -> None:
    alike = stats.ratio_interval([[0.0, 0.001, -0.001] * 5] * 4)
    apart = stats.ratio_interval([[shift, shift + 0.001, shift - 0.001] * 5 for shift in (-0.05, 0.05, 0.0, 0.02)])
    assert apart.half_width > 3 * alike.half_width
