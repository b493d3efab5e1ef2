"""A limit that binds is found wherever it was set: on the process's own group or on a slice above it, in both versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness import control_group, machine
from tests.trees import INTEL, ORIN, XAVIER, unfold, write

SESSION = "/user.slice/user-1000.slice/session-2.scope"
V2 = {"/proc/self/cgroup": f"0::{SESSION}", "/sys/fs/cgroup/cgroup.controllers": "cpu io memory"}
V1 = {"/proc/self/cgroup": "5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n1:name=systemd:/docker/ab\n0::/docker/ab"}
HYBRID = {**V1, "/sys/fs/cgroup/unified/cgroup.controllers": ""}
CPU = "/sys/fs/cgroup/cpu,cpuacct"


def _tree(folder: Path, *parts: Mapping[str, object]) -> Path:
    for part in parts:
        for path, content in part.items():
            write(folder, path, content)
    return folder


def _v2(limits: Mapping[str, str], file: str = "cpu.max") -> dict[str, object]:
    return {f"/sys/fs/cgroup{group}/{file}": limit for group, limit in limits.items()}


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({SESSION: "150000 100000"}, 1.5),
        ({SESSION: "max 100000", "/user.slice": "200000 100000"}, 2.0),
        ({SESSION: "300000 100000", "/user.slice/user-1000.slice": "50000 100000"}, 0.5),
        ({SESSION: "50000 100000", "/user.slice": "300000 100000"}, 0.5),
        ({"/user.slice": "100000 50000"}, 2.0),  # only the slice has the controller
        ({SESSION: "max 100000", "/user.slice": "max 100000"}, None),
        ({SESSION: "nonsense", "/user.slice": "200000 100000"}, 2.0),
        ({SESSION: "200000", "/user.slice": ""}, None),
        ({"": "250000 100000"}, 2.5),  # a container with a namespace of its own: its group is the mount itself
        ({"/system.slice": "10000 100000"}, None),  # somebody else's
        ({}, None),
    ],
)
def test_version_2_takes_the_tightest_of_a_group_and_those_above(
    limits: Mapping[str, str], expected: float | None, tmp_path: Path
) -> None:
    assert control_group.cpu_quota(_tree(tmp_path, V2, _v2(limits))) == expected


@pytest.mark.parametrize("tree", [V1, HYBRID], ids=["v1", "hybrid"])
@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({"/docker/ab": 150000, "/docker": -1}, 1.5),
        ({"/docker/ab": -1, "/docker": 200000}, 2.0),
        ({"/docker/ab": 300000, "": 100000}, 1.0),
        ({"": 250000}, 2.5),  # in a container the mount is its group, whatever the path says
        ({"/docker/ab": -1, "/docker": -1, "": -1}, None),
        ({"/other": 100000}, None),
    ],
)
def test_version_1_too(
    tree: Mapping[str, object], quotas: Mapping[str, int], expected: float | None, tmp_path: Path
) -> None:
    files = {f"{CPU}{group}/cpu.cfs_quota_us": quota for group, quota in quotas.items()}
    files |= {f"{CPU}{group}/cpu.cfs_period_us": 100000 for group in quotas}
    assert control_group.cpu_quota(_tree(tmp_path, tree, files)) == expected


def test_a_period_that_is_missing_is_no_limit_and_no_error(tmp_path: Path) -> None:
    assert control_group.cpu_quota(_tree(tmp_path, V1, {f"{CPU}/docker/ab/cpu.cfs_quota_us": 100000})) is None


@pytest.mark.parametrize(("name", "expected"), [(INTEL, 2.5), (ORIN, None), (XAVIER, 1.5)])
def test_the_recorded_machines(name: str, expected: float | None, tmp_path: Path) -> None:
    assert control_group.cpu_quota(unfold(tmp_path, name)) == expected


def test_no_tree_at_all_is_no_limit(tmp_path: Path) -> None:
    assert control_group.cpu_quota(tmp_path) is None
    assert control_group.memory_left(tmp_path) is None


@pytest.mark.parametrize(
    ("own", "above", "expected"),
    [
        (("1000", "400"), ("max", "900"), 600),
        (("max", "400"), ("1000", "900"), 100),
        (("1000", "400"), ("1000", "1100"), 0),
        (("max", "400"), ("max", "900"), None),
        (("1000", "nonsense"), ("2000", "900"), 1100),
    ],
)
def test_memory_is_left_until_the_first_limit(
    own: tuple[str, str], above: tuple[str, str], expected: int | None, tmp_path: Path
) -> None:
    groups = {SESSION: own, "/user.slice": above}
    for place, file in enumerate(("memory.max", "memory.current")):
        _tree(tmp_path, V2, _v2({group: values[place] for group, values in groups.items()}, file))
    assert control_group.memory_left(tmp_path) == expected


@pytest.mark.parametrize(
    ("stat", "expected"),
    [
        ("anon 300\ninactive_file 7000\nactive_file 650\nslab 10", 7700),
        ("anon 300\ninactive_file 7000", 7050),
        (
            "inactive_file 9000\nactive_file 9000",
            8000,
        ),  # more than there is: the two files are read one after the other
        ("nonsense here", 50),
        (None, 50),
    ],
)
def test_pages_of_files_are_left_too_for_they_go_first(stat: str | None, expected: int, tmp_path: Path) -> None:
    """A job that has read 7 GB of weights stood before a limit of 8 GB, and everything was measured one by one."""
    _tree(tmp_path, V2, _v2({SESSION: "8000"}, "memory.max"), _v2({SESSION: "7950"}, "memory.current"))
    if stat is not None:
        _tree(tmp_path, _v2({SESSION: stat}, "memory.stat"))
    assert control_group.memory_left(tmp_path) == expected


def test_version_1_has_pages_of_files_under_another_name(tmp_path: Path) -> None:
    memory = "/sys/fs/cgroup/memory/docker/ab"
    stat = "cache 10\ninactive_file 1\nactive_file 1\ntotal_inactive_file 700\ntotal_active_file 200"
    files = {
        f"{memory}/memory.limit_in_bytes": 5000, f"{memory}/memory.usage_in_bytes": 4900, f"{memory}/memory.stat": stat,
    }  # fmt: skip
    assert control_group.memory_left(_tree(tmp_path, V1, files)) == 1000


def test_version_1_tells_memory_too(tmp_path: Path) -> None:
    memory = "/sys/fs/cgroup/memory"
    files = {
        f"{memory}/docker/memory.limit_in_bytes": 5000, f"{memory}/docker/memory.usage_in_bytes": 2000,
        f"{memory}/memory.limit_in_bytes": 9223372036854771712, f"{memory}/memory.usage_in_bytes": 7000,
    }  # fmt: skip
    assert control_group.memory_left(_tree(tmp_path, V1, files)) == 3000


def test_a_quota_limits_the_processors_that_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for quota, expected in ((0.5, 1), (1.9, 1), (1000.0, machine.affinity_cpus()), (None, machine.affinity_cpus())):
        monkeypatch.setattr(control_group, "cpu_quota", lambda root=None, quota=quota: quota)
        assert machine.usable_cpus() == expected
        assert machine.facts()["cpu_quota"] == quota
