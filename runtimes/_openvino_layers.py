"""The layers that OpenVINO executes, in its own words, and the precision and layout in which they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.api import LayerTime, Precision

_RUN_IN: Mapping[str, Precision] = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_TOLD = frozenset({"layerType", "runtimePrecision", "outputLayouts", "primitiveType", "originalLayersNames"})
_HEAVY = frozenset({"convolution", "groupconvolution", "deconvolution", "fullyconnected", "matmul", "gemm"})


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


def of_last(averages_ns: Mapping[str, float], before_ns: Mapping[str, float], inferences: int) -> Mapping[str, float]:
    """What each layer took in the last of so many inferences, from its average over them and that over all but the last.

    Averages are whole microseconds, rounded down, so that a difference of sums is known to about as many microseconds as
    there are inferences: to either side, which medians even out, and never below 0. What was not there before is as told.
    """
    return {
        name: max(0.0, average + (inferences - 1) * (average - before_ns.get(name, average)))
        for name, average in averages_ns.items()
    }


def times(
    counters: Sequence[Any], own_ns: Mapping[str, float], executed: Mapping[str, Layer], device: str
) -> tuple[LayerTime, ...]:
    """The layers that took time, which is `own_ns` by name; OpenVINO tells no starts."""
    unknown = Layer("", "", "", "", ())
    return tuple(
        LayerTime(
            counter.node_name, counter.node_type, own_ns[counter.node_name], about.precision, device, None,
            counter.exec_type, about.made_from or (counter.node_name.removesuffix("/WithoutBiases"),),
        )
        for counter in counters
        if own_ns[counter.node_name] > 0
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
