"""Probes of files read what the kernel's documents say, on an AGX Orin, a Xavier NX and an Intel box."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.errors import Unreadable
from harness.model import Burst
from harness.probes.cgroup import Cgroup
from harness.probes.cpu_frequency import CpuFrequency
from harness.probes.cpu_throttle import CpuThrottle
from harness.probes.cpu_time import CpuTime
from harness.probes.ina3221 import Ina3221
from harness.probes.jetson import Jetson
from harness.probes.pressure import Pressure
from harness.probes.probe import Metered
from harness.probes.rapl import Rapl
from harness.probes.run_queue import RunQueue
from harness.probes.thermal import Thermal
from tests.trees import INTEL, ORIN, WORKER, XAVIER, read, summary, unfold, write

# ── heat ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sensor_that_is_off_is_unavailable(orin: Path) -> None:
    probe = Thermal(orin)
    found = summary(probe, [read(probe)])
    assert found["temperature_c_max"] == 52.125
    assert found["passive_trip_c"] == 99.0
    assert found["zones"]["gpu-thermal"] == {"median_c": 48.687, "max_c": 48.687}
    assert "the sensor is off" in found["zones"]["cv0-thermal"]["max_c"]


def test_a_sensor_that_answers_try_again_is_unavailable(orin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As owners of an Orin report of the zone of a part that is switched off: opening succeeds, reading fails with EAGAIN."""
    file = orin / "sys/class/thermal/thermal_zone2/temp"
    really, cold = os.read, file.stat().st_ino

    def refuse(descriptor: int, length: int) -> bytes:
        if os.fstat(descriptor).st_ino == cold:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return really(descriptor, length)

    monkeypatch.setattr(os, "read", refuse)
    found = read(Thermal(orin))
    assert found["cv0-thermal"] == f"unavailable: {file}: Resource temporarily unavailable"
    assert found["cpu-thermal"] == 52.125


def test_a_zone_keeps_its_own_trip_point_where_the_kernel_cools_it(orin: Path) -> None:
    """Intel's platform sensors have passive trips too, of which user space is only told."""
    zone = "/sys/class/thermal/thermal_zone1"
    write(orin, f"{zone}/trip_point_0_type", "passive")
    write(orin, f"{zone}/trip_point_0_temp", 45000)
    for file, word, cools in (
        ("policy", "step_wise", True),
        ("policy", "user_space", False),
        ("mode", "disabled", False),
    ):
        write(orin, f"{zone}/{file}", word)
        probe = Thermal(orin)
        found = summary(probe, [read(probe)])
        assert found["passive_trip_c"] == (45.0 if cools else 99.0)
        assert found["zones"]["gpu-thermal"].get("passive_trip_c") == (45.0 if cools else None)
        assert found["zones"]["cpu-thermal"]["passive_trip_c"] == 99.0


def test_zones_of_one_type_are_told_apart_and_the_chip_is_read(intel: Path) -> None:
    assert read(Thermal(intel)) == {
        "acpitz": 27.8, "acpitz#2": 29.8, "x86_pkg_temp": 61.0, "coretemp Package id 0": 62.0
    }  # fmt: skip


# ── energy ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_energy_is_that_of_packages_per_inference_that_ran(intel: Path) -> None:
    probe = Rapl(intel)
    assert set(read(probe)) == {"package-0_j", "dram-0_j", "psys_j"}, (
        "core is a part of package-0, and not counted twice"
    )
    found = summary(probe, [{"package-0_j": 10.0, "package-1_j": 6.0, "dram-0_j": 1.0}] * 2)
    assert found["energy_j_per_inference"] == pytest.approx(16 / 20), "discarded inferences took energy too"
    assert found["power_w_mean"] == pytest.approx(16 / 0.25)
    assert found["dram_energy_j_per_inference"] == pytest.approx(1 / 20)
    assert "idle" in found["includes"]


def test_a_counter_that_only_root_may_read_is_named(intel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Linux 5.10 and later have it; the tests may run as root, so that open(2) is made to refuse."""
    really = os.open

    def refuse(path: Any, flags: int, *rest: int) -> int:
        if str(path).endswith("energy_uj"):
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    file = intel / "sys/class/powercap/intel-rapl:0/energy_uj"
    assert Rapl(intel).available() == f"permission denied: {file} is readable by root only"
    found = summary(Rapl(intel), [read(Rapl(intel))])
    assert found["energy_j_per_inference"] == f"unavailable: permission denied: {file} is readable by root only"
    assert found["power_w_mean"] == found["energy_j"] == found["energy_j_per_inference"]


# ── Jetson ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_orin_tells_mode_clocks_and_over_current(orin: Path) -> None:
    assert read(Jetson(orin)) == {
        "oc1_events": 0, "oc2_events": 3, "oc3_events": 12, "power_mode": "2: MODE_30W",
        "gpu_mhz": 612.0, "gpu_mhz_limit": 612.0, "emc_mhz": 3199.0,
    }  # fmt: skip


def test_a_xavier_tells_what_it_has(xavier: Path) -> None:
    found = read(Jetson(xavier))
    assert (found["power_mode"], found["gpu_mhz"]) == ("2: MODE_15W_6CORE", 1109.25)
    assert found["emc_mhz"].startswith("unavailable: no ")


def test_a_changed_mode_is_seen(orin: Path) -> None:
    probe = Jetson(orin)
    before = read(probe)
    write(orin, "/var/lib/nvpmodel/status", "pmode:0000")
    assert summary(probe, [before, read(probe)])["power_mode"] == "2: MODE_30W, then 0: MAXN"


def test_a_low_clock_of_the_gpu_is_set_against_the_latency_of_its_bursts(orin: Path) -> None:
    def slowdown(*bursts: tuple[float, int]) -> object:
        metered = [Metered({"gpu_mhz": mhz}, 0.2, Burst((ms * 1_000_000,) * 3)) for mhz, ms in bursts]
        return Jetson(orin).summarise(metered)["gpu_low_clock_slowdown"]

    assert slowdown(*[(1300.5, 10)] * 6, *[(612.0, 21)] * 4) == 2.1, "it was throttled"
    assert slowdown(*[(1300.5, 10)] * 6, *[(306.0, 10)] * 4) == 1.0, "it was asleep when it was read"
    assert slowdown(*[(1300.5, 10)] * 9, (306.0, 30)) == 1.0, "one burst may be slow for any reason"
    assert slowdown((1300.5, 10)) == 1.0
    assert str(Jetson(orin).summarise([])["gpu_low_clock_slowdown"]).startswith("unavailable: ")


@pytest.mark.parametrize("status", ["", "fmode:quiet", "pmode:"])
def test_a_status_without_a_mode_is_unavailable(orin: Path, status: str) -> None:
    write(orin, "/var/lib/nvpmodel/status", status)
    assert read(Jetson(orin))["power_mode"].startswith("unavailable: ")


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("/sys/kernel/debug/bpmp/debug/clk/emc/rate", 0, "emc_mhz"),
        ("/sys/class/devfreq/17000000.gpu/cur_freq", 0, "gpu_mhz"),
        ("/sys/class/devfreq/17000000.gpu/max_freq", 0, "gpu_mhz_limit"),
        ("/sys/kernel/debug/bpmp/debug/clk/emc/rate", None, "emc_mhz"),
        ("/sys/class/devfreq/17000000.gpu/cur_freq", None, "gpu_mhz"),
        ("/var/lib/nvpmodel/status", None, "power_mode"),
        ("/sys/class/hwmon/hwmon5/oc2_event_cnt", None, "oc2_events"),
    ],
)
def test_what_a_jetson_does_not_tell_is_unavailable_with_the_file_and_never_0(
    orin: Path, path: str, value: int | None, name: str
) -> None:
    """A clock of 0 Hz is one that stands still; a missing file is named; all else is told as before."""
    probe = Jetson(orin)
    whole = read(probe)
    file = orin / path.lstrip("/")
    if value is None:
        file.unlink()
    else:
        write(orin, path, value)
    found = read(probe)
    assert str(found[name]).startswith("unavailable: ") and str(file) in str(found[name])
    assert {k: v for k, v in found.items() if k != name} == {k: v for k, v in whole.items() if k != name}
    summed = summary(probe, [found])
    told = {"gpu_mhz": "gpu_mhz_median", "emc_mhz": "emc_mhz_median", "oc2_events": "overcurrent_oc2_events"}.get(
        name, name
    )
    assert str(summed[told]).startswith("unavailable: ")


def test_a_mode_that_the_configuration_does_not_name_keeps_its_number(orin: Path) -> None:
    (orin / "etc/nvpmodel.conf").unlink()
    assert read(Jetson(orin))["power_mode"] == "2"


def test_a_machine_that_is_no_jetson_says_so(intel: Path) -> None:
    assert Jetson(intel).available() == "this machine is no Jetson (no /etc/nv_tegra_release)"
    assert Ina3221(intel).available().endswith("no Jetson")


def test_a_processor_clock_of_0_is_no_clock(orin: Path) -> None:
    for policy in (0, 4):
        write(orin, f"/sys/devices/system/cpu/cpufreq/policy{policy}/scaling_cur_freq", 0)
    assert "scaling_cur_freq says 0: the clock is switched off" in CpuFrequency(orin).available()


def test_rails_in_the_hwmon_layout(orin: Path) -> None:
    probe = Ina3221(orin)
    assert read(probe) == pytest.approx(
        {"VDD_GPU_SOC": 9.21984, "VDD_CPU_CV": 2.304, "VIN_SYS_5V0": 4.8384, "VDDQ_VDD2_1V8AO": 1.0064}
    )
    found = summary(probe, [read(probe)])
    assert found["board_power_w_median"].startswith(
        "unavailable: no rail feeds the whole module (there are VDD_GPU_SOC"
    )
    assert found["rails"]["VDD_CPU_CV"]["power_w_max"] == pytest.approx(2.304)


def test_rails_in_the_iio_layout(xavier: Path) -> None:
    probe = Ina3221(xavier)
    found = summary(probe, [read(probe)])
    assert found["board_power_w_median"] == pytest.approx(7.32672)
    assert list(found["rails"]) == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
    assert found["energy_j_per_inference"].startswith("unavailable: an INA3221 counts no energy")


def test_a_rail_that_cannot_be_read_is_a_reason_and_the_others_stay(orin: Path) -> None:
    (orin / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input").unlink()
    found = read(Ina3221(orin))
    assert found["VDD_GPU_SOC"].startswith("unavailable: no ")
    assert found["VDD_CPU_CV"] == pytest.approx(2.304)


# ── what is not there, or not what it should be ──────────────────────────────────────────────────────────────────

FILES = [CpuFrequency, CpuThrottle, CpuTime, RunQueue, Pressure, Cgroup, Thermal, Rapl, Jetson, Ina3221]


@pytest.mark.parametrize("kind", FILES)
def test_an_empty_tree_gives_a_reason(kind: Any, tmp_path: Path) -> None:
    assert kind(tmp_path).available(), f"{kind.__name__} reads nothing here, and says nothing of it"


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", [ORIN, XAVIER, INTEL])
@pytest.mark.parametrize("content", ["", "garbage", "1 2 x"])
def test_files_that_hold_nonsense_give_reasons_and_no_numbers(
    kind: Any, name: str, content: str, tmp_path: Path
) -> None:
    root = unfold(tmp_path, name)
    probe = kind(root)
    for file in root.rglob("*"):
        if file.is_file() and "label" not in file.name and "type" not in file.name and "rail_name" not in file.name:
            file.write_text(content)
    for again in (probe, kind(root)):
        try:
            values = read(again)
        except Unreadable as error:
            assert error.message
        else:
            bad = {k: v for k, v in values.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
            assert not bad, f"{kind.__name__} made numbers of {content!r}: {bad}"


def test_names_of_probes_are_their_own() -> None:
    assert len({kind.name for kind in FILES}) == len(FILES)
    assert WORKER.device == "cpu"
