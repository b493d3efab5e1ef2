"""What became faster and what slower between two runs, cell by cell, and what cannot be told. Pure: data in, data out.

A cell is *slower* where its ratio NEW / BASE is at least the minimum effect, its interval excludes 1 and a rank test finds
the rounds apart; *same* where the whole interval lies within the minimum effect; else it *cannot be told*. The ratio is
taken relative to the baseline of the cell's rounds where the baseline did not change, because that cancels what the
machine did between the runs (`difference` has the intervals). A cell of which nothing changed that is recorded is not
called faster or slower on one run a side: the machine is then the likelier reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.comparing import comparable, pairing
from harness.comparing.comparable import Change, said
from harness.comparing.comparison import Compared, Comparison, SideNote, Status
from harness.comparing.judge import How, Judge, median_ns
from harness.comparing.pairing import Measured
from harness.errors import NotComparable
from harness.model import Scope
from harness.record import Record

_MOST_LINES = 12


def compare(base: Sequence[Measured], new: Sequence[Measured], how: How) -> Compared:
    """BASE against NEW, each with its repeats behind it. Raises `NotComparable` where no cell may be compared."""
    forced = _check_machines(base, new, how)
    matched = pairing.match(base[0].records, new[0].records, how.scope, how.force)
    if not matched.pairs:
        raise NotComparable(f"{base[0].name} and {new[0].name} have no cell in common", "compare runs of one plan")
    near = pairing.calm((base, new))
    judge = Judge(near[0], near[1], matched.pairs, how)
    cells = [judge.comparison(pair) for pair in matched.pairs]
    cells += [_alone(record, "only_base", how.scope) for record in matched.only_base]
    cells += [_alone(record, "only_new", how.scope) for record in matched.only_new]
    if not any(cell.status in ("compared", "broken", "mended") for cell in cells):
        _refuse(cells)
    return Compared(
        tuple(map(side_note, base)),
        tuple(map(side_note, new)),
        how.scope,
        how.effect,
        how.level,
        tuple(cells),
        judge.overall(),
        judge.drift(),
        comparable.notes(base[0].run, new[0].run),
        forced,
    )


def side_note(measured: Measured) -> SideNote:
    """Where a run comes from."""
    run = measured.run
    return SideNote(measured.name, run.id, run.started, bool(run.finished))


def _check_machines(base: Sequence[Measured], new: Sequence[Measured], how: How) -> tuple[Change, ...]:
    forced: list[Change] = []
    faults: dict[str, list[str]] = {}
    for other in (*base[1:], *new):
        for field, change in comparable.runs_differ(base[0].run, other.run):
            if field in how.force:
                forced.append(change)
            else:
                faults.setdefault(field, []).append(f"{other.name}: {said(change)}")
    if faults:
        lines = [f"\n  - {field}: {line}" for field, found in faults.items() for line in found]
        raise NotComparable(
            f"not comparable with {base[0].name}:{''.join(lines)}",
            "to compare all the same: " + " ".join(f"--force-compare {field}" for field in faults),
        )
    return tuple(dict.fromkeys(forced))


def _refuse(cells: Sequence[Comparison]) -> None:
    refused = dict.fromkeys(change.field for cell in cells for change in cell.differs)
    if not refused:
        raise NotComparable("no cell has a latency in both runs", "see: backbench report RUN")
    lines = [f"\n  - {cell.backbone} {cell.title}: {cell.reason}" for cell in cells if cell.differs][:_MOST_LINES]
    raise NotComparable(
        f"no cell is comparable:{''.join(lines)}",
        "to compare all the same: " + " ".join(f"--force-compare {field}" for field in refused),
    )


def _alone(record: Record, status: Status, scope: Scope) -> Comparison:
    cell, key, ns = record.cell, record.key, median_ns(record, scope)
    base = status == "only_base"
    return Comparison(
        cell.backbone.name,
        cell.title,
        status,
        base=cell if base else None,
        new=None if base else cell,
        base_key=key if base else "",
        new_key="" if base else key,
        base_ns=ns if base else None,
        new_ns=None if base else ns,
    )
