"""A profile for a terminal: latency beside the profiled pass, operators, layers, and where the gap comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from harness.explaining import layers
from harness.explaining.layers import Difference, Gap, Profile
from harness.explaining.profiling import Profiled, by_key
from harness.report import naming
from harness.units import show_ms

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_BAR = 20


def show(console: Console, profiled: Profiled, top: int) -> None:
    """Print everything; `top` operators and layers per cell."""
    if profiled.profiles:
        console.print(overview(profiled.profiles))
        for line in legend(profiled.profiles):
            console.print(f"• {line}", style="dim", markup=False, highlight=False)
    for profile in profiled.profiles:
        console.print(operators(profile, top))
        console.print(slowest(profile, top))
    known = by_key(profiled)
    for one in profiled.gaps:
        console.print(gap(one, known, one.groups, "operators"))
        if one.parts:
            console.print(gap(one, known, one.parts[: max(top, 8)], "parts of the backbone"))
    for failure in profiled.failures:
        text = f"• {naming.of(failure.cell.backbone)} {failure.cell.title}: {failure.reason}"
        console.print(text + (f" ({failure.hint})" if failure.hint else ""), style="red", markup=False, highlight=False)


def _table(title: str, columns: Sequence[tuple[str, bool]], folded: Sequence[str] = ()) -> Table:
    """Columns are (header, whether it is numeric); those in `folded` give way where the terminal is narrow."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title, style="bold"), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for header, numeric in columns:
        justify: Literal["left", "right"] = "right" if numeric else "left"
        drawn.add_column(Text(header), justify=justify, no_wrap=header not in folded, overflow="fold")
    return drawn


def _row(table: Table, *words: str, style: str = "") -> None:
    """Names are shown as they are: rich would take `[control]` for a style."""
    from rich.text import Text

    table.add_row(*(Text(word) for word in words), style=style)


def overview(profiles: Sequence[Profile]) -> Table:
    """One row per cell: what is measured, what the profiled pass took, and what the layers explain of it."""
    headers = ("latency ms", "profiled ms", "overhead", "layers ms", "unattributed ms", "reorders ms", "in ONNX")
    drawn = _table("Profile", [("cell", False), *((header, True) for header in headers)], folded=("cell",))
    for one in profiles:
        _row(drawn,
            f"{naming.of(one.cell.backbone)} {one.cell.title}", show_ms(one.latency_ns), show_ms(one.profiled_ns),
            f"{one.overhead:+.0%}", show_ms(one.layers_ns),
            f"{_signed(one.unattributed_ns)} ({one.unattributed_ns / one.latency_ns:+.0%})", show_ms(one.inserted_ns),
            f"{one.mapped:.0%}" if one.mapped else "–",
        )  # fmt: skip
    return drawn


def legend(profiles: Sequence[Profile]) -> list[str]:
    """What the columns mean, and what to beware of."""
    lines = [
        f"latency: {profiles[0].latency_from}, no profiler on. profiled: median of {profiles[0].inferences} inferences with "
        "it on; overhead: against the same process just before. unattributed: latency minus the sum of the layers; reorders: "
        "reorders and copies that the runtime inserted; in ONNX: share of the layers' time that is mapped to ONNX nodes",
    ]
    for one in profiles:
        title = f"{one.cell.runtime} {one.cell.precision}"
        lines += [f"{title}: {note}" for note in one.notes]
        if one.unattributed_ns < 0:
            lines.append(
                f"{title}: its layers are slower under the profiler than the whole is without; read the shares"
            )
        if abs(one.plain_ns / one.latency_ns - 1) > 0.15:
            lines.append(
                f"{title}: took {show_ms(one.plain_ns)} ms just before it was profiled, not {show_ms(one.latency_ns)} ms: "
                "the machine changed in between; repeat when it is quiet"
            )
    return list(dict.fromkeys(lines))


def operators(profile: Profile, top: int) -> Table:
    """Share of time per operator type and precision."""
    drawn = _table(
        f"{naming.of(profile.cell.backbone)} {profile.cell.title}: operators",
        [("operator", False), ("precision", False), ("layers", True), ("ms", True), ("share", True), ("", False)],
    )
    rows = layers.totals(profile, lambda layer: layer.kind)
    for row in rows[:top]:
        _row(
            drawn,
            row.name,
            row.precision or "–",
            str(row.layers),
            show_ms(row.time_ns),
            f"{row.share:.1%}",
            _bar(row.share),
        )
    if rest := rows[top:]:
        share = sum(row.share for row in rest)
        _row(drawn,
            f"({len(rest)} more)", "", str(sum(row.layers for row in rest)), show_ms(sum(row.time_ns for row in rest)),
            f"{share:.1%}", _bar(share),
        )  # fmt: skip
    return drawn


def slowest(profile: Profile, top: int) -> Table:
    """The layers that take longest."""
    drawn = _table(
        f"{naming.of(profile.cell.backbone)} {profile.cell.title}: slowest layers",
        [("layer", False), ("operator", False), ("kernel", False), ("ONNX nodes", False), ("ms", True), ("range", True),
         ("share", True)],
        folded=("layer", "kernel", "ONNX nodes"),
    )  # fmt: skip
    for layer in sorted(profile.layers, key=lambda layer: -layer.time_ns)[:top]:
        words = (layer.name, layer.kind, layer.kernel or "–", _few(layer.nodes))
        _row(drawn,
            *words, show_ms(layer.time_ns), f"{show_ms(layer.low_ns)}–{show_ms(layer.high_ns)}",
            f"{layer.time_ns / (profile.layers_ns or 1):.1%}",
        )  # fmt: skip
    return drawn


def gap(one: Gap, known: Mapping[str, Profile], rows: Sequence[Difference], what: str) -> Table:
    """Which operators (or parts) make the difference of two latencies."""
    first, second = known[one.first].cell, known[one.second].cell
    whole = one.second_ns - one.first_ns
    names = [cell.runtime if first.runtime != second.runtime else cell.title for cell in (first, second)]
    drawn = _table(
        f"{naming.of(first.backbone)}: {second.title} against {first.title}, {_signed(whole)} ms, by {what}",
        [("", False), *((f"{name} ms", True) for name in names), ("difference ms", True), ("of the gap", True)],
    )
    for row in rows:
        style = "dim" if row.name == layers.UNATTRIBUTED else ""
        share = f"{row.share:+.0%}" if row.share is not None else "–"
        cells = (show_ms_signed(row.first_ns), show_ms_signed(row.second_ns), _signed(row.difference_ns), share)
        _row(drawn, row.name, *cells, style=style)
    return drawn


def show_ms_signed(ns: float) -> str:
    """Milliseconds with three digits; a negative figure (unattributed time) keeps its sign."""
    return f"−{show_ms(-ns)}" if ns < 0 else show_ms(ns)


def _signed(ns: float) -> str:
    return show_ms_signed(ns) if ns < 0 else f"+{show_ms(ns)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "–"


def _bar(share: float) -> str:
    return "█" * round(share * _BAR) or "▏"
