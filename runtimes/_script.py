"""The scripts of the `fake` runtime: how its latency develops, and what goes wrong in it."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
from collections.abc import Callable, Mapping

from harness.api import JSON, OpenFailed, RunFailed, Unsupported

FAULTS = ("", "crash", "exit", "hang", "raise", "wrong", "nan", "chatty", "refuse", "unsupported")


def number(value: JSON) -> float:
    """An option that is a number. Raises `OpenFailed`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise OpenFailed(f"not a number: {value!r}", "see: backbench list runtimes")


def pattern(options: Mapping[str, JSON]) -> Callable[[int], float]:
    """Factor on the latency of the n-th inference, counted from 1. Raises `OpenFailed`."""
    noise, factor, at = (number(options[name]) for name in ("noise", "factor", "at"))
    draw = random.Random(int(number(options["seed"])))

    def noisy() -> float:
        return draw.lognormvariate(0.0, noise)

    patterns: Mapping[str, Callable[[int], float]] = {
        "constant": lambda n: 1.0,
        "noisy": lambda n: noisy(),
        "drifting": lambda n: 1.0 + (factor - 1.0) * n / at,
        "step": lambda n: (factor if n >= at else 1.0) * noisy(),
        "spikes": lambda n: factor if n % at == 0 else noisy(),
        "waves": lambda n: 1.0 + (factor - 1.0) * (1 + math.sin(2 * math.pi * n / at)) / 2,
        # Heat builds up until `at`; from then on the clock is low nine times out of ten, and recovers in between.
        "throttle": lambda n: (factor if n >= at and n // max(at / 10, 1) % 10 else 1.0) * noisy(),
    }
    name = str(options["pattern"])
    if name not in patterns:
        raise OpenFailed(f"fake has no pattern {name!r}", f"patterns: {', '.join(patterns)}")
    if at <= 0 or noise < 0:
        raise OpenFailed(f"fake: at={at:g} must be over 0, noise={noise:g} must not be under it", "")
    return patterns[name]


def happen(fault: str) -> None:
    """Carry out a fault; those that lie in outputs (`wrong`, `nan`) do nothing here."""
    if fault in _ACTS:
        _ACTS[fault]()


def check_fault(fault: str, where: str) -> None:
    """Raise `OpenFailed` for a fault, or a place for it, that there is none of."""
    if fault not in FAULTS:
        raise OpenFailed(f"fake has no fault {fault!r}", f"faults: {', '.join(FAULTS[1:])}")
    if where not in ("open", "run"):
        raise OpenFailed(f"fake: fault_in={where!r} is neither open nor run", "")


def _raise() -> None:
    raise RunFailed("scripted failure", "take another fault")


def _refuse() -> None:
    raise OpenFailed("scripted refusal", "take another fault")


def _not_here() -> None:
    raise Unsupported("scripted: not on this device")


def _chatter() -> None:
    os.write(1, b"native chatter on file descriptor 1\n")
    print("python chatter", '{"value": "not a reply"}')  # noqa: T201 - that is the fault


_ACTS: Mapping[str, Callable[[], object]] = {
    "crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "hang": threading.Event().wait,
    "raise": _raise,
    "chatty": _chatter,
    "refuse": _refuse,
    "unsupported": _not_here,
}
