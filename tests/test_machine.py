"""What an inference may use of a machine is counted on the processors that it may run on."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from harness import control_group, machine
from tests.trees import write


def _topology(root: Path, file: str = "core_cpus_list") -> Path:
    """16 cores of two threads each: processors 0 and 16 are one core."""
    for cpu in range(32):
        write(root, f"/sys/devices/system/cpu/cpu{cpu}/topology/{file}", f"{cpu % 16},{cpu % 16 + 16}")
    return root


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The processors of this process, all of 32; for a test to change."""
    cpus = set(range(32))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: cpus, raising=False)
    monkeypatch.setattr(control_group, "cpu_quota", lambda root=None: None)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 32 if logical else 16)
    return cpus


@pytest.mark.parametrize("file", ["core_cpus_list", "thread_siblings_list"])
@pytest.mark.parametrize(
    ("own", "pinned", "threads"),
    [
        (range(32), "", 16),
        ((0, 16, 1, 17), "", 2),  # two cores with both their threads
        ((0, 1, 2, 3), "", 4),
        (range(32), "0,16,1,17", 2),
        (range(32), "4-7", 4),
    ],
)
def test_a_thread_per_core_of_those_that_may_be_used(
    own: range, pinned: str, threads: int, file: str, allowed: set[int], tmp_path: Path
) -> None:
    allowed.intersection_update(own)
    assert machine.default_threads(pinned, _topology(tmp_path, file)) == threads


def test_a_quota_allows_no_more_threads_than_it_is_worth(
    allowed: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_group, "cpu_quota", lambda root=None: 3.5)
    assert machine.default_threads("", _topology(tmp_path)) == 3


def test_where_linux_does_not_tell_the_whole_machines_cores_are_counted(allowed: set[int], tmp_path: Path) -> None:
    assert machine.physical_cores(allowed, tmp_path) is None
    assert machine.default_threads("", tmp_path) == 16
    assert machine.default_threads("0-3", tmp_path) == 4
