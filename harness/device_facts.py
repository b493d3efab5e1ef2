"""What the system tells of a device beside the runtime that reached it: memory, driver, power mode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness import jetson, machine
from harness.errors import Unreadable
from harness.model import Device
from harness.probes.kernel_files import matching, text
from harness.probes.nvml_library import Library

_DRIVERS = {"intel-gpu": "sys/class/drm/renderD*", "intel-npu": "sys/class/accel/accel*"}


@dataclass(frozen=True)
class DeviceFacts:
    """Empty and None where nothing tells."""

    memory_bytes: int | None = None
    driver: str = ""
    power_mode: str = ""


def describe(device: Device, root: Path = Path("/"), nvml: Library | None = None) -> DeviceFacts:
    """What is known of a device that a runtime reached."""
    mode = str(jetson.facts(root).get("power_mode", ""))
    if device.kind in ("cpu", "auto", "hetero"):
        return DeviceFacts(_memory(root), power_mode=mode or _governor(root))
    if device.kind in ("cuda", "dla"):
        return _nvidia(device, root, nvml or Library(), mode)
    if device.kind in _DRIVERS:
        told = device.details.get("NPU_DRIVER_VERSION")
        name = _kernel_driver(root, _DRIVERS[device.kind])
        return DeviceFacts(device.memory_bytes, f"{name} {told}".strip() if told else name, mode)
    return DeviceFacts(device.memory_bytes, power_mode=mode)


def _memory(root: Path) -> int | None:
    try:
        for line in text(root / "proc/meminfo").splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) << 10
    except (Unreadable, ValueError, IndexError):
        return None
    return None


def _governor(root: Path) -> str:
    try:
        return f"governor {text(root / 'sys/devices/system/cpu/cpu0/cpufreq/scaling_governor')}"
    except Unreadable:
        return ""


def _nvidia(device: Device, root: Path, nvml: Library, mode: str) -> DeviceFacts:
    """By NVML; the driver by the kernel where there is no NVML (a Jetson before Thor)."""
    memory, driver, power = device.memory_bytes, "", mode
    try:
        driver = str(nvml.ask("nvmlSystemGetDriverVersion"))
        gpu = nvml.gpu(device.id)
        memory = memory or int(nvml.ask("nvmlDeviceGetMemoryInfo", gpu).total)
        power = mode or f"limit {nvml.ask('nvmlDeviceGetPowerManagementLimit', gpu) / 1000:.0f} W"
    except Unreadable:
        driver = driver or _nvidia_module(root)
    if memory is None and mode:  # a Jetson's GPU and DLA have the system's memory
        memory = _memory(root)
    return DeviceFacts(memory, f"NVIDIA {driver}" if driver else "", power)


def _nvidia_module(root: Path) -> str:
    try:
        words = text(root / "proc/driver/nvidia/version").splitlines()[0].split()
    except (Unreadable, IndexError):
        return ""
    return next((word for word in words if word[:1].isdigit() and "." in word), "")


def _kernel_driver(root: Path, pattern: str) -> str:
    """The kernel's module behind the first such device of Intel's."""
    for path in matching(root, pattern):
        try:
            if text(path / "device/vendor") == "0x8086":
                return (path / "device/driver").resolve().name
        except Unreadable:
            continue
    return ""


def name_of(device: Device) -> str:
    """The device's own name; the processor's where the runtime gives none."""
    return device.name or (machine.cpu_name() if device.kind == "cpu" else "")
