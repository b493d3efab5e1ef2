"""What the kernel tells of this process: where it may run, how many of its threads compute, which allocator it has."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from harness import machine
from harness.model import JSON

_TASKS = Path("/proc/self/task")
_MAPS = Path("/proc/self/maps")
_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc")
_OPENMP = re.compile(r"/(lib(?:gomp|iomp5|omp|tbb)[-.\w]*\.so[.\d]*)$")
WATCHED_S, AT_LEAST, AT_MOST = 0.03, 2, 2000
_BUSY = 0.2
"""Share of the busiest thread's time from which a thread counts as computing: helpers that only wake up stay below."""


def facts(infer: Callable[[], object] | None) -> Mapping[str, JSON]:
    """Facts of the worker process; `infer` carries out one inference, and is called for some 30 ms.

    None for a session whose time is not this machine's: nothing would be seen of it.
    """
    libraries = _libraries()
    allowed: list[JSON] = [*sorted(machine.processors())]
    return {
        "affinity": allowed,
        "busy_threads": busy_threads(infer) if infer else "unavailable: a foreign clock",
        "all_threads": _count() or "unavailable: no /proc",
        "allocator": _allocator(libraries),
        "thread_pools": sorted({match.group(1) for path in libraries if (match := _OPENMP.search(path))}),
    }


def busy_threads(infer: Callable[[], object], tasks: Path = _TASKS) -> JSON:
    """How many threads of this process used the processor while `infer` was repeated, spinning included."""
    before = _cpu_ns(tasks)
    if not before:
        return "unavailable: the kernel counts no time per thread (no schedstat)"
    begin, count = time.monotonic(), 0
    while count < AT_LEAST or (time.monotonic() - begin < WATCHED_S and count < AT_MOST):
        infer()
        count += 1
    spent = [ns - before.get(task, 0) for task, ns in _cpu_ns(tasks).items()]
    return sum(ns > _BUSY * max(spent) for ns in spent) if max(spent, default=0) > 0 else 0


def _count() -> int:
    try:
        return sum(1 for _ in _TASKS.iterdir())
    except OSError:
        return 0


def _cpu_ns(tasks: Path) -> Mapping[str, int]:
    """Time on the processor by thread, in nanoseconds: the first field of `schedstat`."""
    spent = {}
    for task in tasks.glob("*/schedstat"):
        try:
            spent[task.parent.name] = int(task.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            continue  # the thread has ended meanwhile
    return spent


def _libraries() -> set[str]:
    try:
        lines = _MAPS.read_text().splitlines()
    except OSError:
        return set()
    return {line.split(maxsplit=5)[-1] for line in lines if ".so" in line}


def _allocator(libraries: set[str]) -> str:
    """The one that was loaded in place of the C library's; runtimes may have arenas of their own on top."""
    names = [Path(path).name for path in libraries]
    return next((name for name in names if any(part in name for part in _ALLOCATORS)), "C library's malloc")
