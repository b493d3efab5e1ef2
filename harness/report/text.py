"""A report for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.report import content

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_STYLES = {"trusted": "green", "caution": "yellow", "untrusted": "red", "unsupported": "dim"}


def show(console: Console, reported: Sequence[content.Reported]) -> None:
    """Print tables, remarks and footers."""
    for one in reported:
        console.print(table(one))
        for remark in content.remarks(one.records):
            console.print(f"• {remark}", style="yellow", markup=False, highlight=False)
        for line in content.footer(one):
            console.print(line, style="dim", markup=False, highlight=False)


def table(reported: content.Reported) -> Table:
    """All cells of one run; columns that say the same everywhere are left to the title."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = content.rows(reported.records)
    keep = [i for i, header in enumerate(content.HEADERS) if _telling(header, [row[i] for row in rows])]
    common = [f"{h} {rows[0][i]}" for i, h in enumerate(content.HEADERS) if i not in keep] if rows else []
    drawn = Table(title=" · ".join([reported.run.plan.name, *common]), box=box.SIMPLE_HEAD, title_style="bold")
    for i in keep:
        header = content.HEADERS[i]
        drawn.add_column(header, justify="right" if header in content.NUMERIC else "left", no_wrap=header != "backbone")
    last = None
    for row in rows:
        if last is not None and row[0] != last:
            drawn.add_section()
        shown = ["" if i == 0 and row[0] == last else row[i] for i in keep]
        style = _STYLES.get(row[-1], "red")
        drawn.add_row(*(Text(word, style=style if i == len(keep) - 1 else "") for i, word in enumerate(shown)))
        last = row[0]
    return drawn


def _telling(header: str, column: Sequence[str]) -> bool:
    return header not in ("precision", "batch") or len(set(column)) > 1
