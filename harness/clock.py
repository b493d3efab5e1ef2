"""The harness's clock: every time that is published is read from it, or says which other clock it came from."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api import Session

Timer = Callable[[], int]
"""Nanoseconds since some fixed moment, never going back."""
HOST = "time.perf_counter_ns"


def timer_of(session: Session) -> tuple[Timer, str]:
    """The clock a session is timed by, and its name for the record: the host's unless the session brings its own."""
    foreign = session.timer()
    return (time.perf_counter_ns, HOST) if foreign is None else (foreign, f"foreign ({type(session).__module__})")


def resolution_ns(timer: Timer = time.perf_counter_ns, readings: int = 2000) -> int:
    """The smallest step above zero between successive readings, in nanoseconds."""
    times = [timer() for _ in range(readings)]
    steps = [later - earlier for earlier, later in itertools.pairwise(times) if later > earlier]
    return min(steps, default=0)
