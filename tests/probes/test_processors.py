"""Who had the processors, at which clock, and under which limit, on an AGX Orin, a Xavier NX and an Intel box."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.probes.cgroup import Cgroup
from harness.probes.cpu_frequency import CpuFrequency
from harness.probes.cpu_throttle import CpuThrottle
from harness.probes.cpu_time import CpuTime
from harness.probes.pressure import Pressure
from harness.probes.probe import Target
from harness.probes.run_queue import RunQueue
from tests.trees import read, summary, write

TICKS = os.sysconf("SC_CLK_TCK")


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
