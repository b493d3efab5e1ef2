"""Progress on stderr: what runs now, cells done and left, time left. Nothing is drawn while a burst is timed."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from harness.group import expected_s
from harness.model import Cell, Group
from harness.record import Plan, Record
from harness.schedule import Trace
from harness.units import show_ms, show_seconds

if TYPE_CHECKING:
    from rich.console import Console

_LEAST_BETWEEN_DRAWS_S = 0.5


class Progress:
    """A watcher that draws one line (on a terminal) or prints what happened (in a log)."""

    def __init__(self, console: Console, plan: Plan, have: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = console
        self._plan = plan
        self._done = have
        self._lock = threading.Lock()
        total = sum(len(group.cells) for group in plan.groups)
        # auto_refresh would start a thread that wakes ten times a second beside what is measured.
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TextColumn("cells · {task.fields[left]}"),
            console=console, auto_refresh=False, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("preparing", total=total, completed=have, left="")
        self._drawn = 0.0
        self._current: Group | None = None
        self._waiting = list(plan.groups)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def note(self, text: str) -> None:
        """One line that stays where there is no terminal, and a passing one where there is."""
        with self._lock:
            if self._console.is_terminal:
                self._draw(text)
            else:
                self._console.print(text, markup=False, highlight=False)

    def group(self, members: Group) -> None:
        """A group begins."""
        self._current = members
        self._waiting = [g for g in self._waiting if g.key != members.key]
        if not self._console.is_terminal:
            names = ", ".join(cell.title for cell in members.cells)
            self.note(
                f"{members.cells[0].backbone.name}: measuring {names} in turn, about {show_seconds(self._left(members))}"
            )

    def doing(self, what: str, cell: Cell) -> None:
        """A cell is being loaded, verified or warmed."""
        if self._console.is_terminal:
            self._draw(f"{cell.backbone.name} {cell.title}: {what}", self._time_left(0.0))

    def burst(self, cell: Cell, number: int, trace: Trace, cells: int) -> None:
        """A burst is about to be timed: draw, at most twice a second, and be still until the next."""
        now = time.monotonic()
        if self._console.is_terminal and now - self._drawn >= _LEAST_BETWEEN_DRAWS_S:
            self._draw(
                f"{cell.backbone.name}: {cells} cells in turn, round {number + 1}",
                self._time_left(trace.spent_s()),
            )

    def done(self, record: Record) -> None:
        """A cell has its record."""
        self._done += 1
        if self._console.is_terminal:
            self._bar.update(self._task, completed=self._done)
            self._bar.refresh()
            return
        name = f"{record.cell.backbone.name} {record.cell.title}"
        compute, ratio = record.latency.get("compute"), record.speedup.get("compute")
        if compute is None:
            self.note(f"  {name}: {record.outcome}: {record.reason}")
        else:
            over = f", {ratio.ratio.value:.2f}× ±{ratio.ratio.half_width:.1%}" if ratio else " (baseline)"
            self.note(f"  {name}: {show_ms(compute.median_ns)} ms{over}")

    def _left(self, members: Group) -> float:
        return expected_s(members, self._plan.rules)

    def _time_left(self, spent_s: float) -> str:
        rules = self._plan.rules
        now = max(0.0, self._left(self._current) - spent_s) if self._current else 0.0
        rest = sum(expected_s(group, rules) for group in self._waiting)
        return f"at most {show_seconds(now + rest)} left"

    def _draw(self, text: str, left: str = "") -> None:
        self._drawn = time.monotonic()
        self._bar.update(self._task, description=text, left=left)
        self._bar.refresh()
