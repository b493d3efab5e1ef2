"""Reads the one-line files of `/proc` and `/sys`, and says in words why one cannot be read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import Unreadable

_ENOUGH = 1 << 16
"""Bytes read at once: longer than any of these files but `/proc/stat` of a large machine."""


def text(path: str | Path, most: int = _ENOUGH) -> str:
    """The file's content (its first bytes, where it is longer than `most`), stripped. Raises `Unreadable`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, most).decode(errors="replace").strip("\n\0 ")
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise Unreadable(f"no {path}") from None
    except PermissionError:
        raise Unreadable(f"permission denied: {path} is readable by root only") from None
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None


def number(path: str | Path) -> int:
    """The whole number in the file. Raises `Unreadable`."""
    return as_number(text(path), path)


def megahertz(path: str | Path, unit_hz: int) -> float:
    """The clock in the file, which is in units of `unit_hz`. Raises `Unreadable`, for a clock of 0 too: it stands still."""
    found = number(path)
    if found <= 0:
        raise Unreadable(f"{path} says {found}: the clock is switched off, or its driver does not tell")
    return found * unit_hz / 1e6


def as_number(word: str, path: str | Path) -> int:
    """A word of a file as a whole number. Raises `Unreadable` with the file's name."""
    try:
        return int(word)
    except ValueError:
        raise Unreadable(f"{path} holds {word[:40]!r} where a number should be") from None


def fields(path: str | Path) -> dict[str, int]:
    """A file of lines `name number`. Raises `Unreadable`."""
    pairs = (line.split(maxsplit=1) for line in text(path).splitlines())
    return {pair[0]: as_number(pair[1], path) for pair in pairs if len(pair) == 2}


def exists(path: str | Path) -> bool:
    """Whether there is such a file, and this user may know it."""
    return os.access(path, os.F_OK)


def matching(root: Path, pattern: str) -> list[Path]:
    """The paths below `root` that match, in the order of the numbers in their names; none where it may not be looked at."""
    try:
        return sorted(root.glob(pattern), key=lambda path: (len(path.name), str(path)))
    except OSError:
        return []


def cpus(listed: str) -> frozenset[int]:
    """The processors in a list such as `0-3,6` or `0 1 2` (cpuset(7), cpufreq's `affected_cpus`)."""
    found: set[int] = set()
    for part in listed.replace(",", " ").split():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def allowed(root: Path, pid: int) -> frozenset[int]:
    """The processors that a process may use, some of them perhaps switched off; none where that is not told."""
    try:
        lines = text(root / f"proc/{pid}/status").splitlines()
        return cpus(next((line.partition(":")[2] for line in lines if line.startswith("Cpus_allowed_list:")), ""))
    except (Unreadable, ValueError):
        return frozenset()


def threads_of_core(root: Path, cpu: int) -> frozenset[int]:
    """The processors that are threads of the core of `cpu`, itself among them; none where Linux does not tell."""
    for name in ("core_cpus_list", "thread_siblings_list"):  # the second before Linux 5.3
        try:
            return cpus(text(root / f"sys/devices/system/cpu/cpu{cpu}/topology/{name}"))
        except (Unreadable, ValueError):
            continue
    return frozenset()


def spread(items: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of the items, evenly chosen."""
    return [items[i * len(items) // most] for i in range(most)] if len(items) > most else list(items)
