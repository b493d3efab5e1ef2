"""What a worker does with an open session: verify it, warm it, and time bursts of inferences one by one."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness import clock, usage, verify
from harness.model import Burst, OutputError, Pace, Verification, Warmup
from harness.stats import FLAT, flat, median

if TYPE_CHECKING:
    from harness.api import Clock, Session
    from harness.arrays import Array

    Feed = Mapping[str, Array]

# METHOD 1: another cell's burst left the caches cold, and an idle PyTorch session's OpenMP threads spin for some
# milliseconds. Throw away 4 inferences or 20 ms, whichever is longer; but once 200 ms of a slow backbone have passed,
# both causes are over, and three more inferences of a second each would buy nothing.
SETTLE_INFERENCES, SETTLE_NS, SETTLE_ENOUGH_NS = 4, 20_000_000, 200_000_000
# A session that takes no time would fill memory; the cap is far above what a real one reaches in a burst.
MAX_SAMPLES = 20_000
SPLITS = 3
"""Inferences of a burst whose copies are timed by the device."""


class Bench:
    """An open session with the inputs it is fed in turn."""

    def __init__(self, session: Session, feeds: Sequence[Feed], indices: Sequence[Sequence[int]]) -> None:
        """`feeds[k]` is a batch that holds the reference inputs `indices[k]`."""
        self.session = session
        self.feeds = feeds
        self.indices = indices
        self.timer, self.timer_name = clock.timer_of(session)
        self._next = 0

    def first(self) -> float:
        """Seconds of the first inference, bind and fetch included."""
        start = self.timer()
        self._end_to_end(self.feeds[0])
        return (self.timer() - start) / 1e9

    def once(self) -> None:
        """One inference that is not timed."""
        self._compute(self._feed())

    def verify(self, reference: Mapping[str, Array], tolerance: verify.Tolerance, made_with: str) -> Verification:
        """Compare every output on every reference input."""
        import numpy as np

        outputs: dict[str, list[Array]] = {name: [] for name in reference}
        for feed in self.feeds:
            self.session.bind(feed)
            self.session.run()
            self.session.sync()
            fetched = self.session.fetch()
            for name, parts in outputs.items():
                parts.append(np.array(fetched[name]))
        order = [index for batch in self.indices for index in batch]
        errors: tuple[OutputError, ...] = tuple(
            verify.compare(name, np.concatenate(parts), reference[name][order]) for name, parts in outputs.items()
        )
        return verify.judge(errors, tolerance, len(set(order)), made_with)

    def warm(self, pace: Pace, limit_s: float) -> Warmup:
        """Run bursts until the running median of bursts is flat, or `limit_s` is spent (then it is not steady).

        Where the limit leaves no three bursts, inferences are so slow that three of them tell as much.
        """
        begin = time.monotonic()
        medians: list[float] = []
        latest: tuple[int, ...] = ()
        while not flat(medians):
            if medians and time.monotonic() - begin > limit_s:
                steady = len(medians) < FLAT and flat(latest)
                return Warmup(len(medians), time.monotonic() - begin, steady)
            latest = self.burst(pace).compute_ns
            medians.append(median(latest))
        return Warmup(len(medians), time.monotonic() - begin, steady=True)

    def burst(self, pace: Pace) -> Burst:
        """Settle, then time single inferences, first `compute`, then `end_to_end`."""
        device = self.session.clock()
        with _no_garbage_collection():
            started, begin = time.monotonic_ns(), self.timer()
            discarded = self._settle()
            before = usage.now()
            device_ns: list[int] = []
            once = self._compute if device is None else self._compute_with(device, device_ns)
            compute = self._repeat(once, pace.seconds, pace.inferences)
            end_to_end: list[int] = []
            if pace.end_to_end_s > 0:
                end_to_end = self._repeat(self._end_to_end, pace.end_to_end_s, 1)
            splits = self._splits() if end_to_end else {}
            after = usage.now()
            seconds = (self.timer() - begin) / 1e9
        return Burst(
            tuple(compute),
            tuple(end_to_end),
            tuple(device_ns),
            splits,
            discarded,
            seconds,
            started,
            usage.between(before, after),
        )

    def _splits(self) -> dict[str, tuple[int, ...]]:
        """Some inferences divided by the device's clock, where there is one; they are no samples of a scope."""
        found: dict[str, list[int]] = {}
        for _ in range(SPLITS):
            if (told := self.session.split()) is None:
                break
            for name, ns in told.items():
                found.setdefault(name, []).append(ns)
        return {name: tuple(times) for name, times in found.items()}

    def _settle(self) -> int:
        begin, count = self.timer(), 0
        while True:
            self._compute(self._feed())
            count += 1
            passed = self.timer() - begin
            if (
                (count >= SETTLE_INFERENCES and passed >= SETTLE_NS)
                or passed >= SETTLE_ENOUGH_NS
                or count >= MAX_SAMPLES
            ):
                return count

    def _repeat(self, once: Callable[[Feed], int], seconds: float, at_least: int) -> list[int]:
        samples: list[int] = []
        end = self.timer() + round(seconds * 1e9)
        while (self.timer() < end or len(samples) < at_least) and len(samples) < MAX_SAMPLES:
            samples.append(once(self._feed()))
        return samples

    def _feed(self) -> Feed:
        self._next = (self._next + 1) % len(self.feeds)
        return self.feeds[self._next]

    def _compute(self, feed: Feed) -> int:
        session, timer = self.session, self.timer
        session.bind(feed)
        session.sync()  # the inputs are where the device reads them before the clock starts
        run, sync = session.run, session.sync
        start = timer()
        run()
        sync()
        return timer() - start

    def _compute_with(self, device: Clock, device_ns: list[int]) -> Callable[[Feed], int]:
        session, timer = self.session, self.timer

        def once(feed: Feed) -> int:
            session.bind(feed)
            session.sync()
            start = timer()
            device.start()
            session.run()
            device.end()
            session.sync()
            passed = timer() - start
            device_ns.append(device.elapsed_ns())
            return passed

        return once

    def _end_to_end(self, feed: Feed) -> int:
        session, timer = self.session, self.timer
        start = timer()
        session.bind(feed)
        session.run()
        session.sync()
        session.fetch()
        return timer() - start


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def batches(inputs: Feed, batch: int) -> tuple[list[Feed], list[list[int]]]:
    """Split reference inputs (first axis: the input's index) into feeds of `batch`, and say which inputs each holds.

    The inputs are taken in turn and begin again at the first, so that a batch larger than their number is filled; there
    are always at least two different feeds, because identical inputs would hide costs.
    """
    import numpy as np

    count = len(next(iter(inputs.values())))
    number = max(2, -(-count // batch))
    indices = [[(k * batch + j) % count for j in range(batch)] for k in range(number)]
    if indices[0] == indices[1]:  # the batch is a multiple of the number of inputs: turn the second by one
        indices = [[(i + k) % count for i in row] for k, row in enumerate(indices)]
    return [{name: np.ascontiguousarray(array[row]) for name, array in inputs.items()} for row in indices], indices
