"""OpenVINO sessions over shared tensors, and what is read back from a compiled model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.api import (
    Artifact,
    Clock,
    Facts,
    ProfiledInference,
    RunFailed,
    Session,
    Setup,
)
from runtimes._openvino_devices import CHOOSING
from runtimes._openvino_layers import deciding, heavy_layers, layers_of, memory_format, of_last, times
from runtimes._openvino_told import LOADED, loaded_from_cache, of_chosen, plain, readable, said

if TYPE_CHECKING:
    from harness.api import Array

_WARM = 3  # the first inferences also allocate
_AVERAGING = ("CPU", "GPU")
"""Devices whose counters are the mean over all inferences since compiling (CPU: measured with 2026.4; GPU: its plug-in's
sources, `PerfCounter`); the NPU's are of the last one."""


class OpenVinoSession(Session):
    """One infer request over tensors that share memory with numpy arrays."""

    def __init__(
        self, artifact: Artifact, setup: Setup, compiled: Any, again: Callable[[Mapping[str, Any]], Any]
    ) -> None:
        """`again` compiles the same model with further properties, for the profile."""
        self._artifact, self._setup, self._compiled, self._again = artifact, setup, compiled, again
        self._request = compiled.create_infer_request()
        self._inputs: dict[str, Array] = {}

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Copy into the input tensors' memory; the first call makes them. Raises `RunFailed` for another shape."""
        import numpy as np

        if not self._inputs:
            self._share(feed)
        for name, array in feed.items():
            if array.shape != self._inputs[name].shape:  # copyto would broadcast it
                raise RunFailed(f"input {name!r} has shape {array.shape}, the session takes {self._inputs[name].shape}")
            np.copyto(self._inputs[name], array)

    def _share(self, feed: Mapping[str, Array]) -> None:
        import numpy as np
        import openvino

        try:
            for name, array in feed.items():
                own = np.empty_like(array)
                self._request.set_tensor(name, openvino.Tensor(own, shared_memory=True))
                self._inputs[name] = own
        except RuntimeError as error:
            self._inputs.clear()
            raise RunFailed(f"OpenVINO does not take the input: {said(error)}") from error

    def run(self) -> None:
        """One inference, in this thread: start_async and wait cost 66 µs more (2 cores), for waking another one."""
        try:
            self._request.infer(share_outputs=True)
        except RuntimeError as error:
            raise RunFailed(f"OpenVINO: {said(error)}") from error

    def fetch(self) -> Mapping[str, Array]:
        """Host copies of the outputs, under the artifact's names."""
        import numpy as np

        pairs = zip(self._artifact.outputs, self._compiled.outputs, strict=True)
        return {spec.name: np.array(self._request.get_tensor(port).data) for spec, port in pairs}

    def clock(self) -> Clock | None:
        """OpenVINO's own latency of the last inference, beside the wall time."""
        return _OwnLatency(self._request)

    def facts(self) -> Facts:
        """Every property that the compiled model tells, and the precision its layers really run in."""
        import openvino

        settings = {name: plain(self._compiled.get_property(name)) for name in readable(self._compiled)}
        settings |= {LOADED: loaded_from_cache(self._compiled)}
        layers = layers_of(self._compiled).values()
        devices = settings.get("EXECUTION_DEVICES", "")
        own = {**of_chosen(settings), **settings}
        return Facts(
            precision=deciding(layers),
            heavy_layers=heavy_layers(layers),
            device=self._setup.device.id,
            providers=tuple(devices) if isinstance(devices, list) else (str(devices),),
            layer_precisions=dict(Counter(layer.precision for layer in layers)),
            memory_format=memory_format(layers),
            threads=int(str(own["INFERENCE_NUM_THREADS"])) if "INFERENCE_NUM_THREADS" in own else None,
            streams=int(str(own["NUM_STREAMS"])) if "NUM_STREAMS" in own else None,
            versions={"openvino": openvino.__version__},
            settings={**settings, "kernels": dict(Counter(layer.kernel for layer in layers))},
        )

    def profile(self, inferences: int) -> Sequence[ProfiledInference]:
        """Layer times of a model compiled again with profiling on: no inference but these is in its counters."""
        compiled = self._again({"PERF_COUNT": True, **self._one_stream()})
        request, executed = compiled.create_infer_request(), layers_of(compiled)
        devices = [str(name) for name in compiled.get_property("EXECUTION_DEVICES")]
        averaged = all(name.strip("()").startswith(_AVERAGING) for name in devices)
        found: list[ProfiledInference] = []
        before: dict[str, float] = {}
        for number in range(1, _WARM + inferences + 1):
            request.infer(dict(self._inputs), share_inputs=True, share_outputs=True)
            counters = request.get_profiling_info()
            told = {counter.node_name: counter.real_time.total_seconds() * 1e9 for counter in counters}
            own = of_last(told, before, number) if averaged else told
            before = told
            if number > _WARM:
                found.append(
                    ProfiledInference(request.latency * 1e6, times(counters, own, executed, ",".join(devices)))
                )
        return found

    def _one_stream(self) -> Mapping[str, Any]:
        """What compiles for one stream of as many threads as each of the session's several has.

        Each stream has counters of its own, and which one an inference ran in is not told; alone it runs in one anyway.
        """
        if self._setup.device.kind in CHOOSING or "NUM_STREAMS" not in readable(self._compiled):
            return {}
        streams = int(self._compiled.get_property("NUM_STREAMS"))
        if streams <= 1:
            return {}
        threads = {"INFERENCE_NUM_THREADS": max(1, self._setup.threads // streams)}
        return {"NUM_STREAMS": 1, **(threads if self._setup.device.kind == "cpu" else {})}

    def close(self) -> None:
        """Let go of the request and the model."""
        self._request = self._compiled = None


class _OwnLatency:
    """The time that OpenVINO itself took for the last inference."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def start(self) -> None:
        """OpenVINO starts its clock itself."""

    def end(self) -> None:
        """OpenVINO stops its clock itself."""

    def elapsed_ns(self) -> int:
        """`InferRequest.latency`, which is in milliseconds."""
        return round(float(self._request.latency) * 1e6)
