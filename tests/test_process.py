"""What the kernel tells of this process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from harness import process


def _burn(times: int = 20_000) -> int:
    return sum(range(times))


def test_one_thread_that_works_is_one_busy_thread() -> None:
    facts = process.facts(_burn)
    assert facts["busy_threads"] == 1
    assert facts["affinity"] == sorted(os.sched_getaffinity(0))
    assert isinstance(facts["all_threads"], int) and facts["all_threads"] >= 1
    assert facts["allocator"]


def test_a_thread_that_only_waits_is_not_busy() -> None:
    stop = threading.Event()
    waiting = threading.Thread(target=stop.wait)
    waiting.start()
    try:
        assert process.busy_threads(_burn) == 1
    finally:
        stop.set()
        waiting.join()


def test_a_session_with_a_clock_of_its_own_is_not_watched() -> None:
    assert process.facts(None)["busy_threads"] == "unavailable: a foreign clock"


def _spends(root: Path, task: str, ns: int) -> None:
    (root / task).mkdir(exist_ok=True)
    (root / task / "schedstat").write_text(f"{ns} 5 7\n")


def test_threads_are_told_apart_by_the_time_they_spent(tmp_path: Path) -> None:
    """Recorded counters: two that compute (one of them new), one that wakes up now and then, one that sleeps."""
    for task, ns in (("1", 1000), ("3", 50), ("4", 9)):
        _spends(tmp_path, task, ns)

    def infer() -> None:
        for task, ns in (("1", 9000), ("2", 7000), ("3", 500), ("4", 9)):
            _spends(tmp_path, task, ns)

    assert process.busy_threads(infer, tmp_path) == 2


def test_a_kernel_without_counters_says_so(tmp_path: Path) -> None:
    assert process.busy_threads(lambda: None, tmp_path) == (
        "unavailable: the kernel counts no time per thread (no schedstat)"
    )


@pytest.mark.parametrize(
    ("path", "allocator"),
    [("/usr/lib/libjemalloc.so.2", "libjemalloc.so.2"), ("/usr/lib/libc.so.6", "C library's malloc")],
)
def test_an_allocator_that_was_loaded_is_named(path: str, allocator: str) -> None:
    assert process._allocator({path}) == allocator
