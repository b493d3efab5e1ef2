"""Makes what measuring needs, before measuring starts: timm snapshots, reference outputs, and each cell's artifact."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from harness import calibration_images, codec, installed, interpreter, recipes, registry, route
from harness.cache import Cache, sha256
from harness.errors import (
    BackbenchError,
    ExportFailed,
    MissingLibrary,
    StoreFailed,
)  # fmt: skip
from harness.launch import Asked, Start, Worker
from harness.memo import source_digest
from harness.model import JSON, Artifact, Attempt, Backbone, Cell, Export, Recipe, Request
from harness.onnx_file import ASKED_SIZE
from harness.ready import Prepared, Ready

REFERENCE_INPUTS = 8
_SNAPSHOT_MODULES = tuple(f"harness.{name}" for name in ("backbone", "random_weights", "weights", "images"))
EXPORT_TIMEOUT_S = 1800.0
_BELONGS_TIMEOUT_S = 180.0
Tell = Callable[[str], None]
"""Takes one line of progress, such as `resnet50: onnx_dynamo`. Called from several threads."""


def prepare(cells: Mapping[str, Cell], cache: Cache, logs: Path, jobs: int, tell: Tell, builds: int = 1) -> Prepared:
    """Prepare every cell, backbones side by side in `jobs` threads; one that fails stops only its own cells.

    With several `builds`, what chooses kernels by timing them is built so often.
    """
    by_backbone: dict[Backbone, dict[str, Cell]] = {}
    for key, cell in cells.items():
        by_backbone.setdefault(cell.backbone, {})[key] = cell
    ready: dict[str, Ready] = {}
    failed: dict[str, BackbenchError] = {}
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        lines = [
            pool.submit(Line(b, cache, logs, tell, stop, builds=builds).prepare, group)
            for b, group in by_backbone.items()
        ]
        _gather(lines, pool, stop)
        for future in lines:
            done = future.result()
            ready |= done.ready
            failed |= done.failed
    return Prepared(ready, failed)


def countable(cell: Cell, cache: Cache, logs: Path, tell: Tell) -> tuple[Artifact, str]:
    """What a cell of a runtime that opens ONNX is given, made without a reference; where that fails its snapshot, and why.

    Raises what making the snapshot, or looking into the ONNX file, raises.
    """
    return Line(cell.backbone, cache, logs, tell, threading.Event()).countable(cell)


def _gather(futures: Sequence[Future[Any]], pool: ThreadPoolExecutor, stop: threading.Event) -> None:
    """Wait for all; on the first exception that is not a cell's own, start nothing more."""
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
    except BaseException:
        stop.set()  # first, or a thread whose worker is killed would go on with the next exporter
        pool.shutdown(wait=False, cancel_futures=True)
        Worker.kill_all()
        raise


class Line:
    """Prepares the cells of one backbone, one step after another."""

    def __init__(
        self, backbone: Backbone, cache: Cache, logs: Path, tell: Tell, stop: threading.Event, *,
        start: Start = Worker, inputs: int = REFERENCE_INPUTS, builds: int = 1,
    ) -> None:  # fmt: skip
        """`start` starts who carries out the steps; `inputs` is how many images the reference has."""
        self.stop = stop
        self.start = start
        self.inputs = inputs
        self.builds = builds
        self.backbone = backbone
        self.cache = cache
        self.log = logs / f"prepare-{backbone.name}-{codec.key(backbone)}.log"
        self.tell = tell
        self._belongs: dict[tuple[str, str, str], Mapping[str, JSON]] = {}

    def prepare(self, cells: Mapping[str, Cell]) -> Prepared:
        """Ready or failed, for each cell."""
        try:
            with ExitStack() as stack:
                source, reference = self.source_and_reference(stack)
        except BackbenchError as error:
            return Prepared(failed=dict.fromkeys(cells, error))
        ready: dict[str, Ready] = {}
        failed: dict[str, BackbenchError] = {}
        for key, cell in cells.items():
            try:
                ready[key] = self.chain(cell, source, reference)
            except BackbenchError as error:
                failed[key] = error
        return Prepared(ready, failed)

    def countable(self, cell: Cell) -> tuple[Artifact, str]:
        """The artifact of a cell, or the snapshot and why there is no artifact."""
        with ExitStack() as stack:
            source = self._source(lambda: stack.enter_context(self._worker("source")))
        if self.backbone.path:
            return source, ""
        try:
            return self.chain(cell, source, source).artifact, ""
        except ExportFailed as error:
            return source, error.message

    def _worker(self, purpose: str, python: str = "") -> Asked:
        if self.stop.is_set():
            raise StoreFailed("interrupted before everything was prepared", "repeat the command")
        start = partial(Worker, python=python) if python else self.start
        return start(self.log, name=f"{self.backbone.name} ({purpose})")

    def source_and_reference(self, stack: ExitStack) -> tuple[Artifact, Artifact]:
        """The artifact that the chain begins with, and the reference; one worker makes both, if they are to be made."""
        workers: list[Asked] = []

        def worker() -> Asked:
            if not workers:
                workers.append(stack.enter_context(self._worker("reference")))
            return workers[0]

        source = self._source(worker)
        needs = ("torch", "timm") if not self.backbone.path else ("onnxruntime",)
        recipe = Recipe(
            "reference",
            source.digest,
            {"seed": self.backbone.seed, "inputs": self.inputs, "input_size": self.backbone.input_size},
            dict(installed.versions(needs)) | {"source": source_digest("harness.reference", "harness.images")},
        )

        def make(folder: Path) -> Export:
            self.tell(f"{self.backbone.name}: reference outputs")
            asked = {"artifact": codec.encode(source), "backbone": codec.encode(self.backbone), "folder": str(folder)}
            reply = worker().ask("reference", EXPORT_TIMEOUT_S, count=self.inputs, **asked)
            return codec.decode(Export, reply)

        return source, self.cache.get_or_make(recipe, "reference", make)

    def _source(self, worker: Callable[[], Asked]) -> Artifact:
        return self._onnx_source(worker) if self.backbone.path else self._snapshot(worker)

    def _snapshot(self, worker: Callable[[], Asked]) -> Artifact:
        backbone = self.backbone
        checkpoint = "" if backbone.weights in ("random", "pretrained") else sha256(Path(backbone.weights))
        options: Mapping[str, JSON] = codec.encode(
            replace(backbone, weights="file" if checkpoint else backbone.weights)
        )
        versions = dict(installed.versions(("torch", "timm")))
        recipe = Recipe("timm", checkpoint, options, versions | {"source": source_digest(*_SNAPSHOT_MODULES)})

        def make(folder: Path) -> Export:
            self.tell(f"{backbone.name}: {backbone.weights if not checkpoint else 'checkpoint'} weights")
            reply = worker().ask("snapshot", EXPORT_TIMEOUT_S, backbone=codec.encode(backbone), folder=str(folder))
            return codec.decode(Export, reply)

        return self.cache.get_or_make(recipe, "timm", make)

    def _onnx_source(self, worker: Callable[[], Asked]) -> Artifact:
        """The ONNX file itself, where it lies: it is not copied into the cache."""
        path = Path(self.backbone.path)
        export = codec.decode(Export, worker().ask("inspect", EXPORT_TIMEOUT_S, path=str(path)))
        digest, size = str(export.details["digest"]), export.details["size_bytes"]
        assert isinstance(size, int)
        left_open = any(isinstance(n, str) for spec in export.inputs for n in spec.shape[1:])
        asked: Mapping[str, JSON] = {ASKED_SIZE: self.backbone.input_size} if left_open else {}
        return Artifact(
            "onnx", str(path), export.precision, export.inputs, export.outputs, digest, size, Recipe("file", digest), 0.0,
            {**export.details, **asked},
        )  # fmt: skip

    def chain(self, cell: Cell, source: Artifact, reference: Artifact) -> Ready:
        """What the cell's runtime opens. Raises `ExportFailed`, `Unsupported`, or what a step raises."""
        runtime = registry.runtime_class(cell.runtime)
        asked, exporters = cell.backbone, registry.exporter_classes()
        steps = route.find(exporters, asked.source, runtime, cell.precision, asked.precision)
        static = cell.device.partition(":")[0] in runtime.static_batch
        opset = runtime.opset(interpreter.versions(runtime.needs, cell.python))
        artifact, chain, attempts, seconds = source, [], list(source.attempts), 0.0
        images: Artifact | None = None
        made = [source]
        for step in steps:
            images = self.calibration(cell, step, source)
            artifact = self.step(step, artifact, cell, opset, static, images)
            chain.append(artifact.recipe.exporter)
            attempts += artifact.attempts
            seconds += artifact.seconds
            made.append(artifact)
        params = source.details.get("params")
        known = params if isinstance(params, int) else None
        again: list[Artifact] = []
        if steps and registry.exporter_class(artifact.recipe.exporter).independent:
            last = partial(self.step, steps[-1], made[-2], cell, opset, static, images)
            again = [last(build) for build in range(1, self.builds)]
        return Ready(artifact, reference, tuple(chain), tuple(attempts), seconds, known, tuple(made), tuple(again))

    def calibration(self, cell: Cell, step: route.Step, source: Artifact) -> Artifact | None:
        """Calibration images as `source`, which tells the data config, takes them; None where the step watches none."""
        if cell.calibration is None or not any(
            step.makes in registry.exporter_class(name).calibrated for name in step.exporters
        ):
            return None
        asked = calibration_images.order(source, self.backbone, cell.calibration)

        def make(folder: Path) -> Export:
            self.tell(f"{self.backbone.name}: calibration images")
            with self._worker("calibration") as worker:
                reply = worker.ask(
                    "calibration", EXPORT_TIMEOUT_S, order=codec.encode(asked), artifact=codec.encode(source),
                    backbone=codec.encode(self.backbone), folder=str(folder),
                )  # fmt: skip
            return codec.decode(Export, reply)

        return self.cache.get_or_make(asked.recipe, calibration_images.FORMAT, make)

    def step(
        self, step: route.Step, source: Artifact, cell: Cell, opset: int | None, static: bool, images: Artifact | None,
        build: int = 0,
    ) -> Artifact:  # fmt: skip
        """Try the step's exporters in turn, each with a dynamic batch first where it can and may."""
        attempts: list[Attempt] = []
        errors: list[BackbenchError] = []
        for name in step.exporters:
            exporter = registry.exporter_class(name)
            for batch in route.batches(exporter, source, cell.batch, static):
                options = {**exporter.options, **cell.exports.get(name, {})}
                watched = images if step.makes in exporter.calibrated else None
                want = Request(step.makes, batch, opset, cell.device, options, build, watched)
                python = interpreter.of_exporter(name, cell.python)
                try:
                    interpreter.check_installed(name, exporter.needs, python)
                    return self._export(name, source, step.target, want, tuple(attempts), python)
                except StoreFailed:
                    raise  # no exporter's fault, and none would fare better
                except BackbenchError as error:
                    errors.append(error)
                    how = "dynamic batch" if batch is None else f"batch {batch}"
                    attempts.append(Attempt(f"{name} ({how})", error.message))
        if len({error.message for error in errors}) == 1:
            if isinstance(errors[0], MissingLibrary):
                raise errors[0]
            raise ExportFailed(f"{name} failed: {errors[0].message}", errors[0].hint or f"its log: {self.log}")
        said = "; ".join(f"{a.exporter}: {a.reason}" for a in attempts)
        raise ExportFailed(
            f"no exporter made {step.target} {step.makes} from {step.source}: {said}", f"log: {self.log}"
        )

    def _belongs_to(self, name: str, device: str, python: str) -> Mapping[str, JSON]:
        """What an exporter's artifacts are made for here, told by a worker: another GPU at `cuda:0` is another one."""
        key = (name, device, python)
        if key not in self._belongs:
            with self._worker(name, python) as worker:
                self._belongs[key] = worker.ask("belongs_to", _BELONGS_TIMEOUT_S, exporter=name, device=device)
        return self._belongs[key]

    def _export(
        self,
        name: str,
        source: Artifact,
        target: str,
        want: Request,
        attempts: tuple[Attempt, ...],
        python: str = "",
    ) -> Artifact:
        portable = registry.exporter_class(name).portable
        belongs = {} if portable else self._belongs_to(name, want.device, python)
        recipe = recipes.recipe_of(name, source, want, belongs, python)

        def make(folder: Path) -> Export:
            self.tell(f"{self.backbone.name}: {name}")
            with self._worker(name, python) as worker:
                reply = worker.ask(
                    "export",
                    EXPORT_TIMEOUT_S,
                    exporter=name,
                    source=codec.encode(source),
                    want=codec.encode(want),
                    folder=str(folder),
                )
            made = codec.decode(Export, reply)
            chosen: Mapping[str, JSON] = {"options": dict(want.options)} if want.options else {}
            return replace(made, details={**made.details, **recipes.watched(want), **chosen})

        return self.cache.get_or_make(recipe, target, make, attempts)
