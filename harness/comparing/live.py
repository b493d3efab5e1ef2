"""BASE and NEW measured in turn now: two artifacts, or one in two Python environments, as groups of two cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness import codec
from harness.comparing import comparable, judge, pairing
from harness.comparing.comparable import Change
from harness.comparing.compare import side_note
from harness.comparing.comparison import Compared
from harness.comparing.judge import How
from harness.comparing.pairing import Measured, Pair
from harness.errors import NotComparable
from harness.interpreter import Environment
from harness.model import Backbone, Cell, Group
from harness.record import Plan, Record, Run

NEW = "new"
"""The label of the cell that stands for NEW."""
ENVIRONMENTS = "environments"
"""The entry of `Run.machine` with both Python environments."""


def oppose(base: Plan, new: Plan, runtimes: Sequence[str], pythons: tuple[str, str]) -> Plan:
    """A group of two for each cell of `base` and the one of `new` that differs in the backbone alone.

    Cells of other runtimes than `runtimes` (a baseline that the plan added) are left out; none given leaves all in. The
    interpreters in `pythons`, where given, come before those of the plans.
    Raises `NotComparable` where a cell has no counterpart.
    """
    groups = []
    same = base is new
    counterparts = {_place(cell, same): cell for cell in _cells(new, runtimes)}
    for cell in _cells(base, runtimes):
        if (other := counterparts.get(_place(cell, same))) is None:
            raise NotComparable(f"{cell.title} can be measured of BASE only", "see: backbench list runtimes")
        own = (pythons[0] or cell.python, pythons[1] or other.python)
        twins = (replace(cell, python=own[0]), replace(other, python=own[1], label=NEW))
        groups.append(Group(codec.key(twins), twins, codec.key(twins[0])))
    refused = [record for record in base.refused if not runtimes or record.cell.runtime in runtimes]
    return Plan("compare", tuple(groups), base.rules, tuple(refused))


def _cells(plan: Plan, runtimes: Sequence[str]) -> list[Cell]:
    cells = [cell for group in plan.groups for cell in group.cells if not cell.label]
    return [cell for cell in cells if not runtimes or cell.runtime in runtimes]


def _place(cell: Cell, with_backbone: bool) -> str:
    """What two opposed cells share: everything, or all but the backbone where the two sides are two of them."""
    return codec.key(cell if with_backbone else replace(cell, backbone=Backbone("")))


def is_live(run: Run) -> bool:
    """Whether a run measured BASE and NEW in turn."""
    groups = run.plan.groups
    return bool(groups) and all([cell.label for cell in group.cells] == ["", NEW] for group in groups)


def compare(measured: Measured, how: How) -> Compared:
    """What a run that measured both in turn says. Raises `NotComparable` where it is another kind of run."""
    if not is_live(measured.run):
        raise NotComparable(
            f"{measured.name} was not measured by `backbench compare --live`", "give two runs: BASE and NEW"
        )
    records = {record.key: record for record in measured.records}
    pairs = [pair for group in measured.run.plan.groups if (pair := _pair(group, records)) is not None]
    if not pairs:
        raise NotComparable(f"{measured.name} ended before a cell was measured", "repeat its command with --resume")
    cells, overall = judge.in_turn(pairs, pairing.calm([[measured]])[0][0], how)
    note = side_note(measured)
    return Compared(
        (note,), (note,), how.scope, how.effect, how.level, cells, overall, None, _environments(measured.run), ()
    )


def _pair(group: Group, records: Mapping[str, Record]) -> Pair | None:
    """None where the run ended before the group was measured."""
    base, new = (records.get(codec.key(cell)) for cell in group.cells)
    if base is None or new is None:
        return None
    return Pair(base, new, (), (), comparable.changes(base, new))


def noted(run: Run, environments: tuple[Environment, Environment]) -> Run:
    """The head of a run with its two environments, which `compare` then tells apart."""
    kept = [codec.encode(environment) for environment in environments]
    return replace(run, machine={**run.machine, ENVIRONMENTS: kept})


def _environments(run: Run) -> tuple[Change, ...]:
    kept = run.machine.get(ENVIRONMENTS)
    if not isinstance(kept, (list, tuple)):
        return ()
    base, new = (codec.decode(Environment, entry) for entry in kept)
    versions = {f"versions.{name}": (base.versions.get(name), new.versions.get(name)) for name in _names(base, new)}
    all_of = {"python": (base.python, new.python), "python.version": (base.version, new.version), **versions}
    found = [Change(name, *values) for name, values in all_of.items() if values[0] != values[1]]
    return tuple(sorted(found, key=lambda change: None in (change.base, change.new)))  # what both have, first


def _names(base: Environment, new: Environment) -> list[str]:
    return list(dict.fromkeys([*base.versions, *new.versions]))
