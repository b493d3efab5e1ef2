"""The NVML probe, with a stand-in for nvidia-ml-py that has its constants and errors."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.probes.nvml import Nvml
from harness.probes.nvml_library import Library, reasons
from harness.probes.panel import Panel
from harness.probes.probe import Target
from tests.trees import around, read, summary

pynvml = pytest.importorskip("pynvml")
GPU = Target(77, "cuda:0")


class FakeNvml(ModuleType):
    """nvidia-ml-py's constants and errors; GPUs by name, each its own handle."""

    def __init__(self, names: tuple[str, ...] = ("H100",), refuses: tuple[str, ...] = (), starts: bool = True) -> None:
        super().__init__("pynvml")
        self.__dict__.update({k: v for k, v in vars(pynvml).items() if k.startswith(("NVML", "nvmlClocks"))})
        self.names, self.refuses, self.starts = names, refuses, starts
        self.energy_mj, self.mask, self.violation_ns = 1_000_000, 0, 0

    def nvmlInit(self) -> None:  # noqa: N802 - the library's own names, here and below
        """Start, or say that there is no driver."""
        if not self.starts:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    def __getattr__(self, name: str) -> Any:
        answers: Mapping[str, Any] = {
            "nvmlDeviceGetCount": lambda: len(self.names),
            "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
            "nvmlDeviceGetHandleByUUID": lambda uuid: f"handle {uuid}",
            "nvmlDeviceGetName": lambda handle: self.names[int(handle.split()[1])],
            "nvmlDeviceGetTotalEnergyConsumption": lambda _: self.energy_mj,
            "nvmlDeviceGetViolationStatus": lambda _, policy: SimpleNamespace(violationTime=self.violation_ns * policy),
            "nvmlDeviceGetClockInfo": lambda _, kind: {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 2619}[kind],
            "nvmlDeviceGetCurrentClocksEventReasons": lambda _: self.mask,
            "nvmlDeviceGetPowerUsage": lambda _: 350_500,
            "nvmlDeviceGetTemperature": lambda _, __: 61,
            "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=5 << 30),
        }
        if name in self.refuses:
            return self._refuse
        if name not in answers:
            raise AttributeError(name)
        return answers[name]

    @staticmethod
    def _refuse(*_: Any) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def _probe(module: FakeNvml, environment: Mapping[str, str] | None = None) -> Nvml:
    return Nvml(library=Library(module, environment or {}))


def test_a_reading_has_every_unit_in_its_name() -> None:
    assert read(_probe(FakeNvml()), GPU) == {
        "energy_j": 1000.0, "power_limited_s": 0.0, "thermal_limited_s": 0.0, "sm_mhz": 1980, "memory_mhz": 2619,
        "reasons": [], "power_w": 350.5, "temperature_c": 61, "memory_used_bytes": 5 << 30,
    }  # fmt: skip


def test_energy_is_a_difference_over_the_burst() -> None:
    module = FakeNvml()
    panel = Panel([_probe(module)])

    def run() -> None:
        module.energy_mj += 60_000
        module.violation_ns += 5_000_000
        module.mask = pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksEventReasonGpuIdle

    found = panel.conditions([around(panel, GPU, run)])["nvml"]
    assert isinstance(found, dict)
    assert found["energy_j_per_inference"] == pytest.approx(60 / 20)
    assert found["event_reasons"] == {"GpuIdle": 1.0, "SwPowerCap": 1.0}
    assert found["throttled_share"] == 1.0
    assert "host is not in it" in str(found["includes"])


def test_every_reason_of_the_library_is_decoded_by_its_own_name() -> None:
    own = {
        name.removeprefix(prefix): value
        for prefix in ("nvmlClocksEventReason", "nvmlClocksThrottleReason")
        for name, value in vars(pynvml).items()
        if name.startswith(prefix) and isinstance(value, int) and value.bit_count() == 1
    }
    assert len(own) > 8, "nvidia-ml-py names its reasons differently now: see harness/probes/nvml_library.py"
    for value in own.values():
        (decoded,) = reasons(pynvml, value)
        assert own[str(decoded)] == value
    assert reasons(pynvml, pynvml.nvmlClocksThrottleReasonReliability) == ["Reliability"]
    assert reasons(pynvml, pynvml.nvmlClocksEventReasonApplicationsClocksSetting) == ["ApplicationsClocksSetting"]
    assert reasons(pynvml, 1 << 40) == ["bit 40"]
    assert reasons(pynvml, 0) == []


def test_an_idle_or_locked_clock_is_no_throttling() -> None:
    locked = {"reasons": ["ApplicationsClocksSetting", "GpuIdle"]}
    assert summary(_probe(FakeNvml()), [locked])["throttled_share"] == 0.0
    hot = {"reasons": ["HwThermalSlowdown"]}
    assert summary(_probe(FakeNvml()), [locked, hot])["throttled_share"] == 0.5


def test_what_a_gpu_does_not_support_is_a_reason_and_never_0() -> None:
    """A Jetson's NVML starts, counts one GPU, and supports nearly nothing."""
    module = FakeNvml(refuses=("nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage",
                               "nvmlDeviceGetCurrentClocksEventReasons"))  # fmt: skip
    found = summary(_probe(module), [read(_probe(module), GPU)])
    for name in ("energy_j_per_inference", "power_w_median", "throttled_share", "event_reasons"):
        assert "Not Supported" in str(found[name]), name
    assert found["gpu_mhz_median"] == 1980


def test_without_a_driver_or_a_gpu_the_reason_is_said() -> None:
    assert _probe(FakeNvml(starts=False)).available().startswith("NVML does not start: ")
    assert _probe(FakeNvml(names=())).available() == "the NVIDIA driver has no GPU"
    assert _probe(FakeNvml()).available() == ""


def test_without_the_package_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert Nvml().available() == "nvidia-ml-py is not installed (pip install nvidia-ml-py)"


def test_a_cell_on_the_cpu_has_no_gpu() -> None:
    panel = Panel([_probe(FakeNvml())])
    found = panel.conditions([around(panel, Target(77, "cpu"))])
    assert found == {"nvml": "unavailable: the cell runs on cpu, not on an NVIDIA GPU"}


@pytest.mark.parametrize(
    ("names", "environment", "device", "handle"),
    [
        (("H100", "H100"), {}, "cuda:1", "handle 1"),
        (("H100", "H100"), {"CUDA_VISIBLE_DEVICES": "1"}, "cuda:0", "handle 1"),
        (("H100", "H100"), {"CUDA_VISIBLE_DEVICES": "GPU-abc"}, "cuda:0", "handle GPU-abc"),
        (("T4", "H100"), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, "cuda:1", "handle 1"),
        (("H100",), {}, "cuda", "handle 0"),
        (("T4", "H100"), {}, "cuda:0", "unavailable: CUDA and NVML may count"),
        (("H100",), {"CUDA_VISIBLE_DEVICES": "0"}, "cuda:1", "unavailable: NVML knows 1 GPUs, and cuda:1"),
        (("H100",), {"CUDA_VISIBLE_DEVICES": "3"}, "cuda:0", "unavailable: NVML knows 1 GPUs, and cuda:0"),
    ],
)
def test_cudas_gpu_is_found(names: tuple[str, ...], environment: Mapping[str, str], device: str, handle: str) -> None:
    from harness.probes.probe import attempt

    library = Library(FakeNvml(names), environment)
    assert str(attempt(lambda: str(library.gpu(device)))).startswith(handle)
