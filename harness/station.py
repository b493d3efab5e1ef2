"""One cell's worker with its open session, as the parent sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import codec, label, registry, schedule
from harness.errors import BackbenchError, OpenFailed
from harness.launch import Worker, environment, pinned
from harness.model import (
    JSON,
    Burst,
    Cell,
    Device,
    Opened,
    Pace,
    ProfiledInference,
    Setup,
    Verification,
    Warmup,
)
from harness.ready import Ready
from harness.record import Rules

OPEN_TIMEOUT_S = 1800.0
"""For loading and compiling; a runtime that builds engines while it opens takes minutes."""
WARM_LIMIT_S = 5.0


class Station:
    """One cell's worker with its open session."""

    def __init__(self, cell: Cell, ready: Ready, worker: Worker, rules: Rules) -> None:
        self.cell = cell
        self.ready = ready
        self.worker = worker
        self.rules = rules
        self.opened: Opened | None = None

    def open(self, cache: Path) -> Opened:
        """Load the artifact and run the first inference. Raises where the facts contradict the label."""
        cell = self.cell
        kind, _, index = cell.device.partition(":")
        known = registry.runtime_class(cell.runtime).options
        folder = cache / cell.runtime
        folder.mkdir(parents=True, exist_ok=True)
        device = Device(kind, int(index) if index else None)
        setup = Setup(device, cell.precision, cell.batch, cell.threads, {**known, **cell.options}, str(folder))
        if any(setup.options[name] == value for name, value in registry.runtime_class(cell.runtime).filled.items()):
            log = self.worker.log.with_name(f"{self.worker.log.stem}-fill.log")
            with worker_for(cell, log) as filler:
                self._ask_to_open(filler, replace(setup, options={**setup.options, **_filling(cell.runtime)}))
        self.opened = codec.decode(Opened, self._ask_to_open(self.worker, setup))
        if fault := label.contradiction(cell, self.opened.facts):
            raise OpenFailed(f"what runs is not what the label says: {fault}", "see the record's facts")
        return self.opened

    def _ask_to_open(self, worker: Worker, setup: Setup) -> Any:
        return worker.ask(
            "open", OPEN_TIMEOUT_S if self.rules.patience_s >= 10 else self.rules.patience_s,
            runtime=self.cell.runtime, artifact=codec.encode(self.ready.artifact),
            setup=codec.encode(setup), reference=self.ready.reference.path,
        )  # fmt: skip

    def verify(self) -> Verification:
        """Compare with the reference."""
        limits = dict(self.rules.tolerances.get(self.cell.precision, {}))
        return codec.decode(Verification, self._ask("verify", 40, reference=self.ready.reference.path,
                                                    precision=self.cell.precision, tolerance=limits))  # fmt: skip

    def warm(self) -> Warmup:
        """Bring it to its steady state."""
        pace = schedule.pace_of(self.rules)
        least = replace(pace, seconds=pace.seconds / 2, end_to_end_s=0.0)
        # The limit is looked at after a burst: the last one may begin within it.
        lasts = WARM_LIMIT_S + least.seconds
        inferences = 40 + least.inferences
        return codec.decode(
            Warmup, self._ask("warm", inferences, lasts, pace=codec.encode(least), limit_s=WARM_LIMIT_S)
        )

    def burst(self, pace: Pace) -> Burst:
        """One burst. After one that fails the worker is gone: the others are measured without what it held."""
        lasts = pace.seconds + pace.end_to_end_s
        try:
            return codec.decode(Burst, self._ask("burst", 12 + pace.inferences, lasts, pace=codec.encode(pace)))
        except BackbenchError:
            self.worker.close()
            raise

    def profile(self, inferences: int) -> tuple[ProfiledInference, ...]:
        """So many inferences with the runtime's profiler on; it may compile again for that."""
        first = self.opened.first_inference_s if self.opened else 0.0
        reply = self.worker.ask("profile", OPEN_TIMEOUT_S + inferences * 10 * first, inferences=inferences)
        return tuple(codec.decode(ProfiledInference, inference) for inference in reply)

    def memory(self) -> Mapping[str, Any]:
        """Peak memory and imported frameworks, as the worker's `memory` tells."""
        return dict(self._ask("memory", 1))

    def _ask(self, op: str, inferences: int, lasts_s: float = 0.0, **fields: object) -> Any:
        """Ask with a limit that follows from how long an inference takes, and from how long the worker is told to go on."""
        first = self.opened.first_inference_s if self.opened else 0.0
        return self.worker.ask(op, self.rules.patience_s + lasts_s + inferences * 2 * first, **fields)


def _filling(runtime: str) -> Mapping[str, JSON]:
    """The options of a session that fills a cache: it is kept, whatever is found there."""
    return dict.fromkeys(registry.runtime_class(runtime).filled, True)


def worker_for(cell: Cell, log: Path) -> Worker:
    """A fresh process for a cell: pinned, in its interpreter and with its runtime's environment."""
    return Worker(
        log,
        prefix=pinned(cell.cpus),
        python=cell.python,
        env=environment(cell.threads, cell.python, registry.runtime_class(cell.runtime).environment),
        name=f"{cell.backbone.name} {cell.title}",
    )
