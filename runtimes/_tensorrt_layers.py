"""What an engine's layers run in, read from the JSON of TensorRT's engine inspector.

8.5 to 10.x tell a tensor's type as prose (`Channel major FP16 format where channel % 8 == 0`, `Half`) under
`Format/Datatype`, 11.x splits `Format` and `DataType` (also spelt `Datatype`). Only engines built with `DETAILED`
verbosity hold it; in others a layer is a bare name.
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html (engine inspector).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.api import JSON, OpenFailed, Precision

_TYPES: Sequence[tuple[str, Precision]] = (
    (r"\bint8\b", "int8"), (r"\bbf16\b|\bbfloat16\b|\bBFloat\b", "bf16"), (r"\bfp16\b|\bhalf\b|\bfloat16\b", "fp16"),
    (r"\bfp32\b|\bfloat\b|\bfloat32\b", "fp32"),
)  # fmt: skip
_HEAVY = re.compile(r"conv|gemm|matmul|matrix_?multiply|fully_?connected|attention|mha", re.IGNORECASE)
# Layers that move or describe data: they have a type, but compute nothing that a precision is chosen for.
_MOVES = frozenset({
    "reformat", "noop", "shuffle", "constant", "shape", "slice", "concat", "concatenation", "identity", "signal", "wait",
    "cast", "shape_call", "copy", "input", "output",
})  # fmt: skip
_TF32 = re.compile(r"tf32", re.IGNORECASE)
_TRUE_FP32 = re.compile(r"f32f32_f32f32|ffma|sgemm|scudnn|simt_fp32|_fp32_|f32f32_f32", re.IGNORECASE)


@dataclass(frozen=True)
class Layer:
    """One layer of an engine. `precision` is None where the inspector does not tell it."""

    name: str
    kind: str
    precision: Precision | None
    heavy: bool
    """Whether it is a convolution, a matrix product or attention."""
    moves: bool
    """Whether it only moves data."""
    nodes: tuple[str, ...] = ()
    """The ONNX nodes it came from, where the engine kept them."""
    kernel: str = ""
    """TensorRT's name for the tactic that was chosen."""
    on_dla: bool = False
    """Whether it is a part of the network that a DLA runs as one."""


def layers(text: str, *, tf32: bool) -> Sequence[Layer]:
    """The layers in the inspector's JSON; `tf32` says whether the builder was allowed to use TF32.

    Raises `OpenFailed` where it is no inspector's answer.
    """
    try:
        answer = json.loads(text)
        listed = answer["Layers"] if isinstance(answer, dict) else answer
        return tuple(_layer(layer, tf32) for layer in listed)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OpenFailed(
            f"the engine inspector's answer is not understood: {text[:80]!r}", "report it with TensorRT's version"
        ) from error


def _layer(told: Any, tf32: bool) -> Layer:
    if isinstance(told, str):
        return Layer(told, "", None, heavy=False, moves=False)
    kind = str(told.get("LayerType", ""))
    parameter = str(told.get("ParameterType", ""))
    nodes = re.findall(r"\[ONNX Layer: ([^\]]+)\]", str(told.get("Metadata", "")))
    tactic = str(told.get("TacticName", ""))
    dla = kind.upper() == "DLA"
    heavy = dla or any(_HEAVY.search(text) for text in (kind, parameter, tactic))
    found = _type_of(told)
    if found == "fp32" and heavy and tf32:
        found = _fp32_or_tf32(tactic)
    return Layer(str(told.get("Name", "")), kind, found, heavy, kind.lower() in _MOVES, tuple(nodes), tactic, dla)


def _fp32_or_tf32(tactic: str) -> Precision | None:
    """A float layer where TF32 is allowed: only the kernel's name tells which; None where it does not."""
    if _TF32.search(tactic):
        return "tf32"
    return "fp32" if _TRUE_FP32.search(tactic) else None


def _type_of(told: Mapping[str, Any]) -> Precision | None:
    """The type a layer computes in: of its weights where it has them, else of its first input, else of its output."""
    weights = told.get("Weights")
    if isinstance(weights, Mapping) and int(weights.get("Count", 0)) and (kind := _named(weights.get("Type"))):
        return kind
    for side in ("Inputs", "Outputs"):
        for tensor in told.get(side) or ():
            if isinstance(tensor, Mapping):
                said = tensor.get("DataType") or tensor.get("Datatype") or tensor.get("Format/Datatype")
                if kind := _named(said):
                    return kind
    return None


def _named(said: object) -> Precision | None:
    text = str(said or "")
    return next((kind for pattern, kind in _TYPES if re.search(pattern, text, re.IGNORECASE)), None)


def placed(found: Sequence[Layer]) -> Mapping[str, int]:
    """Layers that compute, on the DLA (each a part of the network) and on the GPU."""
    return dict(Counter("DLA" if layer.on_dla else "GPU" for layer in found if not layer.moves))


def left_to_gpu(found: Sequence[Layer]) -> Mapping[str, JSON]:
    """What of a network for a DLA runs on the GPU instead: how many layers of each kind, and their names."""
    left = [layer for layer in found if not (layer.on_dla or layer.moves)]
    kinds: Mapping[str, JSON] = dict(Counter(layer.kind for layer in left))
    return {"left_to": {"GPU": kinds}, "gpu_layers": [layer.name for layer in left]}


def counts(found: Sequence[Layer]) -> Mapping[str, int]:
    """Layers that compute, per precision; `unknown` for those that do not tell."""
    return dict(Counter(layer.precision or "unknown" for layer in found if not layer.moves))


def deciding(found: Sequence[Layer]) -> Precision | None:
    """The precision of most convolutions and matrix products (of all that computes where none is marked as such).

    None where most do not tell: no claim is better than a false one.
    """
    heavy = [layer for layer in found if layer.heavy] or [layer for layer in found if not layer.moves]
    ranked = Counter(layer.precision for layer in heavy).most_common(1)
    return ranked[0][0] if ranked else None
