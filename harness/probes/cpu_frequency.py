"""The processors' clock and governor (Linux: Documentation/admin-guide/pm/cpufreq.rst)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.errors import Unreadable
from harness.probes.kernel_files import allowed, cpus, matching, megahertz, number, spread, text
from harness.probes.probe import Metered, Probe, Target, Values, attempt, fold, is_unavailable

_MOST = 64
"""Clock domains read at once: on some processors each reading interrupts the core it is about."""


class CpuFrequency(Probe):
    """The clock of the fastest processor the worker may use, right after a burst: the idle ones tell nothing."""

    name: ClassVar = "cpu_frequency"
    reads: ClassVar = "clock and governor from /sys/devices/system/cpu/cpufreq"

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        self._folder = root / "sys/devices/system/cpu/cpufreq"
        self._policies = matching(self._folder, "policy*")
        self._chosen: dict[int, list[Path]] = {}

    def instants(self, target: Target) -> Values:
        """`mhz` (the fastest), `mhz_limit` (what the governor may go up to) and `governor`."""
        if not self._policies:
            raise Unreadable(f"no cpufreq policy in {self._folder}: a virtual machine, or a kernel without cpufreq")
        fastest = _fastest(self._of(target.pid))
        return {
            "mhz": megahertz(fastest / "scaling_cur_freq", 1000),
            "mhz_limit": attempt(lambda: megahertz(fastest / "scaling_max_freq", 1000)),
            "governor": text(fastest / "scaling_governor"),
        }

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """Median, least and limit over bursts, in MHz."""
        governors = sorted({str(v) for b in bursts if (v := b.values.get("governor")) and not is_unavailable(v)})
        return {
            "cpu_mhz_median": fold(bursts, "mhz", statistics.median),
            "cpu_mhz_min": fold(bursts, "mhz", min),
            "cpu_mhz_limit_min": fold(bursts, "mhz_limit", min),
            "governor": ", ".join(governors) or fold(bursts, "governor", max),
        }

    def _of(self, pid: int) -> list[Path]:
        """The policies of the processors that the worker may use; all where that is not known."""
        if pid not in self._chosen:
            mine = [policy for policy in self._policies if _online(policy) & allowed(self.root, pid)]
            self._chosen[pid] = spread(mine or self._policies, _MOST)
        return self._chosen[pid]


def _online(policy: Path) -> frozenset[int]:
    """The policy's processors that are switched on; none where it is not in use, which newer kernels refuse to read."""
    try:
        return cpus(text(policy / "affected_cpus"))
    except (Unreadable, ValueError):
        return frozenset()


def _fastest(policies: Sequence[Path]) -> Path:
    """The policy of the highest clock, of those that can be read. Raises `Unreadable` where none can."""
    clocks: dict[Path, int] = {}
    reason = Unreadable("no clock")
    for policy in policies:
        try:
            clocks[policy] = number(policy / "scaling_cur_freq")
        except Unreadable as error:
            reason = error
    if not clocks:
        raise reason
    return max(clocks, key=lambda policy: clocks[policy])
