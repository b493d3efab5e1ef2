"""Builds of one cell: a builder that chooses kernels by timing them may choose others the next time (`--builds`).

With N builds, a cell's processes take them in turn, so that what is seen between builds is seen in fresh processes too.
What single processes differ by is in the spread, unless each build has several (`--processes` a multiple of `--builds`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness import registry, stats
from harness.errors import PlanInvalid
from harness.model import JSON, Cell, Group
from harness.ready import Ready
from harness.record import Build, Record, Rules
from harness.route import Step
from harness.schedule import Trace


def building(cell: Cell, steps: Sequence[Step]) -> Mapping[str, Mapping[str, JSON]]:
    """What builds by timing kernels on the way to the cell, and the options with which it owes earlier builds nothing:
    by exporter, or by the name of the runtime itself.
    """
    names = [name for step in steps[-1:] for name in step.exporters]
    found = {name: made for name in names if (made := registry.exporter_class(name).independent)}
    own = registry.runtime_class(cell.runtime).independent
    return {**found, **({cell.runtime: own} if own else {})}


def independent(cell: Cell, steps: Sequence[Step], builds: int) -> Cell:
    """The cell with the options that make its builds independent, where several are asked for."""
    if builds < 2:
        return cell
    options, exports = dict(cell.options), {name: dict(given) for name, given in cell.exports.items()}
    for name, wanted in building(cell, steps).items():
        mine = name == cell.runtime
        known = registry.runtime_class(name).options if mine else registry.exporter_class(name).options
        given = options if mine else exports.setdefault(name, {})
        given.update({key: value for key, value in wanted.items() if known[key] != value})
        for key, value in wanted.items():
            if known[key] == value:
                given.pop(key, None)
    exports = {name: given for name, given in exports.items() if given}
    return replace(cell, options=dict(sorted(options.items())), exports=exports)


def refuse_idle(builds: int, groups: Sequence[Group], steps_of: Callable[[Cell], Sequence[Step]], refused: int) -> None:
    """Raise `PlanInvalid` where builds are asked for and nothing is built: it would be ignored in silence.

    Where cells were refused, the reason of that is told instead.
    """
    if builds < 2 or refused:
        return
    if not any(building(cell, steps_of(cell)) for group in groups for cell in group.cells):
        raise PlanInvalid(
            f"{builds} builds are asked for, and no runtime of the plan has engines built by timing kernels",
            "add -r tensorrt (or ort_tensorrt, trtexec), or give --processes for fresh processes",
        )


def begun(ready: Ready) -> tuple[Build, ...]:
    """The builds of a cell that has several artifacts, before any was measured."""
    if not ready.builds:
        return ()
    return tuple(Build(made.digest, made.seconds, made.size_bytes) for made in (ready.artifact, *ready.builds))


def described(record: Record, trace: Trace, rules: Rules) -> tuple[Build, ...]:
    """The builds with their medians of `compute`, over all bursts of the processes that measured them.

    A runtime that builds while it opens has one for each process.
    """
    by_process: dict[int, list[int]] = {}
    for sample in trace.of(record.key):
        by_process.setdefault(sample.process, []).extend(sample.burst.compute_ns)
    processes = sorted(by_process)
    made = record.builds
    if not made and rules.builds > 1 and registry.runtime_class(record.cell.runtime).independent:
        made = tuple(Build("", cold.load_s, 0) for cold in record.colds[: len(processes)])
    if not made or len(processes) < 2:
        return made
    found = []
    for number, build in enumerate(made):
        mine = [process for process in processes if process % len(made) == number]
        samples = [ns for process in mine for ns in by_process[process]]
        found.append(replace(build, median_ns=stats.median(samples) if samples else None, processes=len(mine)))
    return tuple(found)


def spread(builds: Sequence[Build]) -> float | None:
    """How much slower the slowest build is than the fastest: 0.05 is 5 %; None where fewer than two were measured."""
    medians = [build.median_ns for build in builds if build.median_ns is not None]
    return max(medians) / min(medians) - 1 if len(medians) > 1 else None
