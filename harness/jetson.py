"""What Jetson this is: board, JetPack and L4T, power mode, whether its clocks are locked, and where it swaps to.

NVIDIA Jetson Linux Developer Guide: /etc/nv_tegra_release, nvpmodel, jetson_clocks; Linux: sysfs-class-devfreq, proc(5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.jetson import Jetson, power_modes
from harness.probes.kernel_files import exists, matching, number, text
from harness.probes.probe import UNAVAILABLE, Target

_JETPACK: Mapping[int, str] = {32: "4", 35: "5", 36: "6", 38: "7", 39: "7"}
"""L4T's major release -> JetPack's."""
_RELEASE = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")
_PACKAGE = re.compile(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)", re.MULTILINE)
_UNLIMITED = ("MAXN_SUPER", "MAXN")
"""The power mode without a limit; the first where a board has both."""
_STATUS_BYTES = 64 << 20


def facts(root: Path = Path("/")) -> Mapping[str, JSON]:
    """Of the Jetson whose files lie below `root`; empty where it is none. What cannot be read says why."""
    if Jetson(root).available():
        return {}
    mode = Jetson(root).instants(Target(0, "cpu"))["power_mode"]
    return {
        "board": _or_why(lambda: text(root / "proc/device-tree/model")),
        "l4t": _or_why(lambda: l4t(root)),
        "jetpack": _or_why(lambda: jetpack(root)),
        "power_mode": mode,
        "clocks_locked": _or_why(lambda: clocks_locked(root)),
        "swap": _or_why(lambda: swap(root)),
    }


def _or_why(read: object) -> JSON:
    try:
        value: JSON = read()  # type: ignore[operator]
        return value
    except Unreadable as error:
        return f"{UNAVAILABLE}{error.message}"


def l4t(root: Path) -> str:
    """`36.4.0`. Raises `Unreadable`."""
    said = text(root / "etc/nv_tegra_release")
    found = _RELEASE.search(said)
    if found is None:
        raise Unreadable(f"{root / 'etc/nv_tegra_release'} holds {said[:40]!r}, and no release")
    return f"{found[1]}.{found[2]}"


def jetpack(root: Path) -> str:
    """The installed package's version (`6.1+b123`), else what L4T belongs to (`6 (by L4T)`). Raises `Unreadable`."""
    try:
        with (root / "var/lib/dpkg/status").open(encoding="utf-8", errors="replace") as file:
            found = _PACKAGE.search(file.read(_STATUS_BYTES))
    except OSError:
        found = None
    if found is not None:
        return found[1]
    release = l4t(root)
    major = _JETPACK.get(int(release.partition(".")[0]))
    if major is None:
        raise Unreadable(f"L4T {release} is of no JetPack that is known here")
    return f"{major} (by L4T)"


def largest_mode(root: Path) -> int | None:
    """The number of the power mode without a limit; None where none of this board is called so.

    It is 0 on many boards, and 2 on an Orin Nano with JetPack 6.2, where 0 is 15 W.
    """
    numbers = {name: mode for mode, name in power_modes(root).items()}
    return next((numbers[name] for name in _UNLIMITED if name in numbers), None)


def clocks_locked(root: Path) -> bool:
    """Whether the GPU and every processor have one clock to choose from, as `jetson_clocks` leaves them.

    Raises `Unreadable` where neither tells its limits.
    """
    gpus = [gpu for gpu in matching(root, "sys/class/devfreq/*") if re.search(r"gpu|g[a-z]\d+b$", gpu.name)]
    limits = [(gpu / "min_freq", gpu / "max_freq") for gpu in gpus]
    limits += [
        (policy / "scaling_min_freq", policy / "scaling_max_freq")
        for policy in matching(root, "sys/devices/system/cpu/cpufreq/policy*")
    ]
    known = [pair for pair in limits if all(exists(file) for file in pair)]
    if not known:
        raise Unreadable("neither the GPU nor a processor tells the limits of its clock")
    return all(number(low) == number(high) for low, high in known)


def swap(root: Path) -> list[JSON]:
    """What is swapped to, with its size: `/dev/zram0 1.9 GB`. Raises `Unreadable`."""
    from harness.units import show_bytes

    lines = [line.split() for line in text(root / "proc/swaps").splitlines()[1:]]
    return [f"{words[0]} {show_bytes(int(words[2]) << 10)}" for words in lines if len(words) > 2 and words[2].isdigit()]
