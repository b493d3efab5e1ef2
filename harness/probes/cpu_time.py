"""Who had the processors: the hypervisor (steal), the worker, and others (Linux: Documentation/filesystems/proc.rst)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar

from harness.errors import Unreadable
from harness.probes.kernel_files import as_number, text
from harness.probes.probe import Metered, Probe, Target, Values, attempt, fold, is_number, rate

_BUSY = (0, 1, 2, 5, 6)
"""Columns of /proc/stat that are work: user, nice, system, irq, softirq."""
_STEAL, _KNOWN = 7, 8
_UTIME, _STIME = 11, 12
"""Columns of /proc/PID/stat after the command's name."""


class CpuTime(Probe):
    """Time of all processors together, and of the worker; the kernel counts in ticks of 10 ms."""

    name: ClassVar = "cpu_time"
    reads: ClassVar = "steal and busy time from /proc/stat, the worker's from /proc/PID/stat"

    def counters(self, target: Target) -> Values:
        """`busy_s`, `steal_s`, `total_s` of all processors together; `worker_s` of the worker's threads."""
        path = self.root / "proc/stat"
        words = text(path).partition("\n")[0].split()
        if len(words) <= _KNOWN or words[0] != "cpu":
            raise Unreadable(f"{path} has no line `cpu` with steal time")
        ticks = [as_number(word, path) for word in words[1 : _KNOWN + 1]]
        second = os.sysconf("SC_CLK_TCK")
        return {
            "busy_s": sum(ticks[column] for column in _BUSY) / second,
            "steal_s": ticks[_STEAL] / second,
            "total_s": sum(ticks) / second,
            "worker_s": attempt(lambda: self._worker_ticks(target.pid) / second),
        }

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """Steal's share of the time in which processors had something to do: of an idle one nothing is stolen, however many
        stand beside the busy ones. Processors kept busy, on average, by the worker and by others."""
        both = [b for b in bursts if is_number(b.values.get("busy_s")) and is_number(b.values.get("worker_s"))]
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

    def _worker_ticks(self, pid: int) -> int:
        path = self.root / f"proc/{pid}/stat"
        words = text(path).rpartition(")")[2].split()  # the command's name before it may hold anything
        if len(words) <= _STIME:
            raise Unreadable(f"{path} is cut short")
        return as_number(words[_UTIME], path) + as_number(words[_STIME], path)


def _others_s(values: Values) -> float:
    """May be negative in one burst, by ticks; over many it is not."""
    return _number(values, "busy_s") - _number(values, "worker_s")


def _number(values: Values, name: str) -> float:
    value = values.get(name)
    return value if is_number(value) else 0.0
