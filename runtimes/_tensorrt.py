"""TensorRT sessions: tensors at fixed addresses, one stream, and what is read back from an engine."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.api import (
    JSON,
    Artifact,
    Clock,
    Facts,
    OpenFailed,
    ProfiledInference,
    RunFailed,
    Session,
    Setup,
    TensorSpec,
    Unsupported,
    nvidia,
)
from runtimes._tensorrt_engine import shapes_of
from runtimes._tensorrt_layers import Layer, counts, deciding, layers, left_to_gpu, placed
from runtimes._tensorrt_profile import profiled

if TYPE_CHECKING:
    from harness.api import Array
    from runtimes._cuda import Cuda, Graph, Pair


class TensorRtSession(Session):
    """`run` is one `execute_async_v3`, or one launch of the graph that was captured of it."""

    def __init__(
        self,
        trt: nvidia.types.TensorRT,
        owners: tuple[object, ...],
        engine: nvidia.types.ICudaEngine,
        cuda: Cuda,
        artifact: Artifact,
        setup: Setup,
    ) -> None:
        """`owners` (logger, runtime) must outlive the engine. Raises `OpenFailed`."""
        self._trt, self._owners, self._engine = trt, owners, engine
        self._cuda, self._artifact, self._setup = cuda, artifact, setup
        context = engine.create_execution_context()
        if context is None:
            log: Any = owners[0]
            raise nvidia.failure(OpenFailed, "TensorRT makes no execution context", nvidia.said(log))
        self._context = context
        self._inputs = {spec.name: self._place(spec) for spec in artifact.inputs}
        if lacking := context.infer_shapes():
            raise OpenFailed(f"the engine needs more than its inputs: {', '.join(lacking)}", "export the model again")
        self._outputs = {spec.name: self._place_output(spec) for spec in artifact.outputs}
        self._graph: Graph | None = None

    def _place(self, spec: TensorSpec) -> Pair:
        shape = (self._setup.batch, *(n for n in spec.shape[1:] if isinstance(n, int)))
        if len(shape) != len(spec.shape):
            raise Unsupported(
                f"input {spec.name} has a dynamic dimension besides the batch", "export it with fixed sizes"
            )
        if not self._context.set_input_shape(spec.name, shape):
            raise OpenFailed(f"the engine does not take {spec.name} of shape {shape}", "see the worker's log")
        return self._at_address(spec.name, shape, spec.dtype)

    def _place_output(self, spec: TensorSpec) -> Pair:
        shape = tuple(self._context.get_tensor_shape(spec.name))
        if any(n < 0 for n in shape):
            raise Unsupported(f"output {spec.name} has a shape that depends on the data: {shape}")
        return self._at_address(spec.name, shape, spec.dtype)

    def _at_address(self, name: str, shape: tuple[int, ...], dtype: str) -> Pair:
        pair = self._cuda.pair(shape, dtype)
        if not self._context.set_tensor_address(name, pair.address):
            raise OpenFailed(f"the engine has no tensor {name!r}", "does the artifact's manifest belong to the engine?")
        return pair

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Into page-locked memory, and from there to the device, in the stream. Raises `RunFailed` for another shape."""
        import numpy as np

        for name, array in feed.items():
            pair = self._inputs[name]
            if array.shape != pair.array.shape:  # copyto would broadcast it
                raise RunFailed(f"input {name!r} has shape {array.shape}, the session takes {pair.array.shape}")
            np.copyto(pair.array, array)
            pair.upload(self._cuda.stream)

    def run(self) -> None:
        """Enqueue one inference; the second one is captured, where graphs are asked for."""
        if self._graph is not None:
            self._graph.launch(self._cuda.stream)
            return
        self._enqueue(int(self._cuda.stream.handle))
        if self._setup.options["cuda_graph"]:  # TensorRT allocates in the first enqueue, which no capture allows
            self._cuda.stream.sync()
            self._graph = self._captured()

    def _enqueue(self, stream: int) -> None:
        if not self._context.execute_async_v3(stream):
            log: Any = self._owners[0]
            raise nvidia.failure(RunFailed, "TensorRT did not run", nvidia.said(log))

    def _captured(self) -> Graph:
        try:
            return self._cuda.capture(self._enqueue)
        except RuntimeError as error:
            message = "the engine cannot be captured as a CUDA graph"
            raise nvidia.failure(RunFailed, message, str(error)) from error

    def sync(self) -> None:
        """Wait for the stream. Raises `RunFailed` for what went wrong on the device meanwhile."""
        self._cuda.wait()

    def fetch(self) -> Mapping[str, Array]:
        """Copies of the outputs, under the artifact's names."""
        import numpy as np

        for pair in self._outputs.values():
            pair.download(self._cuda.stream)
        self.sync()
        return {name: np.array(pair.array) for name, pair in self._outputs.items()}

    def clock(self) -> Clock | None:
        """CUDA events around the inference, in its stream."""
        return self._cuda.clock()

    def split(self) -> Mapping[str, int] | None:
        """Copies and inference, between events in the stream."""
        return self._cuda.split(self._inputs.values(), self.run, self._outputs.values())

    def layers(self) -> Sequence[Layer]:
        """The engine's layers as the inspector tells them, for the shapes that were set."""
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        text = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
        return layers(text, tf32=bool(self._artifact.details.get("tf32")))

    def facts(self) -> Facts:
        """The layers' precisions by the engine inspector: what was asked for is no proof of what was built."""
        found = self.layers()
        dla = self._setup.device.kind == "dla"
        return Facts(
            precision=deciding(found),
            device=self._setup.device.id,
            providers=("DLA", "GPU") if dla else ("TensorRT",),
            placement=placed(found) if dla else {},
            layer_precisions=counts(found),
            versions={"tensorrt": self._trt.__version__},
            settings=self._settings(found),
        )

    def _settings(self, found: Sequence[Layer]) -> Mapping[str, JSON]:
        engine = self._engine
        memory = nvidia.optional(engine, "ICudaEngine.device_memory_size_v2")
        if memory is None:
            memory = nvidia.optional(engine, "ICudaEngine.device_memory_size")
        tensors = [*self._inputs.values(), *self._outputs.values()]
        return {
            "cuda_graph": bool(self._setup.options["cuda_graph"]),
            "layers": engine.num_layers,
            "heavy_layers": sum(layer.heavy for layer in found),
            "profiling_verbosity": str(engine.profiling_verbosity).rpartition(".")[2],
            "activation_bytes": memory,
            "tensor_bytes": sum(pair.size_bytes for pair in tensors),
            **(self._dla(found) if self._setup.device.kind == "dla" else {}),
            "optimisation_profile": {s.name: shapes_of(engine, s.name) for s in self._artifact.inputs},
        }

    def _dla(self, found: Sequence[Layer]) -> Mapping[str, JSON]:
        """The layers that the engine runs on the GPU instead, by the inspector; and those that its builder said would."""
        return {**left_to_gpu(found), "gpu_fallback": self._artifact.details.get("gpu_fallback", [])}

    def profile(self, inferences: int) -> Sequence[ProfiledInference]:
        """Layer times by TensorRT's profiler, in a context of its own: it waits for the device after every layer.

        Raises `Unsupported` where there is no second context of these shapes, `RunFailed`.
        """
        context = self._second_context()
        about = {layer.name: layer for layer in self.layers()}

        def once() -> None:
            if not context.execute_async_v3(int(self._cuda.stream.handle)):
                log: Any = self._owners[0]
                raise nvidia.failure(RunFailed, "TensorRT did not run with its profiler on", nvidia.said(log))
            self.sync()

        return profiled(self._trt, context, once, about, self._setup.device.id, inferences)

    def _second_context(self) -> nvidia.types.IExecutionContext:
        """One of the session's shapes and addresses."""
        context = self._engine.create_execution_context()
        if context is None:
            raise Unsupported("there is no memory for a second context, which the profile needs", "see: nvidia-smi")
        log: Any = self._owners[0]
        for name, pair in self._inputs.items():
            if not context.set_input_shape(name, pair.array.shape):
                raise Unsupported(
                    f"a second context, which the profile needs, does not take {name}: {nvidia.said(log)}",
                    "TensorRT 8 lends an engine's optimisation profile to one context: take TensorRT 10 or later",
                )
        for name, pair in (*self._inputs.items(), *self._outputs.items()):
            if not context.set_tensor_address(name, pair.address):
                raise nvidia.failure(RunFailed, f"a second context takes no memory for {name}", nvidia.said(log))
        return context

    def close(self) -> None:
        """Give the memory back; harmless when repeated."""
        if not self._owners:
            return
        with contextlib.suppress(RunFailed):  # what failed on the device was told when it ran; its memory is held yet
            self.sync()
        if self._graph is not None:
            self._graph.close()
        for pair in (*self._inputs.values(), *self._outputs.values()):
            pair.close(self._cuda.stream)
        self._cuda.close()
        self._inputs, self._outputs, self._graph = {}, {}, None
        del self._context, self._engine  # in this order, and before the runtime they came from
        self._owners = ()
