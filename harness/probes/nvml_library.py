"""NVML as probes need it: started once, its errors as reasons, CUDA's devices found, its masks named."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from harness.errors import Unreadable
from harness.model import JSON

_PREFIXES = ("nvmlClocksEventReason", "nvmlClocksThrottleReason")
"""Names of the constants; the second is the older one, and holds reasons that the first does not."""


class Library:
    """`pynvml` of the distribution nvidia-ml-py, or a stand-in with its functions."""

    def __init__(self, module: Any = None, environment: Mapping[str, str] = os.environ) -> None:
        self._module, self._started = module, False
        self._environment = environment
        self._gpus: dict[str, Any] = {}

    @property
    def module(self) -> Any:
        """The module, with the library started. Raises `Unreadable`."""
        if not self._started:
            try:
                self._module = self._module or importlib.import_module("pynvml")
                self._module.nvmlInit()
            except ImportError:
                raise Unreadable("nvidia-ml-py is not installed (pip install nvidia-ml-py)") from None
            except self._module.NVMLError as error:
                raise Unreadable(f"NVML does not start: {error}") from None
            self._started = True
        return self._module

    def ask(self, function: str, *arguments: Any) -> Any:
        """Call a function. Raises `Unreadable` where this driver or GPU has no answer."""
        try:
            return getattr(self.module, function)(*arguments)
        except (self.module.NVMLError, AttributeError) as error:
            raise Unreadable(f"{function}: {error}") from None

    def gpu(self, device: str) -> Any:
        """The handle of `cuda:1`. Raises `Unreadable` where that is no NVIDIA GPU, or one that cannot be told."""
        if not device.startswith("cuda"):
            raise Unreadable(f"the cell runs on {device}, not on an NVIDIA GPU")
        if device not in self._gpus:
            self._gpus[device] = self._find(int(device.partition(":")[2] or 0))
        return self._gpus[device]

    def _find(self, index: int) -> Any:
        """By CUDA_VISIBLE_DEVICES and by the bus: NVML's order, and CUDA's among equal GPUs or where it is told to."""
        listed = [word.strip() for word in self._environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
        visible = [word for word in listed if word]
        if index < len(visible) and visible[index].startswith(("GPU-", "MIG-")):
            return self.ask("nvmlDeviceGetHandleByUUID", visible[index])
        handles = [self.ask("nvmlDeviceGetHandleByIndex", i) for i in range(self.ask("nvmlDeviceGetCount"))]
        by_bus = self._environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        if not by_bus and len({str(self.ask("nvmlDeviceGetName", handle)) for handle in handles}) > 1:
            raise Unreadable(
                "CUDA and NVML may count these different GPUs differently: set CUDA_DEVICE_ORDER=PCI_BUS_ID"
            )
        order = [int(word) for word in visible if word.isdecimal()] if visible else list(range(len(handles)))
        if index >= len(order) or order[index] >= len(handles):
            raise Unreadable(f"NVML knows {len(handles)} GPUs, and cuda:{index} is not among the visible ones")
        return handles[order[index]]


def reasons(module: Any, mask: int) -> list[JSON]:
    """The names of a mask's bits, from the module's own constants; an unknown bit is `bit 17`."""
    names: dict[int, str] = {}
    for prefix in _PREFIXES:
        for name, value in vars(module).items():
            if name.startswith(prefix) and isinstance(value, int) and value.bit_count() == 1:
                names.setdefault(value, name.removeprefix(prefix))  # later names of a bit are its deprecated ones
    bits = [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
    return [names.get(bit, f"bit {bit.bit_length() - 1}") for bit in bits]
