"""Made records of architectures, and what processes do in tests."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from harness.coverage.record import Architecture, Covered, Exported, Part, Ran
from harness.model import Attempt

VERSIONS = {"timm": "1.0", "torch": "2.0"}
RESNET = Architecture("resnet18", "resnet", 11_689_512, (3, 224, 224), True)
EXPORTED = Exported("onnx_dynamo", 0, 20, 49, 46_800_000, 7.25, 900_000_000)
FIXED = replace(
    EXPORTED, batch=1, lost="export: dynamic shape", attempts=(Attempt("onnx_dynamo (dynamic batch)", "specialized"),)
)
RAN = (Ran("ort_cpu", batches=(1, 4), rel_l2=2.5e-7), Ran("openvino", batches=(1, 4), rel_l2=3.1e-7))


def covered(architecture: Architecture = RESNET, part: Part = "classifier", **changes: Any) -> Covered:
    """A record that is verified in both runtimes, with changes."""
    made = Covered(
        architecture,
        part,
        "2026-01-02",
        VERSIONS,
        ("ort_cpu", "openvino"),
        export=EXPORTED,
        ran=RAN,
        outputs=1,
        seconds=20.0,
    )
    return replace(made, **changes)


def tells(order: Any, send: Callable[[Any], None]) -> None:
    """Says back what it was given, twice."""
    sys.stdout.write("something that a library prints\n")
    sys.stdout.flush()
    send(order)
    send(order)


def is_killed(order: Any, send: Callable[[Any], None]) -> None:
    """Dies as a native library's fault makes it."""
    send("before")
    os.kill(os.getpid(), signal.SIGSEGV)


def exits(order: Any, send: Callable[[Any], None]) -> None:
    """Ends with a Python error."""
    raise RuntimeError("its last words")


def sleeps(order: Any, send: Callable[[Any], None]) -> None:
    """Says its process id, and stays."""
    send(os.getpid())
    time.sleep(60)


def allocates(order: Any, send: Callable[[Any], None]) -> None:
    """Allocates so many bytes, and says whether it could."""
    try:
        kept = bytearray(order)
        send(len(kept))
    except MemoryError:
        send("MemoryError")
