"""OpenVINO sessions over shared tensors, and what is read back from a compiled model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.api import (
    Artifact,
    Clock,
    Facts,
    LayerTime,
    Precision,
    RunFailed,
    Session,
    Setup,
    first_line,
)

if TYPE_CHECKING:
    from harness.api import Array

_RUN_IN: Mapping[str, Precision] = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_HEAVY = frozenset({"convolution", "groupconvolution", "deconvolution", "fullyconnected", "matmul", "gemm"})


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
        layers = layer_precisions(self._compiled)
        devices = settings.get("EXECUTION_DEVICES", "")
        return Facts(
            precision=deciding(layers),
            device=self._setup.device.id,
            providers=tuple(devices) if isinstance(devices, list) else (str(devices),),
            layer_precisions=dict(Counter(precision for _, precision in layers)),
            threads=int(str(settings["INFERENCE_NUM_THREADS"])) if "INFERENCE_NUM_THREADS" in settings else None,
            streams=int(str(settings["NUM_STREAMS"])) if "NUM_STREAMS" in settings else None,
            versions={"openvino": openvino.__version__},
            settings=settings,
        )

    def profile(self) -> Sequence[LayerTime]:
        """Layer times of one inference, of a model compiled again with profiling on."""
        compiled = self._again({"PERF_COUNT": True})
        request = compiled.create_infer_request()
        for _ in range(3):  # the first ones also allocate
            request.infer(dict(self._inputs))
        device = ",".join(map(str, compiled.get_property("EXECUTION_DEVICES")))
        return [
            LayerTime(i.node_name, i.node_type, time_ns, i.exec_type.rpartition("_")[2], device, i.node_name)
            for i in request.get_profiling_info()
            if (time_ns := i.real_time.total_seconds() * 1e9) > 0
        ]

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


def said(error: BaseException) -> str:
    """What an exception of OpenVINO says, without the places in its sources that come before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return telling[0][:300] if telling else first_line(error)


def readable(compiled: Any) -> list[str]:
    """Names of the properties that the compiled model tells."""
    return [name for name in compiled.get_property("SUPPORTED_PROPERTIES") if name != "SUPPORTED_PROPERTIES"]


def plain(value: Any) -> Any:
    """A property as JSON data."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    return {str(k): plain(v) for k, v in value.items()} if isinstance(value, Mapping) else str(value)


def layer_precisions(compiled: Any) -> list[tuple[str, str]]:
    """(layer type, precision) of every executed layer that tells it; constants are not executed."""
    layers = []
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if "runtimePrecision" in info and "layerType" in info:
            kind = str(info["layerType"].astype(str))
            if kind not in ("Const", "Input", "Output"):
                layers.append((kind, str(info["runtimePrecision"].astype(str))))
    return layers


def deciding(layers: Sequence[tuple[str, str]]) -> Precision | None:
    """The precision of most convolutions and matrix products: they are what a precision is chosen for."""
    named = [(kind.lower().replace("_", ""), _RUN_IN.get(precision.lower())) for kind, precision in layers]
    heavy = Counter(precision for kind, precision in named if kind in _HEAVY)
    counted = heavy or Counter(precision for _, precision in named)
    return counted.most_common(1)[0][0] if counted else None
