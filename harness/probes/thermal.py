"""Temperatures (Linux: Documentation/driver-api/thermal/sysfs-api.rst, Documentation/hwmon/coretemp.rst, k10temp.rst)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.kernel_files import exists, matching, number, text
from harness.probes.probe import Metered, Probe, Target, Values, attempt, fold, numbers

_PROCESSOR_CHIPS = ("coretemp", "k10temp")
"""hwmon drivers of processors' own sensors: on many boxes (all of AMD's) no thermal zone repeats them."""
_ABSENT_C = -200.0
"""Drivers give absolute zero or less for a sensor that is switched off."""


class Thermal(Probe):
    """Every thermal zone by its type, and the processor's own sensor, right after a burst."""

    name: ClassVar = "thermal"
    reads: ClassVar = "temperatures from /sys/class/thermal and /sys/class/hwmon"

    def __init__(self, root: Path = Path("/")) -> None:
        super().__init__(root)
        zones = [(_word(zone / "type"), zone / "temp") for zone in matching(root, "sys/class/thermal/thermal_zone*")]
        chips = [(_word(chip / "name"), chip) for chip in matching(root, "sys/class/hwmon/hwmon*")]
        zones += [(f"{name} {_word(chip / 'temp1_label')}".strip(), chip / "temp1_input")
                  for name, chip in chips if name in _PROCESSOR_CHIPS and exists(chip / "temp1_input")]  # fmt: skip
        self._sensors = _named_apart(zones)
        trips = {name: _lowest_passive(path.parent) for name, path in self._sensors.items() if path.name == "temp"}
        self._passive_c = {name: trip for name, trip in trips.items() if trip is not None}

    def instants(self, target: Target) -> Values:
        """Degrees Celsius by zone."""
        if not self._sensors:
            raise Unreadable("no thermal zone in /sys/class/thermal and no processor sensor in /sys/class/hwmon")
        return {name: attempt(lambda path=path: _celsius(path)) for name, path in self._sensors.items()}  # type: ignore[misc]

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """The hottest of all, the lowest trip point at which the kernel throttles, and every zone's median, maximum and own
        trip point: a zone's heat says nothing of another's.
        """
        names = list(dict.fromkeys(name for burst in bursts for name in burst.values))
        highest = [max(found) for name in names if (found := numbers(bursts, name))]
        zones: dict[str, JSON] = {
            name: {
                "median_c": fold(bursts, name, statistics.median),
                "max_c": fold(bursts, name, max),
                **({"passive_trip_c": self._passive_c[name]} if name in self._passive_c else {}),
            }
            for name in names
        }
        return {
            "temperature_c_max": max(highest)
            if highest
            else fold(bursts, names[0], max)
            if names
            else "unavailable: never read",
            "passive_trip_c": min(self._passive_c.values(), default="unavailable: no zone has a passive trip"),
            "zones": zones,
        }


def _celsius(path: Path) -> float:
    degrees = number(path) / 1000
    if degrees <= _ABSENT_C:
        raise Unreadable(f"{path} says {degrees:g} °C: the sensor is off")
    return degrees


def _word(path: Path) -> str:
    try:
        return text(path)
    except Unreadable:
        return path.parent.name if path.name in ("type", "name") else ""


def _named_apart(sensors: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    """By name; the second of a name is `name#2`."""
    named: dict[str, Path] = {}
    for name, path in sensors:
        same = sum(1 for other in named if other.partition("#")[0] == name)
        named[f"{name}#{same + 1}" if same else name] = path
    return named


def _lowest_passive(zone: Path) -> float | None:
    """The lowest temperature at which the zone's passive cooling (a lower clock) sets in; None where the kernel cools not.

    Zones whose governor only tells user space (Intel's platform sensors) have passive trips at 50 °C that lower nothing.
    """
    if _said(zone / "policy") == "user_space" or _said(zone / "mode") == "disabled":
        return None
    trips = []
    for kind in matching(zone, "trip_point_*_type"):
        try:
            if text(kind) == "passive" and (degrees := number(kind.with_name(kind.name[: -len("type")] + "temp"))) > 0:
                trips.append(degrees / 1000)
        except Unreadable:
            continue  # a trip that cannot be read cannot be the lowest
    return min(trips, default=None)


def _said(path: Path) -> str:
    try:
        return text(path)
    except Unreadable:
        return ""
