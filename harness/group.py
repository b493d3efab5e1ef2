"""Measures one group: all its sessions open at once, each in its own process, verified, warmed, then in rounds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import builds, checks, clock, codec, core_to_core, machine, registry, schedule, summary
from harness.errors import BackbenchError, OpenFailed
from harness.model import (
    CONTROL,
    JSON,
    Cell,
    Group,
    Opened,
    Warmup,
)
from harness.probes.panel import Panel
from harness.probes.probe import Target
from harness.ready import Prepared, Ready
from harness.record import ColdStart, Memory, Record, Rules, Samples
from harness.schedule import Trace
from harness.station import Station, worker_for

_RESERVE_BYTES = 512 << 20
"""Memory that is left free when sessions are opened side by side."""

Say = Callable[[str, Cell], None]
"""Takes what is done now (`load`, `verify`, `warm`) and the cell."""


@dataclass(frozen=True)
class Settings:
    """What measuring a group needs beside the group."""

    rules: Rules
    logs: Path
    runtime_caches: Path
    say: Say
    watch: Callable[[Cell, int, Trace, int], None]
    """Called before every burst: the cell, the round, the trace, and the number of cells that are measured together."""
    known: Path
    """Folder for what is known of this machine from one run to the next."""
    panel: Panel = field(default_factory=Panel.of_machine)
    """What reads the machine around bursts."""


def measure(group: Group, prepared: Prepared, settings: Settings) -> tuple[list[Record], list[Samples]]:
    """Records (and raw samples) of every cell of the group, whatever happens to it."""
    cells = {codec.key(cell): cell for cell in group.cells}
    blank = {key: _blank(group, key, cell, cells, prepared) for key, cell in cells.items()}
    records = {key: summary.failed(blank[key], error) for key, error in prepared.failed.items() if key in cells}
    waiting = [key for key in cells if key not in records]
    samples: list[Samples] = []
    parts = 0
    while waiting:
        first_process = parts * settings.rules.processes
        part = _Part(group, {key: (cells[key], prepared.ready[key]) for key in waiting}, settings, first_process)
        parts += 1
        done, left = part.run({key: blank[key] for key in waiting})
        for key in done:
            if key not in records:  # the baseline of an earlier part stays as it was measured there
                records[key] = done[key]
        samples += part.trace.samples  # the baseline's too: the ratios of this part were computed with them
        waiting = [key for key in left if key not in records]
        if waiting and group.baseline in part.opened_once:
            waiting = [group.baseline, *waiting]
    return controlled([records[key] for key in cells]), samples


def controlled(records: list[Record]) -> list[Record]:
    """Where the A/A control of the group failed, none of it is trusted."""
    for twin in (r for r in records if r.cell.label == CONTROL):
        if (finding := checks.control_failed(twin)) is not None:
            return [checks.with_finding(record, finding) for record in records]
    return records


def _blank(group: Group, key: str, cell: Cell, cells: Mapping[str, Cell], prepared: Prepared) -> Record:
    title = cells[group.baseline].title if group.baseline in cells else ""
    ready = prepared.ready.get(key)
    note = summary.artifact_note(ready) if ready else None
    made = builds.begun(ready) if ready else ()
    return Record(key, group.key, cell, group.baseline, title, "ok", artifact=note, builds=made)


class _Part:
    """As many cells of a group as fit in memory together, the baseline always among them."""

    def __init__(
        self, group: Group, cells: Mapping[str, tuple[Cell, Ready]], settings: Settings, first_process: int
    ) -> None:
        self.first_process = first_process
        self.group = group
        self.cells = cells
        self.settings = settings
        self.trace = Trace(process_sd={k: registry.process_sd(c.runtime) for k, (c, _) in cells.items()})
        self.opened_once: set[str] = set()
        self._records: dict[str, Record] = {}

    def run(self, blank: Mapping[str, Record]) -> tuple[dict[str, Record], list[str]]:
        """Records of the cells that were measured or failed, and the keys that did not fit."""
        self._records = dict(blank)
        keys = sorted(self.cells, key=lambda key: key != self.group.baseline)  # the baseline first, the rest as planned
        for process in range(self.settings.rules.processes):
            keys = [key for key in keys if key not in self.trace.lost]
            with ExitStack() as stack:
                stations = self._open(stack, keys, process)
                keys = list(reversed(stations))  # what is opened first is slower by a percent (docs/method.md): in turn
                names = {key: self.cells[key][0] for key in stations}

                def watch(key: str, number: int, trace: Trace, names: Mapping[str, Cell] = names) -> None:
                    self.settings.watch(names[key], number, trace, len(names))

                self._measure(stack, stations, process, watch)
                self._close(stations)
        finished = {k: self._finish(k) for k in self.cells if k in self.opened_once or k in self.trace.lost}
        return finished, [key for key in self.cells if key not in finished]

    def _measure(self, stack: ExitStack, stations: Mapping[str, Station], process: int, watch: schedule.Watch) -> None:
        meter = stack.enter_context(core_to_core.Meter(_processors(stations.values())))
        file = self.settings.known / core_to_core.FILE
        if meter.cpus:  # else the readings of an earlier process stay what they were
            before = (
                self.trace.best_ns if self.trace.cpus == meter.cpus else None
            )  # which a full disk may not have kept
            known = [ns for ns in (before, core_to_core.best_known(file, meter.cpus)) if ns is not None]
            self.trace.cpus, self.trace.best_ns = meter.cpus, min(known, default=None)
        schedule.measure(
            stations,
            self.group.baseline,
            self.settings.rules,
            process,
            self.trace,
            watch,
            self.first_process,
            meter.read,
            lambda key: self._around(stations[key]),
        )
        if self.trace.best_ns is not None:
            core_to_core.remember(file, self.trace.cpus, self.trace.best_ns)

    def _around(self, station: Station) -> Callable[[], Mapping[str, JSON]]:
        """Read the machine around a burst, unless the session is timed by a clock that the machine has no part in."""
        if station.opened is None or station.opened.timer != clock.HOST:
            return dict
        return self.settings.panel.around(Target(station.worker.pid, station.cell.device))

    def _finish(self, key: str) -> Record:
        record = self._records[key]
        if mine := list(self.trace.of(key)):
            record = replace(record, conditions=self.settings.panel.conditions(mine))
        record = summary.finish(record, self.trace, self.settings.rules)
        verification = record.verification
        if record.outcome == "failed" and verification is not None and not verification.passed:
            return replace(record, outcome="wrong_output")
        return record

    def _open(self, stack: ExitStack, keys: Sequence[str], process: int) -> dict[str, Station]:
        stations: dict[str, Station] = {}
        largest = 0
        for key in keys:
            cell, ready = self.cells[key]
            needed = max(largest, 3 * ready.artifact.size_bytes)
            fits = machine.available_bytes() - needed > _RESERVE_BYTES
            if len(stations) > 1 and not fits and process == 0:
                break
            log = self.settings.logs / f"{cell.backbone.name}-{cell.runtime}-{key}.log"
            self.opened_once.add(key)
            try:
                stations[key] = self._opened(stack, key, process, log)
                largest = max(largest, self._records[key].memory.rss_peak_bytes if self._records[key].memory else 0)  # type: ignore[union-attr]
            except BackbenchError as error:
                self.trace.lost[key] = error
        return stations

    def _opened(self, stack: ExitStack, key: str, process: int, log: Path) -> Station:
        """A cell's session, which lives as long as `stack`; one that fails here is gone at once, and its memory free."""
        cell, ready = self.cells[key]
        with ExitStack() as own:
            worker = own.enter_context(worker_for(cell, log))
            mine = replace(ready, artifact=ready.build(self.first_process + process), builds=())
            station = Station(cell, mine, worker, self.settings.rules)
            try:
                self._start(key, station, process, log)
            except BackbenchError:
                worker.close()  # it still answers, or is dead: it may end by itself, and tidy up
                raise
            stack.enter_context(own.pop_all())
        return station

    def _start(self, key: str, station: Station, process: int, log: Path) -> None:
        begin = time.perf_counter()
        say, cell = self.settings.say, station.cell
        record = replace(self._records[key], worker_log=f"{log.parent.name}/{log.name}")
        self._records[key] = record
        say("load", cell)
        try:
            opened = station.open(self.settings.runtime_caches)
        except OpenFailed:
            if station.opened is not None:  # it runs, but not as its label says: what runs is kept
                self._records[key] = replace(record, facts=station.opened.facts)
            raise
        spawned_s = time.perf_counter() - begin - opened.import_s - opened.load_s - opened.first_inference_s
        cold = _cold(station.ready, opened)
        record = replace(record, facts=opened.facts, colds=(*record.colds, cold))
        if process == 0:
            record = replace(
                record,
                cold=cold,
                memory=_memory(station, opened),
                overhead_s=spawned_s,
            )
        self._records[key] = record
        say("verify", cell)
        verification = station.verify()
        self._records[key] = record = replace(record, verification=verification)
        if not verification.passed:
            raise OpenFailed(
                verification.reason,
                "no latency is published of it; see --tolerance in the README",
            )
        say("warm", cell)
        self._records[key] = replace(record, warmup=_worse(record.warmup, station.warm()))

    def _close(self, stations: Mapping[str, Station]) -> None:
        for key, station in stations.items():
            if key in self.trace.lost:
                continue
            try:
                held = station.memory()
                memory = self._records[key].memory
                assert memory is not None
                peak = max(memory.rss_peak_bytes, int(held["rss_peak_bytes"]))
                device = max((n for n in (memory.device_bytes, held["device_bytes"]) if n is not None), default=None)
                memory = replace(memory, rss_peak_bytes=peak, device_bytes=device)
                self._records[key] = replace(self._records[key], memory=memory)
                station.worker.ask("close", self.settings.rules.patience_s)
            except BackbenchError as error:
                self.trace.lost[key] = error


def _worse(before: Warmup | None, now: Warmup) -> Warmup:
    """The warm-up of the last process; a latency that did not become flat in one of them was not flat."""
    return now if before is None or before.steady else replace(now, steady=False)


def _processors(stations: Iterable[Station]) -> frozenset[int]:
    """What the threads of an inference may run on; none where no session is timed by the host's clock."""
    return processors(s.cell for s in stations if s.opened is not None and s.opened.timer == clock.HOST)


def processors(cells: Iterable[Cell]) -> frozenset[int]:
    """What the threads of an inference may run on; none where each has one thread, which waits for no other processor."""
    return frozenset().union(*(machine.processors(cell.cpus) for cell in cells if cell.threads > 1))


def _cold(ready: Ready, opened: Opened) -> ColdStart:
    return ColdStart(ready.export_s, opened.import_s, opened.load_s, opened.first_inference_s)


def _memory(station: Station, opened: Opened) -> Memory:
    return Memory(
        artifact_bytes=station.ready.artifact.size_bytes,
        rss_before_bytes=opened.rss_before_bytes,
        rss_loaded_bytes=opened.rss_loaded_bytes,
        rss_peak_bytes=max(opened.rss_loaded_bytes, opened.rss_peak_bytes),
        device_bytes=opened.device_bytes,
    )


def expected_s(group: Group, rules: Rules) -> float:
    """About how long measuring a group takes: bursts, and what comes before them, in seconds."""
    per_cell = rules.budget_s + rules.processes * 4.0
    return math.ceil(len(group.cells) * per_cell)
