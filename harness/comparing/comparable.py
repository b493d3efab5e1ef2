"""What must be alike in two runs for a comparison to mean something, and what else changed between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.model import JSON
from harness.record import Record, Run


@dataclass(frozen=True)
class Change:
    """A field with its value on both sides; None where a side does not tell."""

    field: str
    base: JSON
    new: JSON


def said(change: Change) -> str:
    """`batch 1 → 8`."""
    base, new = ("–" if value in (None, "") else value for value in (change.base, change.new))
    if isinstance(base, (list, tuple)) and isinstance(new, (list, tuple)):
        gone, come = [v for v in base if v not in new], [v for v in new if v not in base]
        return f"{change.field} " + " ".join([*(f"−{v}" for v in gone), *(f"+{v}" for v in come)])
    return f"{change.field} {base} → {new}"


_MACHINE: Mapping[str, tuple[str, ...]] = {
    "machine": ("cpu", "architecture", "cpu_flags", "cpus_physical", "board", "gpus"),
    "cpus": ("cpus_usable", "cpus_logical", "cpu_quota"),
}
"""Field -> the entries of `Run.machine` that make it up."""
_POWER = ("governor", "power", "turbo", "boost")
"""Words in the name of an entry that belongs to the power mode."""
_CELL: Mapping[str, Callable[[Record], JSON]] = {
    "backbone": lambda r: r.cell.backbone.name,
    "runtime": lambda r: r.cell.runtime,
    "precision": lambda r: r.cell.precision,
    "batch": lambda r: r.cell.batch,
    "device": lambda r: r.cell.device,
    "threads": lambda r: r.cell.threads,
    "pinning": lambda r: r.cell.cpus,
    "input_size": lambda r: r.cell.backbone.input_size,
    "features_only": lambda r: r.cell.backbone.features_only,
    "options": lambda r: dict(r.cell.options),
}
RUN_FIELDS = (*_MACHINE, "power")
CELL_FIELDS = (*_CELL, "scope")
FIELDS = (*RUN_FIELDS, *CELL_FIELDS)
"""Everything that a comparison refuses to differ in, unless it is told to."""


def runs_differ(base: Run, new: Run) -> Iterator[tuple[str, Change]]:
    """What differs between the machines: the field of `RUN_FIELDS`, and the entry that shows it.

    An entry that one side does not tell (an older run, no sensor) is not held against it: `notes` says so.
    """
    was, now = _machine(base), _machine(new)
    for field, entries in _MACHINE.items():
        yield from ((field, change) for change in _differing(was, now, entries))
    power = [name for name in {**was, **now} if _is_power(name)]
    yield from (("power", change) for change in _differing(was, now, power))


def _machine(run: Run) -> Mapping[str, JSON]:
    """The entries of `Run.machine`, with what a Jetson tells of itself among them."""
    told = run.machine.get("jetson")
    return {**run.machine, **told} if isinstance(told, Mapping) else run.machine


def cells_differ(base: Record, new: Record, scope: str) -> Iterator[Change]:
    """Fields of `CELL_FIELDS` in which two measured cells differ."""
    for field, read in _CELL.items():
        if read(base) != read(new):
            yield Change(field, read(base), read(new))
    lacking = [scope not in record.latency and record.outcome == "ok" for record in (base, new)]
    if any(lacking):
        yield Change("scope", *(None if lacks else scope for lacks in lacking))


def power_differs(base: Record, new: Record) -> list[Change]:
    """The power mode as the probes saw it while the two cells ran."""
    was, now = _flat(base.conditions), _flat(new.conditions)
    names = [name for name, value in was.items() if _is_power(name.rpartition(".")[2]) and isinstance(value, str)]
    return [change for change in _differing(was, now, names) if isinstance(change.new, str)]


def _is_power(name: str) -> bool:
    return any(word in name for word in _POWER)


def _differing(base: Mapping[str, JSON], new: Mapping[str, JSON], names: Sequence[str]) -> list[Change]:
    both = [Change(name, base.get(name), new.get(name)) for name in names]
    return [change for change in both if change.base != change.new and _told(change.base) and _told(change.new)]


def _told(value: JSON) -> bool:
    return value is not None and not (isinstance(value, str) and value.startswith("unavailable"))


# ── facts that changed, and may be the reason ─────────────────────────────────────────────────────────────────────


def notes(base: Run, new: Run) -> tuple[Change, ...]:
    """What else is not as it was, of the whole runs: versions, machine entries, rules of measuring."""
    from harness import codec

    sides = [
        _flat({"versions": r.versions, "machine": r.machine, "rules": codec.encode(r.plan.rules)}) for r in (base, new)
    ]
    return tuple(c for c in _changes(*sides) if c.field != "rules.seed")


def changes(base: Record, new: Record) -> tuple[Change, ...]:
    """Facts of a cell that changed: versions, what was read back, placement, the artifact and how it was made."""
    return tuple(_changes(_facts(base), _facts(new)))


def _facts(record: Record) -> dict[str, JSON]:
    from harness import codec

    facts = _flat(codec.encode(record.facts)) if record.facts else {}
    facts |= {"weights": record.cell.backbone.weights, "python": record.cell.python}
    if (artifact := record.artifact) is not None:
        made = {"format": artifact.format, "precision": artifact.precision, "chain": " > ".join(artifact.chain)}
        if artifact.format != "timm":  # a snapshot made again is another file of the same function
            made["digest"] = artifact.digest[:12]
        facts |= _flat({"artifact": {**made, "details": artifact.details}})
    return facts


def _changes(base: Mapping[str, JSON], new: Mapping[str, JSON]) -> Iterator[Change]:
    for name in {**base, **new}:
        if base.get(name) != new.get(name):
            yield Change(name, base.get(name), new.get(name))


def _flat(data: Mapping[str, JSON], above: str = "") -> dict[str, JSON]:
    """Nested mappings as one, with dotted names."""
    flat: dict[str, JSON] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat
