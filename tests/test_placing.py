"""Which ONNX nodes a layer computes, whatever the runtime calls it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.explaining import layers, placing
from harness.explaining.layers import Layer
from harness.model import GraphNode


def _layer(name: str, kind: str, *nodes: str) -> Layer:
    return Layer(name, kind, layers.group_of(kind), 1.0, 1.0, 1.0, nodes=nodes)


GRAPH = (
    GraphNode("conv", "Conv", ("x", "w"), ("c",), ("stem.bn", "stem.conv")),
    GraphNode("relu", "Relu", ("c",), ("r",), ("stem.act",)),
    GraphNode("fc", "Gemm", ("r", "v"), ("y",), ("blocks.3.mlp.fc",)),
    GraphNode("other", "Sigmoid", ("r",), ("z",), ("blocks.3.gate",)),
)


def test_a_fused_layer_gets_the_nodes_that_only_it_uses() -> None:
    """ONNX Runtime calls a Conv with a Relu in it after the Relu's output."""
    placed = placing.place([_layer("r_nchwc", "Conv", "r"), _layer("y", "Gemm", "fc")], GRAPH)
    assert placed[0].nodes == ("conv", "relu")
    assert placed[1].nodes == ("fc",), "the relu is used by another node too"
    assert [layer.part for layer in placed] == ["stem", "blocks.3"]


def test_a_layer_of_the_runtimes_own_has_no_node() -> None:
    (placed,) = placing.place([_layer("ReorderInput_7", "ReorderInput", "ReorderInput_7")], GRAPH)
    assert placed.nodes == () and placed.part == ""


def test_a_module_of_the_framework_leads_to_its_nodes() -> None:
    torch = [
        replace(_layer("stem.conv/aten::conv2d", "aten::conv2d"), part="stem.conv"),
        replace(_layer("stem.bn/aten::batch_norm", "aten::batch_norm"), part="stem.bn"),
        replace(_layer("blocks.3.mlp.fc/aten::linear", "aten::linear"), part="blocks.3.mlp.fc"),
    ]
    placed = placing.place(torch, GRAPH)
    assert [layer.nodes for layer in placed] == [("conv",), ("conv",), ("fc",)], "BatchNorm was folded into the Conv"
    assert [layer.part for layer in placed] == ["stem", "stem", "blocks.3"]


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("layer1.0.conv1", "layer1.0"),
        ("blocks.3.attn.qkv", "blocks.3"),
        ("head.fc", "head"),
        ("conv1", "conv1"),
        ("", ""),
    ],
)
def test_the_part_is_the_path_to_the_first_number(module: str, part: str) -> None:
    assert placing.part_of(module) == part


def test_a_sum_belongs_to_the_convolution_that_runs_last_before_it() -> None:
    """ONNX Runtime adds a residual within the convolution before it, and keeps that convolution's name."""
    graph = (
        GraphNode("early", "Conv", ("x", "u"), ("e",)), GraphNode("late", "Conv", ("x", "v"), ("l",)),
        GraphNode("add", "Add", ("e", "l"), ("s",)), GraphNode("next", "Conv", ("s", "w"), ("y",)),
    )  # fmt: skip
    placed = placing.place([_layer(f"{name}_nchwc", "Conv", name) for name in ("e", "l", "y")], graph)
    assert [layer.nodes for layer in placed] == [("early",), ("late", "add"), ("next",)]


def test_an_operator_that_was_made_of_several_gets_them_all() -> None:
    """Gelu from its parts, called after the last of them."""
    graph = (
        GraphNode("div", "Div", ("x",), ("a",)), GraphNode("erf", "Erf", ("a",), ("b",)),
        GraphNode("plus", "Add", ("b",), ("c",)), GraphNode("mul", "Mul", ("x", "c"), ("y",)),
    )  # fmt: skip
    (placed,) = placing.place([_layer("mul", "Gelu", "mul")], graph)
    assert placed.nodes == ("div", "erf", "plus", "mul")
