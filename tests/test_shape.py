"""The shape of scripted runs is recognised: what a person would say on seeing the curve."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections.abc import Callable

import pytest

from harness.model import Burst
from harness.shape import Shape, shape


def _run(level: Callable[[int], float], bursts: int = 40, noise: float = 0.01, spikes: float = 0.0) -> Shape:
    draw = random.Random(0)
    made = []
    for n in range(bursts):
        times = [
            1e7 * level(n) * draw.lognormvariate(0, noise) * (4 if draw.random() < spikes else 1) for _ in range(9)
        ]
        made.append(Burst(tuple(map(round, times))))
    return shape(made)


def test_a_quiet_machine_is_steady() -> None:
    found = _run(lambda _: 1.0)
    assert found.kind == "steady"
    assert found.spread < 1.05
    assert found.spikes == 0


def test_a_drift_is_told_with_its_change() -> None:
    found = _run(lambda n: 1 + 0.4 * n / 39)
    assert found.kind == "drift"
    assert found.change == pytest.approx(1.4, rel=0.05)


@pytest.mark.parametrize("height", [1.6, 0.7])
def test_a_step_is_told_with_its_height(height: float) -> None:
    found = _run(lambda n: height if n >= 25 else 1.0)
    assert found.kind == "step"
    assert found.change == pytest.approx(height, rel=0.03)


def test_throttling_that_comes_and_goes_swings() -> None:
    found = _run(lambda n: 1.25 + 0.25 * math.sin(n / 2))
    assert found.kind == "swings"
    assert found.spread > 1.4


def test_a_neighbour_for_part_of_the_run_is_no_drift() -> None:
    assert _run(lambda n: 1.5 if 12 <= n < 24 else 1.0).kind == "swings"


def test_spikes_are_counted_and_do_not_make_a_run_unsteady() -> None:
    found = _run(lambda _: 1.0, spikes=0.02)
    assert found.kind == "steady"
    assert 0.005 < found.spikes < 0.05


@pytest.mark.parametrize(
    ("level", "kind", "change"),
    [
        (lambda n: 1 + 0.4 * n / 5999, "drift", 1.4),
        (lambda n: 1.6 if n >= 2500 else 1.0, "step", 1.6),
        (lambda n: 1.25 + 0.25 * math.sin(n / 50), "swings", 1.0),
    ],
)
def test_an_hour_of_bursts_is_recognised_in_little_memory(
    level: Callable[[int], float], kind: str, change: float
) -> None:
    tracemalloc.start()
    found = _run(level, bursts=6000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.kind == kind
    assert found.change == pytest.approx(change, rel=0.03)
    assert peak < 100e6, "all pairs of 6,000 would take 700 MB"


def test_too_few_bursts_are_never_explained() -> None:
    assert _run(lambda n: 2.0 if n >= 3 else 1.0, bursts=6).kind == "swings"
    assert _run(lambda _: 1.0, bursts=1).kind == "steady"
