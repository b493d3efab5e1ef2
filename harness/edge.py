"""What an edge box needs beside Python packages, each thing with the command that mends it: the section of `doctor`.

Read from files below `root`, so that recorded trees can be looked at. Nothing is changed.
"""

from __future__ import annotations

import ctypes
import grp
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import jetson
from harness.errors import Unreadable
from harness.listed import Diagnosis
from harness.probes.kernel_files import exists, matching, text

_INTEL = "0x8086"
_TRTEXEC = ("usr/src/tensorrt/bin/trtexec", "usr/local/tensorrt/bin/trtexec", "opt/tensorrt/bin/trtexec")
Loads = Callable[[str], bool]
"""Whether the loader finds a library of that name."""


def diagnose(root: Path = Path("/"), loads: Loads | None = None) -> Iterator[Diagnosis]:
    """A Jetson's, an Intel GPU's and NPU's, and an NVIDIA driver's findings, as far as there is one."""
    can_load = loads or _loads
    found = [*_jetson(root), *_nvidia(root, can_load), *_intel_gpu(root, can_load), *_intel_npu(root, can_load)]
    if not found:
        yield Diagnosis("none", "no Jetson, no NVIDIA driver, no Intel GPU or NPU")
    yield from found


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _jetson(root: Path) -> Iterator[Diagnosis]:
    known = jetson.facts(root)
    if not known:
        return
    yield Diagnosis("ok", f"{known['board']}, JetPack {known['jetpack']}, L4T {known['l4t']}")
    yield _power_mode(str(known["power_mode"]), jetson.largest_mode(root))
    locked = known["clocks_locked"]
    if locked is True:
        yield Diagnosis("ok", "clocks are locked")
    else:
        why = "clocks follow the load" if locked is False else f"clocks: {locked}"
        yield Diagnosis("warn", why, "sudo jetson_clocks")
    swapped = known["swap"]
    listed = [str(item) for item in swapped] if isinstance(swapped, list) else [str(swapped)]
    if zram := [item for item in listed if "zram" in item]:
        seen = f"swap in compressed memory ({', '.join(zram)}) takes processor time"
        yield Diagnosis("warn", seen, "sudo systemctl disable --now nvzramconfig")
    else:
        yield Diagnosis("ok", f"swap: {', '.join(listed) or 'none'}")
    yield _trtexec(root)
    yield from _groups(("video", "render"))


def _trtexec(root: Path) -> Diagnosis:
    """Where the runtime `trtexec` looks: `$TRTEXEC` alone where it is set, else the PATH, else JetPack's places."""
    if given := os.environ.get("TRTEXEC"):
        if os.access(given, os.X_OK) and Path(given).is_file():
            return Diagnosis("ok", f"trtexec is there (TRTEXEC={given})")
        return Diagnosis("warn", f"TRTEXEC={given} is no program", "export TRTEXEC=/path/to/trtexec, or: unset TRTEXEC")
    if shutil.which("trtexec") or any(exists(root / place) for place in _TRTEXEC):
        return Diagnosis("ok", "trtexec is there")
    return Diagnosis("warn", "trtexec is not installed", "sudo apt-get install -y tensorrt libnvinfer-bin")


def _power_mode(mode: str, largest: int | None) -> Diagnosis:
    if mode.startswith("unavailable"):
        return Diagnosis("warn", f"power mode: {mode}", "sudo nvpmodel -q")
    if largest is None:  # no name tells which of the board's modes is the largest
        return Diagnosis("none", f"power mode {mode}")
    if mode.partition(":")[0] == str(largest):
        return Diagnosis("ok", f"power mode {mode}")
    seen = f"power mode {mode}, not the largest: figures are of this mode"
    return Diagnosis("warn", seen, f"sudo nvpmodel -m {largest}")


def _nvidia(root: Path, loads: Loads) -> Iterator[Diagnosis]:
    """The driver that the kernel has, and whether programs find its library."""
    try:
        first = text(root / "proc/driver/nvidia/version").splitlines()[0]
    except (Unreadable, IndexError):
        return
    version = next((word for word in first.split() if word[:1].isdigit() and "." in word), first)
    if loads("libcuda.so.1"):
        yield Diagnosis("ok", f"NVIDIA driver {version}")
    else:
        yield Diagnosis(
            "fail", f"NVIDIA driver {version} is in the kernel, and libcuda.so.1 does not load",
            "install the driver's libraries of the same version; in a container: docker run --gpus all",
        )  # fmt: skip


def _vendors(root: Path, pattern: str) -> Sequence[Path]:
    def intel(path: Path) -> bool:
        try:
            return text(path / "device/vendor") == _INTEL
        except Unreadable:
            return False

    return [path for path in matching(root, pattern) if intel(path)]


def _intel_gpu(root: Path, loads: Loads) -> Iterator[Diagnosis]:
    cards = _vendors(root, "sys/class/drm/renderD*")
    if not cards:
        return
    yield Diagnosis("ok", f"Intel GPU: {', '.join(card.name for card in cards)}")
    for library, what, package in (
        ("libze_loader.so.1", "the Level Zero loader", "libze1"),
        ("libze_intel_gpu.so.1", "the GPU's Level Zero driver", "libze-intel-gpu1"),
        ("libOpenCL.so.1", "OpenCL", "ocl-icd-libopencl1 intel-opencl-icd"),
    ):
        yield _library(loads, library, what, f"sudo apt-get install -y {package}")
    yield from _node(root / "dev/dri", [card.name for card in cards])


def _intel_npu(root: Path, loads: Loads) -> Iterator[Diagnosis]:
    units = _vendors(root, "sys/class/accel/accel*")
    if not units:
        return
    yield Diagnosis("ok", f"Intel NPU: {', '.join(unit.name for unit in units)}")
    debs = "scripts/edge/intel --npu-debs FOLDER, with a release of github.com/intel/linux-npu-driver"
    yield _library(loads, "libze_intel_npu.so.1", "the NPU's Level Zero driver", debs)
    yield from _node(root / "dev/accel", [unit.name for unit in units])


def _library(loads: Loads, name: str, what: str, mend: str) -> Diagnosis:
    if loads(name):
        return Diagnosis("ok", f"{what} ({name})")
    return Diagnosis("fail", f"{name} of {what} is missing or does not load", mend)


def _node(folder: Path, names: Sequence[str]) -> Iterator[Diagnosis]:
    """Whether this user may open the devices."""
    for name in names:
        file = folder / name
        if os.access(file, os.R_OK | os.W_OK):
            yield Diagnosis("ok", f"{file} may be opened")
        elif exists(file):
            yield Diagnosis(
                "fail", f"{file} may not be opened by this user", "sudo usermod -aG render $USER, and log in again"
            )
        else:
            yield Diagnosis(
                "fail", f"there is no {file}", "in a container: docker run --device /dev/dri --device /dev/accel"
            )


def _groups(names: Sequence[str]) -> Iterator[Diagnosis]:
    for name in names:
        try:
            number = grp.getgrnam(name).gr_gid
        except KeyError:
            continue
        if os.geteuid() == 0 or number in os.getgroups():
            yield Diagnosis("ok", f"this user is in the group {name}, or root")
        else:
            yield Diagnosis(
                "warn", f"this user is not in the group {name}", f"sudo usermod -aG {name} $USER, and log in again"
            )
