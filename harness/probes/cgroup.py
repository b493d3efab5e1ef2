"""The container's limit on processor time, and how often it stopped the worker.

Linux: Documentation/admin-guide/cgroup-v2.rst (`cpu.max`, `cpu.stat`), Documentation/scheduler/sched-bwc.rst (v1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.control_group import levels, quota
from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.kernel_files import fields
from harness.probes.probe import UNAVAILABLE, Metered, Probe, Target, Values, fold, numbers, rate


class Cgroup(Probe):
    """The tightest limit among the process's control group and those above it, and the throttling they counted.

    Workers are started in the parent's group, so that its limits are theirs.
    """

    name: ClassVar = "cgroup"
    reads: ClassVar = "CPU quota and throttling from /sys/fs/cgroup (v2 and v1)"

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        self._levels = levels(root, "cpu", "cpu.stat")

    def counters(self, target: Target) -> Values:
        """`periods`, `throttled_periods` and `throttled_s` of the limiting group.

        Time is counted at each processor's queue: eight threads that wait for half a second are four seconds.
        """
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
        limit = quota(self._limiting())
        return {"quota_cpus": "none" if limit is None else limit}

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """The quota, sums over all bursts, and the share of the quota's periods in which it stopped the group."""
        limits: list[JSON] = [burst.values["quota_cpus"] for burst in bursts if "quota_cpus" in burst.values]
        return {
            "quota_cpus": limits[-1] if limits else fold(bursts, "quota_cpus", min),
            "throttled_periods": fold(bursts, "throttled_periods", sum),
            "throttled_s": fold(bursts, "throttled_s", sum),
            "throttled_periods_share": _share(bursts),
        }

    def _limiting(self) -> Path:
        if not self._levels:
            raise Unreadable("no cpu controller below /sys/fs/cgroup")
        limited = [(limit, folder) for folder in self._levels if (limit := quota(folder)) is not None]
        return min(limited)[1] if limited else self._levels[0]


def _share(bursts: Sequence[Metered]) -> JSON:
    """0 where no period passed, as in a group without a quota: nothing was stopped."""
    none_stopped = fold(bursts, "throttled_periods", sum) == 0
    return 0.0 if none_stopped else rate(bursts, "throttled_periods", lambda b: sum(numbers([b], "periods")))
