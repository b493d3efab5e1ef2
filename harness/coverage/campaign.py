"""A coverage run: what is still to be covered, side by side, each on disk before the next, for as long as there is time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from harness.coverage import cover as covering
from harness.coverage.processes import Process
from harness.coverage.record import Architecture, Covered, Key, Known, Part
from harness.coverage.store import Store

Task = tuple[Architecture, Part]


class Watcher(Protocol):
    """Who is told what goes on."""

    def begins(self, architecture: Architecture, part: Part) -> None:
        """Work at it begins. Called from several threads."""

    def done(self, covered: Covered) -> None:
        """It has its record. Called from several threads."""


@dataclass(frozen=True)
class Sitting:
    """How much of the work is done before the command ends."""

    jobs: int
    limit: int | None = None
    """Parts of architectures."""
    seconds: float | None = None
    """Nothing begins after these; what has begun is finished."""


@dataclass
class _Running:
    """Processes at work, to be ended when the command is."""

    stopped: bool = False
    processes: set[Process] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, process: Process) -> None:
        with self.lock:
            self.processes = {one for one in self.processes if one.alive} | {process}
            if self.stopped:
                process.kill()

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            for process in self.processes:
                process.kill()


def wanted(architectures: Iterable[Architecture], parts: Sequence[Part], most: int | None) -> tuple[Task, ...]:
    """What there is to cover, in the architectures' order: feature maps only of those that timm makes them of."""
    return tuple(
        (one, part)
        for one in architectures
        if most is None or one.params <= most
        for part in parts
        if part == "classifier" or one.features
    )


def left(
    tasks: Iterable[Task], known: Mapping[Key, Known], runtimes: Sequence[str], again: Sequence[str]
) -> tuple[Task, ...]:
    """Those not known in all the runtimes, or with a reason class that begins as one of `again`."""

    def done(task: Task) -> bool:
        one = known.get((task[0].name, task[1]))
        if one is None or not set(one.runtimes) >= set(runtimes):
            return False
        return not any(cause.startswith(tuple(again)) for cause in one.causes)

    return tuple(task for task in tasks if not done(task))


def carry_out(
    tasks: Sequence[Task], settings: covering.Settings, store: Store, sitting: Sitting, watcher: Watcher
) -> int:
    """Cover them; how many records were added. Raises `StoreFailed`; whatever it raises, what is done is kept."""
    begin, running, waiting = time.monotonic(), _Running(), list(tasks[: sitting.limit])
    adding, number = threading.Lock(), 0

    def one(task: Task) -> None:
        watcher.begins(*task)
        covered = covering.cover(*task, settings, running.add)
        if running.stopped:
            return  # what its processes died of is the end of the command
        with adding:
            store.add(covered)
        watcher.done(covered)

    def may_begin() -> bool:
        return bool(waiting) and (sitting.seconds is None or time.monotonic() - begin < sitting.seconds)

    with ThreadPoolExecutor(max_workers=sitting.jobs) as pool:
        working: set[Future[None]] = set()
        try:
            while working or may_begin():
                while len(working) < sitting.jobs and may_begin():
                    working.add(pool.submit(one, waiting.pop(0)))
                done, working = wait(working, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                    number += 1
        except BaseException:
            running.stop()
            raise
    return number
