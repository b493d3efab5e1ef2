"""A runtime whose latencies and faults are scripted: by it the harness is tested without timing anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.api import Artifact, Device, Facts, Runtime, Session, Setup
from runtimes._script import check_fault, happen, number, pattern

if TYPE_CHECKING:
    from harness.api import Array


class Fake(Runtime):
    """Computes the identity in scripted time, and crashes, hangs, lies or chatters when told to (for tests)."""

    accepts = ("onnx", "timm")
    precisions: ClassVar = {"cpu": ("fp32", "tf32", "fp16", "bf16", "int8")}
    casts: ClassVar = {"tf32": "fp32", "fp16": "fp32", "bf16": "fp32", "int8": "fp32"}
    # `fault_at`: the inference at which it happens, counted from opening. `load_s` really passes.
    options: ClassVar = {
        "latency_ns": 0, "pattern": "constant", "noise": 0.02, "factor": 2.0, "at": 50, "seed": 0, "virtual": True,
        "bind_ns": 0, "load_s": 0.0, "fault": "", "fault_at": 0, "fault_in": "run", "claims": "",
    }  # fmt: skip

    def devices(self) -> Sequence[Device]:
        """The host, always."""
        return (Device("cpu"),)

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """A scripted session; a fault in `open`, and `refuse` and `unsupported`, end here."""
        fault, where = str(setup.options["fault"]), str(setup.options["fault_in"])
        check_fault(fault, where)
        if load_s := number(setup.options["load_s"]):
            time.sleep(load_s)
        if where == "open" or fault in ("refuse", "unsupported"):
            happen(fault)
        return ScriptedSession(artifact, setup)


class ScriptedSession(Session):
    """Latencies by pattern; virtual time is its own clock, so that hours pass in no time."""

    def __init__(self, artifact: Artifact, setup: Setup) -> None:
        self._outputs = [spec.name for spec in artifact.outputs]
        self._inputs = [spec.name for spec in artifact.inputs]
        self._setup, options = setup, setup.options
        self._feed: Mapping[str, Array] = {}
        self._latency_ns, self._bind_ns = number(options["latency_ns"]), number(options["bind_ns"])
        self._fault = str(options["fault"])
        self._fault_at = number(options["fault_at"]) if options["fault_in"] == "run" else float("inf")
        self._virtual = options["virtual"] is True and self._latency_ns > 0
        self._count, self._now_ns = 0, 0.0
        self._factor = pattern(options)
        if not self._latency_ns and not self._fault:
            self.run = _nothing  # type: ignore[method-assign]  # the harness's overhead is measured with this one

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Keep the inputs."""
        self._feed = feed
        self._now_ns += self._bind_ns

    def run(self) -> None:
        """Let the scripted time pass, and carry out the fault when its inference has come."""
        self._count += 1
        passed = self._latency_ns * self._factor(self._count)
        if self._virtual:
            self._now_ns += passed
        elif passed:
            time.sleep(passed / 1e9)
        if self._fault and self._count >= self._fault_at:
            happen(self._fault)

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
