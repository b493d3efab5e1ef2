"""Finds the chain of exporters that leads from a backbone to what a runtime opens, from class attributes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.api import Exporter, Runtime
from harness.errors import Unsupported
from harness.model import Artifact, Format, Precision


@dataclass(frozen=True)
class Step:
    """One edge of a chain: every exporter that can take it, in the order in which they are tried."""

    source: Format
    target: Format
    reads: Precision
    makes: Precision
    exporters: tuple[str, ...]


@dataclass(frozen=True)
class _Node:
    format: Format
    precision: Precision


def find(
    exporters: Mapping[str, type[Exporter]],
    source: Format,
    runtime: type[Runtime],
    precision: Precision,
    source_precision: Precision = "fp32",
) -> tuple[Step, ...]:
    """The shortest chain from an artifact in `source` to one that `runtime` opens for a cell of `precision`.

    Empty where the runtime opens the source itself. Its formats are tried in its order of preference: a runtime that can
    open ONNX but names its own format first is given its own.
    Raises `Unsupported` where no chain exists, naming how far it gets.
    """
    needed = runtime.casts.get(precision, precision)
    return chain(exporters, source, source_precision, [(format_, needed) for format_ in runtime.accepts])


def chain(
    exporters: Mapping[str, type[Exporter]],
    source: Format,
    source_precision: Precision,
    wanted: Sequence[tuple[Format, Precision]],
) -> tuple[Step, ...]:
    """The shortest chain to the first of `wanted` that can be reached. Raises `Unsupported`."""
    goals = [_Node(format_, precision) for format_, precision in wanted]
    start = _Node(source, source_precision)
    chains: dict[_Node, tuple[Step, ...]] = {start: ()}
    frontier = [start]
    while frontier:
        frontier = _expand(exporters, chains, frontier)
    for goal in goals:
        if goal in chains:
            return chains[goal]
    reached = ", ".join(sorted(f"{node.format} {node.precision}" for node in chains))
    asked = " or ".join(f"{goal.format} {goal.precision}" for goal in goals)
    raise Unsupported(
        f"no exporter leads from {source} to {asked} (reached: {reached})", "see: backbench list exporters"
    )


def _expand(
    exporters: Mapping[str, type[Exporter]], chains: dict[_Node, tuple[Step, ...]], frontier: Sequence[_Node]
) -> list[_Node]:
    reached: list[_Node] = []
    for node in frontier:
        for target, names in _edges(exporters, node).items():
            if target not in chains:
                step = Step(node.format, target.format, node.precision, target.precision, names)
                chains[target] = (*chains[node], step)
                reached.append(target)
    return reached


def _edges(exporters: Mapping[str, type[Exporter]], node: _Node) -> Mapping[_Node, tuple[str, ...]]:
    """What one exporter makes of `node`: reached node -> the exporters of that edge, lowest rank first."""
    edges: dict[_Node, list[str]] = {}
    for name, exporter in sorted(exporters.items(), key=lambda item: (item[1].rank, item[0])):
        if exporter.source != node.format:
            continue
        for made in exporter.precisions:
            if exporter.reads.get(made, made) == node.precision:
                edges.setdefault(_Node(exporter.target, made), []).append(name)
    return {target: tuple(names) for target, names in edges.items()}


def batches(exporter: type[Exporter], source: Artifact, batch: int, static: bool) -> Sequence[int | None]:
    """The batches that an exporter is asked for in turn; None is any."""
    if source.format != "timm" and any(spec.shape and isinstance(spec.shape[0], int) for spec in source.inputs):
        return (batch,)  # the source is static already
    if exporter.keeps_batch:
        return (None,)
    return (batch,) if static or not exporter.dynamic_batch else (None, batch)
