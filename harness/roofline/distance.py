"""How far a measured cell is from its machine's roofline: costs and ceilings found before measuring, figures after it."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from harness import codec, installed
from harness.errors import BackbenchError
from harness.launch import Worker
from harness.memo import Memo, source_digest
from harness.model import Artifact, Backbone, Cell, Precision
from harness.ready import Prepared
from harness.record import Record, Roofline
from harness.roofline import ceilings
from harness.roofline.ceilings import Ceilings, Place
from harness.roofline.costs import Cost

COUNT_TIMEOUT_S = 600.0
TOO_LOW = 1.05
"""A fraction above this says that a ceiling is too low, or that less was computed than counted."""
_SOURCES = (
    "harness.roofline.cost",
    "harness.roofline.costs",
    "harness.roofline.graph_cost",
    "harness.roofline.operations",
)


@dataclass(frozen=True)
class Limits:
    """Costs and ceilings of the cells of a run, by key; what is missing has its reason."""

    costs: Mapping[str, Cost] = field(default_factory=dict)
    ceilings: Mapping[str, Ceilings] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def describe(self, record: Record) -> Record:
        """The record with its roofline, where its latency was measured."""
        compute = record.latency.get("compute")
        if compute is None or record.key not in {**self.costs, **self.reasons}:
            return record
        if (cost := self.costs.get(record.key)) is None:
            return replace(record, roofline=Roofline(unavailable=self.reasons[record.key]))
        return replace(record, roofline=of(cost, self.ceilings[record.key], compute.median_ns))


def find(cells: Mapping[str, Cell], prepared: Prepared, memo: Memo, logs: Path, tell: Callable[[str], None]) -> Limits:
    """Count every prepared cell's model and measure its ceilings, or take both from the cache. Nothing else may run."""
    costs: dict[str, Cost] = {}
    reasons: dict[str, str] = {}
    graphs = _countable(cells, prepared)
    with Counter(memo, logs) as counter:
        for key, cell in cells.items():
            if key not in prepared.ready:
                continue
            try:
                size = cell.backbone.input_size
                costs[key] = counter.count(graphs[key], cell.batch, size, cell.precision)
            except BackbenchError as error:
                reasons[key] = error.message
    places = {key: Place.of(cells[key]) for key in costs}
    found = ceilings.measured(places.values(), memo, logs, tell)
    return Limits(costs, {key: found[place] for key, place in places.items()}, reasons)


def _countable(cells: Mapping[str, Cell], prepared: Prepared) -> Mapping[str, Artifact]:
    """What each cell is counted in, of what the cells of its backbone were made from: all in one graph where one fits all."""
    offered: dict[Backbone, list[Artifact]] = {}
    for key, ready in prepared.ready.items():
        graph = next((artifact for artifact in ready.steps if artifact.format == "onnx"), ready.artifact)
        offered.setdefault(cells[key].backbone, []).append(graph)
    return {key: min(offered[cells[key].backbone], key=_unfit(cells[key].batch)) for key in prepared.ready}


def _unfit(batch: int) -> Callable[[Artifact], int]:
    """How badly an artifact serves to count at `batch`: best is an ONNX graph of any batch, worst one that takes another."""

    def rank(artifact: Artifact) -> int:
        if artifact.format != "onnx":
            return 2
        fixed = next((size for spec in artifact.inputs for size in spec.shape[:1]), "")
        return 0 if isinstance(fixed, str) else 1 if fixed == batch else 3

    return rank


class Counter:
    """Counts costs in one worker, which is started when there is something that the cache does not hold."""

    def __init__(self, memo: Memo, logs: Path) -> None:
        self._memo, self._logs, self._stack = memo, logs, ExitStack()
        self._worker: Worker | None = None

    def count(self, artifact: Artifact, batch: int, size: int, precision: Precision) -> Cost:
        """Cost of a model at a batch, with floats as wide as in `precision`. Raises what the worker raises."""
        # A file that is in a reduced precision already is counted as it is.
        wide = None if artifact.precision == precision else precision
        asked = {"batch": batch, "size": size, "precision": wide}
        versions = dict(installed.versions(("torch", "onnx")))
        key = {"artifact": artifact.digest, **asked, "versions": versions, "source": source_digest(*_SOURCES)}
        return self._memo.value(Cost, "costs", key, lambda: self._ask(artifact=codec.encode(artifact), **asked))

    def _ask(self, **fields: object) -> Cost:
        if self._worker is None:
            self._worker = self._stack.enter_context(Worker(self._logs / "cost.log", name="cost"))
        return codec.decode(Cost, self._worker.ask("cost", COUNT_TIMEOUT_S, **fields))

    def __enter__(self) -> Counter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def of(cost: Cost, limits: Ceilings, latency_ns: float) -> Roofline:
    """The roofline's figures for a latency. Pure."""
    moved, seconds = cost.compulsory_bytes, latency_ns / 1e9
    peak, stream = limits.arithmetic.best, limits.to_load(moved)
    found = Roofline(
        flops=cost.flops,
        matmul_flops=cost.matmul_flops,
        compulsory_bytes=moved,
        graph_bytes=cost.graph_bytes,
        flops_per_s=cost.flops / seconds,
        bytes_per_s=moved / seconds,
        graph_bytes_per_s=None if cost.graph_bytes is None else cost.graph_bytes / seconds,
        methods={"flops": cost.method},
        uncounted=dict(Counts(cost.uncounted) + Counts(cost.unshaped)),
    )
    if peak is None or stream is None:
        failed = {**limits.arithmetic.failed, **limits.bandwidth.failed}
        said = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        return _remarked(replace(found, unavailable=f"no measured ceiling ({said or 'nothing was tried'})"))
    computing_ns, moving_ns = cost.flops / peak.per_s * 1e9, moved / stream.per_s * 1e9
    attainable = max(computing_ns, moving_ns)
    return _remarked(
        replace(
            found,
            peak_flops_per_s=peak.per_s,
            peak_bytes_per_s=stream.per_s,
            attainable_ns=attainable,
            fraction=attainable / latency_ns,
            bound="compute" if computing_ns >= moving_ns else "memory",
            memory_level="cache" if stream is limits.bandwidth.cache else "memory",
            methods={**found.methods, "peak_flops": peak.told, "peak_bytes": stream.told},
        )
    )


def _remarked(roofline: Roofline) -> Roofline:
    remarks = []
    if roofline.fraction is not None and roofline.fraction > TOO_LOW:
        what = (
            "more was reached"
            if roofline.bound == "memory"
            else "less is computed than counted (Winograd), or more was reached"
        )
        remarks.append(
            f"{roofline.fraction:.0%} of the roofline: the {roofline.bound} ceiling is too low: {what} than when it was "
            "measured → on a quiet machine: backbench ceilings --refresh"
        )
    if roofline.uncounted:
        names = ", ".join(f"{name} ({count})" for name, count in roofline.uncounted.items())
        remarks.append(f"operations are a lower bound: not counted are {names}")
    return replace(roofline, remarks=tuple(remarks))
