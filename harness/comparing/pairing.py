"""Which cell of NEW answers to which cell of BASE, and the rounds of both, of one run a side or of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness import checks, schedule
from harness.comparing import comparable
from harness.comparing.comparable import Change
from harness.comparing.difference import Rounds
from harness.model import Scope
from harness.record import Finding, Record, Run, Samples
from harness.stats import median

Place = tuple[int, int]
"""(process, round)."""
Medians = Mapping[Place, float]
"""Median in ns of a burst, by its place."""


@dataclass(frozen=True)
class Measured:
    """One run as it is compared; `medians` and `apart_ns` by the cell's key."""

    name: str
    """What it was called by: the results folder."""
    run: Run
    records: tuple[Record, ...]
    scope: Scope
    medians: Mapping[str, Medians]
    apart_ns: Mapping[str, Mapping[Place, int]]
    """The longer of the core-to-core readings before and after a burst, where there are any."""
    calm: frozenset[str] = frozenset()
    """Cells whose rounds were all measured with the processors near (see `calm`), or do not depend on that."""


def measured(name: str, run: Run, records: Iterable[Record], samples: Iterable[Samples], scope: Scope) -> Measured:
    """A run with its raw samples reduced to the medians of their bursts; they are read one by one."""
    medians: dict[str, dict[Place, float]] = {}
    apart: dict[str, dict[Place, int]] = {}
    last: Samples | None = None
    for s in samples:
        times = s.burst.compute_ns if scope == "compute" else s.burst.end_to_end_ns
        if times:
            medians.setdefault(s.key, {})[s.process, s.round] = max(median(times), 1.0)
        if s.core_to_core_ns is not None:
            apart.setdefault(s.key, {})[s.process, s.round] = s.core_to_core_ns
            if last is not None and last.process == s.process and (last.process, last.round) in apart.get(last.key, {}):
                before = apart[last.key]
                before[last.process, last.round] = max(before[last.process, last.round], s.core_to_core_ns)
        last = s
    return Measured(name, run, tuple(records), scope, medians, apart)


def calm(sides: Sequence[Sequence[Measured]]) -> list[list[Measured]]:
    """The runs without the rounds for which a hypervisor had moved the processors apart (`harness.core_to_core`).

    Near is the same for all that were pinned to the same processors: the best reading of any of them. A cell with too few
    rounds left keeps all, and is not `calm`.
    """
    best: dict[str, int] = {}
    for run in (run for side in sides for run in side):
        for record in run.records:
            readings = run.apart_ns.get(record.key, {}).values()
            best[record.cell.cpus] = min((*readings, best.get(record.cell.cpus, 1 << 62)))
    return [[_calm(run, best) for run in side] for side in sides]


def _calm(run: Measured, best_ns: Mapping[str, int]) -> Measured:
    """`best_ns`: by the processors that a cell is pinned to."""
    medians, near = dict(run.medians), set()
    for record in run.records:
        limit_ns = schedule.FAR * best_ns[record.cell.cpus]
        rounds, apart = run.medians.get(record.key, {}), run.apart_ns.get(record.key, {})
        beside = run.apart_ns.get(
            record.baseline, {}
        )  # a ratio is of both: rounds that are near for one alone leave few
        kept = {
            place: ns
            for place, ns in rounds.items()
            if place in apart and max(apart[place], beside.get(place, 0)) <= limit_ns
        }
        if kept and len(kept) >= min(run.run.plan.rules.min_rounds, len(rounds)):
            medians[record.key] = kept
            near.add(record.key)
        elif not apart and (record.cell.threads == 1 or record.cell.device != "cpu"):
            near.add(record.key)  # nothing waits for another processor
    return replace(run, medians=medians, calm=frozenset(near))


@dataclass(frozen=True)
class Pair:
    """A cell of BASE and the one of NEW that answers to it."""

    base: Record
    new: Record
    differs: tuple[Change, ...]
    """What makes the two not comparable, as far as nobody forced it."""
    forced: tuple[Change, ...]
    changes: tuple[Change, ...]
    """Facts that changed: what may be the reason of a difference."""

    @property
    def unchanged(self) -> bool:
        """Whether nothing that is known to bear on latency differs."""
        return not (self.differs or self.forced or any(change.field != "weights" for change in self.changes))


@dataclass(frozen=True)
class Matched:
    """All cells of two runs: those that answer to each other, and those that stand alone."""

    pairs: tuple[Pair, ...]
    only_base: tuple[Record, ...]
    only_new: tuple[Record, ...]


def match(base: Sequence[Record], new: Sequence[Record], scope: Scope, force: frozenset[str]) -> Matched:
    """Cells of one key first; what is left by backbone and runtime, those that differ in the fewest fields first."""
    by_key = {record.key: record for record in new}
    taken = {record.key: by_key[record.key] for record in base if record.key in by_key}
    rest_base = [record for record in base if record.key not in taken]
    rest_new = [record for record in new if record.key not in taken]
    for mine, theirs in _nearest(rest_base, rest_new, scope, force):
        taken[mine.key] = theirs
    answered = {record.key for record in taken.values()}
    return Matched(
        tuple(_pair(record, taken[record.key], scope, force) for record in base if record.key in taken),
        tuple(record for record in base if record.key not in taken),
        tuple(record for record in new if record.key not in answered),
    )


def _nearest(
    base: Sequence[Record], new: Sequence[Record], scope: Scope, force: frozenset[str]
) -> Iterable[tuple[Record, Record]]:
    buckets: dict[tuple[str, ...], tuple[list[Record], list[Record]]] = {}
    for side, records in enumerate((base, new)):
        for record in records:
            named = [("backbone", record.cell.backbone.name), ("runtime", record.cell.runtime)]
            place = tuple(name for field, name in named if field not in force)
            buckets.setdefault((*place, record.cell.label), ([], []))[side].append(record)
    for mine, theirs in buckets.values():
        # Names break ties, so that exchanging the sides finds the same pairs.
        ways = sorted(
            (len(list(comparable.cells_differ(b, n, scope))), min(b.key, n.key), max(b.key, n.key), at, to)
            for at, b in enumerate(mine)
            for to, n in enumerate(theirs)
        )
        used: set[tuple[str, int]] = set()
        for _, _, _, at, to in ways:
            if ("base", at) not in used and ("new", to) not in used:
                used |= {("base", at), ("new", to)}
                yield mine[at], theirs[to]


def _pair(base: Record, new: Record, scope: Scope, force: frozenset[str]) -> Pair:
    found = [(change.field, change) for change in comparable.cells_differ(base, new, scope)]
    found += [("power", change) for change in comparable.power_differs(base, new)]
    return Pair(
        base,
        new,
        tuple(change for field, change in found if field not in force),
        tuple(change for field, change in found if field in force),
        comparable.changes(base, new),
    )


# ── rounds ────────────────────────────────────────────────────────────────────────────────────────────────────────


def latencies(runs: Sequence[Measured], record: Record) -> Rounds:
    """Log medians of a cell in every run that measured it: the first run's record names it, repeats have it by key."""
    return _by_run(runs, record, "latency", lambda run: _logs(run.medians.get(record.key, {})))


def relative(runs: Sequence[Measured], record: Record) -> Rounds:
    """The same relative to the baseline of its group, from the rounds that have both."""

    def logs(run: Measured) -> list[list[float]]:
        mine, base = run.medians.get(record.key, {}), run.medians.get(record.baseline, {})
        return _logs({place: mine[place] / base[place] for place in mine if place in base})

    return _by_run(runs, record, "speedup", logs)


def _by_run(
    runs: Sequence[Measured], record: Record, of: checks.Of, read: Callable[[Measured], list[list[float]]]
) -> Rounds:
    return [rounds for run in runs if (run is runs[0] or _repeats(run, record, of)) and (rounds := read(run))]


def _repeats(run: Measured, record: Record, of: checks.Of) -> bool:
    """Whether a further run measured the same: to its end, without doubts, with the same libraries and settings."""
    own = next((one for one in run.records if one.key == record.key), None)
    if own is None or own.outcome != "ok" or doubts(own, of):
        return False
    return all(change.field == "weights" for change in comparable.changes(record, own))


def doubts(record: Record, of: checks.Of) -> list[Finding]:
    """Why a figure is not to be trusted. A wide interval is no reason: what is compared has an interval of its own."""
    return [doubt for doubt in checks.doubts(record, of) if doubt.check != "wide_interval"]


def _logs(medians: Medians) -> list[list[float]]:
    processes: dict[int, list[float]] = {}
    for (process, _), value in sorted(medians.items()):
        processes.setdefault(process, []).append(math.log(value))
    return list(processes.values())
