"""Thermal throttling that the processor counts itself (Linux: Documentation/ABI/testing/sysfs-devices-system-cpu)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.errors import Unreadable
from harness.probes.kernel_files import exists, matching, number, spread, text
from harness.probes.probe import Metered, Probe, Target, Values, fold

_MOST = 64


class CpuThrottle(Probe):
    """How often, and for how long, cores and packages were throttled during the bursts (Intel processors)."""

    name: ClassVar = "cpu_throttle"
    reads: ClassVar = "throttle counters from /sys/devices/system/cpu/cpu*/thermal_throttle"

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        folders = matching(root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle")
        packages: dict[str, Path] = {}
        for folder in folders:  # a package's counters are repeated at each of its processors
            packages.setdefault(_package(folder.parent), folder)
        self._cores = spread(folders, _MOST)
        self._packages = list(packages.values())

    def counters(self, target: Target) -> Values:
        """`core_events`, `package_events` and, where the kernel tells (5.5 and later), `package_ms`."""
        if not self._cores:
            raise Unreadable(
                "no thermal_throttle below /sys/devices/system/cpu: not an Intel processor, or a virtual one"
            )
        read: dict[str, int] = {
            "core_events": sum(number(folder / "core_throttle_count") for folder in self._cores),
            "package_events": sum(number(folder / "package_throttle_count") for folder in self._packages),
        }
        timed = [folder / "package_throttle_total_time_ms" for folder in self._packages]
        if timed and all(map(exists, timed)):
            read["package_ms"] = sum(map(number, timed))
        return read

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """Sums over all bursts."""
        return {
            "core_throttle_events": fold(bursts, "core_events", sum),
            "package_throttle_events": fold(bursts, "package_events", sum),
            "package_throttle_ms": fold(bursts, "package_ms", sum),
        }


def _package(cpu: Path) -> str:
    try:
        return text(cpu / "topology/physical_package_id")
    except Unreadable:
        return ""
