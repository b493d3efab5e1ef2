"""The profiling pass: each cell once more in a process of its own, measured plainly and then with its profiler on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import codec, group, stats
from harness.cache import Cache
from harness.errors import BackbenchError, RunFailed
from harness.explaining import layers
from harness.explaining.layers import Gap, Profile, Total
from harness.explaining.placing import place
from harness.launch import Worker
from harness.model import SCHEMA, Cell, GraphNode, Group, Pace
from harness.prepare import prepare
from harness.ready import Prepared, Ready
from harness.record import Plan, Record, Rules
from harness.run import Watcher, alone, settings_for
from harness.station import Station, worker_for

GRAPH_TIMEOUT_S = 300.0
_PLAIN = Pace(seconds=0.5, end_to_end_s=0.0, inferences=5)


@dataclass(frozen=True)
class Failure:
    """A cell that gave no profile."""

    key: str
    cell: Cell
    reason: str
    hint: str = ""


@dataclass(frozen=True)
class Explained:
    """What a profile amounts to; see the properties of `Profile`."""

    key: str
    layers_ns: float
    unattributed_ns: float
    overhead: float
    inserted_ns: float
    mapped: float
    operators: tuple[Total, ...]
    """By operator type and precision."""


@dataclass(frozen=True)
class Profiled:
    """Profiles in the order of the plan, and the gap of each to the first of its backbone and batch."""

    profiles: tuple[Profile, ...]
    explained: tuple[Explained, ...]
    gaps: tuple[Gap, ...]
    failures: tuple[Failure, ...] = ()
    schema: int = SCHEMA


@dataclass(frozen=True)
class Pass:
    """How the profiling pass is done."""

    cache: Cache
    logs: Path
    inferences: int
    watcher: Watcher
    jobs: int = 1


def measure_and_profile(plan: Plan, how: Pass) -> Profiled:
    """Measure the plan's groups in turn, then profile every cell that was measured."""
    with alone(how.cache.folder, how.watcher.note):
        prepared = _prepare(plan, how)
        settings = settings_for(plan.rules, how.logs, how.cache, how.watcher)
        records = list(plan.refused)
        for members in plan.groups:
            how.watcher.group(members)
            records += group.measure(members, prepared, settings)[0]
        return _profile(records, prepared, plan.rules, how, "measured in turn, just before")


def profile_records(records: Sequence[Record], rules: Rules, how: Pass, measured_in: str) -> Profiled:
    """Profile cells whose latency lies in records. Each artifact must still be the one that was measured."""
    groups: dict[str, list[Cell]] = {}
    for record in records:
        groups.setdefault(record.group, []).append(record.cell)
    plan = Plan("profile", tuple(Group(key, tuple(cells), "") for key, cells in groups.items()), rules)
    with alone(how.cache.folder, how.watcher.note):
        return _profile(records, _prepare(plan, how), rules, how, measured_in)


def _prepare(plan: Plan, how: Pass) -> Prepared:
    cells = {codec.key(cell): cell for members in plan.groups for cell in members.cells}
    return prepare(cells, how.cache, how.logs, how.jobs, how.watcher.note)


def _profile(records: Sequence[Record], prepared: Prepared, rules: Rules, how: Pass, measured_in: str) -> Profiled:
    failures = [Failure(r.key, r.cell, f"{r.outcome}: {r.reason}", r.hint) for r in records if r.outcome != "ok"]
    measured = [record for record in records if record.outcome == "ok"]
    graphs = _Graphs([(r.cell, prepared.ready[r.key]) for r in measured if r.key in prepared.ready], how.logs)
    profiles: list[Profile] = []
    for record in measured:
        try:
            ready = _same_artifact(record, prepared)
            how.watcher.doing("profile", record.cell)
            profiles.append(graphs.place(_one(record, ready, rules, how, measured_in), ready))
        except BackbenchError as error:
            failures.append(Failure(record.key, record.cell, error.message, error.hint))
    return conclude(profiles, failures)


def conclude(profiles: Sequence[Profile], failures: Sequence[Failure] = ()) -> Profiled:
    """The profiles with what they amount to."""
    explained = tuple(
        Explained(
            one.key, one.layers_ns, one.unattributed_ns, one.overhead, one.inserted_ns, one.mapped,
            layers.totals(one, lambda layer: layer.kind),
        )
        for one in profiles
    )  # fmt: skip
    return Profiled(tuple(profiles), explained, gaps(profiles), tuple(failures))


def _same_artifact(record: Record, prepared: Prepared) -> Ready:
    """Raises `RunFailed` where the artifact is made differently by now."""
    if (error := prepared.failed.get(record.key)) is not None:
        raise error
    ready = prepared.ready[record.key]
    if record.artifact is not None and record.artifact.digest != ready.artifact.digest:
        raise RunFailed(
            "the artifact that was measured is not the one that is made now (another version of a library or exporter?)",
            "measure it again: backbench profile -m … -r …",
        )
    return ready


def _one(record: Record, ready: Ready, rules: Rules, how: Pass, measured_in: str) -> Profile:
    cell = record.cell
    log = how.logs / f"profile-{cell.backbone.name}-{cell.runtime}-{record.key}.log"
    with worker_for(cell, log) as worker:
        station = Station(cell, ready, worker, rules)
        station.open(how.cache.folder / "runtimes")
        station.warm()
        plain_ns = stats.median(station.burst(_PLAIN).compute_ns)
        inferences = station.profile(how.inferences)
    if not any(inference.layers for inference in inferences):
        raise RunFailed(f"{cell.title}: the profile holds no layer", f"its log: {log}")
    return Profile(
        key=record.key,
        cell=cell,
        latency_ns=record.latency["compute"].median_ns,
        latency_from=measured_in,
        plain_ns=plain_ns,
        profiled_ns=stats.median([inference.latency_ns for inference in inferences]),
        inferences=len(inferences),
        layers=layers.summarise(inferences),
        typical=layers.typical(inferences),
    )


class _Graphs:
    """The ONNX graphs that layers are mapped to, each read once, by a worker."""

    def __init__(self, cells: Sequence[tuple[Cell, Ready]], logs: Path) -> None:
        self._cells = cells
        self._logs = logs
        self._read: dict[str, Sequence[GraphNode]] = {}

    def place(self, profile: Profile, ready: Ready) -> Profile:
        """The profile with its layers mapped, or with a note that says why they are not."""
        path = self._onnx(profile.cell, ready)
        if not path:
            note = "no ONNX file is among what was profiled: layers are not mapped to its nodes (add -r ort_cpu)"
            return replace(profile, layers=place(profile.layers, ()), notes=(note,))
        try:
            graph = self._graph(path)
        except BackbenchError as error:
            return replace(profile, layers=place(profile.layers, ()), notes=(f"not mapped: {error.message}",))
        return replace(profile, layers=place(profile.layers, graph))

    def _onnx(self, cell: Cell, ready: Ready) -> str:
        """The ONNX file that the artifact came from; for the framework, that of another cell of its backbone."""
        own = [artifact.path for artifact in ready.steps if artifact.format == "onnx"]
        alike = [other_ready for other, other_ready in self._cells if other.backbone == cell.backbone]
        beside = [artifact.path for other in alike for artifact in other.steps if artifact.format == "onnx"]
        return next(iter([*own[-1:], *beside]), "")

    def _graph(self, path: str) -> Sequence[GraphNode]:
        if path not in self._read:
            with Worker(self._logs / "graph.log", name="graph") as worker:
                told = worker.ask("graph", GRAPH_TIMEOUT_S, path=path)
            self._read[path] = tuple(codec.decode(GraphNode, node) for node in told)
        return self._read[path]


def gaps(profiles: Sequence[Profile]) -> tuple[Gap, ...]:
    """Every profile against the first of its backbone and batch."""
    first: dict[object, Profile] = {}
    pairs = [(first.setdefault((one.cell.backbone, one.cell.batch), one), one) for one in profiles]
    return tuple(layers.gap(base, one) for base, one in pairs if base is not one)


def by_key(profiled: Profiled) -> Mapping[str, Profile]:
    """The profiles by their cells' keys."""
    return {profile.key: profile for profile in profiled.profiles}
