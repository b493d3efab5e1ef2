"""Coverage, widths and budgets are computed from recorded bursts; synthetic experiments have a known truth."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from harness import calibration
from harness.calibration import Experiment, Point
from harness.model import Burst
from harness.record import Rules, Samples
from harness.schedule import Trace

RULES = Rules(min_rounds=10)


def _experiment(seed: int, rounds: int, noise: float, bias: float) -> Experiment:
    """An A/A experiment: rounds that spread by `noise`, and a process whose own ratio is off by `bias` (1 sd)."""
    draw = random.Random(seed)
    offset = draw.gauss(0, bias)
    samples = []
    for number in range(rounds):
        drift = draw.gauss(0, 0.2)  # common to both cells of a round
        for place, (key, own) in enumerate((("a", 0.0), ("b", offset))):
            ns = round(1e7 * math.exp(drift + own + draw.gauss(0, noise / math.sqrt(2))))
            samples.append(Samples(key, 0, number, place, Burst((ns, ns, ns), seconds=0.2)))
    return Experiment(Trace(samples), "a", "b")


def _experiments(number: int, rounds: int = 40, noise: float = 0.03, bias: float = 0.003) -> list[Experiment]:
    return [_experiment(seed, rounds, noise, bias) for seed in range(number)]


def test_experiments_as_the_method_found_them_are_calibrated() -> None:
    found = calibration.calibrate(_experiments(100), RULES)
    assert found.calibrated
    assert 90 <= found.whole.covered <= 100
    assert found.whole.seconds == pytest.approx(8.0)
    assert found.disturbed == 0


def test_processes_that_differ_more_than_the_estimator_believes_are_caught() -> None:
    found = calibration.calibrate(_experiments(60, bias=0.05), RULES)
    assert not found.calibrated
    assert found.whole.covered < 40


def test_intervals_narrow_with_time_and_spread_falls() -> None:
    points = calibration.calibrate(_experiments(40, rounds=80), RULES).points
    assert [round(p.seconds) for p in points] == [2, 4, 8, 16]
    assert all(later.half_width < earlier.half_width for earlier, later in itertools.pairwise(points))
    assert points[-1].spread < points[0].spread


def test_a_budget_follows_from_how_the_width_falls() -> None:
    """half-width² = a/t + b: noise of 4 % at 1 s is 2 % at about 4 s, and 0.8 % needs several processes."""
    b = (1.96 * 0.003) ** 2
    points = [Point(t, math.sqrt(0.04**2 / t + b), 95, 100, 0.02) for t in (1.0, 2.0, 4.0)]
    two = calibration.budget(points, 0.02, 1)
    assert two.processes == 1
    assert two.seconds == pytest.approx(0.04**2 / (0.02**2 - b), rel=1e-3)
    fine = calibration.budget(points, 0.004, 1)
    assert fine.processes == math.ceil(2 * b / 0.004**2)
    assert math.sqrt(0.04**2 / fine.seconds + b / fine.processes) == pytest.approx(0.004, rel=1e-3)


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (81, 263, 0.2553, 0.3662)]
)
def test_wilson_gives_the_published_values(hits: int, of: int, low: float, high: float) -> None:
    """Newcombe 1998, table I, method 3."""
    assert list(calibration.wilson(hits, of)) == pytest.approx([low, high], abs=1e-4)


def test_noise_is_relative_to_the_best() -> None:
    found = calibration.noise_of([100, 100, 110, 160])
    assert (found.best_ns, found.quantiles["max"], found.quantiles["p50"]) == (100.0, 1.6, 1.1)
