"""What machine this is: processors, memory, limits, versions. Facts that do not change while a run lasts."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness import control_group, jetson
from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.kernel_files import threads_of_core
from harness.probes.nvml_library import Library

_LIBRARIES = (
    "backbench", "torch", "torchvision", "torchao", "timm", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu",
    "onnxruntime-openvino", "onnxruntime-ep-openvino", "openvino", "nncf", "tensorrt", "cuda-core", "cuda-bindings", "numpy",
    "nvidia-ml-py",
)  # fmt: skip

_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_MOST_PROCESSORS = 1 << 16
"""More than Linux can have: a range beyond is a slip of the finger, and would fill the memory."""


def usable_cpus() -> int:
    """Processors this process may use: its affinity, limited by the tightest CPU quota of its control group and those
    above it (rounded down, at least 1).
    """
    quota = control_group.cpu_quota()
    return affinity_cpus() if quota is None else max(1, min(affinity_cpus(), int(quota)))


def affinity_cpus() -> int:
    """Processors in this process's affinity mask."""
    return len(processors())


def default_threads(cpus: str = "", root: Path = Path("/")) -> int:
    """Threads an inference gets unless told otherwise: one per physical core among the processors that it may use.

    `cpus`: those it is pinned to. Raises ValueError as `processors` does.
    """
    import psutil

    chosen = processors(cpus)
    cores = physical_cores(chosen, root) or psutil.cpu_count(logical=False) or len(chosen)
    return max(1, min(cores, len(chosen), usable_cpus()))


def physical_cores(cpus: Iterable[int], root: Path = Path("/")) -> int | None:
    """How many cores these processors are threads of; None where Linux does not tell."""
    cores = {threads_of_core(root, cpu) for cpu in cpus}
    return None if frozenset() in cores else len(cores)


def processors(spec: str = "") -> frozenset[int]:
    """The processors that a list such as `0-3,6` names; this process's own for "". Raises ValueError where it is none."""
    if not spec:
        return frozenset(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
    chosen: set[int] = set()
    for part in spec.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part!r} is neither a processor's number nor a range of them")
        low, high = int(match[1]), int(match[2] or match[1])
        if high < low or high >= _MOST_PROCESSORS:
            raise ValueError(f"not a range of processors: {part!r}")
        chosen.update(range(low, high + 1))
    return frozenset(chosen)


def available_bytes() -> int:
    """Memory that could be used now without swapping, limited by the control group and those above it."""
    import psutil

    free = int(psutil.virtual_memory().available)
    left = control_group.memory_left()
    return free if left is None else min(free, left)


def facts() -> Mapping[str, JSON]:
    """The machine, for `run.json`: JSON data with units in the names."""
    import psutil

    return {
        "cpu": cpu_name(),
        "architecture": platform.machine(),
        "cpus_usable": usable_cpus(),
        "cpus_logical": psutil.cpu_count(),
        "cpus_physical": psutil.cpu_count(logical=False),
        "cpu_quota": control_group.cpu_quota(),
        "cpu_flags": _flags(),
        "governor": _text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")) or "unavailable: no cpufreq",
        "memory_bytes": int(psutil.virtual_memory().total),
        "swap_bytes": int(psutil.swap_memory().total),
        "kernel": f"{platform.system()} {platform.release()}",
        "system": _os_name(),
        "virtual_machine": "hypervisor" in _flags(),
        "python": platform.python_version(),
        **({"gpus": list(gpus)} if (gpus := _gpus()) else {}),
        **({"jetson": dict(known)} if (known := jetson.facts()) else {}),
    }


def _gpus() -> Sequence[str]:
    """Names of the NVIDIA GPUs, in NVML's order; none where NVML does not tell."""
    library = Library()
    try:
        handles = [library.ask("nvmlDeviceGetHandleByIndex", i) for i in range(library.ask("nvmlDeviceGetCount"))]
        return [str(library.ask("nvmlDeviceGetName", handle)) for handle in handles]
    except Unreadable:
        return ()


def versions() -> Mapping[str, str]:
    """Installed versions of the libraries that matter, by distribution name."""
    installed = {}
    for name in _LIBRARIES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def cpu_name() -> str:
    """The processor's name as its vendor gives it."""
    named = _field("model name")
    if named:
        return named
    import cpuinfo

    return str(cpuinfo.get_cpu_info().get("brand_raw", "unknown"))


# Instruction sets that decide which kernels a runtime takes.
_TELLING = (
    "avx",
    "avx2",
    "fma",
    "avx512",
    "amx",
    "vnni",
    "bf16",
    "fp16",
    "neon",
    "asimd",
    "sve",
    "i8mm",
    "hypervisor",
)


def _flags() -> list[JSON]:
    words = (_field("flags") or _field("Features")).split()
    return [word for word in sorted(words) if word.startswith(_TELLING) or "vnni" in word or "bf16" in word]


def vnni() -> bool | None:
    """Whether an x86 processor has VNNI; None for other processors, and where Linux does not tell."""
    words = _field("flags").split()  # of x86 alone: Arm has `Features`
    return any(word in words for word in ("avx512_vnni", "avx_vnni")) if words else None


@functools.cache
def _field(name: str) -> str:
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return platform.platform()


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
