"""Time that somebody waited for a processor, memory or a disk (Linux: Documentation/accounting/psi.rst)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.kernel_files import as_number, text
from harness.probes.probe import UNAVAILABLE, Metered, Probe, Target, Values, is_number, rate

_KINDS = {"cpu": ("some",), "memory": ("some", "full"), "io": ("some",)}


class Pressure(Probe):
    """Pressure stall information; `some`: at least one task waited, `full`: all did."""

    name: ClassVar = "pressure"
    reads: ClassVar = "pressure stall time from /proc/pressure"

    def counters(self, target: Target) -> Values:
        """`cpu_some_us`, `memory_some_us`, `memory_full_us`, `io_some_us`."""
        read: dict[str, JSON] = {}
        for kind, wanted in _KINDS.items():
            try:
                totals: dict[str, JSON] = dict(_totals(self.root / "proc/pressure" / kind))
            except Unreadable as error:
                totals = dict.fromkeys(wanted, f"{UNAVAILABLE}{error.message}")
            read |= {f"{kind}_{who}_us": totals[who] for who in wanted if who in totals}
        return read

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """Shares of the bursts' time."""
        names = [f"{kind}_{who}" for kind, wanted in _KINDS.items() for who in wanted]
        return {f"{name}_share": _at_most_1(rate(bursts, f"{name}_us", lambda b: b.seconds, 1e-6)) for name in names}


def _at_most_1(share: JSON) -> JSON:
    """The kernel's clock and ours differ by some millionths."""
    return min(share, 1.0) if is_number(share) else share


def _totals(path: Path) -> dict[str, int]:
    """Microseconds by `some` and `full`, from lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=123`."""
    totals = {}
    for line in text(path).splitlines():
        who, _, rest = line.partition(" ")
        totals[who] = as_number(rest.rpartition("total=")[2], path)
    if not totals:
        raise Unreadable(f"{path} is empty")
    return totals
