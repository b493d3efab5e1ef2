"""Reads back from OpenVINO what a compiled model really is: its properties, and the precision of its layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.api import Precision

_RUN_IN: Mapping[str, Precision] = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_HEAVY = frozenset({"Convolution", "GroupConvolution", "FullyConnected", "MatMul", "Deconvolution", "Gemm"})


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
    """(layer type, precision) of every executed layer that tells it."""
    layers = []
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if "runtimePrecision" in info and "layerType" in info:
            layers.append((str(info["layerType"].astype(str)), str(info["runtimePrecision"].astype(str))))
    return layers


def deciding(layers: Sequence[tuple[str, str]]) -> Precision | None:
    """The precision of most convolutions and matrix products: they are what a precision is chosen for."""
    heavy = Counter(_RUN_IN.get(precision) for kind, precision in layers if kind in _HEAVY)
    counted = heavy or Counter(_RUN_IN.get(precision) for _, precision in layers)
    return counted.most_common(1)[0][0] if counted else None
