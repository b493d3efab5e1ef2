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
from harness.probes.probe import Metered, Target
from harness.probes.rapl import Rapl
from harness.probes.run_queue import RunQueue
from harness.probes.thermal import Thermal
from tests.trees import INTEL, ORIN, WORKER, XAVIER, read, summary, unfold, write

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    return unfold(tmp_path, ORIN)


@pytest.fixture
def xavier(tmp_path: Path) -> Path:
    return unfold(tmp_path, XAVIER)


@pytest.fixture
def intel(tmp_path: Path) -> Path:
    return unfold(tmp_path, INTEL)


# ── clock ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_fastest_cluster_counts_because_the_other_idles(orin: Path) -> None:
    probe = CpuFrequency(orin)
    assert read(probe) == {"mhz": 1728.0, "mhz_limit": 1728.0, "governor": "schedutil"}
    found = summary(probe, [read(probe), {**read(probe), "mhz": 1190.4}])
    assert found["cpu_mhz_median"] == pytest.approx(1459.2)
    assert found["cpu_mhz_min"] == 1190.4
    assert found["governor"] == "schedutil"


def test_only_processors_the_worker_may_use_are_read(intel: Path) -> None:
    """The worker is pinned to processor 1."""
    assert read(CpuFrequency(intel))["mhz"] == 800.0
    assert read(CpuFrequency(intel), Target(78, "cpu"))["mhz"] == 4200.123, "all, where the worker's are not known"


def test_a_cluster_that_is_switched_off_leaves_the_clocks_of_the_others(
    orin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power modes of a Jetson switch clusters off: older kernels list no processor there, newer ones answer EBUSY."""
    policy = orin / "sys/devices/system/cpu/cpufreq/policy4"
    write(orin, "/sys/devices/system/cpu/cpufreq/policy4/affected_cpus", "")
    really, refused = os.open, set[str]()

    def refuse(path: Any, flags: int, *rest: int) -> int:
        if str(path) in refused:
            raise OSError(16, "Device or resource busy", str(path))
        return really(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    for files in ([policy / "scaling_cur_freq"], policy.iterdir()):
        refused.update(map(str, files))
        assert read(CpuFrequency(orin))["mhz"] == 1728.0
        assert read(CpuFrequency(orin), Target(78, "cpu"))["mhz"] == 1728.0, "nor where the worker's are not known"
    probe = CpuFrequency(orin)
    refused.update(map(str, orin.glob("sys/devices/system/cpu/cpufreq/*/scaling_cur_freq")))
    assert probe.available().endswith("scaling_cur_freq: Device or resource busy")


def test_throttling_is_counted_once_per_package(intel: Path) -> None:
    probe = CpuThrottle(intel)
    assert read(probe) == {"core_events": 12, "package_events": 40, "package_ms": 120}
    assert summary(probe, [{"core_events": 0, "package_events": 2}, {"core_events": 1, "package_events": 0}]) == {
        "core_throttle_events": 1,
        "package_throttle_events": 2,
        "package_throttle_ms": "unavailable: package_ms was in no reading",
    }


# ── who has the processors ───────────────────────────────────────────────────────────────────────────────────────


def test_steal_and_others_are_told_from_the_worker(intel: Path) -> None:
    """The worker may use processor 1, and nothing says that it shares a core."""
    probe = CpuTime(intel)
    assert read(probe) == {
        "busy_s": 310 / TICKS, "steal_s": 50 / TICKS, "total_s": 46410 / TICKS, "cores_busy_s": 310 / TICKS,
        "worker_s": 240 / TICKS,
    }  # fmt: skip
    one = {"busy_s": 0.4, "steal_s": 0.05, "total_s": 0.5, "cores_busy_s": 0.4, "worker_s": 0.2}
    assert summary(probe, [one, one]) == {
        "steal_share": pytest.approx(0.05 / 0.45), "steal_s": 0.1, "worker_cpus_busy": 0.8, "other_cpus_busy": 0.8
    }  # fmt: skip


def test_work_on_other_processors_is_no_neighbour_but_on_the_same_core_it_is(intel: Path) -> None:
    """Processors 0 and 2 are one core, 1 and 3 the other; the worker is pinned to 1, and others compute on one more."""
    for cpu in range(4):
        write(intel, f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", f"{cpu % 2},{cpu % 2 + 2}")

    def lines(busy: dict[int, int]) -> str:
        rows = [[f"cpu{cpu}", busy.get(cpu, 0), 0, 0, 1000, 0, 0, 0, 0] for cpu in range(4)]
        return "\n".join(" ".join(map(str, row)) for row in [["cpu", sum(busy.values()), *rows[0][2:]], *rows])

    def others_busy(cpu: int) -> float:
        probe = CpuTime(intel)
        write(intel, "/proc/stat", lines({1: 500}))
        before = read(probe)
        write(intel, "/proc/stat", lines({1: 500, cpu: 9 * TICKS}))
        grown = {name: value - before[name] for name, value in read(probe).items()}
        return float(summary(probe, [grown], seconds=10.0)["other_cpus_busy"])

    assert [others_busy(0), others_busy(2)] == [0.0, 0.0]
    assert others_busy(3) == pytest.approx(0.9)


def test_a_machine_of_many_processors_is_read_to_the_last(intel: Path) -> None:
    count, long = 1024, 4_000_000_000
    rows = [[f"cpu{cpu}", *[long + cpu] * 10] for cpu in range(count)]
    write(intel, "/proc/stat", "\n".join(" ".join(map(str, row)) for row in [["cpu", *[0] * 10], *rows]))
    write(intel, "/proc/77/status", f"Cpus_allowed_list:\t{count - 2}-{count + 100}")
    assert read(CpuTime(intel))["steal_s"] == (2 * long + 2 * count - 3) / TICKS, "those beyond are not there"


def test_where_the_workers_processors_are_not_told_all_count(intel: Path) -> None:
    for allowed in ("Name:\tpython", "Cpus_allowed_list:\t0-127", "Cpus_allowed_list:\t8-9"):
        write(intel, "/proc/77/status", allowed)
        assert read(CpuTime(intel))["busy_s"] == 1550 / TICKS


def test_a_command_named_like_a_closing_bracket_does_not_shift_the_columns(orin: Path) -> None:
    assert read(CpuTime(orin))["worker_s"] == 240 / TICKS


def test_a_worker_that_is_gone_leaves_the_rest_readable(intel: Path) -> None:
    found = read(CpuTime(intel), Target(4242, "cpu"))
    assert found["steal_s"] == 200 / TICKS
    assert found["worker_s"].startswith("unavailable: no ")


def test_the_reader_is_not_in_the_run_queue(intel: Path) -> None:
    assert read(RunQueue(intel)) == {"load_1min": 4.0, "runnable": 4}


def test_pressure_is_a_share_of_the_time(intel: Path, xavier: Path) -> None:
    assert read(Pressure(intel))["memory_full_us"] == 1000
    found = summary(
        Pressure(intel), [{"cpu_some_us": 50_000, "memory_some_us": 0, "memory_full_us": 0, "io_some_us": 0}]
    )
    assert found["cpu_some_share"] == pytest.approx(0.2)
    assert found["io_some_share"] == 0


def test_a_kernel_without_pressure_says_so(xavier: Path) -> None:
    (xavier / "proc/pressure").mkdir(exist_ok=True)
    assert Pressure(xavier).available() == f"no {xavier}/proc/pressure/cpu"


# ── the container's limit ────────────────────────────────────────────────────────────────────────────────────────


def test_the_limit_of_a_group_above_is_found(intel: Path) -> None:
    assert read(Cgroup(intel)) == {"periods": 500, "throttled_periods": 20, "throttled_s": 0.8, "quota_cpus": 2.5}


def test_version_1_in_a_container(xavier: Path) -> None:
    assert read(Cgroup(xavier)) == {"periods": 900, "throttled_periods": 30, "throttled_s": 1.5, "quota_cpus": 1.5}


def test_no_limit_is_told_as_none_and_throttles_nothing(orin: Path) -> None:
    probe = Cgroup(orin)
    assert read(probe) == {"periods": 0, "throttled_periods": 0, "throttled_s": 0.0, "quota_cpus": "none"}
    found = summary(probe, [read(probe)])
    assert (found["quota_cpus"], found["throttled_periods_share"]) == ("none", 0)


def test_a_limit_set_while_it_runs_is_seen(orin: Path) -> None:
    probe = Cgroup(orin)
    write(orin, "/sys/fs/cgroup/user.slice/cpu.max", "50000 100000")
    assert read(probe)["quota_cpus"] == 0.5


def test_a_group_without_the_controller_is_unavailable_and_not_0(orin: Path) -> None:
    write(orin, "/sys/fs/cgroup/user.slice/bench.scope/cpu.stat", "usage_usec 346000")
    found = summary(Cgroup(orin), [read(Cgroup(orin))])
    assert found["throttled_periods"].startswith("unavailable: ")
    assert found["throttled_periods_share"].startswith("unavailable: ")


def test_the_share_is_of_periods_for_time_is_counted_at_every_processor(intel: Path) -> None:
    """Eight threads under a quota of two: each waits three quarters of every second period."""
    one = {"periods": 10, "throttled_periods": 5, "throttled_s": 3.0, "quota_cpus": 2.0}
    found = summary(Cgroup(intel), [one, {**one, "throttled_periods": 0, "throttled_s": 0.0}], seconds=1.0)
    assert (found["throttled_periods_share"], found["throttled_s"]) == (0.25, 3.0)


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
