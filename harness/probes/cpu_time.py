"""Who had the processors: the hypervisor (steal), the worker, and others (Linux: Documentation/filesystems/proc.rst)."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.errors import Unreadable
from harness.probes.kernel_files import allowed, as_number, text, threads_of_core
from harness.probes.probe import Metered, Probe, Target, Values, attempt, fold, is_number, rate

_BUSY = (0, 1, 2, 5, 6)
"""Columns of /proc/stat that are work: user, nice, system, irq, softirq."""
_STEAL, _KNOWN = 7, 8
_UTIME, _STIME = 11, 12
"""Columns of /proc/PID/stat after the command's name."""
_STAT_BYTES = 1 << 20
"""A line of about 100 bytes for each processor, and Linux has at most 8,192 of them."""


class CpuTime(Probe):
    """Time of the processors that the worker may use, and of the worker; the kernel counts in ticks of 10 ms.

    What runs elsewhere takes none of it: beside a pinned worker, or beside a container, where the file is the whole host's.
    But a thread that shares a core with one of them takes half of that.
    """

    name: ClassVar = "cpu_time"
    reads: ClassVar = "steal and busy time from /proc/stat, the worker's from /proc/PID/stat"

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        self._own: dict[int, tuple[frozenset[str], frozenset[str]]] = {}

    def counters(self, target: Target) -> Values:
        """`busy_s`, `steal_s`, `total_s` of the worker's processors together; `cores_busy_s` of all threads of their cores;
        `worker_s` of the worker's threads.
        """
        rows, second = self._rows(), os.sysconf("SC_CLK_TCK")
        if target.pid not in self._own:
            self._own[target.pid] = self._of(target.pid, {row[0] for row in rows})
        own, cores = (self._summed(rows, names) for names in self._own[target.pid])
        return {
            "busy_s": sum(own[column] for column in _BUSY) / second,
            "steal_s": own[_STEAL] / second,
            "total_s": sum(own) / second,
            "cores_busy_s": sum(cores[column] for column in _BUSY) / second,
            "worker_s": attempt(lambda: self._worker_ticks(target.pid) / second),
        }

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """Steal's share of the time in which processors had something to do: of an idle one nothing is stolen, however many
        stand beside the busy ones. Processors kept busy, on average, by the worker and by others."""
        both = [b for b in bursts if is_number(b.values.get("cores_busy_s")) and is_number(b.values.get("worker_s"))]
        others: list[Metered] = [Metered({"others_s": _others_s(b.values)}, b.seconds, b.burst) for b in both]
        steal = fold(bursts, "steal_s", sum)
        return {
            "steal_share": rate(
                bursts, "steal_s", lambda b: _number(b.values, "busy_s") + _number(b.values, "steal_s")
            ),
            "steal_s": steal,
            "worker_cpus_busy": rate(bursts, "worker_s", lambda b: b.seconds),
            "other_cpus_busy": rate(others, "others_s", lambda b: b.seconds),
        }

    def _rows(self) -> list[list[str]]:
        """The words of the lines `cpu` (all processors), `cpu0`, `cpu1` and so on; one that is switched off has none."""
        path = self.root / "proc/stat"
        lines = itertools.takewhile(lambda line: line.startswith("cpu"), text(path, _STAT_BYTES).splitlines())
        rows = [line.split() for line in lines]
        if not rows or rows[0][0] != "cpu" or any(len(row) <= _KNOWN for row in rows):
            raise Unreadable(f"{path} has no line `cpu` with steal time")
        return rows

    def _of(self, pid: int, listed: set[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Names of the lines of the processors that the worker may use, and of all threads of their cores."""
        mine = [cpu for cpu in allowed(self.root, pid) if f"cpu{cpu}" in listed]
        cores = frozenset(mine).union(*(threads_of_core(self.root, cpu) for cpu in mine))
        return frozenset(f"cpu{cpu}" for cpu in mine), frozenset(f"cpu{cpu}" for cpu in cores)

    def _summed(self, rows: Sequence[Sequence[str]], names: frozenset[str]) -> list[int]:
        """Each column summed over the lines of those names; over all processors where they are all, or none is there."""
        mine = [row for row in rows[1:] if row[0] in names]
        chosen = mine if 0 < len(mine) < len(rows) - 1 else rows[:1]
        return [
            sum(as_number(row[column], self.root / "proc/stat") for row in chosen) for column in range(1, _KNOWN + 1)
        ]

    def _worker_ticks(self, pid: int) -> int:
        path = self.root / f"proc/{pid}/stat"
        words = text(path).rpartition(")")[2].split()  # the command's name before it may hold anything
        if len(words) <= _STIME:
            raise Unreadable(f"{path} is cut short")
        return as_number(words[_UTIME], path) + as_number(words[_STIME], path)


def _others_s(values: Values) -> float:
    """May be negative in one burst, by ticks; over many it is not."""
    return _number(values, "cores_busy_s") - _number(values, "worker_s")


def _number(values: Values, name: str) -> float:
    value = values.get(name)
    return value if is_number(value) else 0.0
