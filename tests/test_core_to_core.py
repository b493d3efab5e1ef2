"""The latency between processors is read by a process of its own, and its best is kept until the machine restarts."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from harness import core_to_core, machine

PROCESSORS = sorted(machine.processors())
two = pytest.mark.skipif(len(PROCESSORS) < 2, reason="this machine has one processor")


@two
def test_a_reading_is_a_plausible_round_trip_and_quick() -> None:
    with core_to_core.Meter(PROCESSORS) as meter:
        readings = [meter.read() for _ in range(5)]
    assert meter.why == "closed"
    assert all(reading is not None and 20 < reading < 50_000_000 for reading in readings)


@two
def test_it_sleeps_between_readings() -> None:
    with core_to_core.Meter(PROCESSORS) as meter:
        assert meter.read() is not None
        group = os.getpgid(meter._process.pid)  # type: ignore[union-attr]
        before = _ticks(group)
        time.sleep(0.5)
        assert _ticks(group) - before <= 1


def _ticks(group: int) -> int:
    """User time of all processes of a group, in clock ticks."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if int(fields[2]) == group:
            total += int(fields[11])
    return total


@two
def test_a_dead_reading_process_leaves_no_reading_and_a_reason() -> None:
    with core_to_core.Meter(PROCESSORS) as meter:
        os.killpg(meter._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        assert meter.read() is None
        assert "ended" in meter.why or "failed" in meter.why
        assert meter.read() is None


def test_one_processor_has_nothing_to_read() -> None:
    with core_to_core.Meter([0]) as meter:
        assert meter.read() is None
        assert "one processor" in meter.why


@two
def test_a_processor_that_does_not_exist_is_no_reading() -> None:
    with core_to_core.Meter([PROCESSORS[0], 4093]) as meter:
        assert meter.read() is None
        assert meter.why


def test_the_best_is_known_until_the_machine_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "machine" / "core-to-core.json"
    assert core_to_core.best_known(file, {0, 1}) is None
    core_to_core.remember(file, {0, 1}, 290)
    assert core_to_core.best_known(file, {0, 1}) == 290
    monkeypatch.setattr(core_to_core, "_boot", lambda: "another boot")
    assert core_to_core.best_known(file, {0, 1}) is None
    file.write_text("{")
    assert core_to_core.best_known(file, {0, 1}) is None


def test_the_best_is_that_of_the_processors_it_was_read_between(tmp_path: Path) -> None:
    """Two threads of a core read 60 ns; what all cores read is none the further for it."""
    file = tmp_path / core_to_core.FILE
    core_to_core.remember(file, [1, 0], 60)
    core_to_core.remember(file, range(4), 150)
    core_to_core.remember(file, range(4), 170)
    assert core_to_core.best_known(file, [0, 1]) == 60
    assert core_to_core.best_known(file, [3, 2, 1, 0]) == 150
    assert core_to_core.best_known(file, [0, 2]) is None
    core_to_core.remember(file, range(20), 300)
    assert core_to_core.best_known(file, range(16)) == 300, "of more than sixteen, sixteen are read"


def test_a_file_of_an_older_form_is_as_none(tmp_path: Path) -> None:
    """It told one number, whatever it was read between."""
    file = tmp_path / core_to_core.FILE
    file.write_text(json.dumps({"boot": core_to_core._boot(), "best_ns": 60}))
    assert core_to_core.best_known(file, [0, 1]) is None
    core_to_core.remember(file, [0, 1], 150)
    assert core_to_core.best_known(file, [0, 1]) == 150


def test_a_disk_that_cannot_be_written_costs_what_is_known_and_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`remember` is called when a group's rounds are measured, and its records are not yet kept."""
    file = tmp_path / core_to_core.FILE
    core_to_core.remember(file, {0, 1}, 290)

    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    core_to_core.remember(file, {0, 1}, 210)
    assert "No space left" in caplog.text
    assert core_to_core.best_known(file, {0, 1}) == 290
    core_to_core.remember(file / "no folder" / core_to_core.FILE, {0, 1}, 210)
    assert [path.name for path in tmp_path.iterdir()] == [core_to_core.FILE]


@two
def test_the_best_is_learnt_while_something_else_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_to_core, "_LOOK_S", 0.01)
    file = tmp_path / "machine" / core_to_core.FILE
    with pytest.raises(KeyError), core_to_core.learning(file, PROCESSORS):  # what is learnt outlives a failure
        time.sleep(0.5)
        raise KeyError
    learnt = core_to_core.best_known(file, PROCESSORS)
    assert learnt is not None
    assert 20 < learnt < 50_000_000


@two
def test_what_is_known_is_never_made_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_to_core, "_LOOK_S", 0.01)
    core_to_core.remember(tmp_path / core_to_core.FILE, PROCESSORS, 1)
    with core_to_core.learning(tmp_path / core_to_core.FILE, PROCESSORS):
        time.sleep(0.3)
    assert core_to_core.best_known(tmp_path / core_to_core.FILE, PROCESSORS) == 1


def test_nothing_is_learnt_from_one_processor(tmp_path: Path) -> None:
    with core_to_core.learning(tmp_path / core_to_core.FILE, [0]):
        pass
    assert not list(tmp_path.iterdir())
