"""From what a person asked for to a plan with every name resolved: the cells, their groups and baselines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness import builds, codec, device_names, exports, interpreter, machine, named, registry, route
from harness.errors import BackbenchError, MissingLibrary, PlanInvalid, Unsupported
from harness.model import CONTROL, Backbone, Cell, Group, Outcome, Precision
from harness.named import Sources as Sources
from harness.plan_file import Place, nowhere
from harness.record import Plan, Record, Rules
from harness.spec import RuntimeSpec, Spec

FRAMEWORK = "torch_eager"
"""The baseline of a backbone that timm makes."""
ONNX_BASELINE = "ort_cpu"
"""The baseline of an ONNX file given by path, which the framework cannot open."""


def key_of(cell: Cell) -> str:
    """The stable key of a cell."""
    return codec.key(cell)


def resolve(spec: Spec, sources: Sources, place: Place = nowhere) -> Plan:
    """The plan that `spec` means. Raises `PlanInvalid` (or a subclass) with every fault found, and its place."""
    faults: list[BackbenchError] = []
    backbones = _all_backbones(spec, sources, faults, place)
    runtimes = _runtimes(spec, faults, place)
    number = 0
    try:
        number = threads(spec.threads, spec.cpus)
    except BackbenchError as error:
        faults.append(error.at(place(["cpus" if spec.cpus else "threads"])))
    for i, device in enumerate(spec.devices):
        faults += [fault.at(place(["devices", i])) for fault in device_names.faults([device])]
    for i, entry in enumerate(spec.runtimes):
        faults += [fault.at(place(["runtimes", i, "device"])) for fault in device_names.faults([entry.device or "cpu"])]
    faults += exports.faults(spec, place)
    _raise(faults)
    refused: list[Record] = []
    groups = [
        group
        for backbone in backbones
        for batch in dict.fromkeys(spec.batches)
        if (group := _group(spec, backbone, batch, runtimes, number, refused)) is not None
    ]
    exports.refuse_idle(spec, groups)
    builds.refuse_idle(spec.rules.builds, groups, check_possible, len(refused))
    return Plan(spec.name, tuple(groups), rules_of(spec), tuple(refused))


def _raise(faults: Sequence[BackbenchError]) -> None:
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise PlanInvalid(
            f"the plan has {len(faults)} mistakes",
            faults=tuple(str(fault).replace("\n", ";") for fault in faults),
        )


def rules_of(spec: Spec) -> Rules:
    """The measuring rules of a plan."""
    rules = spec.rules
    return Rules(
        budget_s=rules.budget,
        target=rules.target,
        burst_s=rules.burst,
        min_inferences=rules.min_inferences,
        min_rounds=rules.min_rounds,
        processes=max(rules.processes, rules.builds),  # each build is measured in a process of its own
        builds=rules.builds,
        seed=rules.seed,
        control=rules.control,
        wait_s=rules.wait,
        patience_s=rules.patience,
        tolerances={precision: limits.model_dump(exclude_none=True) for precision, limits in spec.tolerances.items()},
    )


# ── backbones ─────────────────────────────────────────────────────────────────────────────────────────────────────


def backbones(spec: Spec, sources: Sources) -> tuple[Backbone, ...]:
    """The backbones that a plan names, each once. Raises `PlanInvalid` (or a subclass) with every fault found."""
    faults: list[BackbenchError] = []
    found = _all_backbones(spec, sources, faults)
    _raise(faults)
    return found


def _all_backbones(
    spec: Spec, sources: Sources, faults: list[BackbenchError], place: Place = nowhere
) -> tuple[Backbone, ...]:
    found: list[Backbone] = []
    for i, entry in enumerate(spec.backbones):
        try:
            found += named.backbones(entry, spec, sources)
        except BackbenchError as error:
            faults.append(error.at(place(["backbones", i])))
    return tuple(dict.fromkeys(found))


# ── runtimes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _runtimes(spec: Spec, faults: list[BackbenchError], place: Place) -> list[RuntimeSpec]:
    given = list(spec.runtimes) or [RuntimeSpec(name=name) for name in default_runtimes()]
    known = []
    for i, entry in enumerate(given):
        try:
            registry.check_runtime_options(entry.name, entry.options)
            python = interpreter.probe(entry.python).python if entry.python else ""
            known.append(entry.model_copy(update={"python": python}))
        except BackbenchError as error:
            faults.append(error.at(place(["runtimes", i])))
    if spec.baseline:
        try:
            registry.plugin("runtimes", spec.baseline)
        except BackbenchError as error:
            faults.append(error.at(place(["baseline"])))
    return known


def default_runtimes() -> list[str]:
    """Without a choice: every common runtime that is installed here."""
    common = (FRAMEWORK, ONNX_BASELINE, "openvino")
    return [name for name in common if not registry.missing(registry.runtime_class(name).needs)] or list(common)


def threads(asked: int, cpus: str) -> int:
    """Threads per inference, for 0 one per physical core, within the processors `cpus`. Raises `PlanInvalid`."""
    usable = min(machine.usable_cpus(), len(_pinned(cpus))) if cpus else machine.usable_cpus()
    if asked > usable:
        where = f"--cpus {cpus}" if cpus else "this machine (affinity and cgroup quota counted)"
        raise PlanInvalid(
            f"{asked} threads on {usable} processors would wait for each other: {where} allows {usable}",
            f"give --threads {usable} or fewer",
        )
    return asked or machine.default_threads(cpus)


def _pinned(cpus: str) -> frozenset[int]:
    try:
        chosen = machine.processors(cpus)
    except ValueError as error:
        raise PlanInvalid(f"--cpus {cpus!r}: {error}", "give processors as 0-3 or 0,2,4") from error
    here = machine.processors()
    if outside := sorted(chosen - here):
        names = ", ".join(map(str, outside[:4])) + (", …" if len(outside) > 4 else "")
        raise PlanInvalid(
            f"--cpus {cpus!r}: this process may not run on processor {names}",
            f"give some of {', '.join(map(str, sorted(here)))}",
        )
    return chosen


# ── groups ────────────────────────────────────────────────────────────────────────────────────────────────────────

_Impossible = tuple[Cell, BackbenchError]
"""A cell that was asked for, and why it cannot be."""


def _group(
    spec: Spec,
    backbone: Backbone,
    batch: int,
    runtimes: Sequence[RuntimeSpec],
    threads: int,
    refused: list[Record],
) -> Group | None:
    cells: dict[str, Cell] = {}
    impossible: list[_Impossible] = []
    for cell in _cells(spec, backbone, batch, runtimes, threads):
        try:
            made = exports.given(cell, check_possible(cell), spec)
            cells[key_of(made)] = made
        except BackbenchError as error:
            impossible.append((cell, error))
    pythons = {entry.name: entry.python for entry in reversed(runtimes)}
    baseline = _baseline(spec, backbone, batch, threads, cells, impossible, pythons)
    if baseline is not None:
        cells = {key_of(baseline): baseline} | cells
        if spec.rules.control:
            twin = replace(baseline, label=CONTROL)
            cells[key_of(twin)] = twin
    key = codec.key((backbone, batch))
    base_key, title = (key_of(baseline), baseline.title) if baseline is not None else ("", "")
    refused += [_refusal(cell, error, key, base_key, title) for cell, error in impossible]
    return None if baseline is None else Group(key, tuple(cells.values()), base_key)


def _cells(spec: Spec, backbone: Backbone, batch: int, runtimes: Sequence[RuntimeSpec], threads: int) -> list[Cell]:
    cells = []
    for entry in runtimes:
        known = registry.runtime_class(entry.name).options
        options = {k: v for k, v in sorted(entry.options.items()) if v != known[k]}
        cells += [
            _cell(backbone, entry.name, precision, batch, device, threads, options, spec.cpus, entry.python)
            for device in ((entry.device,) if entry.device else spec.devices)
            for precision in (entry.precisions or spec.precisions)
        ]
    return cells


def _cell(
    backbone: Backbone,
    runtime: str,
    precision: Precision,
    batch: int,
    device: str,
    threads: int,
    options: Any,
    cpus: str,
    python: str = "",
) -> Cell:
    kept = json.loads(json.dumps(options))
    return Cell(backbone, runtime, precision, batch, device, threads, kept, cpus, python=python)


def check_possible(cell: Cell) -> tuple[route.Step, ...]:
    """The chain that leads to a cell's artifact, from class attributes alone.

    Raises `Unsupported` or `MissingLibrary` for a cell that cannot be.
    """
    runtime = registry.runtime_class(cell.runtime)
    kind = cell.device.partition(":")[0]
    if kind not in runtime.precisions:
        known = ", ".join(runtime.precisions)
        raise Unsupported(f"{cell.runtime} does not run on {cell.device}", f"it runs on: {known}")
    if cell.precision not in runtime.precisions[kind]:
        known = ", ".join(runtime.precisions[kind])
        why = runtime.refuses.get(kind, {}).get(cell.precision, "")
        reason = f"{cell.runtime} does not execute {cell.precision} on {kind}" + (f": {why}" if why else "")
        raise Unsupported(reason, f"it executes: {known}")
    if cell.backbone.fixed_batch not in (0, cell.batch):
        fixed = cell.backbone.fixed_batch
        raise Unsupported(f"{cell.backbone.name} takes batch {fixed} only", f"give --batch {fixed}")
    backbone = cell.backbone
    steps = route.find(registry.exporter_classes(), backbone.source, runtime, cell.precision, backbone.precision)
    interpreter.check_installed(cell.runtime, runtime.needs, cell.python)
    return steps


def _baseline(
    spec: Spec,
    backbone: Backbone,
    batch: int,
    threads: int,
    cells: Mapping[str, Cell],
    impossible: list[_Impossible],
    pythons: Mapping[str, str],
) -> Cell | None:
    """The cell that the group is compared with: the framework in fp32 where it can run, else the first cell there is.

    One that was asked for by name and cannot be is told with the impossible cells.
    """
    name = spec.baseline or (ONNX_BASELINE if backbone.path else FRAMEWORK)
    mine = [cell for cell in cells.values() if cell.runtime == name]
    if alike := [cell for cell in mine if cell.precision == backbone.precision]:
        # Plain, where the plan has it plain.
        return min(alike, key=lambda cell: (bool(cell.python), len(cell.options)))
    kinds = registry.runtime_class(name).precisions
    device = next((device for device in spec.devices if device.partition(":")[0] in kinds), "cpu")
    python = pythons.get(name, "")
    added = _cell(backbone, name, backbone.precision, batch, device, threads, {}, spec.cpus, python)
    try:
        made = exports.given(added, check_possible(added), spec)
        return made if cells else None
    except BackbenchError as error:
        if spec.baseline and added not in [cell for cell, _ in impossible]:
            impossible.append((added, error))
        return next(iter([*mine, *cells.values()]), None)


def _refusal(cell: Cell, error: BackbenchError, group: str, baseline: str, title: str) -> Record:
    outcome: Outcome = "unsupported" if isinstance(error, (Unsupported, MissingLibrary)) else "failed"
    return Record(key_of(cell), group, cell, baseline, title, outcome, error.message, error.hint)


# ── plans made of plans ───────────────────────────────────────────────────────────────────────────────────────────


def only(plan: Plan, wanted: Callable[[Cell], bool]) -> Plan:
    """The plan without the cells that are not wanted; a group whose baseline goes is compared with its first cell."""
    groups = []
    for group in plan.groups:
        cells = tuple(cell for cell in group.cells if wanted(cell))
        if cells:
            keys = [key_of(cell) for cell in cells]
            groups.append(Group(group.key, cells, group.baseline if group.baseline in keys else keys[0]))
    return replace(plan, groups=tuple(groups))


def merge(name: str, plans: Sequence[Plan]) -> Plan:
    """One plan of several with the same rules: groups of one key become one, the framework its baseline where it is in."""
    groups: dict[str, list[Group]] = {}
    refused = {record.key: record for plan in plans for record in plan.refused}
    for group in (group for plan in plans for group in plan.groups):
        groups.setdefault(group.key, []).append(group)
    return Plan(name, tuple(map(_merged, groups.values())), plans[0].rules, tuple(refused.values()))


def _merged(groups: Sequence[Group]) -> Group:
    cells = {key_of(cell): cell for group in groups for cell in group.cells}
    bases = [group.baseline for group in groups]
    base = next((key for key in bases if cells[key].runtime == FRAMEWORK), bases[0])
    return Group(groups[0].key, (cells[base], *(cell for key, cell in cells.items() if key != base)), base)
