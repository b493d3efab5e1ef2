"""Times of an engine's layers by TensorRT's profiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.api import LayerTime, ProfiledInference, nvidia
from runtimes._tensorrt_layers import Layer


def profiled(
    trt: nvidia.types.TensorRT,
    context: nvidia.types.IExecutionContext,
    once: Callable[[], None],
    about: Mapping[str, Layer],
    device: str,
    inferences: int,
) -> Sequence[ProfiledInference]:
    """Layer times of single inferences in `context`, each run by `once`; what the inspector told of layers is `about`."""
    told: list[tuple[str, float]] = []
    context.profiler = _profiler(trt, told)
    found = []
    for number in range(1 + inferences):  # the first enqueue also allocates
        told.clear()
        once()
        if number:
            times = tuple(_time(name, ns, about.get(name), device) for name, ns in told)
            found.append(ProfiledInference(sum(ns for _, ns in told), times))
    return found


def _profiler(trt: nvidia.types.TensorRT, told: list[tuple[str, float]]) -> nvidia.types.IProfiler:
    """A profiler that appends each layer's name and time in ns to `told`."""

    def begin(self: Any) -> None:
        trt.IProfiler.__init__(self)

    def report(self: Any, layer_name: str, ms: float) -> None:
        told.append((layer_name, float(ms) * 1e6))

    made: Any = type("Profiler", (trt.IProfiler,), {"__init__": begin, "report_layer_time": report})
    profiler: nvidia.types.IProfiler = made()
    return profiler


def _time(name: str, time_ns: float, layer: Layer | None, device: str) -> LayerTime:
    if layer is None:
        return LayerTime(name, "", time_ns, device=device)
    return LayerTime(name, layer.kind, time_ns, layer.precision or "", device, kernel=layer.kernel, nodes=layer.nodes)
