"""A divergence for a terminal: errors in the order of execution, the first above the tolerance marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.explaining.divergence import Divergence, Row

if TYPE_CHECKING:
    from rich.console import Console

_BEFORE, _AFTER = 6, 6


def show(console: Console, found: Divergence, everything: bool) -> None:
    """Print the table (around the first difference, unless `everything`) and the verdict."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("#", "tensor", "operator", "shape", "relative L2", "of its inputs", ""):
        justify = "right" if header in ("#", "relative L2", "of its inputs") else "left"
        drawn.add_column(header, justify=justify, overflow="fold", no_wrap=header not in ("tensor", ""))  # type: ignore[arg-type]
    kept = range(len(found.rows)) if everything else shown(found)
    last = -1
    for index in kept:
        if index != last + 1:
            drawn.add_row("", Text(f"… {index - last - 1} more (--all shows them)", style="dim"))
        last = index
        drawn.add_row(*map(Text, _words(index, found)), style=_style(index, found))
    console.print(drawn)
    for line in verdict(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def shown(found: Divergence) -> Sequence[int]:
    """Rows around the first difference, or where it grows most; and the last one."""
    if not found.rows:
        return ()
    middle = (
        found.culprit if found.culprit is not None else max(range(len(found.rows)), key=lambda i: _size(found.rows[i]))
    )
    near = range(max(0, middle - _BEFORE), min(len(found.rows), middle + _AFTER + 1))
    return sorted({*near, len(found.rows) - 1})


def _size(row: Row) -> float:
    return float("inf") if row.rel_l2 is None else row.rel_l2


def _words(index: int, found: Divergence) -> tuple[str, ...]:
    row = found.rows[index]
    name = row.tensor if row.other == row.tensor else f"{row.tensor} ~ {row.other}"
    mark = "◀ first above the tolerance" if index == found.culprit else "not the same tensor?" if row.doubtful else ""
    return (str(index), name, row.kind, _shape(row.shape), _error(row.rel_l2), _error(row.inherited, "–"), mark)


def _error(value: float | None, unknown: str = "undefined") -> str:
    return unknown if value is None else f"{value:.1e}" if value else "0"


def _style(index: int, found: Divergence) -> str:
    if index == found.culprit:
        return "bold red"
    row = found.rows[index]
    over = row.rel_l2 is None or row.rel_l2 > found.tolerance
    return "dim" if row.doubtful else "red" if over else ""


def verdict(found: Divergence) -> list[str]:
    """What was found, in words."""
    by = Counter(row.matched_by for row in found.rows)
    lines = [
        f"{len(found.rows)} tensors compared on {found.inputs} images ({by['output']} outputs, {by['name']} matched by name, "
        f"{by['order']} by order and shape); {found.only_first} only in the first, {found.only_second} only in the second",
    ]
    if found.culprit is not None:
        lines.append(_parting(found.rows[found.culprit], found.tolerance))
    elif found.rows:
        worst = max((_size(row) for row in found.rows if not row.doubtful), default=0.0)
        lines.append(f"no tensor is above {found.tolerance:g}; the largest relative L2 error is {worst:.1e}")
    if found.compared_outputs < max(1, *found.outputs):
        first, second = found.outputs
        lines.append(
            f"of {first} outputs of the first and {second} of the second, {found.compared_outputs} were compared: whether "
            "the files agree is not known"
        )
    return lines


def _parting(row: Row, tolerance: float) -> str:
    grown = f", its inputs agree to {row.inherited:.1e}" if row.inherited is not None else ""
    at = f"they part at {row.tensor!r}, made by {row.node} ({row.kind})"
    if row.other_shape is not None:
        return f"{at}: its shape is {_shape(row.shape)}, that of {row.other!r} {_shape(row.other_shape)}{grown}"
    return f"{at}: relative L2 error {_error(row.rel_l2)} is above {tolerance:g}{grown}"


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "one number"
