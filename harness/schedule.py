"""Rounds of bursts over the cells of a group, in an order drawn afresh, until the intervals are narrow or time is up.

Nothing here knows of processes or files: what is measured is anything that gives bursts.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.errors import BackbenchError
from harness.model import JSON, Burst, Pace
from harness.record import Interval, Rules, Samples
from harness.stats import PROCESS_SD, RESAMPLES, median, ratio_interval

FAR = 1.3
"""A core-to-core reading above this multiple of the best known is far: the states lie at 1.5 to 2.0, noise below 1.15."""
_LOOK_S = 0.25
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
    best_ns: int | None = None
    """The shortest core-to-core latency that is known between `cpus`."""
    cpus: tuple[int, ...] = ()
    """The processors that core-to-core latencies are read between."""
    process_sd: Mapping[str, float] = field(default_factory=dict)
    """By cell: how much one process of it differs from the next (`Runtime.process_sd`)."""
    waited_s: float = 0.0
    """Time spent waiting for the processors to come together."""

    def of(self, key: str) -> Iterator[Samples]:
        """The samples of one cell."""
        return (s for s in self.samples if s.key == key)

    def spent_s(self) -> float:
        """Seconds in bursts, of all cells."""
        return sum(s.burst.seconds for s in self.samples)

    def far(self, reading: int | None) -> bool:
        """Whether the processors lay further apart than they can at a reading; False where it is not known."""
        return reading is not None and self.best_ns is not None and reading > FAR * self.best_ns

    def disturbed(self) -> frozenset[tuple[int, int, str]]:
        """(process, round, cell) of every burst that began or ended with the processors far apart."""
        found = {(s.process, s.round, s.key) for s in self.samples if self.far(s.core_to_core_ns)}
        for one, following in itertools.pairwise(self.samples):
            if one.process == following.process and self.far(following.core_to_core_ns):
                found.add((one.process, one.round, one.key))
        return frozenset(found)


Watch = Callable[[str, int, Trace], None]
"""Called before every burst with the cell's key, the round and the trace; nothing may be drawn while one is timed."""
Meter = Callable[[], int | None]
"""Reads the core-to-core latency in nanoseconds."""

Around = Callable[[str], Callable[[], Mapping[str, JSON]]]
"""Called with the cell's key right before a burst; what it returns is called right after it, for `Samples.machine`."""


def unread() -> int | None:
    """A meter where there is nothing to read."""
    return None


def unwatched(key: str) -> Callable[[], Mapping[str, JSON]]:
    """Nothing is read around a burst."""
    return dict


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
    meter: Meter = unread,
    around: Around = unwatched,
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
        _wait_until_near(trace, rules, meter)
        for place, key in enumerate(cells):
            watch(key, number, trace)
            reading = _read(trace, meter)
            after = around(key)
            try:
                burst = subjects[key].burst(pace)
            except BackbenchError as error:
                trace.lost[key] = error
            else:
                trace.samples.append(Samples(key, numbered_from + process, number, place, burst, reading, after()))


def _read(trace: Trace, meter: Meter) -> int | None:
    reading = meter()
    if reading is not None:
        trace.best_ns = reading if trace.best_ns is None else min(reading, trace.best_ns)
    return reading


def _wait_until_near(trace: Trace, rules: Rules, meter: Meter) -> None:
    """Sleep while the processors are far apart and waiting may still go on: a round measured now would be left out."""
    while trace.waited_s < rules.wait_s and trace.far(_read(trace, meter)):
        time.sleep(_LOOK_S)
        trace.waited_s += _LOOK_S


def _seed(rules: Rules, process: int) -> int:
    return rules.seed * 1009 + process


def on_target(trace: Trace, baseline: str, cells: Sequence[str], rules: Rules) -> bool:
    """Whether every speed-up's interval is within the target; never where there is nothing to compare."""
    others = [key for key in cells if key != baseline]
    if not others or rules.target <= 0:
        return False
    for key in others:
        ratios = log_ratios(trace, baseline, key, rules)
        if ratios.rounds < max(rules.min_rounds, 1) or ratios.interval(resamples=500).half_width > rules.target:
            return False
    return True


@dataclass(frozen=True)
class Ratios:
    """The log of baseline over cell of every round that counts, by process."""

    by_process: tuple[tuple[float, ...], ...]
    left_out: int
    """Rounds that were disturbed and do not count."""
    mixed: bool
    """Whether disturbed rounds had to be counted, because too few others are there."""
    process_sd: float
    """Standard deviation, before anything is seen, of the log ratio between processes."""

    @property
    def rounds(self) -> int:
        """How many rounds count."""
        return sum(map(len, self.by_process))

    def interval(self, resamples: int = RESAMPLES) -> Interval:
        """The ratio with its interval (of at least one round)."""
        return ratio_interval(self.by_process, process_sd=self.process_sd, resamples=resamples)


def log_ratios(trace: Trace, baseline: str, key: str, rules: Rules, scope: str = "compute") -> Ratios:
    """Ratios of the medians of the bursts of each round that has both cells.

    Rounds with the processors far apart do not count where `rules.min_rounds` others are there.
    """
    base, cell = _medians(trace.of(baseline), scope), _medians(trace.of(key), scope)
    disturbed = trace.disturbed()
    rounds = sorted(base.keys() & cell.keys())
    near = [r for r in rounds if (*r, baseline) not in disturbed and (*r, key) not in disturbed]
    enough = len(near) >= min(rules.min_rounds, len(rounds))
    by_process: dict[int, list[float]] = {}
    for process, number in near if enough else rounds:
        by_process.setdefault(process, []).append(math.log(base[process, number] / cell[process, number]))
    left_out = len(rounds) - len(near) if enough else 0
    own = PROCESS_SD / math.sqrt(2)
    process_sd = math.hypot(trace.process_sd.get(baseline, own), trace.process_sd.get(key, own))
    return Ratios(tuple(map(tuple, by_process.values())), left_out, not enough, process_sd)


def _medians(samples: Iterator[Samples], scope: str) -> dict[tuple[int, int], float]:
    medians = {}
    for s in samples:
        times = s.burst.compute_ns if scope == "compute" else s.burst.end_to_end_ns
        if times:
            medians[s.process, s.round] = max(median(times), 1.0)  # a clock may not tick during an empty inference
    return medians
