"""Warm-up ends when the latency is flat, and says so of slow models too."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from harness import group
from harness.measure import Bench
from harness.model import Burst, Pace, Warmup

PACE = Pace(0.0, 0.0, 4)


class _Scripted(Bench):
    """Bursts of four inferences, each taking as long as it is told."""

    def __init__(self, bursts: Iterable[tuple[int, ...]]) -> None:
        self._bursts = iter(bursts)
        self.now_s = 0.0

    def burst(self, pace: Pace) -> Burst:
        """The next one; the clock goes on by what it takes."""
        times = next(self._bursts)
        self.now_s += sum(times) / 1e9
        return Burst(times, ())


def _warm(monkeypatch: pytest.MonkeyPatch, bursts: Iterable[tuple[int, ...]]) -> Warmup:
    bench = _Scripted(bursts)
    monkeypatch.setattr("harness.measure.time.monotonic", lambda: bench.now_s)
    return bench.warm(PACE, limit_s=5.0)


def _always(seconds: float) -> Iterable[tuple[int, ...]]:
    while True:
        yield (round(seconds * 1e9),) * 4


@pytest.mark.parametrize("seconds", [0.001, 0.6, 0.7, 2.0, 30.0])
def test_a_constant_latency_is_steady_however_long(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """At 0.7 s an inference two bursts of four fill the limit."""
    found = _warm(monkeypatch, _always(seconds))
    assert found.steady
    assert found.bursts == (3 if seconds < 0.65 else 2 if seconds < 1.3 else 1)


def test_a_slow_model_that_gets_faster_is_not_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = [(4_000_000_000, 3_000_000_000, 2_500_000_000, 2_000_000_000)]
    assert not _warm(monkeypatch, falling).steady


def test_a_fast_one_that_swings_until_the_limit_is_not_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    swinging = [((300_000_000,) * 4, (200_000_000,) * 4)[i % 2] for i in range(20)]
    assert not _warm(monkeypatch, swinging).steady


def test_one_process_that_did_not_become_flat_is_not_forgotten() -> None:
    flat, swinging = Warmup(3, 1.0, steady=True), Warmup(9, 5.0, steady=False)
    assert group._worse(None, flat) == flat
    assert group._worse(flat, swinging) == swinging
    assert not group._worse(swinging, flat).steady
