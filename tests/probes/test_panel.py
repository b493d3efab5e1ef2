"""The panel reads around bursts: counters as differences, instants at the end, reasons where there is neither."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from harness import codec, results
from harness.comparing import comparable
from harness.errors import Unreadable
from harness.probes.cgroup import Cgroup
from harness.probes.cpu_time import CpuTime
from harness.probes.jetson import Jetson
from harness.probes.panel import ALL, Panel
from harness.probes.probe import Metered, Probe, Target, Values, fold
from harness.probes.rapl import Rapl
from harness.record import Samples
from tests import making
from tests.trees import BURST, INTEL, ORIN, WORKER, around, unfold, write


class Counting(Probe):
    """A counter that a test sets."""

    name: ClassVar = "counting"
    reads: ClassVar = "a list"
    value = 0.0
    broken = False

    def counters(self, target: Target) -> Values:
        """The value."""
        if self.broken:
            raise Unreadable("it broke")
        return {"n": self.value}

    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """The sum."""
        return {"n": fold(bursts, "n", sum)}


class Absent(Counting):
    """One that is never there."""

    name: ClassVar = "absent"
    broken = True


@pytest.fixture
def at_any_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read around every burst, however soon the next one comes."""
    monkeypatch.setattr("harness.probes.panel._LEAST_S", 0.0)


@pytest.mark.usefixtures("at_any_rate")
def test_counters_are_differences_and_instants_the_ends(tmp_path: Path) -> None:
    root = unfold(tmp_path, ORIN)

    def pass_time() -> None:
        write(root, "/sys/class/hwmon/hwmon5/oc3_event_cnt", 15)
        write(root, "/sys/class/devfreq/17000000.gpu/cur_freq", 306000000)

    panel = Panel([Jetson(root)])
    read = around(panel, change=pass_time).machine["jetson"]
    assert isinstance(read, dict)
    assert (read["oc3_events"], read["oc2_events"], read["gpu_mhz"]) == (3, 0, 306.0)


@pytest.mark.usefixtures("at_any_rate")
def test_a_counter_that_began_again_is_carried_over(tmp_path: Path) -> None:
    """RAPL's begins at 0 after `max_energy_range_uj`, within minutes on a large processor."""
    root = unfold(tmp_path, INTEL)
    panel = Panel([Rapl(root)])
    read = around(panel, change=lambda: write(root, "/sys/class/powercap/intel-rapl:0/energy_uj", 1_000_000)).machine
    assert read["rapl"] == pytest.approx({"package-0_j": 1.328851, "dram-0_j": 0.0, "psys_j": 0.0})


@pytest.mark.usefixtures("at_any_rate")
def test_a_counter_that_was_set_back_gives_no_number() -> None:
    probe = Counting()
    probe.value = 5.0
    sample = around(Panel([probe]), change=lambda: setattr(probe, "value", 1.0))
    assert sample.machine["counting"] == {"n": "unavailable: n was set back during the burst"}


@pytest.mark.usefixtures("at_any_rate")
def test_a_probe_that_breaks_while_it_runs_costs_its_own_burst_only() -> None:
    probe = Counting()
    panel = Panel([probe])
    whole = around(panel, change=lambda: setattr(probe, "value", 2.0))
    torn = around(panel, change=lambda: setattr(probe, "broken", True))
    assert torn.machine["counting"] == "unavailable: it broke"
    assert panel.conditions([whole, torn]) == {"counting": {"n": 2.0}}
    assert panel.conditions([torn]) == {"counting": "unavailable: it broke"}


def test_what_is_missing_is_an_entry_with_its_reason() -> None:
    panel = Panel([Absent(), Counting()])
    assert panel.missing == {"absent": "it broke"}
    assert panel.conditions([around(panel)]) == {"absent": "unavailable: it broke", "counting": {"n": 0.0}}


def test_bursts_in_quick_succession_are_not_all_read() -> None:
    """At most ten readings a second; what was not read says so rather than being 0."""
    panel = Panel([Counting()])
    first, second = around(panel), around(panel)
    assert first.machine
    assert second.machine == {}
    found = panel.conditions([second])["counting"]
    assert isinstance(found, str)
    assert found.startswith("unavailable: ")


def test_samples_keep_their_readings_as_json(tmp_path: Path) -> None:
    root = unfold(tmp_path, ORIN)
    panel = Panel.of_machine(root)
    sample = around(panel)
    again = codec.decode(Samples, codec.encode(sample))
    assert again.machine == codec.encode(sample)["machine"]
    assert panel.conditions([again]) == panel.conditions([sample])


def test_samples_of_an_older_run_have_no_readings() -> None:
    old = codec.encode(Samples("key", 0, 0, 0, BURST))
    del old["machine"]
    assert codec.decode(Samples, old).machine == {}


# ── this machine ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_this_machine_has_an_entry_for_every_probe() -> None:
    panel = Panel.of_machine()
    me = Target(os.getpid(), "cpu")
    found = panel.conditions([around(panel, me)])
    assert list(found) == [kind.name for kind in ALL]
    for name, entry in found.items():
        assert isinstance(entry, dict) or str(entry).startswith("unavailable: "), f"{name}: {entry!r}"
    assert isinstance(found["cpu_time"], dict), "every Linux has /proc/stat"
    assert isinstance(found["run_queue"], dict), "and /proc/loadavg"


def test_work_of_this_process_is_the_workers_and_not_anothers() -> None:
    """Half a second of arithmetic is at least 0.3 s of processor time by the kernel's own clock."""
    import time

    me = Target(os.getpid(), "cpu")

    def work() -> None:
        begin = time.process_time()
        while time.process_time() - begin < 0.5:
            sum(range(1000))

    read = around(Panel([CpuTime()]), me, work).machine["cpu_time"]
    assert isinstance(read, dict)
    assert float(str(read["worker_s"])) >= 0.3
    assert float(str(read["busy_s"])) >= float(str(read["worker_s"])) - 0.2


def test_this_machines_control_group_is_found_or_said_to_be_absent() -> None:
    probe = Cgroup()
    reason = probe.available()
    assert reason or "quota_cpus" in probe.instants(WORKER)


# ── what a record keeps, and what is made of it ──────────────────────────────────────────────────────────────────


def test_a_changed_power_mode_is_seen_when_runs_are_compared(tmp_path: Path) -> None:
    root = unfold(tmp_path, ORIN)
    panel = Panel([Jetson(root)])
    base = replace(making.record(), conditions=panel.conditions([around(panel)]))
    write(root, "/var/lib/nvpmodel/status", "pmode:0000")
    again = Panel([Jetson(root)])
    new = replace(making.record(), conditions=again.conditions([around(again)]))
    (change,) = comparable.power_differs(base, new)
    assert (change.base, change.new) == ("2: MODE_30W", "0: MAXN")
    assert comparable.power_differs(base, base) == []


def test_columns_hold_numbers_where_there_are_and_nothing_for_a_reason(tmp_path: Path) -> None:
    panel = Panel.of_machine(unfold(tmp_path, ORIN))
    record = replace(making.record(), conditions=panel.conditions([around(panel)]))
    row = results.row(making.run(), record)
    assert (row["cpu_mhz_median"], row["power_mode"], row["temperature_c_max"]) == (1728.0, "2: MODE_30W", 52.125)
    assert row["throttled_periods"] == 0
    assert row["board_power_w_median"] is None, "an AGX Orin has no rail that feeds all; the record says so"
    assert row["cpu_energy_j_per_inference"] is None
    assert results.row(making.run(), making.record())["steal_share"] is None, "a record of an older run"
