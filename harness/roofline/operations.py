"""Arithmetic of ONNX operators: how many floating-point operations one node takes, from its shapes and attributes.

The convention: a multiply-add is 2 operations; every other arithmetic step of an operator's definition is 1, and so are
a comparison, an exponential, a root, an error function or a sigmoid. Padding is counted like data, as
`torch.utils.flop_counter` does. What an operator is made of is read in its definition
(https://onnx.ai/onnx/operators/, https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """A node with concrete shapes; an input that is left out has the shape None."""

    kind: str
    inputs: Sequence[Shape | None]
    outputs: Sequence[Shape]
    attributes: Mapping[str, Any]

    def given(self, index: int) -> Shape:
        """Shape of an input. Raises IndexError where it is left out."""
        if index >= len(self.inputs) or (shape := self.inputs[index]) is None:
            raise IndexError(f"{self.kind} has no input {index}")
        return shape

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    @property
    def size(self) -> int:
        """Elements of the first output."""
        return math.prod(self.outputs[0])


@dataclass(frozen=True)
class Operations:
    """Operations of one node: those of its matrix products and convolutions, and all others."""

    multiply_add: int = 0
    other: int = 0


Rule: TypeAlias = Callable[[Node], Operations]


def operations(node: Node) -> Operations | None:
    """Operations of a node; None where the operator, or this form of it, is not known here."""
    rule = RULES.get(node.kind)
    try:
        return None if rule is None else rule(node)
    except (IndexError, KeyError, ValueError):  # a form that the definition does not have, or a packed one
        return None


# ── matrix products and convolutions ─────────────────────────────────────────────────────────────────────────────


def _conv(weight: int, bias: int | None) -> Rule:
    def rule(node: Node) -> Operations:
        taps = math.prod(node.given(weight)[1:])
        return Operations(2 * node.size * taps, node.size if bias is not None and node.has(bias) else 0)

    return rule


def _conv_transpose(node: Node) -> Operations:
    """Every input element meets the whole filter of its group: W is (C_in, C_out / group, k…)."""
    products = math.prod(node.given(0)) * math.prod(node.given(1)[1:])
    return Operations(2 * products, node.size if node.has(2) else 0)


def _gemm(node: Node) -> Operations:
    depth = node.given(0)[0 if node.attributes.get("transA", 0) else 1]
    return Operations(2 * node.size * depth, node.size if node.has(2) else 0)


def _matmul(right: int = 1) -> Rule:
    def rule(node: Node) -> Operations:
        left, weight = node.given(0), node.given(right)
        depth = left[-2] if node.attributes.get("transA", 0) and len(left) > 1 else left[-1]
        if not left or not weight:
            raise ValueError("a scalar has no product of matrices")
        return Operations(2 * node.size * depth)

    return rule


def _einsum(node: Node) -> Operations:
    """One operand: a sum or a transposition. Two: a product over every index, and a sum over those that vanish."""
    equation = str(node.attributes["equation"]).replace(" ", "")
    left, _, right = equation.partition("->")
    sizes: dict[str, int] = {}
    for word, shape in zip(left.split(","), node.inputs, strict=True):
        if shape is None:
            raise ValueError("an operand is missing")
        names = _indices(word, len(shape))
        for name, length in zip(names, shape, strict=True):
            sizes[name] = max(sizes.get(name, 1), length)
    products, operands = math.prod(sizes.values()), len(node.inputs)
    if operands > 2 or not right:
        raise ValueError("the order of a longer product is the runtime's choice; an implicit output is obsolete")
    summed = products > node.size
    if operands == 1:
        return Operations(0, products if summed else 0)
    return Operations(2 * products) if summed else Operations(0, products)


def _indices(word: str, rank: int) -> list[str]:
    """The index of each dimension; those under an ellipsis are named from the right, as they are broadcast."""
    before, dots, after = word.partition("...")
    hidden = rank - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise ValueError(f"{word!r} does not describe {rank} dimensions")
    return [*before, *(f"...{i}" for i in range(hidden, 0, -1)), *after]


def _attend(batch: int, heads: int, queries: int, keys: int, depth: int, value_depth: int) -> Operations:
    """softmax(Q Kᵀ · scale) V: two products, and scaling and softmax (5) on every score."""
    scores = batch * heads * queries * keys
    return Operations(2 * scores * (depth + value_depth), scores * 6)


def _attention(node: Node) -> Operations:
    """ONNX Attention (opset 23): (batch, heads, length, depth), or three dimensions and the number of heads."""
    query, key, value = node.given(0), node.given(1), node.given(2)
    past = node.given(4)[2] if node.has(4) else 0
    if len(query) == 4:
        return _attend(query[0], query[1], query[2], key[2] + past, query[3], value[3])
    heads, key_heads = int(node.attributes["q_num_heads"]), int(node.attributes["kv_num_heads"])
    return _attend(query[0], heads, query[1], key[1] + past, query[2] // heads, value[2] // key_heads)


def _multi_head_attention(node: Node) -> Operations:
    """com.microsoft.MultiHeadAttention with separate query, key and value of three dimensions."""
    query, key, value = node.given(0), node.given(1), node.given(2)
    if not len(query) == len(key) == len(value) == 3:
        raise ValueError("a packed form")
    heads = int(node.attributes["num_heads"])
    found = _attend(query[0], heads, query[1], key[1], query[2] // heads, value[2] // heads)
    return Operations(found.multiply_add, found.other + (query[0] * sum(node.given(3)) if node.has(3) else 0))


def _fused_attention(node: Node) -> Operations:
    """com.microsoft.Attention: the projection to query, key and value, and the attention."""
    (batch, length, _), weight = node.given(0), node.given(1)
    if "qkv_hidden_sizes" in node.attributes:
        hidden, _, value_hidden = node.attributes["qkv_hidden_sizes"]
    else:
        hidden = value_hidden = weight[1] // 3
    heads = int(node.attributes["num_heads"])
    projection = 2 * batch * length * weight[0] * weight[1]
    found = _attend(batch, heads, length, length, hidden // heads, value_hidden // heads)
    return Operations(projection + found.multiply_add, found.other + batch * length * weight[1])


# ── all others ───────────────────────────────────────────────────────────────────────────────────────────────────


def _each(operations_: int) -> Rule:
    """So many operations for each element of the output."""
    return lambda node: Operations(0, operations_ * node.size)


def _each_input(operations_: int) -> Rule:
    """So many for each element of the input: reductions."""
    return lambda node: Operations(0, operations_ * math.prod(node.given(0)))


def _variadic(node: Node) -> Operations:
    return Operations(0, node.size * max(0, len(node.inputs) - 1))


def _window(node: Node) -> Operations:
    return Operations(0, node.size * math.prod(node.attributes["kernel_shape"]))


def _gelu(node: Node) -> Operations:
    """½x(1 + erf(x/√2)), or with tanh(√(2/π)(x + 0.044715x³))."""
    return Operations(0, node.size * (9 if node.attributes.get("approximate") == "tanh" else 5))


def _resize(node: Node) -> Operations:
    """Interpolation over the dimensions that change: 2 (linear) or 4 (cubic) taps along each, a multiply-add a tap."""
    taps = {"nearest": 0, "linear": 2, "cubic": 4}[str(node.attributes.get("mode", "nearest"))]
    if node.attributes.get("antialias", 0):
        raise ValueError("the number of taps follows the scale")
    changed = sum(a != b for a, b in zip(node.given(0), node.outputs[0], strict=True))
    return Operations(0, 2 * node.size * taps**changed if taps and changed else 0)


def _none(node: Node) -> Operations:
    return Operations()


VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Shape", "Size", "Constant"})
"""Nothing is computed, and no data is moved."""
MOVES = frozenset({
    "Transpose", "Concat", "Split", "Slice", "Gather", "GatherElements", "GatherND", "Pad", "Expand", "Tile", "Cast",
    "CastLike", "DepthToSpace", "SpaceToDepth", "ScatterND", "ScatterElements", "Trilu", "OneHot", "Range", "EyeLike",
    "ConstantOfShape", "CenterCropPad", "ReverseSequence", "BitCast",
})  # fmt: skip
"""Data is moved, and nothing is computed."""
SELECTS = frozenset({"Slice", "Gather", "GatherElements", "GatherND"})
"""Of their first input they read as much as they write."""

_ONE = (
    "Add", "Sub", "Mul", "Div", "Mod", "Pow", "Neg", "Abs", "Sqrt", "Reciprocal", "Exp", "Log", "Erf", "Tanh", "Sigmoid",
    "Sin", "Cos", "Tan", "Floor", "Ceil", "Round", "Sign", "Relu", "ThresholdedRelu", "Not", "And", "Or", "Xor", "Equal",
    "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Where", "IsNaN", "IsInf", "CumSum",
)  # fmt: skip
_PER_OUTPUT: Mapping[str, int] = {
    **dict.fromkeys(_ONE, 1),
    "Clip": 2, "LeakyRelu": 2, "PRelu": 2, "Swish": 2, "QuickGelu": 3, "Softplus": 2, "Softsign": 3, "Elu": 3, "Celu": 4,
    "Selu": 4, "HardSigmoid": 4, "HardSwish": 5, "Mish": 4, "BiasGelu": 6, "FastGelu": 9,
    "QuantizeLinear": 3, "DequantizeLinear": 2,
    # A max, a difference, an exponential, a sum and a quotient.
    "Softmax": 5, "LogSoftmax": 5,
    # Inference: statistics are constants, so that scale and shift are left.
    "BatchNormalization": 2,
    # Mean, difference, square, sum, · 1/σ, · γ, + β; without the mean and β; with a skip connection added before.
    "LayerNormalization": 7, "InstanceNormalization": 7, "GroupNormalization": 7, "GroupNorm": 7,
    "RMSNormalization": 4, "SimplifiedLayerNormalization": 4,
    "SkipLayerNormalization": 8, "SkipSimplifiedLayerNormalization": 5,
    "MeanVarianceNormalization": 5, "LpNormalization": 3,
}  # fmt: skip
_PER_INPUT: Mapping[str, int] = {
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSum"), 1),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "ArgMax", "ArgMin"), 1),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare"), 2), "ReduceLogSumExp": 2,
}  # fmt: skip

RULES: Mapping[str, Rule] = {
    **{name: _each(count) for name, count in _PER_OUTPUT.items()},
    **{name: _each_input(count) for name, count in _PER_INPUT.items()},
    **dict.fromkeys(VIEWS | MOVES, _none),
    "Conv": _conv(1, 2), "FusedConv": _conv(1, 2), "QLinearConv": _conv(3, 8), "ConvInteger": _conv(1, None),
    "ConvTranspose": _conv_transpose, "Gemm": _gemm, "FusedGemm": _gemm,
    "MatMul": _matmul(), "FusedMatMul": _matmul(), "MatMulInteger": _matmul(), "QLinearMatMul": _matmul(3),
    "Einsum": _einsum, "Attention": _attention, "com.microsoft.Attention": _fused_attention,
    "MultiHeadAttention": _multi_head_attention,
    "MaxPool": _window, "AveragePool": _window, "LpPool": _window, "Resize": _resize, "Upsample": _resize,
    "Gelu": _gelu, "Sum": _variadic, "Mean": _variadic, "Max": _variadic, "Min": _variadic,
}  # fmt: skip
