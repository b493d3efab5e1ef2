"""How far cells are from the roofline, as words: a second table that is given where it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.record import Record, Roofline
from harness.report import naming
from harness.report.content import Reported, called
from harness.report.forms import escape, line
from harness.units import show_bytes, show_ms

if TYPE_CHECKING:
    from rich.console import Console

HEADERS = (
    "backbone", "runtime", "precision", "batch", "GFLOP", "must move", "FLOP/byte", "GFLOP/s", "GB/s", "latency ms",
    "attainable ms", "of roofline", "bound by",
)  # fmt: skip
NUMERIC = frozenset(HEADERS[3:-1])
_LESSER = ("GB/s", "batch", "must move", "GFLOP", "precision", "FLOP/byte", "attainable ms")
"""Columns that a narrow terminal does without, in this order."""


def rows(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """One row of words per cell that has a roofline, in the order of `HEADERS`."""
    names = called(records)
    return [
        _row(names[record.cell.backbone], record, record.roofline)
        for record in records
        if record.roofline and record.roofline.flops
    ]


def _row(name: str, record: Record, found: Roofline) -> tuple[str, ...]:
    cell, compute = record.cell, record.latency["compute"]
    return (name, naming.of_runtime(cell), cell.precision, str(cell.batch), *figures(found, compute.median_ns))


def figures(found: Roofline, median_ns: float) -> tuple[str, ...]:
    """The words of `HEADERS` from `GFLOP` on."""
    return (
        giga(found.flops), show_bytes(found.compulsory_bytes), f"{found.intensity:.0f}",
        giga(found.flops_per_s), giga(found.bytes_per_s), show_ms(median_ns),
        "–" if found.attainable_ns is None else show_ms(found.attainable_ns),
        "–" if found.fraction is None else f"{found.fraction:.0%}", _bound(found),
    )  # fmt: skip


def giga(value: float) -> str:
    """Three digits of 10⁹, without an exponent."""
    return f"{value / 1e9:.0f}" if value >= 1e11 else f"{value / 1e9:.3g}"


def _bound(found: Roofline) -> str:
    return "cache" if found.bound == "memory" and found.memory_level == "cache" else found.bound or "–"


def footer(records: Sequence[Record]) -> list[str]:
    """How the figures were found, and which are missing."""
    found = [record.roofline for record in records if record.roofline]
    if not found:
        return ["roofline: not in these results; measure again without --no-roofline"]
    lines = ["roofline: attainable is the longer of all operations and all compulsory bytes at the measured ceilings"]
    lines += [f"{name}: {text}" for name, text in dict.fromkeys(_ceilings(found))]
    return lines + [f"not available: {text}" for text in dict.fromkeys(r.unavailable for r in found if r.unavailable)]


def _ceilings(found: Sequence[Roofline]) -> list[tuple[str, str]]:
    said = []
    for one in found:
        if one.peak_flops_per_s is not None and one.peak_bytes_per_s is not None:
            said.append(("ceiling", f"{giga(one.peak_flops_per_s)} GFLOP/s ({one.methods.get('peak_flops')})"))
            said.append(("ceiling", f"{giga(one.peak_bytes_per_s)} GB/s ({one.methods.get('peak_bytes')})"))
        said.append(("operations", f"{one.methods.get('flops')}, a multiply-add is 2"))
    return said


def show(console: Console, reported: Sequence[Reported]) -> None:
    """Print a table and its footer for each run; a narrow terminal gets fewer columns."""
    from rich import box
    from rich.table import Table

    for one in reported:
        found = rows(one.records)
        keep = _fitting(found, console.width)[1:]
        table = Table(title=f"{one.run.plan.name} · roofline", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
        for i in keep:
            table.add_column(HEADERS[i], justify="right" if HEADERS[i] in NUMERIC else "left", no_wrap=True)
        last = ""
        for row in found:
            if row[0] != last:
                table.add_row(row[0], style="bold")
                last = row[0]
            table.add_row(f"  {row[1]}", *(row[i] for i in keep[1:]))
        if found:
            console.print(table)
        for text in footer(one.records):
            console.print(text, style="dim", markup=False, highlight=False)


def _fitting(found: Sequence[Sequence[str]], width: int) -> list[int]:
    keep = list(range(len(HEADERS)))
    for header in _LESSER:
        first = max((max(len(row[0]), len(row[1]) + 2) for row in found), default=0)
        longest = [max(len(HEADERS[i]), *(len(row[i]) for row in found), 0) for i in keep[2:]]
        if first + sum(longest) + 3 * len(keep) <= width:
            break
        keep.remove(HEADERS.index(header))
    return keep


def plain(reported: Sequence[Reported]) -> str:
    """What `show` prints, for a file."""
    import io

    from rich.console import Console

    file = io.StringIO()
    show(Console(file=file, width=160), reported)
    return file.getvalue()


def markdown(reported: Sequence[Reported]) -> str:
    """A table and its footer for each run."""
    parts = []
    for one in reported:
        align = ["--:" if header in NUMERIC else "---" for header in HEADERS]
        found = [line(words) for words in rows(one.records)]
        foot = [f"<sub>{escape(text)}</sub>  " for text in footer(one.records)]
        table = [line(HEADERS), line(align), *found, ""] if found else []
        parts.append("\n".join([f"### {escape(one.run.plan.name)}: roofline", "", *table, *foot]))
    return "\n\n".join(parts) + "\n"
