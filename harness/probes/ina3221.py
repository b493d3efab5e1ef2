"""Power of a board's rails from its INA3221 monitors, by the rails' labels: power is voltage times current.

Linux: Documentation/hwmon/ina3221.rst (`in1_label`, `in1_input` in mV, `curr1_input` in mA); before JetPack 5 NVIDIA's own
driver `ina3221x` on iio (`rail_name_0`, `in_voltage0_input`, `in_current0_input`; Jetson Linux Developer Guide 32,
"Software-Based Power Consumption Modeling").
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.kernel_files import exists, matching, number, text
from harness.probes.probe import Metered, Probe, Target, Values, attempt, fold

_HWMON = "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in[123]_label"
_IIO = (
    "sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[0-2]",
    "sys/bus/i2c/drivers/ina3221x/*/iio_device/rail_name_[0-2]",
)
_WHOLE = ("VDD_IN", "POM_5V_IN", "VIN")
"""Rails that feed the whole module; an AGX Orin has none, and what its rails leave out is not known."""
_UNUSED = ("", "NC")
_NO_COUNTER = "unavailable: an INA3221 counts no energy; its power is an instant at the end of each burst"


@dataclass(frozen=True)
class Rail:
    """A monitored rail: its label and the files of its voltage (mV) and current (mA)."""

    label: str
    voltage: Path
    current: Path

    def watts(self) -> float:
        """Power now. Raises `Unreadable`."""
        return number(self.voltage) * number(self.current) / 1e6


class Ina3221(Probe):
    """Every labelled rail right after a burst: the mean over the monitor's own window of some milliseconds."""

    name: ClassVar = "ina3221"
    reads: ClassVar = "power of the board's rails from INA3221 monitors (hwmon, or iio before JetPack 5)"

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        self._rails = rails(root)

    def instants(self, target: Target) -> Values:
        """Watts by label."""
        if not self._rails:
            raise Unreadable("no INA3221 with labelled rails in /sys/bus/i2c/drivers: no Jetson")
        return {rail.label: attempt(rail.watts) for rail in self._rails}

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """Median and maximum by rail; the whole module's where one rail feeds it."""
        labels = list(dict.fromkeys(label for burst in bursts for label in burst.values))
        whole = next((label for label in _WHOLE if label in labels), None)
        found: dict[str, JSON] = {
            label: {"power_w_median": fold(bursts, label, statistics.median), "power_w_max": fold(bursts, label, max)}
            for label in labels
        }
        none = f"unavailable: no rail feeds the whole module (there are {', '.join(labels)})"
        return {
            "board_power_w_median": none if whole is None else fold(bursts, whole, statistics.median),
            "energy_j_per_inference": _NO_COUNTER,
            "rails": found,
        }


def rails(root: Path) -> list[Rail]:
    """The rails in either layout; channels that are switched off or not connected are left out."""
    found = []
    for label in matching(root, _HWMON):
        channel = label.name[len("in") : -len("_label")]
        enabled = label.with_name(f"in{channel}_enable")
        if not exists(enabled) or _says(enabled) != "0":
            found.append(
                Rail(_says(label), label.with_name(f"in{channel}_input"), label.with_name(f"curr{channel}_input"))
            )
    for label in (path for pattern in _IIO for path in matching(root, pattern)):
        channel = label.name.rpartition("_")[2]
        voltage, current = f"in_voltage{channel}_input", f"in_current{channel}_input"
        found.append(Rail(_says(label), label.with_name(voltage), label.with_name(current)))
    return [rail for rail in found if rail.label not in _UNUSED]


def _says(path: Path) -> str:
    try:
        return text(path)
    except Unreadable:
        return ""
