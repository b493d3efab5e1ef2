"""A process for each architecture, forked from one that has imported the libraries already, within limits."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeAlias

from harness.errors import WorkerCrashed, WorkerTimedOut
from harness.launch import tail

Target: TypeAlias = Callable[[Any, Callable[[Any], None]], None]
"""What a process does: takes plain JSON, and tells plain JSON while it works. A function of a module, or pickle refuses."""
_DIE_WITH_PARENT = 1
_GRACE_S = 10.0
_STARTING = threading.Lock()
"""multiprocessing looks at its other processes while it starts one, and two threads would read one exit code."""


class Process:
    """A running process and what it tells. Use as a context manager: leaving it kills the whole group."""

    def __init__(self, target: Target, order: object, log: Path, limit_bytes: int = 0) -> None:
        """Start it. `limit_bytes` bounds the memory it may allocate; 0 does not."""
        self.log = log
        self._ended = False
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log_begins = log.stat().st_size if log.exists() else 0  # before that are the words of others
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["harness.coverage.preload"])
        self._news, theirs = context.Pipe(duplex=False)
        with _STARTING:
            self._process = context.Process(
                target=_live, args=(target, order, theirs, str(log), limit_bytes), daemon=False
            )
            self._process.start()
        theirs.close()

    def news(self, deadline: Callable[[], float]) -> Iterator[Any]:
        """What it tells, until it ends. `deadline` is asked before each wait, by the clock of `time.monotonic`.

        Raises `WorkerTimedOut` (it is killed) or `WorkerCrashed`.
        """
        while True:
            left = deadline() - time.monotonic()
            if left <= 0 or not wait([self._news], left):
                self.kill()
                raise WorkerTimedOut("it was over its limit of time, and was killed", f"its log: {self.log}")
            try:
                yield json.loads(self._news.recv_bytes())
            except (EOFError, ConnectionError):
                break
        if not wait([self._process.sentinel], _GRACE_S):
            self.kill()  # all is told, and a thread of some library does not end
            return
        self._reap()
        if code := self._process.exitcode:
            last = tail(self.log, begin=self._log_begins)
            raise WorkerCrashed(f"{_how(code)}" + (f"; its last words: {last}" if last else ""), f"its log: {self.log}")

    @property
    def alive(self) -> bool:
        """Whether it has not been seen to end."""
        return not self._ended

    def kill(self) -> None:
        """End it and all that it started."""
        if not self.alive:
            return
        for end in (os.killpg, os.kill):  # before it leads a group of its own it has none
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(self._process.pid or 0, signal.SIGKILL)
        self._reap()

    def _reap(self) -> None:
        wait([self._process.sentinel])
        with _STARTING:
            self._process.join()
        self._ended = True

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive:
            self.kill()
        self._news.close()


def _how(code: int) -> str:
    if code > 0:
        return f"exited with status {code}"
    name = signal.Signals(-code).name
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _live(target: Target, order: object, pipe: Connection, log: str, limit_bytes: int) -> None:
    """The process's life: its own group, its output in the log, no longer than who waits for it."""
    os.setsid()
    _die_with_parent()
    with Path(log).open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    target(order, lambda told: pipe.send_bytes(json.dumps(told).encode()))
    pipe.close()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
