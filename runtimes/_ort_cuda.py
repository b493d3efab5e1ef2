"""ONNX Runtime sessions on a CUDA GPU: inputs and outputs live there, in a stream whose events are the device's clock.

Page-locked host memory, device memory, the stream and its events are cuda-core's, as for TensorRT; ONNX Runtime is given
their addresses. Executed on an H100 (docs/edge.md), graphs and profile not yet; tested on a double of cuda-core and on ONNX
Runtime's real CPU session.
https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.api import (
    JSON,
    Artifact,
    Clock,
    Device,
    LayerTime,
    OpenFailed,
    Precision,
    ProfiledInference,
    RunFailed,
    Setup,
    TensorSpec,
    Unsupported,
    first_line,
    nvidia,
    working,
)
from runtimes._onnxruntime import OnnxRuntimeSession
from runtimes._ort_open import LEVELS
from runtimes._ort_profile import profiled
from runtimes._ort_provider import CPU, CUDA, Providers, prove, require

if TYPE_CHECKING:
    from harness.api import Array
    from runtimes._cuda import Cuda, Pair

OPTIONS: Mapping[str, JSON] = {
    "graph_optimization": "all", "spinning": True, "mem_pattern": True, "arena": True,
    "cudnn_conv_algo_search": "EXHAUSTIVE", "cudnn_conv_use_max_workspace": True, "prefer_nhwc": False,
    "gpu_mem_limit_mib": 0, "cuda_graph": False,
}  # fmt: skip
"""Options of the CUDA provider, which the TensorRT provider has behind it for what it leaves out."""
NEEDS: Mapping[str, str] = {
    "onnxruntime": "onnxruntime-gpu[cuda,cudnn]", "cuda.core": "cuda-core>=1.0", "cuda.bindings": "cuda-bindings>=12.6",
}  # fmt: skip
WORDS: Mapping[str, tuple[str, ...]] = {
    "graph_optimization": tuple(LEVELS), "cudnn_conv_algo_search": ("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
}  # fmt: skip


def cuda_options(setup: Setup, *, graph: bool) -> Mapping[str, str]:
    """The CUDA provider's options, all that matter said outright."""
    options = setup.options
    made = {
        "device_id": str(setup.device.index or 0),
        "use_tf32": _flag(setup.precision == "tf32"),  # on by default: a cell of fp32 would run in TF32
        "cudnn_conv_algo_search": str(options["cudnn_conv_algo_search"]),
        "cudnn_conv_use_max_workspace": _flag(options["cudnn_conv_use_max_workspace"]),
        "prefer_nhwc": _flag(options["prefer_nhwc"]),
        "do_copy_in_default_stream": "1",
        "enable_cuda_graph": _flag(graph),
    }
    if limit := int(str(options["gpu_mem_limit_mib"])):
        made["gpu_mem_limit"] = str(limit << 20)
    return made


_NO_GRAPHS: Mapping[str, str] = {"enable_cuda_graph": "0", "trt_cuda_graph_enable": "False"}
"""Each provider's option for CUDA graphs, off in the form that it takes."""
_LISTED = "see: backbench list runtimes 'ort_*'"


def _flag(on: object) -> str:
    return "1" if on else "0"


def gpus(provider: str) -> Sequence[Device]:
    """The GPUs on which the provider runs a small model. Raises with what is missing."""
    require(provider)
    return working(nvidia.gpus(), lambda device: prove(provider, {"device_id": str(device.index or 0)}))


class CudaOrtSession(OnnxRuntimeSession):
    """`run` is one `run_with_iobinding` into a stream of ours, which `sync` waits for."""

    STREAMED: ClassVar[tuple[str, ...]] = (CUDA,)
    """Providers that are given the stream."""
    PLACE: ClassVar = "cuda"
    """ONNX Runtime's name for where the bound memory lies."""

    def __init__(self, artifact: Artifact, setup: Setup, providers: Providers) -> None:
        """Raises `Unsupported` where there is no such GPU or no driver, `OpenFailed`, `MissingLibrary`."""
        import onnxruntime as ort

        from runtimes._cuda import Cuda

        require(providers[0][0])
        nvidia.gpu(setup.device.id)
        try:
            self._cuda: Cuda = Cuda(setup.device.index or 0)
        except RuntimeError as error:
            raise nvidia.failure(OpenFailed, f"CUDA does not start on {setup.device.id}", str(error)) from error
        stream = {"user_compute_stream": str(int(self._cuda.stream.handle))}
        super().__init__(artifact, setup, providers, {name: stream for name, _ in providers if name in self.STREAMED})
        self._pairs: dict[str, Pair] = {}
        self._sent: tuple[str, ...] = ()
        self._run_options = ort.RunOptions()
        # Or `run` would wait, and the device's clock would end after the host has been told.
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Into page-locked memory, and from there to the GPU, in the stream. Raises `RunFailed` for another shape."""
        import numpy as np

        if not self._sent:
            self._place(feed)
        for name, array in feed.items():
            pair = self._pairs[name]
            if array.shape != pair.array.shape:  # copyto would broadcast it
                raise RunFailed(f"input {name!r} has shape {array.shape}, the session takes {pair.array.shape}")
            np.copyto(pair.array, array)
            pair.upload(self._cuda.stream)

    def _place(self, feed: Mapping[str, Array]) -> None:
        batch = len(next(iter(feed.values())))
        index = self._setup.device.index or 0
        try:
            for name, array in feed.items():
                pair = self._pairs[name] = self._cuda.pair(array.shape, str(array.dtype))
                self._binding.bind_input(name, self.PLACE, index, array.dtype.type, array.shape, pair.address)
            for value, spec in zip(self._session.get_outputs(), self._artifact.outputs, strict=True):
                shape = _output_shape(spec, batch)
                pair = self._pairs[spec.name] = self._cuda.pair(shape, spec.dtype)
                self._binding.bind_output(value.name, self.PLACE, index, pair.array.dtype.type, shape, pair.address)
        except (RuntimeError, ValueError, TypeError) as error:
            raise nvidia.failure(RunFailed, "onnxruntime does not take memory on the GPU", first_line(error)) from error
        self._sent = tuple(feed)

    def run(self) -> None:
        """Enqueue one inference on the bound values. Raises `RunFailed`."""
        try:
            self._session.run_with_iobinding(self._binding, self._run_options)
        except Exception as error:
            raise nvidia.failure(RunFailed, "onnxruntime did not run", first_line(error)) from error

    def sync(self) -> None:
        """Wait for the stream. Raises `RunFailed` for what went wrong on the device meanwhile."""
        self._cuda.wait()

    def fetch(self) -> Mapping[str, Array]:
        """Copies of the outputs, under the artifact's names."""
        import numpy as np

        outputs = {spec.name: self._pairs[spec.name] for spec in self._artifact.outputs}
        for pair in outputs.values():
            pair.download(self._cuda.stream)
        self.sync()
        return {name: np.array(pair.array) for name, pair in outputs.items()}

    def clock(self) -> Clock | None:
        """CUDA events around the inference, in its stream."""
        return self._cuda.clock()

    def split(self) -> Mapping[str, int] | None:
        """Copies and inference, between events in the stream."""
        inputs = [self._pairs[name] for name in self._sent]
        return self._cuda.split(inputs, self.run, [self._pairs[spec.name] for spec in self._artifact.outputs])

    def _of_floats(self) -> tuple[Precision | None, Sequence[LayerTime], str]:
        """float32 weights are proof of fp32 only where TF32 is off, as the provider tells it."""
        told = self._told.get(CUDA, {}).get("use_tf32")
        if told is None:
            return None, (), "this onnxruntime does not tell whether TF32 is on"
        return ("tf32" if told == "1" else "fp32"), (), ""

    def profile(self, inferences: int) -> Sequence[ProfiledInference]:
        """Kernel times of the GPU. Raises `Unsupported` where this onnxruntime tells what launching them took alone."""
        return profiled(self._order(inferences), on_device=True)

    def _profiled(self, options: Mapping[str, str]) -> dict[str, str]:
        """Without CUDA graphs: a graph that is replayed has no kernels for the profiler, and takes no inputs of the host."""
        return {key: _NO_GRAPHS.get(key, value) for key, value in options.items()}

    def _shapes(self) -> Mapping[str, list[int | str]]:
        return {name: list(self._pairs[name].array.shape) for name in self._sent}

    def close(self) -> None:
        """Give the memory back, once the stream has passed what it still does; harmless when repeated."""
        if self._session is None:
            return
        with contextlib.suppress(RunFailed):  # what failed on the device was told when it ran; its memory is held yet
            self.sync()
        super().close()  # before the stream that the session holds
        for pair in self._pairs.values():
            pair.close(self._cuda.stream)
        self._pairs = {}
        self._cuda.close()


def _output_shape(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    sizes = [batch if i == 0 else n for i, n in enumerate(spec.shape)]
    if not all(isinstance(n, int) for n in sizes):
        raise Unsupported(
            f"output {spec.name} has a dynamic dimension besides the batch: {spec.shape}", "export fixed sizes"
        )
    return tuple(int(n) for n in sizes)


def behind(setup: Setup) -> Providers:
    """What takes the nodes that a provider before it leaves out."""
    return [(CUDA, cuda_options(setup, graph=False)), (CPU, {})]
