"""A session whose inferences `trtexec` runs and times."""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api import Artifact, Facts, OpenFailed, Session, Setup
from runtimes._tensorrt_layers import Layer, counts, deciding, layers, left_to_gpu, placed
from runtimes._trtexec import RUN_LIMIT_S, Built, Tool, on_device, shapes, switches, transfers
from runtimes._trtexec_json import Sample, outputs, samples

if TYPE_CHECKING:
    from harness.api import Array

_WARM_MS = 200
_NO_GRAPH = "without using CUDA graph launch"
"""What trtexec prints where it could not capture the engine, and goes on without a graph."""


class TrtexecSession(Session):
    """Hands out trtexec's samples one by one, each once; when they are used up, trtexec measures again.

    The harness's two scopes are told apart by what it calls between `bind` and `run`: `compute` waits there. An inference
    of `compute` takes `computeMs` of a measurement without data transfers; one of `end_to_end` takes `h2dMs`, `computeMs`
    and `d2hMs` of one with them, which is what trtexec calls latency. Outputs come from trtexec too, for the very inputs
    that are bound.
    """

    def __init__(self, tool: Tool, engine: Built, artifact: Artifact, setup: Setup) -> None:
        self._tool, self._engine, self._artifact, self._setup = tool, engine, artifact, setup
        self._folder = tempfile.TemporaryDirectory(prefix="trtexec-")
        self._waiting: Mapping[bool, deque[Sample]] = {True: deque(), False: deque()}
        self._known: dict[str, Mapping[str, Array]] = {}
        self._feed: Mapping[str, Array] = {}
        self._bound = self._waited = False
        self._moved: Sample | None = None
        self._now_ns = self._measurements = 0
        self._layers: Sequence[Layer] | None = None
        self._in_graph = bool(setup.options["cuda_graph"])

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Keep the inputs; whether their copies count, `run` knows."""
        self._feed, self._bound, self._waited = feed, True, False

    def run(self) -> None:
        """The clock goes on by one of trtexec's samples: with the copy of the inputs, unless they were waited for."""
        with_copies = self._bound and not self._waited
        sample = self._next(with_copies)
        self._now_ns += sample.compute_ns + (sample.h2d_ns if with_copies else 0)
        self._moved = sample if with_copies else None
        self._bound = False

    def sync(self) -> None:
        """Between `bind` and `run` it says that the copies are not part of what is timed; the clock stands still."""
        self._waited = self._bound

    def fetch(self) -> Mapping[str, Array]:
        """trtexec's outputs for the bound inputs; the clock goes on by the time of their copies."""
        if self._moved is not None:
            self._now_ns += self._moved.d2h_ns
            self._moved = None
        given = b"".join(array.tobytes() for array in self._feed.values())
        digest = hashlib.sha256(given).hexdigest()
        if digest not in self._known:
            self._known[digest] = self._inferred()
        return self._known[digest]

    def timer(self) -> Callable[[], int] | None:
        """trtexec's clock: the sum of the samples that were handed out, in ns."""
        return lambda: self._now_ns

    def _next(self, with_copies: bool) -> Sample:
        queue = self._waiting[with_copies]
        if not queue:
            queue.extend(self._measured(with_copies))
            self._measurements += 1
        return queue.popleft()

    def _measured(self, with_copies: bool) -> Sequence[Sample]:
        file = Path(self._folder.name) / "times.json"
        options = self._setup.options
        printed = self._tool.run(
            (
                *self._loaded(), f"--exportTimes={file}", f"--warmUp={_WARM_MS}", f"--duration={options['duration_s']}",
                *transfers(self._tool, wanted=with_copies), *switches(self._tool, options),
            ),
            RUN_LIMIT_S,
        )  # fmt: skip
        if _NO_GRAPH in printed:
            self._in_graph = False
        return samples(file, _WARM_MS)

    def _inferred(self) -> Mapping[str, Array]:
        folder = Path(self._folder.name)
        loads = []
        for number, (name, array) in enumerate(self._feed.items()):
            (folder / f"input-{number}.bin").write_bytes(array.tobytes())
            loads.append(f"{name}:{folder / f'input-{number}.bin'}")
        file = folder / "outputs.json"
        once = ("--iterations=1", "--duration=0", "--warmUp=0")
        self._tool.run(
            (*self._loaded(), f"--loadInputs={','.join(loads)}", f"--exportOutput={file}", *once), RUN_LIMIT_S
        )
        return outputs(file, self._artifact.outputs)

    def _loaded(self) -> tuple[str, ...]:
        dynamic = any(spec.dynamic_batch for spec in self._artifact.inputs)
        shape = f"--shapes={shapes(self._artifact, self._setup.batch)}" if dynamic else ""
        return (f"--loadEngine={self._engine.file}", shape, *on_device(self._setup.device))

    def layers(self) -> Sequence[Layer]:
        """The engine's layers, which trtexec writes by TensorRT's inspector. Raises `OpenFailed`."""
        if self._layers is None:
            file = Path(self._folder.name) / "layers.json"
            told = (f"--exportLayerInfo={file}", "--profilingVerbosity=detailed")
            self._tool.run((*self._loaded(), *told, "--iterations=1", "--duration=0", "--warmUp=0"), RUN_LIMIT_S)
            try:
                text = file.read_text()
            except OSError as error:
                raise OpenFailed(f"trtexec told no layers: {error.strerror}", "see the worker's log") from error
            self._layers = layers(text, tf32=self._setup.precision == "tf32")
        return self._layers

    def facts(self) -> Facts:
        """What trtexec tells of the engine and the device; `interleaved` false, because it measures alone."""
        found, device = self.layers(), self._engine.device
        dla = self._setup.device.kind == "dla"
        return Facts(
            precision=deciding(found),
            device=self._setup.device.id,
            providers=("trtexec",),
            placement=placed(found) if dla else {},
            layer_precisions=counts(found),
            versions={"tensorrt": str(device.details["tensorrt"])},
            settings={
                "interleaved": False,
                "trtexec": self._tool.path,
                "gpu": device.name,
                "compute_capability": device.details["compute_capability"],
                "engine_from_cache": self._engine.from_cache,
                "measurements": self._measurements,
                "cuda_graph": self._in_graph,
                "spin_wait": bool(self._setup.options["spin_wait"]),
                **(left_to_gpu(found) if dla else {}),
            },
        )

    def close(self) -> None:
        """Remove what trtexec wrote, but for the engine."""
        self._folder.cleanup()
