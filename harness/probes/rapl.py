"""Energy that the processor counts itself (Linux: Documentation/power/powercap/powercap.rst; AMD has the same zones)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.kernel_files import matching, number, text
from harness.probes.probe import Metered, Probe, Target, Values, attempt, fold, is_number, rate

INCLUDES = "whole processor packages (cores, caches, memory controller, graphics), all that ran on them, and idle power"


class Rapl(Probe):
    """The counters of all packages, and of their memory (`dram`) and the platform (`psys`) where there are such."""

    name: ClassVar = "rapl"
    reads: ClassVar = "package energy from /sys/class/powercap/intel-rapl*"

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        self._zones: dict[str, Path] = {}
        self._scales: dict[str, float] = {}
        for zone in matching(root, "sys/class/powercap/intel-rapl:*"):
            try:
                name, scale = text(zone / "name"), number(zone / "max_energy_range_uj")
            except Unreadable:
                continue  # a zone without a name or an energy counter measures nothing that can be said
            if name == "dram":  # a subzone: one for each package
                name = f"dram-{zone.name.split(':')[1]}"
            if name.startswith(("package", "dram", "psys")):
                self._zones[name], self._scales[f"{name}_j"] = zone, (scale + 1) / 1e6

    def counters(self, target: Target) -> Values:
        """Joules by zone: `package-0_j`."""
        if not self._zones:
            raise Unreadable(
                "no intel-rapl zone in /sys/class/powercap: a virtual machine, another processor, or no driver"
            )
        return {
            f"{name}_j": attempt(lambda zone=zone: number(zone / "energy_uj") / 1e6)  # type: ignore[misc]
            for name, zone in self._zones.items()
        }

    def full_scale(self, counter: str) -> float | None:
        """`max_energy_range_uj`, after which the counter begins again."""
        return self._scales.get(counter)

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """Energy per inference (whatever the batch) and mean power, of all packages together; nothing is taken off."""
        kinds = {name.partition("-")[0].removesuffix("_j") for burst in bursts for name in burst.values}
        summed = [Metered({kind: _sum(b.values, kind) for kind in kinds}, b.seconds, b.burst) for b in bursts]
        found: dict[str, JSON] = {
            "energy_j_per_inference": rate(summed, "package", lambda b: b.inferences),
            "power_w_mean": rate(summed, "package", lambda b: b.seconds),
            "energy_j": fold(summed, "package", sum),
            "includes": INCLUDES,
        }
        for kind in sorted(kinds - {"package"}):
            found[f"{kind}_energy_j_per_inference"] = rate(summed, kind, lambda b: b.inferences)
        return found


def _sum(values: Values, kind: str) -> JSON:
    """The sum over the zones of a kind; the reason of the first that cannot be read."""
    mine = [value for name, value in values.items() if name.startswith(kind)]
    missing = [value for value in mine if not is_number(value)]
    return missing[0] if missing else sum(value for value in mine if is_number(value))
