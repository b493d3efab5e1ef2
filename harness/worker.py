"""A worker process: one JSON request a line on stdin, one JSON reply a line on what was stdout.

Run as `python -m harness.worker`. Anything that a library prints goes to stderr (the worker's log), because the real
stdout is moved away before anything else is imported. The process group ends when stdin closes.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.mailbox import Mailbox

if TYPE_CHECKING:
    from harness.errors import BackbenchError
    from harness.measure import Bench

_FRAMEWORKS = (
    "torch",
    "timm",
    "torchvision",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "pandas",
    "cuda",
    "nncf",
)


class Worker:
    """The operations of a worker; each takes plain JSON and returns frozen data."""

    def __init__(self) -> None:
        self._bench: Bench | None = None

    def do(self, op: str, fields: Mapping[str, Any]) -> object:
        """Carry out one operation by name."""
        handlers: Mapping[str, Callable[..., object]] = {
            "open": self.open, "verify": self.verify, "warm": self.warm, "burst": self.burst, "profile": self.profile,
            "memory": self.memory, "close": self.close, "devices": self.devices, "export": self.export,
            "snapshot": self.snapshot, "inspect": self.inspect, "reference": self.reference, "models": self.models,
            "overhead": self.overhead, "graph": self.graph, "cost": self.cost, "rate": self.rate,
            "diverge": self.diverge, "belongs_to": self.belongs_to, "calibration": self.calibration,
            "preprocess": self.preprocess, "predict": self.predict,
        }  # fmt: skip
        return handlers[op](**fields)

    # ── measuring ────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, runtime: str, artifact: Any, setup: Any, reference: str) -> object:
        """Open the artifact, run the first inference, and tell what it cost."""
        from harness import codec, measure, model, process, registry, usage
        from harness import reference as refs

        inputs, _ = refs.load(Path(reference))
        asked = codec.decode(model.Setup, setup)
        plugin = registry.runtime_class(runtime)
        before = usage.rss_bytes()
        import_s = _import(runtime, plugin.needs)
        begin = time.perf_counter()
        given = codec.decode(model.Artifact, artifact)
        session = plugin().open(given, asked)
        load_s = time.perf_counter() - begin
        self._bench = measure.Bench(session, *measure.batches(_as_taken(inputs, given), asked.batch))
        first_s = self._bench.first()
        loaded, peak = (
            usage.rss_bytes(),
            usage.peak_rss_bytes(),
        )  # before the facts are read, which takes memory of its own
        facts = session.facts()
        watched = None if session.timer() is not None else self._bench.once
        inherited = {name: os.environ.get(name) for name in plugin.environment}
        return model.Opened(
            facts=dataclasses.replace(facts, settings={**facts.settings, **inherited}, process=process.facts(watched)),
            import_s=import_s,
            load_s=load_s,
            first_inference_s=first_s,
            rss_before_bytes=before,
            rss_loaded_bytes=loaded,
            device_bytes=session.device_bytes(),
            timer=self._bench.timer_name,
            modules=tuple(name for name in _FRAMEWORKS if name in sys.modules),
            rss_peak_bytes=peak,
        )

    def overhead(self) -> object:
        """A burst of the `fake` runtime at zero latency: what the harness itself adds to an inference."""
        import numpy as np

        from harness import measure, model, registry

        spec = model.TensorSpec("input", (1, 1), "float32")
        recipe = model.Recipe("none", "")
        artifact = model.Artifact("onnx", "", "fp32", (spec,), (spec,), "", 0, recipe)
        plugin = registry.runtime_class("fake")
        setup = model.Setup(model.Device("cpu"), "fp32", 1, 1, dict(plugin.options), "")
        feeds = [{"input": np.full((1, 1), value, np.float32)} for value in (0.0, 1.0)]
        with plugin().open(artifact, setup) as session:
            return measure.Bench(session, feeds, [[0], [1]]).burst(model.Pace(0.2, 0.0, 3))

    @property
    def bench(self) -> Bench:
        """What `open` opened."""
        if self._bench is None:
            raise RuntimeError("nothing is open in this worker")
        return self._bench

    def verify(self, reference: str, precision: Any, tolerance: Mapping[str, float]) -> object:
        """Compare outputs with the reference folder's."""
        from harness import reference as refs
        from harness import verify

        _, outputs = refs.load(Path(reference))
        return self.bench.verify(outputs, verify.tolerance_for(precision, tolerance), refs.made_with(Path(reference)))

    def warm(self, pace: Any, limit_s: float) -> object:
        """Warm the open session."""
        return self.bench.warm(_pace(pace), limit_s)

    def burst(self, pace: Any) -> object:
        """One burst of the open session."""
        return self.bench.burst(_pace(pace))

    def profile(self, inferences: int) -> object:
        """Layer times of the open session."""
        return list(self.bench.session.profile(inferences))

    def diverge(self, first: str, second: str, tolerance: float | None, size: int, given: str) -> object:
        """Where two ONNX files part."""
        from harness.explaining import divergence

        return divergence.compare(Path(first), Path(second), tolerance, size, Path(given) if given else None)

    def graph(self, path: str) -> object:
        """The nodes of an ONNX file."""
        from harness import onnx_graph

        return list(onnx_graph.nodes(Path(path)))

    def predict(self, file: str, rows: list[int], config: Any) -> object:
        """Classes that the open session gives to rows of a file of preprocessed images."""
        from harness.accuracy import pixels

        return pixels.predict(self.bench.session, self.bench.feeds[0], Path(file), rows, config)

    def memory(self) -> object:
        """Peak resident memory of this process, device memory now, and the frameworks it has imported."""
        from harness import usage

        return {
            "rss_peak_bytes": usage.peak_rss_bytes(),
            "device_bytes": self.bench.session.device_bytes(),
            "modules": [name for name in _FRAMEWORKS if name in sys.modules],
        }

    def close(self) -> object:
        """Close the open session."""
        if self._bench is not None:
            self._bench.session.close()
            self._bench = None
        return None

    def preprocess(self, file: str, first: int, images: list[str], config: Any, threads: int) -> object:
        """Write preprocessed images into a file's rows from `first` on."""
        from harness.accuracy import pixels

        return list(pixels.write(Path(file), first, images, config, threads))

    # ── preparing ────────────────────────────────────────────────────────────────────────────────────────────────

    def devices(self, runtime: str) -> object:
        """The devices that a runtime reaches."""
        from harness import registry

        plugin = registry.runtime_class(runtime)
        _import(runtime, plugin.needs)
        return list(plugin().devices())

    def export(self, exporter: str, source: Any, want: Any, folder: str) -> object:
        """Make an artifact in `folder`."""
        from harness import codec, model, registry

        plugin = registry.exporter_class(exporter)
        _import(exporter, plugin.needs)
        asked = codec.decode(model.Request, want)
        return plugin().export(codec.decode(model.Artifact, source), asked, Path(folder))

    def belongs_to(self, exporter: str, device: str) -> object:
        """What an exporter's artifacts are made for on that device."""
        from harness import registry

        plugin = registry.exporter_class(exporter)
        _import(exporter, plugin.needs)
        return dict(plugin().belongs_to(device))

    def snapshot(self, backbone: Any, folder: str) -> object:
        """Make the timm model and write it into `folder`."""
        from harness import backbone as backbones
        from harness import codec, model

        return backbones.make(codec.decode(model.Backbone, backbone), Path(folder))

    def inspect(self, path: str) -> object:
        """Look into an ONNX file."""
        from harness import onnx_file

        return onnx_file.inspect(Path(path))

    def reference(self, artifact: Any, backbone: Any, folder: str, count: int) -> object:
        """Make reference inputs and outputs in `folder`."""
        from harness import codec, model
        from harness import reference as refs

        source = codec.decode(model.Artifact, artifact)
        return refs.make(source, codec.decode(model.Backbone, backbone), Path(folder), count)

    def cost(self, artifact: Any, batch: int, size: int, precision: Any) -> object:
        """Operations and bytes of an artifact, by its definition."""
        from harness import codec, model
        from harness.roofline import cost

        return cost.of(codec.decode(model.Artifact, artifact), batch, size, precision)

    def rate(self, kind: str, place: Any, folder: str, method: str = "") -> object:
        """A rate of this machine: `gemm` (by `method`) or `bandwidth`."""
        from harness import codec
        from harness.roofline import ceilings, rates

        where = codec.decode(ceilings.Place, place)
        return rates.gemm(where, method, Path(folder)) if kind == "gemm" else rates.bandwidth(where)

    def calibration(self, order: Any, artifact: Any, backbone: Any, folder: str) -> object:
        """Prepare calibration images in `folder`."""
        from harness import calibration_images, codec, model

        source, asked = codec.decode(model.Artifact, artifact), codec.decode(calibration_images.Order, order)
        files = [Path(file) for file in asked.files]
        made = calibration_images.make(source, codec.decode(model.Backbone, backbone), asked.asked, files, Path(folder))
        return calibration_images.export(made, source, asked.about)

    def models(self) -> object:
        """The names that timm knows."""
        from harness import backbone as backbones

        return backbones.names()


def _as_taken(inputs: Mapping[str, Any], artifact: Any) -> Mapping[str, Any]:
    """Reference inputs in the types that the artifact takes: an fp16 graph may take fp16 images."""
    types = {spec.name: spec.dtype for spec in artifact.inputs}
    return {name: array.astype(types.get(name, array.dtype), copy=False) for name, array in inputs.items()}


def _pace(data: Any) -> Any:
    from harness import codec, model

    return codec.decode(model.Pace, data)


def _import(name: str, needs: Mapping[str, str]) -> float:
    """Import a plug-in's libraries; seconds it took. Raises `MissingLibrary` for what is absent or does not load."""
    from harness import companions, registry
    from harness.errors import MissingLibrary

    registry.check_installed(name, needs)
    begin = time.perf_counter()
    if "timm" in needs or "torchvision" in needs:
        from harness import torchvision_ops

        torchvision_ops.declare()
    for module in needs:
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            missing, command = companions.mend(error)
            what = f"{missing} ({error})" if missing else str(error)
            raise MissingLibrary(
                f"{name}: {module} is installed but does not load: {what}", command or "see: backbench doctor"
            ) from error
    return time.perf_counter() - begin


def serve(mailbox: Mailbox) -> None:
    """Answer requests until the mailbox closes."""
    from harness import codec, errors

    worker = Worker()
    while (request := mailbox.next()) is not None:
        op = request.pop("op")
        try:
            mailbox.reply({"value": codec.encode(worker.do(op, request))})
        except errors.BackbenchError as error:
            mailbox.reply(_failure(type(error).__name__, error.message, error.hint))
        except Exception as error:  # noqa: BLE001 - whatever a native library raises becomes a reply; the trace is in the log
            traceback.print_exc()
            if (told := _told_by_cuda(op, error)) is not None:
                mailbox.reply(_failure(type(told).__name__, told.message, told.hint))
                continue
            said = (str(error).strip().splitlines() or ["no message"])[0]
            mailbox.reply(
                _failure("WorkerFailed", f"{type(error).__name__}: {said}", "the trace is in the worker's log")
            )


def _told_by_cuda(op: str, error: Exception) -> BackbenchError | None:
    """What an error of cuda-core comes down to: timed code meets it bare. None for another library's."""
    from harness import errors, nvidia

    return nvidia.failure(errors.RunFailed, f"the GPU failed in `{op}`", str(error)) if nvidia.of_cuda(error) else None


def _failure(kind: str, message: str, hint: str) -> Mapping[str, Any]:
    return {"error": {"kind": kind, "message": message, "hint": hint}}


if __name__ == "__main__":
    serve(Mailbox())
