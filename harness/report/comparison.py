"""A comparison in words, and as text for a terminal, Markdown for a pull request, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import codec
from harness.comparing.comparable import Change, said
from harness.comparing.comparison import Compared, Comparison, Estimate
from harness.model import JSON
from harness.record import Interval
from harness.report.forms import escape, line
from harness.units import counted, show_ms

if TYPE_CHECKING:
    from rich.console import Console

HEADERS = ("backbone", "cell", "base ms", "new ms", "new / base", "p", "by", "verdict")
NUMERIC = frozenset({"base ms", "new ms", "new / base", "p"})
_LESSER = frozenset({"p", "by"})
"""Columns that a narrow terminal does without."""
_STYLES = {"faster": "green", "slower": "red", "same": "", "can't tell": "yellow", "broken": "red", "mended": "green"}
_BY = {"speedup": "speed-up", "latency": "latency", "in_turn": "in turn"}
_MOST_CHANGES = 6
_MOST_NAMES = 4
_WIDE = 110


def headers(found: Compared) -> tuple[str, ...]:
    """`HEADERS` with the level that was asked for."""
    level = f"{found.level * 100:.3g} %"
    return tuple(f"{header} [{level}]" if header == "new / base" else header for header in HEADERS)


def rows(found: Compared) -> list[tuple[str, ...]]:
    """One row of words per cell."""
    return [_row(cell) for cell in found.cells]


def _row(cell: Comparison) -> tuple[str, ...]:
    base, new = (show_ms(ns) if ns is not None else "–" for ns in (cell.base_ns, cell.new_ns))
    head = (cell.backbone, cell.title, base, new)
    estimate = cell.estimate if cell.status == "compared" else None
    if estimate is None:
        return (*head, "–", "–", "–", word(cell))
    ratio = estimate.ratio
    p = "<0.001" if estimate.p < 0.001 else f"{estimate.p:.2g}"
    return (*head, _ratio(ratio), p, _BY[estimate.by], word(cell))


def word(cell: Comparison) -> str:
    """`slower`, `can't tell`, `not comparable`, `only in base`, …"""
    if cell.verdict is not None:
        return "can't tell" if cell.verdict == "cant_tell" else cell.verdict
    return {"only_base": "only in base", "only_new": "only in new"}.get(cell.status, cell.status.replace("_", " "))


def summary(found: Compared) -> list[str]:
    """Counts, geometric means, and what the machine did."""
    words = [word(cell) for cell in found.cells]
    lines = [", ".join(f"{words.count(one)} {one}" for one in dict.fromkeys(sorted(words, key=_order)))]
    lines += [
        f"geometric mean of {o.cells} cells, by {_BY[o.by]}: {_ratio(o.ratio)}" for o in found.overall if o.cells > 1
    ]
    if found.drift is not None:
        cells = counted(found.drift.cells, "cell")
        lines.append(f"the machine: {cells} without any change took {_ratio(found.drift.ratio)} as long in new")
    return lines


def _order(verdict: str) -> int:
    known = ("slower", "broken", "faster", "mended", "same", "can't tell")
    return known.index(verdict) if verdict in known else len(known)


def _ratio(ratio: Interval) -> str:
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def remarks(found: Compared) -> list[str]:
    """Beside each cell that moved, what changed of it; of the others, why nothing can be said, one line a reason."""
    lines = []
    reasons: dict[str, list[str]] = {}
    for cell in found.cells:
        name = f"{cell.backbone} {cell.title}"
        if cell.forced:
            lines.append(f"{name}: compared although different: {listed(cell.forced)}")
        if cell.verdict in ("faster", "slower"):
            lines.append(f"{name}: {cell.verdict}{_beside(cell.estimate, cell.latency)}; {_reasons(cell, found)}")
        elif cell.reason:
            reasons.setdefault(f"{word(cell)}: {cell.reason}", []).append(name)
    lines += [f"{_names(names, len(found.cells))}{reason}" for reason, names in reasons.items()]
    return lines


def _names(names: Sequence[str], of: int) -> str:
    if len(names) == of and of > 1:
        return "all cells: "
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(names[:_MOST_NAMES])}{more}: "


def _beside(estimate: Estimate | None, latency: Estimate | None) -> str:
    if estimate is None or latency is None:
        return ""
    return f" ×{estimate.ratio.value:.3f} relative to the baseline (latency as it stands ×{latency.ratio.value:.3f})"


def _reasons(cell: Comparison, found: Compared) -> str:
    if cell.changes:
        return f"changed: {listed(cell.changes)}"
    return "none of its own facts changed" + (", see what changed between the runs below" if found.changes else "")


def listed(changes: Sequence[Change]) -> str:
    """The first changes in words, and how many more there are."""
    more = f", and {len(changes) - _MOST_CHANGES} more (--json)" if len(changes) > _MOST_CHANGES else ""
    return ", ".join(map(said, changes[:_MOST_CHANGES])) + more


def footer(found: Compared) -> list[str]:
    """Where the figures come from, and how they are to be read."""
    by = {cell.estimate.by for cell in found.cells if cell.estimate is not None}
    lines = []
    if found.drift is not None and found.base[0].run == found.new[0].run:
        lines.append("base and new are one and the same run")
    if found.changes:
        lines.append(f"changed between the runs: {listed(found.changes)}")
    if found.forced:
        lines.append(f"compared although the machines differ: {listed(found.forced)}")
    lines.append(
        f"faster, slower: at least {found.effect:.1%}, the interval without 1, p under 0.05; "
        f"same: the whole interval within {found.effect:.1%} ({found.scope})"
    )
    lines += [_HOW[one] for one in _HOW if one in by]
    for name, side in (("base", found.base), ("new", found.new)):
        lines += [f"{name}: {s.name} ({s.run}, {s.started})" + ("" if s.finished else ", unfinished") for s in side]
    return lines[:-1] if "in_turn" in by else lines


_HOW = {
    "in_turn": "in turn: base and new were measured in alternating bursts, so that the machine's drift cancels; "
    "p of the sign test over rounds",
    "speedup": "by speed-up: latency relative to the unchanged baseline of the same rounds, so that what slows both alike "
    "cancels; p of the Mann-Whitney test over rounds",
    "latency": "by latency: as it stands; its interval holds what two runs of this machine differ by",
}


def show(console: Console, found: Compared) -> None:
    """Print the comparison."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title="new against base", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    keep = [i for i, name in enumerate(HEADERS) if i and (console.width >= _WIDE or name not in _LESSER)]
    names = headers(found)
    for i in keep:
        drawn.add_column(names[i], justify="right" if HEADERS[i] in NUMERIC else "left", no_wrap=i > 1, overflow="fold")
    last = None
    for row in rows(found):
        if row[0] != last:
            drawn.add_row(Text(row[0], style="bold"))
            last = row[0]
        words = [Text(("  " if i == 1 else "") + row[i]) for i in keep]
        words[-1].stylize(_STYLES.get(row[-1], "dim"))
        drawn.add_row(*words)
    console.print(drawn)
    for text in summary(found):
        console.print(text, markup=False, highlight=False, style="bold")
    for text in remarks(found):
        console.print(f"• {text}", markup=False, highlight=False)
    for text in footer(found):
        console.print(text, markup=False, highlight=False, style="dim")


def markdown(found: Compared) -> str:
    """A comment for a pull request."""
    align = ["--:" if header in NUMERIC else "---" for header in HEADERS]
    table = [line(headers(found)), line(align), *(line(_marked(row)) for row in rows(found))]
    says = [f"**{escape(text)}**  " for text in summary(found)]
    beside = [f"- {escape(text)}" for text in remarks(found)]
    foot = [f"<sub>{escape(text)}</sub>  " for text in footer(found)]
    parts = [["### Backbench: new against base"], says, table, beside, foot]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _marked(row: tuple[str, ...]) -> tuple[str, ...]:
    return (*row[:-1], f"**{row[-1]}**" if row[-1] in ("faster", "slower", "broken") else row[-1])


def as_json(found: Compared) -> str:
    """All of it, as `backbench schema compare` describes."""
    data: JSON = codec.encode(found)
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"
