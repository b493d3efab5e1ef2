"""What the kernel counted for this process: time, context switches, page faults, resident memory."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from harness.model import Usage

_STATUS = Path("/proc/self/status")


def now() -> Usage:
    """The counters of this process (all its threads) since it started."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(
        wall_ns=time.monotonic_ns(),
        cpu_ns=round((used.ru_utime + used.ru_stime) * 1e9),
        voluntary_switches=used.ru_nvcsw,
        involuntary_switches=used.ru_nivcsw,
        minor_faults=used.ru_minflt,
        major_faults=used.ru_majflt,
    )


def between(earlier: Usage, later: Usage) -> Usage:
    """What was counted from `earlier` to `later`."""
    return Usage(
        wall_ns=later.wall_ns - earlier.wall_ns,
        cpu_ns=later.cpu_ns - earlier.cpu_ns,
        voluntary_switches=later.voluntary_switches - earlier.voluntary_switches,
        involuntary_switches=later.involuntary_switches - earlier.involuntary_switches,
        minor_faults=later.minor_faults - earlier.minor_faults,
        major_faults=later.major_faults - earlier.major_faults,
    )


def rss_bytes() -> int:
    """Resident memory of this process now."""
    return _status_bytes("VmRSS") or peak_rss_bytes()


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far.

    `VmHWM` begins at exec; `ru_maxrss` does not (getrusage(2) on Linux keeps what the forked parent had), so it serves
    only where there is no /proc.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    return _status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status_bytes(name: str) -> int:
    try:
        text = _STATUS.read_text()
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith(f"{name}:")), "")
    return int(line.split()[1]) * 1024 if line else 0
