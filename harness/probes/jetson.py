"""A Jetson's power mode, GPU and memory clocks, and over-current throttling.

NVIDIA Jetson Linux Developer Guide, "Platform Power and Performance" (nvpmodel, devfreq, over-current events) and
"Clocks" (bpmp's debugfs); Linux: Documentation/ABI/testing/sysfs-class-devfreq.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.kernel_files import exists, matching, megahertz, number, text
from harness.probes.probe import Metered, Probe, Target, Values, attempt, fold, numbers

_EMC = "sys/kernel/debug/bpmp/debug/clk/emc/rate"
_GPU = re.compile(r"\.(gpu|gm20b|gp10b|gv11b|ga10b)$|^gpu-gpc-\d+$")
"""devfreq devices that are GPUs: `17000000.gpu` or by the GPU's own name; Thor has one for each cluster."""

_LOW = 0.9
"""Of the highest clock that was read; below that it is low."""
_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")


class Jetson(Probe):
    """Reads what `nvpmodel -q` and `tegrastats` show, from the files they read."""

    name: ClassVar = "jetson"
    reads: ClassVar = "Jetson power mode, GPU and memory clocks, over-current events"

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        self._is_one = exists(root / "etc/nv_tegra_release") or "nvidia,tegra" in _compatible(root)
        self._gpus = [d for d in matching(root, "sys/class/devfreq/*") if _GPU.search(d.name)] if self._is_one else []
        self._events = matching(root, "sys/class/hwmon/hwmon*/oc*_event_cnt") if self._is_one else []

    def counters(self, target: Target) -> Values:
        """Over-current events by line: `oc1_events` (under-voltage), `oc2_events` (average), `oc3_events` (instantaneous)."""
        self._check()
        return {
            path.name.replace("_event_cnt", "_events"): attempt(lambda path=path: number(path))  # type: ignore[misc]
            for path in self._events
        }

    def instants(self, target: Target) -> Values:
        """`power_mode`, `gpu_mhz` and its limit, `emc_mhz`."""
        self._check()
        return {
            "power_mode": attempt(self._mode),
            "gpu_mhz": attempt(lambda: self._clock("cur_freq")),
            "gpu_mhz_limit": attempt(lambda: self._clock("max_freq")),
            "emc_mhz": attempt(lambda: megahertz(self.root / _EMC, 1)),
        }

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """The mode, clocks over bursts, and the events of all bursts."""
        modes = list(dict.fromkeys(str(burst.values["power_mode"]) for burst in bursts if "power_mode" in burst.values))
        found: dict[str, JSON] = {
            "power_mode": ", then ".join(modes) or fold(bursts, "power_mode", max),
            "gpu_mhz_median": fold(bursts, "gpu_mhz", statistics.median),
            "gpu_mhz_min": fold(bursts, "gpu_mhz", min),
            "gpu_mhz_max": fold(bursts, "gpu_mhz", max),
            "gpu_low_clock_slowdown": _slowdown(bursts),
            "gpu_mhz_limit": fold(bursts, "gpu_mhz_limit", min),
            "emc_mhz_median": fold(bursts, "emc_mhz", statistics.median),
        }
        lines = sorted({name for burst in bursts for name in burst.values if name.endswith("_events")})
        return {**found, **{f"overcurrent_{line}": fold(bursts, line, sum) for line in lines}}

    def _check(self) -> None:
        if not self._is_one:
            raise Unreadable("this machine is no Jetson (no /etc/nv_tegra_release)")

    def _mode(self) -> str:
        """`0: MAXN`; the name is in the mode's definition."""
        status = text(self.root / "var/lib/nvpmodel/status")
        found = re.search(r"pmode:\s*(\d+)", status)
        if found is None:
            raise Unreadable(f"{self.root / 'var/lib/nvpmodel/status'} holds {status[:40]!r}, and no power mode")
        mode = int(found[1])
        name = power_modes(self.root).get(mode, "")
        return f"{mode}: {name}" if name else str(mode)

    def _clock(self, file: str) -> float:
        if not self._gpus:
            raise Unreadable("no GPU in /sys/class/devfreq")
        return max(megahertz(gpu / file, 1) for gpu in self._gpus)


def _slowdown(bursts: Sequence[Metered]) -> JSON:
    """Latency in bursts at whose end the GPU's clock was low, over that in the others; 1 where it never was in two of them.

    A low clock alone proves nothing: the GPU goes to sleep within milliseconds of a burst's end.
    """
    clocks = [
        (value, statistics.median(b.burst.compute_ns or (0,))) for b in bursts for value in numbers([b], "gpu_mhz")
    ]
    if not clocks:
        return fold(bursts, "gpu_mhz", max)
    limit = _LOW * max(clock for clock, _ in clocks)
    low, high = [ns for clock, ns in clocks if clock < limit], [ns for clock, ns in clocks if clock >= limit]
    if len(low) < 2 or not all(high):
        return 1.0
    return round(statistics.median(low) / statistics.median(high), 6)


def power_modes(root: Path) -> Mapping[int, str]:
    """Number -> name of the modes that nvpmodel has on this board; empty where no file tells them."""
    try:
        modes = _MODE.findall(text(root / "etc/nvpmodel.conf"))
    except Unreadable:
        return {}
    return {int(mode): name for mode, name in modes}


def _compatible(root: Path) -> str:
    try:
        return text(root / "proc/device-tree/compatible")
    except Unreadable:
        return ""
