"""What a process does with one part of an architecture: create, export once, then open, run and compare in each runtime."""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import codec, measure, prepare, registry, route, usage, verify
from harness import reference as references
from harness.cache import Cache
from harness.coverage import causes
from harness.coverage.record import INPUTS, LIMIT, Exported, News, Order, Ran
from harness.errors import BackbenchError, ExportFailed, StoreFailed, Unsupported, WorkerFailed
from harness.model import Artifact, Attempt, Backbone, Cell, Device, Export, Format, Recipe, Setup
from harness.worker import Worker

Tell = Callable[[News], None]


@dataclass(frozen=True)
class Watched(Cache):
    """A cache that says which entry is being made, before it is."""

    begins: Callable[[Path], None]

    def get_or_make(
        self,
        recipe: Recipe,
        format_: Format,
        make: Callable[[Path], Export],
        attempts: tuple[Attempt, ...] = (),
    ) -> Artifact:
        """As the cache does."""

        def announced(folder: Path) -> Export:
            self.begins(self.entry(recipe))
            return make(folder)

        return super().get_or_make(recipe, format_, announced, attempts)


class Here:
    """A worker's operations, carried out by this very process."""

    def __init__(self, log: Path, *, name: str = "") -> None:
        """Nothing is started; what is printed goes where this process prints."""

    def ask(self, op: str, timeout_s: float, **fields: object) -> Any:
        """As a worker answers: its own errors, and `WorkerFailed` for whatever a library raises."""
        try:
            return codec.encode(Worker().do(op, fields))
        except BackbenchError:
            raise
        except Exception as error:
            traceback.print_exc()
            said = (str(error).strip().splitlines() or ["no message"])[0]
            raise WorkerFailed(f"{type(error).__name__}: {said}", "the trace is in the log") from error

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def cover(data: Any, send: Callable[[Any], None]) -> None:
    """Work at an `Order`, and tell `News`."""
    order = codec.decode(Order, data)
    import torch

    torch.set_num_threads(order.threads)
    _Work(order, lambda news: send(codec.encode(news))).do()


class _Work:
    def __init__(self, order: Order, tell: Tell) -> None:
        self._order = order
        self._tell = tell
        self._step = "create"
        self._backbone = Backbone(order.architecture.name, features_only=order.part == "features")
        folder = Path(order.folder)
        self._folder = folder / "runtimes"
        cache = Watched(folder, lambda entry: tell(News("began", self._step, str(entry))))
        self._line = prepare.Line(
            self._backbone, cache, folder, print, threading.Event(), start=Here, inputs=INPUTS[order.part]
        )  # fmt: skip

    def do(self) -> None:
        try:
            self._do()
        except StoreFailed as error:
            self._tell(News("stopped", self._step, reason=error.message, full_disk=error.hint or "make room"))
        except (BackbenchError, MemoryError) as error:
            reason = _said(error)
            self._tell(News("stopped", self._step, cause=causes.of(self._step, reason), reason=reason))
        self._tell(News("ended", peak_bytes=usage.peak_rss_bytes() or None))

    def _do(self) -> None:
        self._tell(News("began", "create"))
        with ExitStack() as stack:
            source, reference = self._line.source_and_reference(stack)
        self._tell(News("created", outputs=len(source.outputs)))
        batches = self._export(source)
        for runtime in self._order.runtimes:
            if runtime in {ran.runtime for ran in self._order.done}:
                continue
            self._step = runtime
            self._tell(News("began", runtime))
            self._tell(News("ran", runtime, ran=self._run(runtime, source, reference, batches)))

    # ── the one export ───────────────────────────────────────────────────────────────────────────────────────────

    def _export(self, source: Artifact) -> tuple[int, ...]:
        """Make the ONNX file that runtimes share, if one of them needs it: the batch sizes that it takes."""
        known = registry.exporter_classes()
        chains = [self._chain(known, source, name) for name in self._order.runtimes]
        first = next((steps[0] for steps in chains if steps), None)
        if first is None:
            return self._batches(None)
        self._step = "export"
        self._tell(News("began", "export"))
        forgotten = _forget_peak()
        made = self._line.step(first, source, Cell(self._backbone, "", batch=1), None, False, None)
        peak = usage.peak_rss_bytes() if forgotten else None
        batch = made.details.get("batch")
        fixed = batch if isinstance(batch, int) else 0
        lost = causes.of_export(made.attempts[0].reason) if fixed and made.attempts else ""
        opset, nodes = made.details.get("opset"), made.details.get("nodes")
        exported = Exported(
            made.recipe.exporter, fixed, opset if isinstance(opset, int) else 0, nodes if isinstance(nodes, int) else 0,
            made.size_bytes, made.seconds, peak, made.attempts, lost,
        )  # fmt: skip
        self._tell(News("exported", "export", export=exported))
        return self._batches(fixed or None)

    def _batches(self, fixed: int | None) -> tuple[int, ...]:
        """One image; of a classifier all as one batch too, where the export takes any."""
        return (1,) if fixed or self._order.part == "features" else (1, INPUTS[self._order.part])

    def _chain(self, known: Any, source: Artifact, name: str) -> tuple[route.Step, ...]:
        try:
            return route.find(known, source.format, registry.runtime_class(name), "fp32")
        except Unsupported:
            return ()  # said when the runtime's turn has come

    # ── a runtime ────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, name: str, source: Artifact, reference: Artifact, batches: Sequence[int]) -> Ran:
        begin = time.perf_counter()
        done: list[int] = []
        worst = 0.0
        try:
            registry.check_installed(name, registry.runtime_class(name).needs)
            for batch in batches:
                cell = Cell(self._backbone, name, "fp32", batch, self._order.device, self._order.threads)
                artifact = self._line.chain(cell, source, reference).artifact
                images = (
                    INPUTS[self._order.part] if batch == batches[-1] else 1
                )  # of one alone the shapes differ, nothing else
                checked = self._compare(cell, artifact, Path(reference.path), images)
                done.append(batch)
                errors = [error.rel_l2 for error in checked.outputs]
                worst = max(worst, *(math.inf if error is None else error for error in errors))
                if not checked.passed:
                    return self._ran(name, begin, done, worst, causes.of_parity(checked.reason), checked.reason)
        except StoreFailed:
            raise
        except (BackbenchError, MemoryError) as error:
            reason = _said(error)
            cause = causes.of_export(reason) if isinstance(error, ExportFailed) and not done else ""
            return self._ran(name, begin, done, worst, cause or causes.of_runtime(reason), reason)
        return self._ran(name, begin, done, worst)

    def _ran(
        self, name: str, begin: float, batches: Sequence[int], worst: float, cause: str = "", reason: str = ""
    ) -> Ran:
        rel_l2 = worst if batches and math.isfinite(worst) else None
        return Ran(name, cause, reason, tuple(batches), rel_l2, time.perf_counter() - begin)

    def _compare(self, cell: Cell, artifact: Artifact, reference: Path, images: int) -> Any:
        """Open, run on the first reference images and compare. Raises what the runtime raises, in our words."""
        plugin = registry.runtime_class(cell.runtime)
        kind, _, index = cell.device.partition(":")
        self._folder.mkdir(exist_ok=True)
        device = Device(kind, int(index) if index else None)
        setup = Setup(device, "fp32", cell.batch, cell.threads, dict(plugin.options), str(self._folder))
        inputs, outputs = references.load(reference)
        rows = [list(range(i, i + cell.batch)) for i in range(0, images, cell.batch)]
        feeds = [{name: array[row] for name, array in inputs.items()} for row in rows]
        try:
            with plugin().open(artifact, setup) as session:
                bench = measure.Bench(session, feeds, rows)
                limit = verify.tolerance_for("fp32", {"rel_l2": LIMIT})
                return bench.verify(outputs, limit, references.made_with(reference))
        except (BackbenchError, MemoryError):
            raise
        except Exception as error:
            traceback.print_exc()
            raise WorkerFailed(f"{type(error).__name__}: {error}", "the trace is in the log") from error


def _said(error: BaseException) -> str:
    return error.message if isinstance(error, BackbenchError) else f"{type(error).__name__}: {error}"


def _forget_peak() -> bool:
    """Begin the kernel's count of the largest resident memory anew (proc(5), clear_refs); whether it did.

    What earlier steps let go of is given back first: the allocator (glibc's) would keep it.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False
