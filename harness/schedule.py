"""Rounds of bursts over the cells of a group, in an order drawn afresh, until the intervals are narrow or time is up.

Nothing here knows of processes or files: what is measured is anything that gives bursts.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.errors import BackbenchError
from harness.model import Burst, Pace
from harness.record import Rules, Samples
from harness.stats import median, ratio_interval

CHECK_EVERY = 5
"""Rounds between two looks at the intervals: a look costs the parent some milliseconds of a core that is shared."""


class Subject(Protocol):
    """Something that gives bursts: a worker's session, or a test's stand-in."""

    def burst(self, pace: Pace) -> Burst:
        """One burst. Raises `BackbenchError`; it is then out of the game."""


@dataclass
class Trace:
    """All that was measured of a group so far, and which cells fell out with what."""

    samples: list[Samples] = field(default_factory=list)
    lost: dict[str, BackbenchError] = field(default_factory=dict)

    def of(self, key: str) -> Iterator[Samples]:
        """The samples of one cell."""
        return (s for s in self.samples if s.key == key)

    def spent_s(self) -> float:
        """Seconds in bursts, of all cells."""
        return sum(s.burst.seconds for s in self.samples)


Watch = Callable[[str, int, Trace], None]
"""Called before every burst with the cell's key, the round and the trace; nothing may be drawn while one is timed."""


def orders(keys: Sequence[str], seed: int) -> Iterator[tuple[str, ...]]:
    """Endless rounds: the keys in an order drawn afresh each time from a seeded generator."""
    generator = random.Random(seed)
    while True:
        yield tuple(generator.sample(list(keys), len(keys)))


def pace_of(rules: Rules) -> Pace:
    """How long the bursts of a run are."""
    return Pace(rules.burst_s, rules.burst_s * rules.end_to_end_share, rules.min_inferences)


def measure(
    subjects: Mapping[str, Subject],
    baseline: str,
    rules: Rules,
    process: int,
    trace: Trace,
    watch: Watch,
    numbered_from: int = 0,
) -> None:
    """Measure one process of every subject, adding to `trace`: rounds until the rules are met for this process's share.

    `process` counts from 0; `numbered_from` is added to the number that its samples carry.
    A subject that fails is noted in `trace.lost` and left out from then on; the others go on.
    """
    pace = pace_of(rules)
    alive = [key for key in subjects if key not in trace.lost]
    share_s = rules.budget_s / rules.processes
    least = max(2, math.ceil(rules.min_rounds / rules.processes))
    begun_s = trace.spent_s()
    for number, order in enumerate(orders(alive, _seed(rules, process))):
        cells = [key for key in order if key not in trace.lost]
        if not cells or (number >= least and trace.spent_s() - begun_s >= share_s * len(cells)):
            return
        if (
            number >= least
            and number % CHECK_EVERY == 0
            and process == rules.processes - 1
            and on_target(trace, baseline, cells, rules)
        ):
            return
        for place, key in enumerate(cells):
            watch(key, number, trace)
            try:
                burst = subjects[key].burst(pace)
            except BackbenchError as error:
                trace.lost[key] = error
            else:
                trace.samples.append(Samples(key, numbered_from + process, number, place, burst))


def _seed(rules: Rules, process: int) -> int:
    return rules.seed * 1009 + process


def on_target(trace: Trace, baseline: str, cells: Sequence[str], rules: Rules) -> bool:
    """Whether every speed-up's interval is within the target; never where there is nothing to compare."""
    others = [key for key in cells if key != baseline]
    if not others or rules.target <= 0:
        return False
    for key in others:
        ratios = log_ratios(trace, baseline, key)
        if not ratios or ratio_interval(ratios, resamples=500).half_width > rules.target:
            return False
    return True


def log_ratios(trace: Trace, baseline: str, key: str, scope: str = "compute") -> list[list[float]]:
    """Per process, the log of baseline over cell of every round that has both (from the bursts' medians)."""
    base = _medians(trace.of(baseline), scope)
    cell = _medians(trace.of(key), scope)
    by_process: dict[int, list[float]] = {}
    for process, number in sorted(base.keys() & cell.keys()):
        by_process.setdefault(process, []).append(math.log(base[process, number] / cell[process, number]))
    return list(by_process.values())


def _medians(samples: Iterator[Samples], scope: str) -> dict[tuple[int, int], float]:
    medians = {}
    for s in samples:
        times = s.burst.compute_ns if scope == "compute" else s.burst.end_to_end_ns
        if times:
            medians[s.process, s.round] = max(median(times), 1.0)  # a clock may not tick during an empty inference
    return medians
