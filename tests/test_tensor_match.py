"""Tensors of two graphs are paired by name, and by order where exporters name them differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.explaining import tensor_match
from harness.explaining.tensor_match import Tensor


def _chain(*made: tuple[str, str, int]) -> list[Tensor]:
    """(name, operator, channels): each computed from the one before."""
    before = ["x", *(name for name, _, _ in made)]
    return [Tensor(name, kind, f"node {name}", (before[i],), (1, n)) for i, (name, kind, n) in enumerate(made)]


def _pairs(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[tuple[str, str, str]]:
    return [(pair.first.name, pair.second.name, pair.by) for pair in tensor_match.match(first, second)]


def test_equal_names_of_equal_shape_are_the_same_tensor() -> None:
    first = _chain(("a", "Conv", 4), ("b", "Relu", 4), ("c", "Gemm", 2))
    second = _chain(("a", "Conv", 4), ("b", "Relu", 8), ("c", "Gemm", 2))
    assert _pairs(first, second) == [("a", "a", "name"), ("c", "c", "name")]


def test_other_names_are_aligned_by_operator_and_shape() -> None:
    first = _chain(("conv2d", "Conv", 4), ("relu", "Relu", 4), ("conv2d_1", "Conv", 8), ("relu_1", "Relu", 8))
    second = _chain(("/c/Conv", "Conv", 4), ("/r/Relu", "Relu", 4), ("/p/Pad", "Pad", 4), ("/d/Conv", "Conv", 8))
    assert _pairs(first, second) == [
        ("conv2d", "/c/Conv", "order"), ("relu", "/r/Relu", "order"), ("conv2d_1", "/d/Conv", "order"),
    ]  # fmt: skip


def test_outputs_belong_together_whatever_they_are_called_and_made_by() -> None:
    first = _chain(("flat", "Flatten", 4), ("logits", "Gemm", 2))
    second = _chain(("flat", "Flatten", 4), ("logits", "MatMul", 2), ("output", "Add", 3))
    outputs = tensor_match.paired_outputs(["logits"], ["output"])
    paired = [(pair.first.name, pair.second.name, pair.by) for pair in tensor_match.match(first, second, outputs)]
    assert paired == [("flat", "flat", "name"), ("logits", "output", "output")]


def test_outputs_are_paired_by_name_where_all_names_are_known_else_by_place() -> None:
    assert tensor_match.paired_outputs(["a", "b"], ["b", "a"]) == [("a", "a"), ("b", "b")]
    assert tensor_match.paired_outputs(["a", "b"], ["b"]) == [("b", "b")]
    assert tensor_match.paired_outputs(["a", "b"], ["b", "c"]) == [("a", "b"), ("b", "c")]
    assert tensor_match.paired_outputs(["a"], ["x", "y"]) == [("a", "x")]


def test_a_relu_that_a_quantiser_took_out_is_what_comes_back_from_int8() -> None:
    """onnxruntime gives the convolution the Relu's name, because the range that it is quantised to cuts off the same."""
    first = _chain(("conv", "Conv", 4), ("relu", "Relu", 4), ("out", "Gemm", 2))
    made = _chain(
        ("relu", "Conv", 4), ("relu_q", "QuantizeLinear", 4), ("relu_dq", "DequantizeLinear", 4), ("out", "Gemm", 2)
    )
    second = [made[0], made[1], replace(made[2], restores="relu"), made[3]]
    assert _pairs(first, second)[-2:] == [("relu", "relu_dq", "name"), ("out", "out", "name")]
    assert ("relu", "relu_dq", "name") in [(b, a, by) for a, b, by in _pairs(second, first)]
    same = [replace(first[1], kind="Conv"), first[2]]
    assert _pairs(same, second)[0] == ("relu", "relu", "name"), "where the operator is the same, nothing was taken out"


def test_a_name_that_comes_again_elsewhere_is_not_trusted() -> None:
    """`12` is the last tensor of one file and the first of the other."""
    first = _chain(("10", "Conv", 4), ("11", "Relu", 4), ("12", "Add", 4))
    second = _chain(("12", "Conv", 4), ("10", "Relu", 4), ("11", "Add", 4))
    paired = _pairs(first, second)
    order = {tensor.name: i for i, tensor in enumerate(second)}
    places = [order[other] for _, other, _ in paired]
    assert places == sorted(places), "the order of execution holds"


def test_the_nearest_compared_tensors_are_found_through_those_that_are_not() -> None:
    graph = [
        Tensor("a", "Conv", "", ("x",), ()), Tensor("cast", "Cast", "", ("a",), ()),
        Tensor("b", "Conv", "", ("x",), ()), Tensor("sum", "Add", "", ("cast", "b"), ()),
    ]  # fmt: skip
    compared = [graph[0], graph[2], graph[3]]
    assert tensor_match.nearest(compared, graph) == {"a": (), "b": (), "sum": ("a", "b")}


def test_a_graph_in_disorder_is_sorted_and_one_in_order_is_left() -> None:
    """ONNX Runtime's fp16 converter appends its casts at the end."""
    made = _chain(("a", "Conv", 4), ("b", "Relu", 4), ("c", "Gemm", 2))
    assert tensor_match.sorted_graph(made) == tuple(made)
    assert tensor_match.sorted_graph([made[2], made[0], made[1]]) == tuple(made)
