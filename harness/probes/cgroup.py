"""The container's limit on processor time, and how often it stopped the worker.

Linux: Documentation/admin-guide/cgroup-v2.rst (`cpu.max`, `cpu.stat`), Documentation/scheduler/sched-bwc.rst (v1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.kernel_files import as_number, exists, fields, number, text
from harness.probes.probe import UNAVAILABLE, Metered, Probe, Target, Values, fold, rate

_MOUNT = "sys/fs/cgroup"
_V1 = ("cpu", "cpu,cpuacct", "cpuacct,cpu")
"""Where version 1's `cpu` controller is mounted."""


class Cgroup(Probe):
    """The tightest limit among the process's control group and those above it, and the throttling they counted.

    Workers are started in the parent's group, so that its limits are theirs.
    """

    name: ClassVar = "cgroup"
    reads: ClassVar = "CPU quota and throttling from /sys/fs/cgroup (v2 and v1)"

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        self._levels = _levels(root)

    def counters(self, target: Target) -> Values:
        """`periods`, `throttled_periods` and `throttled_s` of the limiting group."""
        folder = self._limiting()
        counted = fields(folder / "cpu.stat")
        if not counted.keys() >= {
            "nr_periods",
            "nr_throttled",
        }:  # the root group, or one without the controller: nothing limits it
            reason = f"{UNAVAILABLE}{folder / 'cpu.stat'} counts no throttling: no cpu controller limits this group"
            return {"throttled_periods": reason, "throttled_s": reason}
        in_us, in_ns = counted.get("throttled_usec", 0), counted.get("throttled_time", 0)  # version 2, version 1
        return {
            "periods": counted["nr_periods"],
            "throttled_periods": counted["nr_throttled"],
            "throttled_s": in_us / 1e6 + in_ns / 1e9,
        }

    def instants(self, target: Target) -> Values:
        """`quota_cpus`: processors that the limit is worth, or `none`."""
        quota = _quota(self._limiting())
        return {"quota_cpus": "none" if quota is None else quota}

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """The quota, and sums over all bursts."""
        limits: list[JSON] = [burst.values["quota_cpus"] for burst in bursts if "quota_cpus" in burst.values]
        return {
            "quota_cpus": limits[-1] if limits else fold(bursts, "quota_cpus", min),
            "throttled_periods": fold(bursts, "throttled_periods", sum),
            "throttled_s": fold(bursts, "throttled_s", sum),
            "throttled_share": rate(bursts, "throttled_s", lambda b: b.seconds),
        }

    def _limiting(self) -> Path:
        if not self._levels:
            raise Unreadable(f"no cpu controller below /{_MOUNT}")
        limited = [(quota, folder) for folder in self._levels if (quota := _quota(folder)) is not None]
        return min(limited)[1] if limited else self._levels[0]


def _levels(root: Path) -> list[Path]:
    """The folders of this process's group and of those above it that have `cpu.stat`, the group itself first."""
    v2, v1 = "/", "/"
    try:
        lines = text(root / "proc/self/cgroup").splitlines()
    except Unreadable:
        lines = []  # then the mounts' roots are all that is known
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if line.startswith("0::"):
            v2 = path
        elif "cpu" in controllers.split(","):
            v1 = path
    mounts = [(root / _MOUNT, v2)] if exists(root / _MOUNT / "cgroup.controllers") else []
    mounts += [(root / _MOUNT / name, v1) for name in _V1]
    for mount, path in mounts:
        levels = [level for level in _upwards(mount, path) if exists(level / "cpu.stat")]
        if levels:
            return levels
    return []


def _upwards(mount: Path, path: str) -> list[Path]:
    """From `path` up to the mount. In a container the path may be the host's, and only the mount itself exists."""
    inner = mount / path.lstrip("/")
    return [inner, *(above for above in inner.parents if above.is_relative_to(mount))] if inner != mount else [mount]


def _quota(folder: Path) -> float | None:
    """Processors that the group's bandwidth limit is worth; None for no limit. The root group has no file for one."""
    if exists(folder / "cpu.max"):
        file = folder / "cpu.max"
        limit, _, period = text(file).partition(" ")
        return None if limit == "max" else as_number(limit, file) / max(1, as_number(period, file))
    if exists(folder / "cpu.cfs_quota_us"):
        quota = number(folder / "cpu.cfs_quota_us")
        return None if quota <= 0 else quota / max(1, number(folder / "cpu.cfs_period_us"))
    return None
