"""The content of a report, as words: the same rows and remarks whatever form they are given in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness import builds, codec
from harness.model import Backbone
from harness.record import Record, Run
from harness.report import naming
from harness.units import show_bytes, show_ms, show_seconds

HEADERS = (
    "backbone", "runtime", "precision", "batch", "latency ms", "p99 ms", "end-to-end ms", "speed-up [95 %]", "top-1 %",
    "builds", "memory", "load", "verdict",
)  # fmt: skip
NUMERIC = frozenset({
    "batch", "latency ms", "p99 ms", "end-to-end ms", "speed-up [95 %]", "top-1 %", "builds", "memory", "load",
})  # fmt: skip
OPTIONAL = frozenset({"top-1 %", "builds"})
"""Columns that are left out where no cell has them."""


@dataclass(frozen=True)
class Reported:
    """One run with its records."""

    run: Run
    records: tuple[Record, ...]


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """One row of words per cell, in the order of `HEADERS`; a failure stands where its latency would.

    A backbone's cells stand together, and what was refused before measuring comes last among them.
    """
    names = called(records)
    places = {backbone: i for i, backbone in enumerate(names)}
    ordered = sorted(records, key=lambda r: (places[r.cell.backbone], r.outcome == "unsupported"))
    alike = _alike(ordered)
    return [_row(record, names[record.cell.backbone], alike) for record in ordered]


def _alike(records: Sequence[Record]) -> frozenset[tuple[str, str]]:
    """Options as (exporter, option) that tell no two cells apart: all that the exporter made have the same value."""
    given: dict[tuple[str, str], set[str]] = {}
    for record in records:
        for exporter, options in record.cell.exports.items():
            for key, value in options.items():
                given.setdefault((exporter, key), set()).add(str(value))
    for record in records:
        chain = record.artifact.chain if record.artifact is not None else ()
        for exporter, key in given:
            if exporter in chain and key not in record.cell.exports.get(exporter, {}):
                given[exporter, key].add("its default")
    return frozenset(option for option, values in given.items() if len(values) == 1)


def called(records: Iterable[Record]) -> Mapping[Backbone, str]:
    """What the backbones of these records are called, in the order in which they first come."""
    backbones = list(dict.fromkeys(record.cell.backbone for record in records))
    names = naming.names(backbones)
    return {backbone: names[backbone] for backbone in backbones}


def _row(record: Record, name: str, alike: frozenset[tuple[str, str]]) -> tuple[str, ...]:
    """`alike` are options of exporters that are told below the table."""
    cell = record.cell
    head = (name, naming.of_runtime(cell, alike), cell.precision, str(cell.batch))
    if record.outcome != "ok":
        return (*head, *("–",) * (len(HEADERS) - len(head) - 1), record.outcome.replace("_", " "))
    return (*head, *_figures(record), record.trust or "–")


def _figures(record: Record) -> tuple[str, ...]:
    compute, end = record.latency.get("compute"), record.latency.get("end_to_end")
    memory, cold = record.memory, record.cold
    return (
        show_ms(compute.median_ns) if compute else "–",
        show_ms(compute.percentiles_ns["p99"]) if compute and "p99" in compute.percentiles_ns else "–",
        show_ms(end.median_ns) if end else "–",
        speedup(record),
        top1(record),
        built(record),
        show_bytes(memory.rss_peak_bytes) if memory else "–",
        show_seconds(cold.load_s) if cold else "–",
    )


def speedup(record: Record) -> str:
    """`1.84 [1.81, 1.87]`, or `baseline`."""
    if record.is_baseline:
        return "baseline"
    found = record.speedup.get("compute")
    if found is None:
        return "–"
    ratio = found.ratio
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def built(record: Record) -> str:
    """`3, 4.2 % apart`: builds, and how much slower the slowest is than the fastest."""
    apart = builds.spread(record.builds)
    return "–" if apart is None else f"{len(record.builds)}, {apart:.1%} apart"


def top1(record: Record) -> str:
    """`76.1 [75.7, 76.5]` where it was measured, `80.4 published` where it was not."""
    known = record.accuracy
    if known is None:
        return "–"
    if known.top1_low is None or known.top1_high is None:
        return f"{known.top1 * 100:.1f} {known.source}"
    return f"{known.top1 * 100:.1f} [{known.top1_low * 100:.1f}, {known.top1_high * 100:.1f}]"


def shown(records: Sequence[Record]) -> list[int]:
    """Positions in `HEADERS` of the columns that some cell has."""
    made = rows(records)
    return [i for i, h in enumerate(HEADERS) if h not in OPTIONAL or any(row[i] != "–" for row in made)]


def _accuracies(records: Sequence[Record]) -> list[str]:
    """Where the accuracies come from, measured and published apart."""
    known = [record.accuracy for record in records if record.accuracy]
    measured = sorted({one.of for one in known if one.source == "measured"})
    published = sorted({one.of for one in known if one.source == "published"})
    lines = [f"top-1: measured on {'; '.join(measured)}, with its 95 % interval (Wilson)"] if measured else []
    return lines + (
        [f"top-1 marked published: of these weights by {'; '.join(published)}, not measured"] if published else []
    )


def refusals(refused: Iterable[Record]) -> Iterator[str]:
    """What could not be measured and why, a line per cause: a runtime refuses a precision to every backbone alike."""
    refused = list(refused)
    yield from _refusals(refused, called(refused))


def _refusals(refused: Iterable[Record], names_of: Mapping[Backbone, str]) -> Iterator[str]:
    backbones: dict[str, list[str]] = {}
    for record in refused:
        hint = f" → {record.hint}" if record.hint else ""
        said = f"{record.cell.title}: {record.outcome}: {record.reason}{hint}"
        backbones.setdefault(said, []).append(names_of[record.cell.backbone])
    for said, names in backbones.items():
        yield f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} {said}"


def remarks(records: Sequence[Record]) -> list[str]:
    """What a reader must know beside the table: failures with their reasons, and why a cell is not trusted."""
    names = called(records)
    said = list(_refusals((record for record in records if record.outcome == "unsupported"), names))
    for record in records:
        name = f"{names[record.cell.backbone]} {record.cell.title}"
        if record.outcome not in ("ok", "unsupported"):
            hint = f" → {record.hint}" if record.hint else ""
            said.append(f"{name}: {record.outcome.replace('_', ' ')}: {record.reason}{hint}")
        said += [f"{name}: {f.level}: {f.seen} → {f.advice}" for f in record.findings if f.level != "trusted"]
        said += [f"{name}: {remark}" for remark in (record.roofline.remarks if record.roofline else ())]
        if record.artifact and record.artifact.attempts:
            first = record.artifact.attempts[0]
            chain = " > ".join(record.artifact.chain)
            said.append(f"{name}: made by {chain}, because {first.exporter} failed: {first.reason}")
    return list(dict.fromkeys(said))


def lacking(reported: Reported) -> str:
    """That the run is unfinished, or that cells of its plan have no record; empty where neither is so."""
    run, have = reported.run, {record.key for record in reported.records}
    planned = [codec.key(cell) for group in run.plan.groups for cell in group.cells]
    number, of = sum(key not in have for key in planned), len(planned)
    if number:
        said = f"{number} of {of} planned cells {'has' if number == 1 else 'have'} no record"
        return said + ("" if run.finished else " (unfinished)")
    return "" if run.finished else "unfinished: every planned cell has a record, but the run did not come to its end"


def nothing(reported: Reported) -> str:
    """What stands in the place of a table without rows."""
    return lacking(reported) or "no cell was planned"


def footer(reported: Reported) -> list[str]:
    """How to read the figures, what is missing, and where they come from; without a cell, the last alone."""
    if not reported.records:
        return _origin(reported.run)
    missing = lacking(reported)
    return [*([missing] if missing else []), *_reading(reported.records), *_origin(reported.run)]


def _reading(records: Sequence[Record]) -> list[str]:
    baselines = sorted({r.baseline_title for r in records if r.baseline_title})
    told = (r.facts.threads if r.facts is not None else None for r in records)
    threads = sorted({r.cell.threads if used is None else used for r, used in zip(records, told, strict=True)})
    lines = [
        f"latency: median of `compute` (run + sync), one inference at a time, {'/'.join(map(str, threads))} threads; "
        "p99 only where at least 662 samples support it",
        f"speed-up: over {' or '.join(baselines) or '–'}, from rounds measured in turn, with its 95 % interval",
    ]
    if alike := _alike(records):
        cells = [r.cell for r in records]
        values = {(x, k): v for cell in cells for x, given in cell.exports.items() for k, v in given.items()}
        lines.append("exporters: " + ", ".join(f"{x}.{k}={values[x, k]}" for x, k in sorted(alike)))
    if any(r.cell.backbone.weights == "random" for r in records):
        lines.append("weights: random (seeded): latency is that of trained weights, accuracy says nothing")
    return lines + _accuracies(records)


def _origin(run: Run) -> list[str]:
    return [
        f"machine: {run.machine.get('cpu')}, {run.machine.get('cpus_usable')} CPUs, {run.machine.get('system')}"
        + (", virtual" if run.machine.get("virtual_machine") else ""),
        "versions: " + versions_told(run.versions),
        *(f"versions in {python}: {versions_told(versions)}" for python, versions in run.elsewhere.items()),
        f"run: {run.id}, {run.started}; command: {' '.join(run.command)}",
    ]


def versions_told(versions: Mapping[str, str]) -> str:
    """`torch 2.13.0, timm 1.0.31`."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())
