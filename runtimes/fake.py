"""A runtime whose latencies and faults are scripted: by it the harness is tested without timing anything."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.api import JSON, Artifact, Device, Facts, OpenFailed, RunFailed, Runtime, Session, Setup, Unsupported

if TYPE_CHECKING:
    from harness.api import Array


class Fake(Runtime):
    """Computes the identity in scripted time, and crashes, hangs, lies or chatters when told to (for tests)."""

    accepts = ("onnx", "timm")
    precisions: ClassVar = {"cpu": ("fp32", "tf32", "fp16", "bf16", "int8")}
    casts: ClassVar = {"tf32": "fp32", "fp16": "fp32", "bf16": "fp32", "int8": "fp32"}
    options: ClassVar = {
        "latency_ns": 0, "pattern": "constant", "noise": 0.02, "factor": 2.0, "at": 50, "seed": 0, "virtual": True,
        "bind_ns": 0, "fault": "", "fault_at": 0, "claims": "",
    }  # fmt: skip

    def devices(self) -> Sequence[Device]:
        """The host, always."""
        return (Device("cpu"),)

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """A scripted session; `fault` `refuse` and `unsupported` end here."""
        fault = setup.options["fault"]
        if fault == "refuse":
            raise OpenFailed("scripted refusal", "take another fault")
        if fault == "unsupported":
            raise Unsupported("scripted: not on this device")
        return ScriptedSession(artifact, setup)


class ScriptedSession(Session):
    """Latencies by pattern; virtual time is its own clock, so that hours pass in no time."""

    def __init__(self, artifact: Artifact, setup: Setup) -> None:
        self._outputs = [spec.name for spec in artifact.outputs]
        self._inputs = [spec.name for spec in artifact.inputs]
        self._setup = setup
        self._feed: Mapping[str, Array] = {}
        options = setup.options
        self._latency_ns = _number(options["latency_ns"])
        self._fault, self._fault_at = options["fault"], _number(options["fault_at"])
        self._virtual = options["virtual"] is True and self._latency_ns > 0
        self._count, self._now_ns = 0, 0.0
        self._factor = _pattern(options)
        if not self._latency_ns and not self._fault:
            self.run = _nothing  # type: ignore[method-assign]  # the harness's overhead is measured with this one

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Keep the inputs."""
        self._feed = feed
        self._now_ns += _number(self._setup.options["bind_ns"])

    def run(self) -> None:
        """Let the scripted time pass, and carry out the fault when its inference has come."""
        self._count += 1
        passed = self._latency_ns * self._factor(self._count)
        if self._virtual:
            self._now_ns += passed
        elif passed:
            time.sleep(passed / 1e9)
        if self._fault and self._count >= self._fault_at:
            _FAULTS.get(str(self._fault), _nothing)()

    def fetch(self) -> Mapping[str, Array]:
        """The inputs under the outputs' names; far off for `wrong`, NaN for `nan`."""
        import numpy as np

        given = [np.array(self._feed[name]) for name in self._inputs]
        if self._fault == "wrong":
            given = [array[::-1] * 3 + 1 for array in given]
        if self._fault == "nan":
            given = [array * np.nan for array in given]
        return dict(zip(self._outputs, given, strict=True))

    def facts(self) -> Facts:
        """What it was told to be, or what it `claims`."""
        claims = str(self._setup.options["claims"]) or self._setup.precision
        return Facts(claims, "cpu", ("scripted",), threads=self._setup.threads)  # type: ignore[arg-type]

    def timer(self) -> Callable[[], int] | None:
        """Its virtual clock."""
        return (lambda: int(self._now_ns)) if self._virtual else None


def _nothing() -> None:
    """Take no time."""


def _number(value: JSON) -> float:
    if isinstance(value, (int, float)):
        return value
    raise OpenFailed(f"not a number: {value!r}", "see: backbench list runtimes fake")


def _pattern(options: Mapping[str, JSON]) -> Callable[[int], float]:
    """Factor on the latency of the n-th inference."""
    noise, factor, at = (_number(options[name]) for name in ("noise", "factor", "at"))
    draw = random.Random(int(_number(options["seed"])))
    patterns: Mapping[str, Callable[[int], float]] = {
        "constant": lambda n: 1.0,
        "noisy": lambda n: draw.lognormvariate(0.0, noise),
        "drifting": lambda n: 1.0 + (factor - 1.0) * n / at,
        "step": lambda n: (factor if n >= at else 1.0) * draw.lognormvariate(0.0, noise),
        "spikes": lambda n: factor if n % at == 0 else draw.lognormvariate(0.0, noise),
        "waves": lambda n: 1.0 + (factor - 1.0) * (1 + math.sin(2 * math.pi * n / at)) / 2,
    }
    name = str(options["pattern"])
    if name not in patterns:
        raise OpenFailed(f"fake has no pattern {name!r}", f"patterns: {', '.join(patterns)}")
    return patterns[name]


def _raise() -> None:
    raise RunFailed("scripted failure", "take another fault")


def _chatter() -> None:
    os.write(1, b"native chatter on file descriptor 1\n")
    print("python chatter", '{"value": "not a reply"}')  # noqa: T201 - that is the fault


_FAULTS: Mapping[str, Callable[[], object]] = {
    "crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "hang": threading.Event().wait,
    "raise": _raise,
    "chatty": _chatter,
}
