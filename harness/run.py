"""The main job: prepare every artifact, then measure group after group, keeping each as soon as it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness import codec, core_to_core, group, interpreter, machine, stats, summary
from harness.cache import Cache, writing
from harness.launch import Worker
from harness.memo import Memo
from harness.model import Burst, Cell, Group
from harness.prepare import prepare
from harness.record import Plan, Record, Rules, Run
from harness.roofline import distance as roofline
from harness.schedule import FAR, Trace
from harness.store import Store, read_samples

if TYPE_CHECKING:
    from filelock import FileLock

OVERHEAD_TIMEOUT_S = 60.0


class Watcher(Protocol):
    """Who is told what goes on: the command line's progress, or nobody."""

    def note(self, text: str) -> None:
        """One line: an export that began, a wait."""

    def doing(self, what: str, cell: Cell) -> None:
        """A cell is being loaded, verified or warmed."""

    def burst(self, cell: Cell, number: int, trace: Trace, cells: int) -> None:
        """A burst is about to be timed: draw now, and then nothing until the next call."""

    def done(self, record: Record) -> None:
        """A cell has its record."""

    def group(self, members: Group) -> None:
        """A group begins."""


@dataclass(frozen=True)
class Campaign:
    """A plan with all that carrying it out needs."""

    store: Store
    cache: Cache
    jobs: int
    watcher: Watcher
    roofline: bool = False
    """Whether to say of each cell how far it is from the machine's ceilings, which are measured where they are not kept."""


def new_run(plan: Plan, command: Sequence[str]) -> Run:
    """The head of a run that begins now."""
    now = datetime.now(timezone.utc).astimezone()
    return Run(
        id=f"run-{now:%Y%m%d-%H%M%S}-{plan.name}",
        command=tuple(command),
        started=now.isoformat(timespec="seconds"),
        plan=plan,
        machine=machine.facts(),
        versions=machine.versions(),
        elsewhere={python: interpreter.probe(python).versions for python in sorted(_interpreters(plan))},
    )


def _interpreters(plan: Plan) -> set[str]:
    return {cell.python for group in plan.groups for cell in group.cells if cell.python}


def carry_out(campaign: Campaign) -> tuple[Record, ...]:
    """Measure all that has no record yet, and give all records; what is finished is on disk whenever this is interrupted."""
    store = campaign.store
    if any(_lacking(store)):
        with alone(campaign.cache.folder, campaign.watcher.note):
            store.mend()
            refused, groups = _lacking(store)  # not what another process measured while this one waited
            store.add(refused)
            if groups:
                _measure(campaign, groups, {record.key for record in store.records()})
    store.note(finished=datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds"))
    return store.records()


def _lacking(store: Store) -> tuple[list[Record], list[Group]]:
    """What has no record yet: cells that the plan refuses, and groups with such a cell."""
    plan, have = store.run.plan, {record.key for record in store.records()}
    refused = [record for record in plan.refused if record.key not in have]
    return refused, [g for g in plan.groups if not all(codec.key(cell) in have for cell in g.cells)]


def _measure(campaign: Campaign, groups: Sequence[Group], have: set[str]) -> None:
    store, watcher = campaign.store, campaign.watcher
    if store.run.overhead_ns is None:
        store.note(overhead_ns=overhead_ns(store.logs))
    cells = {codec.key(cell): cell for g in groups for cell in g.cells}
    settings = settings_for(store.run.plan.rules, store.logs, campaign.cache, watcher)
    known = settings.known / core_to_core.FILE
    builds = store.run.plan.rules.builds
    with core_to_core.learning(known, group.processors(cells.values())):
        prepared = prepare(cells, campaign.cache, store.logs, campaign.jobs, watcher.note, builds)
    limits = roofline.Limits()
    if campaign.roofline:
        memo = Memo(campaign.cache.folder)
        limits = roofline.find(cells, prepared, memo, store.logs, watcher.note)
    for members in groups:
        watcher.group(members)
        records, samples = group.measure(members, prepared, settings)
        fresh = [limits.describe(record) for record in records if record.key not in have]
        store.add(fresh, samples)
        for record in fresh:
            watcher.done(record)
    _judge_again(store, known, watcher.note)


def _judge_again(store: Store, known: Path, note: Callable[[str], None]) -> None:
    """Judge again the groups that were measured before their processors were known to come as near as `known` tells."""
    records = store.records()
    for name in sorted({record.group for record in records}):
        members = [record for record in records if record.group == name]
        best_ns = core_to_core.best_known(known, summary.cpus(members))
        if best_ns is None or not any((summary.best_ns([r]) or 0) > FAR * best_ns for r in members):
            continue
        samples = list(read_samples(store.folder, {record.key for record in members}))
        note(f"{members[0].cell.backbone.name}: judged again, for the processors are now known to come nearer")
        store.replace(group.controlled(summary.finish_again(members, samples, best_ns, store.run.plan.rules)))


def settings_for(rules: Rules, logs: Path, cache: Cache, watcher: Watcher) -> group.Settings:
    """What measuring a group needs beside the group."""
    return group.Settings(
        rules, logs, cache.folder / "runtimes", watcher.doing, watcher.burst, cache.folder / "machine"
    )


@contextmanager
def alone(folder: Path, note: Callable[[str], None]) -> Iterator[None]:
    """Hold the machine: one run of this user exports or measures at a time, because two would measure each other.

    Raises `StoreFailed` where the lock cannot be made in `folder`, the cache.
    """
    from filelock import FileLock

    lock = FileLock(folder / "measuring.lock")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        taken = _taken(lock)
    if not taken:
        note("another run of Backbench is measuring on this machine; waiting until it is done")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _taken(lock: FileLock) -> bool:
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def overhead_ns(logs: Path) -> float:
    """The harness's own time per inference in nanoseconds: a burst of a session that does nothing, in a fresh worker."""
    with Worker(logs / "overhead.log", name="overhead") as worker:
        burst = codec.decode(Burst, worker.ask("overhead", OVERHEAD_TIMEOUT_S))
    return stats.median(burst.compute_ns)
