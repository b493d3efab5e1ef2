"""A process of a coverage run: what it tells, and that its end is told from a result."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.coverage.processes import Process, Target
from harness.errors import WorkerCrashed, WorkerTimedOut
from tests.coverage import making

FAR = 120.0


def told(target: Target, order: object, folder: Path, limit_s: float = FAR, limit_bytes: int = 0) -> list[Any]:
    end = time.monotonic() + limit_s
    with Process(target, order, folder / "log", limit_bytes) as process:
        return list(process.news(lambda: end))


def test_what_it_tells_arrives_and_what_it_prints_is_in_the_log(tmp_path: Path) -> None:
    assert told(making.tells, {"a": [1]}, tmp_path) == [{"a": [1]}, {"a": [1]}]
    assert "something that a library prints" in (tmp_path / "log").read_text()


def test_a_signal_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkerCrashed, match="killed by SIGSEGV"):
        told(making.is_killed, None, tmp_path)


def test_an_error_that_was_not_foreseen_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(WorkerCrashed, match=r"exited with status 1.*its last words"):
        told(making.exits, None, tmp_path)


def test_last_words_are_its_own_and_not_those_of_an_earlier_process(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("RuntimeError: std::bad_alloc\n")
    with pytest.raises(WorkerCrashed) as caught:
        told(making.is_killed, None, tmp_path)
    assert caught.value.message == "killed by SIGSEGV"


def test_it_does_not_outlive_its_limit(tmp_path: Path) -> None:
    ends = iter([time.monotonic() + FAR, 0.0])
    with Process(making.sleeps, None, tmp_path / "log") as process:
        news = process.news(lambda: next(ends))
        pid = next(news)
        with pytest.raises(WorkerTimedOut):
            next(news)
    assert not psutil.pid_exists(pid)
    assert not process.alive


def test_leaving_it_ends_it(tmp_path: Path) -> None:
    with Process(making.sleeps, None, tmp_path / "log") as process:
        pid = next(process.news(lambda: time.monotonic() + FAR))
    assert not psutil.pid_exists(pid)


def test_memory_beyond_the_limit_is_refused_and_within_it_is_given(tmp_path: Path) -> None:
    assert told(making.allocates, 8 << 30, tmp_path, limit_bytes=4 << 30) == ["MemoryError"]
    assert told(making.allocates, 1 << 20, tmp_path, limit_bytes=4 << 30) == [1 << 20]
