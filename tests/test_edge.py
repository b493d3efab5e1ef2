"""What `doctor` and a run's head say of an edge box, on recorded trees: each fault has the command that mends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import device_facts, edge, jetson
from harness.listed import Diagnosis
from harness.model import Device
from harness.probes.nvml_library import Library
from tests.trees import INTEL, ORIN, XAVIER, unfold, write


def found(root: Path, loads: Callable[[str], bool] = lambda name: True) -> dict[str, Diagnosis]:
    return {diagnosis.text: diagnosis for diagnosis in edge.diagnose(root, loads)}


@pytest.fixture(autouse=True)
def _no_trtexec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this machine; a recorded tree has its own."""
    monkeypatch.delenv("TRTEXEC", raising=False)


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    root = unfold(tmp_path, ORIN)
    write(root, "/proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0")
    write(root, "/proc/swaps", "Filename Type Size Used Priority\n/dev/zram0 partition 1953125 0 5")
    for policy in ("policy0", "policy4"):
        write(root, f"/sys/devices/system/cpu/cpufreq/{policy}/scaling_min_freq", 729600)
    write(root, "/sys/class/devfreq/17000000.gpu/min_freq", 306000000)
    return root


def test_a_machine_that_is_no_edge_box_says_so(tmp_path: Path) -> None:
    assert found(tmp_path) == {
        "no Jetson, no NVIDIA driver, no Intel GPU or NPU": Diagnosis(
            "none", "no Jetson, no NVIDIA driver, no Intel GPU or NPU"
        )
    }
    assert jetson.facts(tmp_path) == {}


def test_the_facts_of_a_jetson(orin: Path) -> None:
    assert jetson.facts(orin) == {
        "board": "NVIDIA Jetson AGX Orin Developer Kit", "l4t": "36.4.0", "jetpack": "6 (by L4T)",
        "power_mode": "2: MODE_30W", "clocks_locked": False, "swap": ["/dev/zram0 2 GB"],
    }  # fmt: skip


def test_the_installed_package_tells_jetpack_exactly(orin: Path) -> None:
    write(
        orin,
        "/var/lib/dpkg/status",
        "Package: a\nVersion: 1\n\nPackage: nvidia-jetpack\nStatus: ok\nVersion: 6.1+b123\n",
    )
    assert jetson.facts(orin)["jetpack"] == "6.1+b123"


@pytest.mark.parametrize(("release", "jetpack"), [(35, "5"), (36, "6"), (38, "7"), (39, "7")])
def test_jetpack_by_l4t(orin: Path, release: int, jetpack: str) -> None:
    write(orin, "/etc/nv_tegra_release", f"# R{release} (release), REVISION: 1.2, GCID: 1, BOARD: generic")
    told = jetson.facts(orin)
    assert (told["l4t"], told["jetpack"]) == (f"{release}.1.2", f"{jetpack} (by L4T)")


@pytest.mark.parametrize("content", ["", "R36", "# R99 (release), REVISION: 1.0"])
def test_a_release_that_is_none_is_a_reason(orin: Path, content: str) -> None:
    write(orin, "/etc/nv_tegra_release", content)
    assert str(jetson.facts(orin)["jetpack"]).startswith("unavailable: ")


def test_clocks_are_locked_where_all_have_one_limit(orin: Path) -> None:
    write(orin, "/sys/class/devfreq/17000000.gpu/min_freq", 612000000)
    assert jetson.facts(orin)["clocks_locked"] is False, "a processor still has two"
    for policy in ("policy0", "policy4"):
        write(orin, f"/sys/devices/system/cpu/cpufreq/{policy}/scaling_min_freq", 1728000)
    assert jetson.facts(orin)["clocks_locked"] is True


def test_a_jetson_whose_limits_are_not_told_says_so(tmp_path: Path) -> None:
    told = jetson.facts(unfold(tmp_path, XAVIER))
    assert str(told["clocks_locked"]).startswith("unavailable: neither the GPU nor a processor")
    assert str(told["board"]).startswith("unavailable: no ")


def test_each_fault_of_a_jetson_has_its_command(orin: Path) -> None:
    mends = {diagnosis.mend for diagnosis in found(orin).values() if diagnosis.level == "warn"}
    assert mends >= {
        "sudo nvpmodel -m 0", "sudo jetson_clocks", "sudo systemctl disable --now nvzramconfig",
        "sudo apt-get install -y tensorrt libnvinfer-bin",
    }  # fmt: skip
    write(orin, "/usr/src/tensorrt/bin/trtexec", "")
    write(orin, "/var/lib/nvpmodel/status", "pmode:0000")
    write(orin, "/proc/swaps", "Filename Type Size Used Priority")
    told = found(orin)
    assert told["power mode 0: MAXN"].level == told["trtexec is there"].level == told["swap: none"].level == "ok"


def test_trtexec_is_looked_for_where_the_runtime_does(
    orin: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert found(orin)["trtexec is not installed"].level == "warn"
    program = tmp_path / "bin/trtexec"
    write(tmp_path, "/bin/trtexec", "#!/bin/sh")
    program.chmod(0o755)
    assert found(orin)["trtexec is there"].level == "ok", "on the PATH"
    monkeypatch.setenv("TRTEXEC", "/nowhere/trtexec")
    assert found(orin)["TRTEXEC=/nowhere/trtexec is no program"].level == "warn", "the runtime takes no other then"
    monkeypatch.setenv("TRTEXEC", str(program))
    monkeypatch.setenv("PATH", "")
    assert found(orin)[f"trtexec is there (TRTEXEC={program})"].level == "ok"


SUPER = """
< POWER_MODEL ID=0 NAME=15W >
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
"""


def test_the_largest_power_mode_is_the_one_of_that_name_and_not_the_first(orin: Path) -> None:
    write(orin, "/etc/nvpmodel.conf", SUPER)
    assert found(orin)["power mode 2: MAXN_SUPER"].level == "ok"
    write(orin, "/var/lib/nvpmodel/status", "pmode:0000")
    assert found(orin)["power mode 0: 15W, not the largest: figures are of this mode"].mend == "sudo nvpmodel -m 2"


def test_where_no_mode_is_called_the_largest_there_is_no_verdict(tmp_path: Path) -> None:
    told = found(unfold(tmp_path, XAVIER))["power mode 2: MODE_15W_6CORE"]
    assert (told.level, told.mend) == ("none", "")


def _intel(root: Path) -> None:
    for unit in ("drm/renderD128", "accel/accel0"):
        write(root, f"/sys/class/{unit}/device/vendor", "0x8086")
    write(root, "/sys/class/drm/renderD129/device/vendor", "0x1002")


def test_an_intel_box_without_drivers_names_each_library_and_package(tmp_path: Path) -> None:
    _intel(tmp_path)
    write(tmp_path, "/dev/dri/renderD128", "")
    told = found(tmp_path, lambda name: False)
    assert told["Intel GPU: renderD128"].level == told["Intel NPU: accel0"].level == "ok"
    missing = {text.split()[0]: diagnosis.mend for text, diagnosis in told.items() if diagnosis.level == "fail"}
    assert missing["libze_loader.so.1"] == "sudo apt-get install -y libze1"
    assert missing["libze_intel_gpu.so.1"] == "sudo apt-get install -y libze-intel-gpu1"
    assert "scripts/edge/intel --npu-debs" in missing["libze_intel_npu.so.1"]
    assert told[f"{tmp_path}/dev/dri/renderD128 may be opened"].level == "ok"
    assert "docker run --device" in told[f"there is no {tmp_path}/dev/accel/accel0"].mend


def test_a_driver_in_the_kernel_without_its_library_is_a_fault(tmp_path: Path) -> None:
    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27"
    write(tmp_path, "/proc/driver/nvidia/version", version)
    assert found(tmp_path)["NVIDIA driver 580.65.06"].level == "ok"
    (fault,) = found(tmp_path, lambda name: False).values()
    assert fault.level == "fail" and "libcuda.so.1 does not load" in fault.text and "--gpus all" in fault.mend


# ── devices ───────────────────────────────────────────────────────────────────────────────────────────────────────


class NoLibrary(Library):
    """As on a Jetson before Thor: no NVML."""

    def ask(self, function: str, *arguments: object) -> object:
        from harness.errors import Unreadable

        raise Unreadable("nvidia-ml-py is not installed")


def test_devices_with_memory_driver_and_power_mode(tmp_path: Path, orin: Path) -> None:
    write(orin, "/proc/meminfo", "MemTotal: 32000000 kB\nMemFree: 1 kB")
    gpu = device_facts.describe(Device("cuda", 0, "Orin"), orin, NoLibrary())
    assert (gpu.memory_bytes, gpu.power_mode) == (32_000_000 << 10, "2: MODE_30W")
    assert device_facts.describe(Device("dla", 1), orin, NoLibrary()).power_mode == "2: MODE_30W"
    box = unfold(tmp_path / "box", INTEL)
    _intel(box)
    (box / "sys/bus/pci/drivers/xe").mkdir(parents=True)
    (box / "sys/class/drm/renderD128/device/driver").symlink_to(box / "sys/bus/pci/drivers/xe")
    assert device_facts.describe(Device("intel-gpu", 0, "Arc", 1 << 34), box).driver == "xe"
    npu = device_facts.describe(Device("intel-npu", details={"NPU_DRIVER_VERSION": 1004724}), box)
    assert "1004724" in npu.driver


class WithNvml(Library):
    """One GPU of 24 GiB, limited to 350 W."""

    def ask(self, function: str, *arguments: object) -> object:
        from types import SimpleNamespace

        return {
            "nvmlSystemGetDriverVersion": "580.65.06", "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=24 << 30),
            "nvmlDeviceGetPowerManagementLimit": 350_000,
        }[function]  # fmt: skip

    def gpu(self, device: str) -> object:
        return device


def test_an_nvidia_gpu_by_nvml(tmp_path: Path) -> None:
    told = device_facts.describe(Device("cuda", 0, "RTX"), tmp_path, WithNvml())
    assert (told.memory_bytes, told.driver, told.power_mode) == (24 << 30, "NVIDIA 580.65.06", "limit 350 W")
