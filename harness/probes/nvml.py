"""An NVIDIA GPU: clocks, what holds them back, power, energy, temperature, memory (NVML through nvidia-ml-py)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import Unreadable
from harness.model import JSON
from harness.probes.nvml_library import Library, reasons
from harness.probes.probe import UNAVAILABLE, Metered, Probe, Target, Values, attempt, fold, rate

INCLUDES = "the whole GPU board (memory, regulators) with all that ran on it and idle; the host is not in it"
_HARMLESS = ("GpuIdle", "ApplicationsClocksSetting", "DisplayClockSetting")
"""Reasons that are no throttling: nothing to do, or a clock that somebody chose."""


class Nvml(Probe):
    """The GPU that a cell runs on. `/proc` and `/sys` play no part."""

    name: ClassVar = "nvml"
    reads: ClassVar = "GPU clocks, throttling, power, energy, temperature and memory from NVML"

    def __init__(self, root: Path = Path("/"), library: Library | None = None) -> None:
        super().__init__(root)
        self._library = library or Library()

    def available(self) -> str:
        """Empty where the driver answers and has a GPU."""
        try:
            return "" if self._library.ask("nvmlDeviceGetCount") else "the NVIDIA driver has no GPU"
        except Unreadable as error:
            return error.message

    def counters(self, target: Target) -> Values:
        """`energy_j`, and seconds that power and temperature limits held the clock back."""
        gpu = self._library.gpu(target.device)
        ask = self._library.ask
        return {
            "energy_j": attempt(lambda: ask("nvmlDeviceGetTotalEnergyConsumption", gpu) / 1e3),
            "power_limited_s": attempt(lambda: self._violation_s(gpu, "NVML_PERF_POLICY_POWER")),
            "thermal_limited_s": attempt(lambda: self._violation_s(gpu, "NVML_PERF_POLICY_THERMAL")),
        }

    def instants(self, target: Target) -> Values:
        """Clocks, `reasons` (names of what held the clock back), power, temperature, memory."""
        gpu, nvml = self._library.gpu(target.device), self._library.module
        ask = self._library.ask
        wanted: Mapping[str, Callable[[], JSON]] = {
            "sm_mhz": lambda: int(ask("nvmlDeviceGetClockInfo", gpu, nvml.NVML_CLOCK_SM)),
            "memory_mhz": lambda: int(ask("nvmlDeviceGetClockInfo", gpu, nvml.NVML_CLOCK_MEM)),
            "reasons": lambda: reasons(nvml, self._event_mask(gpu)),
            "power_w": lambda: float(ask("nvmlDeviceGetPowerUsage", gpu)) / 1e3,
            "temperature_c": lambda: int(ask("nvmlDeviceGetTemperature", gpu, nvml.NVML_TEMPERATURE_GPU)),
            "memory_used_bytes": lambda: int(ask("nvmlDeviceGetMemoryInfo", gpu).used),
        }
        return {name: attempt(read) for name, read in wanted.items()}

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """Clock, power and temperature over bursts; energy per inference (whatever the batch), nothing taken off."""
        found: dict[str, JSON] = {
            "gpu_mhz_median": fold(bursts, "sm_mhz", statistics.median),
            "gpu_mhz_min": fold(bursts, "sm_mhz", min),
            "gpu_memory_mhz_median": fold(bursts, "memory_mhz", statistics.median),
            "power_w_median": fold(bursts, "power_w", statistics.median),
            "power_w_mean": rate(bursts, "energy_j", lambda b: b.seconds),
            "energy_j_per_inference": rate(bursts, "energy_j", lambda b: b.inferences),
            "temperature_c_max": fold(bursts, "temperature_c", max),
            "memory_used_bytes_max": fold(bursts, "memory_used_bytes", max),
            "power_limited_share": rate(bursts, "power_limited_s", lambda b: b.seconds),
            "thermal_limited_share": rate(bursts, "thermal_limited_s", lambda b: b.seconds),
        }
        return {**found, **_reason_shares(bursts), "includes": INCLUDES}

    def _violation_s(self, gpu: Any, policy: str) -> float:
        kind = getattr(self._library.module, policy)
        return float(self._library.ask("nvmlDeviceGetViolationStatus", gpu, kind).violationTime) / 1e9

    def _event_mask(self, gpu: Any) -> int:
        newer = hasattr(self._library.module, "nvmlDeviceGetCurrentClocksEventReasons")
        name = "nvmlDeviceGetCurrentClocksEventReasons" if newer else "nvmlDeviceGetCurrentClocksThrottleReasons"
        return int(self._library.ask(name, gpu))


def _reason_shares(bursts: Sequence[Metered]) -> Values:
    """Shares of bursts at whose end each reason held, and any that is throttling."""
    read = [found for burst in bursts if isinstance(found := burst.values.get("reasons"), (list, tuple))]
    if not read:
        why = next(
            (v for burst in bursts if isinstance(v := burst.values.get("reasons"), str)), f"{UNAVAILABLE}never read"
        )
        return {"event_reasons": why, "throttled_share": why}
    names = sorted({str(name) for found in read for name in found})
    shares: dict[str, JSON] = {name: round(sum(name in found for found in read) / len(read), 6) for name in names}
    throttled = sum(any(name not in _HARMLESS for name in found) for found in read)
    return {"event_reasons": shares, "throttled_share": round(throttled / len(read), 6)}
