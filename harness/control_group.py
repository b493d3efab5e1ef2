"""This process's control groups, and the tightest limit among its own and those above it: a slice's binds all below it.

Linux: Documentation/admin-guide/cgroup-v2.rst (`cpu.max`, `memory.max`, `memory.stat`), Documentation/scheduler/sched-bwc.rst
and Documentation/admin-guide/cgroup-v1/memory.rst (version 1), cgroups(7) (`/proc/self/cgroup`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import Unreadable
from harness.probes.kernel_files import as_number, exists, fields, number, text

_MOUNT = "sys/fs/cgroup"
_V1 = {"cpu": ("cpu", "cpu,cpuacct", "cpuacct,cpu"), "memory": ("memory",)}
"""Where version 1's controllers are mounted."""


def levels(root: Path, controller: str, file: str) -> list[Path]:
    """The folders of this process's group and of those above it that have `file`, the group itself first.

    Version 2's, else those of version 1's `controller`; `root` is where `/proc` and `/sys` lie. In a container the path
    in `/proc` may be the host's: then only the mount itself exists.
    """
    v2, v1 = _paths(root, controller)
    mounts = [(root / _MOUNT, v2)] if exists(root / _MOUNT / "cgroup.controllers") else []
    mounts += [(root / _MOUNT / name, v1) for name in _V1[controller]]
    for mount, path in mounts:
        if found := [level for level in _upwards(mount, path) if exists(level / file)]:
            return found
    return []


def _paths(root: Path, controller: str) -> tuple[str, str]:
    """Of version 2's tree, and of version 1's of the controller; the mounts' roots where it is not told."""
    v2, v1 = "/", "/"
    try:
        lines = text(root / "proc/self/cgroup").splitlines()
    except Unreadable:
        lines = []
    for line in lines:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            v2 = path
        elif controller in controllers.split(","):
            v1 = path
    return v2, v1


def _upwards(mount: Path, path: str) -> list[Path]:
    """From `path` up to the mount."""
    inner = mount / path.lstrip("/")
    return [inner, *(above for above in inner.parents if above.is_relative_to(mount))] if inner != mount else [mount]


def quota(folder: Path) -> float | None:
    """Processors that the group's own bandwidth limit is worth; None for no limit. Raises `Unreadable`.

    The root group has no file for one.
    """
    if exists(folder / "cpu.max"):
        file = folder / "cpu.max"
        limit, _, period = text(file).partition(" ")
        return None if limit == "max" else as_number(limit, file) / max(1, as_number(period, file))
    if exists(folder / "cpu.cfs_quota_us"):
        limit_us = number(folder / "cpu.cfs_quota_us")
        return None if limit_us <= 0 else limit_us / max(1, number(folder / "cpu.cfs_period_us"))
    return None


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Processors that the tightest bandwidth limit is worth; None where none limits, or none can be read."""
    return _least([*levels(root, "cpu", "cpu.max"), *levels(root, "cpu", "cpu.cfs_quota_us")], quota)


def memory_left(root: Path = Path("/")) -> int | None:
    """Bytes that can be used before the first memory limit is reached; None where none limits, or none can be read.

    Pages of files (weights that were read or mapped) count towards a limit, but the kernel drops them before it refuses.
    """
    found = [*levels(root, "memory", "memory.max"), *levels(root, "memory", "memory.limit_in_bytes")]
    left = _least(found, _left)
    return None if left is None else max(0, int(left))


def _left(folder: Path) -> float | None:
    if exists(folder / "memory.max"):
        if (word := text(folder / "memory.max")) == "max":
            return None
        limit, used, prefix = as_number(word, folder / "memory.max"), number(folder / "memory.current"), ""
    else:
        limit, used = number(folder / "memory.limit_in_bytes"), number(folder / "memory.usage_in_bytes")
        prefix = "total_"  # with those of the groups below, as in the usage
    return min(limit, limit - used + _cached(folder, prefix))


def _cached(folder: Path, prefix: str) -> int:
    """Bytes of files' pages in a group; 0 where it does not tell."""
    try:
        told = fields(folder / "memory.stat")
    except Unreadable:
        return 0
    return told.get(f"{prefix}inactive_file", 0) + told.get(f"{prefix}active_file", 0)


def _least(folders: Sequence[Path], read: Callable[[Path], float | None]) -> float | None:
    found = []
    for folder in folders:
        try:
            found.append(read(folder))
        except Unreadable:
            continue  # a group that may not be read: the limits of the others hold all the same
    return min((value for value in found if value is not None), default=None)
