"""A report for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.report import content

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_COMMON = ("precision", "batch")
_LESSER = ("load", "end-to-end ms", "p99 ms", "memory")
"""Columns that a narrow terminal does without, in this order."""
_STYLES = {"trusted": "green", "caution": "yellow", "untrusted": "red", "unsupported": "dim"}


def show(console: Console, reported: Sequence[content.Reported]) -> None:
    """Print tables, remarks and footers."""
    for one in reported:
        if one.records:
            console.print(table(one, console.width))
            if left := narrow(one, console.width):
                room = "(a wider terminal, COLUMNS=160 or -o FILE.md has them)"
                console.print(
                    f"left out for want of room: {', '.join(left)} {room}", style="dim", markup=False, highlight=False
                )
        else:
            console.print(f"{one.run.plan.name}: {content.nothing(one)}", style="bold", markup=False, highlight=False)
        for remark in content.remarks(one.records):
            console.print(f"• {remark}", style="yellow", markup=False, highlight=False)
        for line in content.footer(one):
            console.print(line, style="dim", markup=False, highlight=False)


def table(reported: content.Reported, width: int = 160) -> Table:
    """All cells of one run, a line per backbone above its cells; a narrow terminal gets fewer columns, and folded names."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = content.rows(reported.records)
    keep = _fitting(_wanted(reported, rows), rows, width)
    same = [
        f"{h} {rows[0][i]}" for i, h in enumerate(content.HEADERS) if rows and h in _COMMON and not _telling(rows, i)
    ]
    drawn = Table(
        title=" · ".join([reported.run.plan.name, *same]), box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False
    )
    for i in keep:
        header = content.HEADERS[i]
        # Names fold where there is no room; a figure or a verdict that is cut would be another one.
        drawn.add_column(
            header, justify="right" if header in content.NUMERIC else "left", no_wrap=i != keep[0], overflow="fold"
        )
    last = None
    for row in rows:
        if row[0] != last:
            drawn.add_row(Text(row[0], style="bold"))
        words = [Text(("  " if i == keep[0] else "") + row[i]) for i in keep]
        words[-1].stylize(_STYLES.get(row[-1], "red"))
        drawn.add_row(*words)
        last = row[0]
    return drawn


def narrow(reported: content.Reported, width: int) -> list[str]:
    """Headers of the columns that the table has no room for."""
    rows = content.rows(reported.records)
    wanted = _wanted(reported, rows)
    keep = _fitting(wanted, rows, width)
    return [content.HEADERS[i] for i in wanted if i not in keep]


def _wanted(reported: content.Reported, rows: Sequence[Sequence[str]]) -> list[int]:
    return [i for i in content.shown(reported.records) if i and _telling(rows, i)]


def _telling(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether a column says more than the title can."""
    return content.HEADERS[column] not in _COMMON or len({row[column] for row in rows}) > 1


def _fitting(columns: list[int], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    def needed() -> int:
        names = max((len(row[0]) for row in rows), default=0)
        longest = [max(len(content.HEADERS[i]), *(len(row[i]) for row in rows), 0) for i in columns]
        return (
            max(names, longest[0] + 2) + sum(longest[1:]) + 3 * len(columns)
        )  # rich: a blank on both sides and a divider

    for header in _LESSER:
        if not rows or needed() <= width:
            break
        columns = [i for i in columns if content.HEADERS[i] != header]
    return columns
