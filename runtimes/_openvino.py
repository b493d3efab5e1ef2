"""OpenVINO sessions over shared tensors, and what is read back from a compiled model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.api import (
    Artifact,
    Clock,
    Facts,
    LayerTime,
    Precision,
    ProfiledInference,
    RunFailed,
    Session,
    Setup,
    first_line,
)

if TYPE_CHECKING:
    from harness.api import Array

_RUN_IN: Mapping[str, Precision] = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_WARM = 3  # the first inferences also allocate
_TOLD = frozenset({"layerType", "runtimePrecision", "outputLayouts", "primitiveType", "originalLayersNames"})
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
        settings |= {LOADED: loaded_from_cache(self._compiled)}
        layers = layers_of(self._compiled).values()
        devices = settings.get("EXECUTION_DEVICES", "")
        own = {**_of_chosen(settings), **settings}
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
        """Layer times of a model compiled again with profiling on."""
        compiled = self._again({"PERF_COUNT": True})
        request, executed = compiled.create_infer_request(), layers_of(compiled)
        device = ",".join(map(str, compiled.get_property("EXECUTION_DEVICES")))
        found = []
        for number in range(_WARM + inferences):
            request.infer(dict(self._inputs), share_inputs=True, share_outputs=True)
            if number >= _WARM:
                counters = request.get_profiling_info()
                found.append(ProfiledInference(request.latency * 1e6, _times(counters, executed, device)))
        return found

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


LOADED = "LOADED_FROM_CACHE"


def loaded_from_cache(compiled: Any) -> bool | None:
    """Whether the model came from the model cache; None where it is not told. The CPU plug-in tells, and does not list it."""
    try:
        return bool(compiled.get_property(LOADED))
    except RuntimeError:
        return None


def readable(compiled: Any) -> list[str]:
    """Names of the properties that the compiled model tells."""
    return [name for name in compiled.get_property("SUPPORTED_PROPERTIES") if name != "SUPPORTED_PROPERTIES"]


def plain(value: Any) -> Any:
    """A property as JSON data."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items() if k != "SUPPORTED_PROPERTIES"}
    return str(value)


def _of_chosen(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of the device that AUTO or HETERO chose, where it chose one."""
    each = settings.get("DEVICE_PROPERTIES")
    return next(iter(each.values())) if isinstance(each, Mapping) and len(each) == 1 else {}


@dataclass(frozen=True)
class Layer:
    """What a compiled model tells of one executed layer, in OpenVINO's own words."""

    kind: str
    precision: str
    layout: str
    kernel: str
    made_from: tuple[str, ...]
    """Layers of the model that was read."""


def layers_of(compiled: Any) -> Mapping[str, Layer]:
    """Executed layers by name, in the order of execution; constants are not executed."""
    found = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = {name: str(value.astype(str)) for name, value in node.get_rt_info().items() if name in _TOLD}
        if "runtimePrecision" in info and info.get("layerType", "Const") not in ("Const", "Input", "Output"):
            names = (name.removesuffix("/WithoutBiases") for name in info.get("originalLayersNames", "").split(","))
            found[str(node.friendly_name)] = Layer(
                info["layerType"],
                _precision(info),
                info.get("outputLayouts", "").split(",")[0],
                info.get("primitiveType", ""),
                tuple(dict.fromkeys(filter(None, names))),
            )
    return found


def _times(counters: Sequence[Any], executed: Mapping[str, Layer], device: str) -> tuple[LayerTime, ...]:
    """The layers that took time; OpenVINO tells no starts."""
    unknown = Layer("", "", "", "", ())
    return tuple(
        LayerTime(
            counter.node_name, counter.node_type, time_ns, about.precision, device, None,
            counter.exec_type, about.made_from or (counter.node_name.removesuffix("/WithoutBiases"),),
        )
        for counter in counters
        if (time_ns := counter.real_time.total_seconds() * 1e9) > 0
        for about in [executed.get(counter.node_name, unknown)]
    )  # fmt: skip


def _precision(info: Mapping[str, str]) -> str:
    """The precision of the kernel (`brgconv_avx512_f32`), where its name tells.

    `runtimePrecision` alone would not do: of an IR with fp16 weights it says f16 for convolutions that the CPU plug-in runs
    in f32 (2026.4).
    """
    suffix = info.get("primitiveType", "").rpartition("_")[2].lower()
    return suffix if suffix in _RUN_IN else info["runtimePrecision"]


def heavy_layers(layers: Iterable[Layer]) -> Mapping[str, int]:
    """The convolutions and matrix products per precision; one that has no name here counts under OpenVINO's own."""
    heavy = [layer for layer in layers if layer.kind.lower().replace("_", "") in _HEAVY]
    return dict(Counter(_RUN_IN.get(layer.precision.lower(), layer.precision) for layer in heavy))


def deciding(layers: Collection[Layer]) -> Precision | None:
    """The precision of the convolutions and matrix products: they are what a precision is chosen for.

    int8 as soon as one of them runs in it, because a quantiser leaves layers out on purpose (`heavy_layers` counts them);
    else that of most.
    """
    counted = heavy_layers(layers) or Counter(_RUN_IN.get(layer.precision.lower(), "") for layer in layers)
    most = "int8" if counted.get("int8") else max(counted, key=lambda name: counted[name], default="")
    return next((known for known in _RUN_IN.values() if known == most), None)


def memory_format(layers: Iterable[Layer]) -> str | None:
    """The output layout of most convolutions (`acdb` is channels-last, `aBcd16b` blocked); None without any."""
    layouts = Counter(layer.layout for layer in layers if "convolution" in layer.kind.lower())
    return layouts.most_common(1)[0][0] if layouts else None
