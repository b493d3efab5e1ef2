"""What is computed in a graph before it is written, on graphs of a few nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from exporters._onnx_constants import compute_constants

onnx_ir: Any = pytest.importorskip("onnx_ir")
pytest.importorskip("onnxruntime")


def graph_of(nodes: str, inputs: str = "float[N,4] x", output: str = "float[N,M] y", **weights: Any) -> Any:
    """An ONNX IR graph: nodes in ONNX's textual form, and constants by name."""
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 20]> g ({inputs}) => ({output}) {{ {nodes} }}'
    )
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items())
    return onnx_ir.from_proto(onnx.shape_inference.infer_shapes(proto)).graph


def ops(graph: Any) -> list[str]:
    return [node.op_type for node in graph]


W = np.arange(16, dtype=np.float32).reshape(4, 4)


def test_a_weight_is_computed_under_its_parameters_name() -> None:
    graph = graph_of("a = Sin (w)\nb = Mul (a, gain)\ny = MatMul (x, b)", w=W, gain=np.float32(2.0))
    compute_constants(graph)
    assert ops(graph) == ["MatMul"] and list(graph.initializers) == ["w"]
    np.testing.assert_allclose(graph.initializers["w"].const_value.numpy(), 2 * np.sin(W), rtol=1e-6)


def test_what_others_use_stays() -> None:
    graph = graph_of("a = Sin (w)\nb = Neg (a)\nc = MatMul (x, b)\ny = Add (c, a)", w=W)
    compute_constants(graph)
    assert ops(graph) == ["Sin", "MatMul", "Add"] and set(graph.initializers) == {"w", "b_computed"}


def test_a_shared_parameter_is_not_multiplied() -> None:
    """The five scaled copies would be five parameters in the file."""
    scaled = "\n".join(f"s{i} = Mul (w, g{i})\nm{i} = MatMul (x, s{i})" for i in range(5))
    gains: dict[str, Any] = {f"g{i}": np.float32(i) for i in range(5)}
    graph = graph_of(f"{scaled}\ny = Sum (m0, m1, m2, m3, m4)", w=W, **gains)
    before = ops(graph)
    compute_constants(graph)
    assert ops(graph) == before


def test_a_weight_of_two_users_is_computed_once() -> None:
    graph = graph_of("a = Sin (w)\nb = MatMul (x, a)\ny = MatMul (b, a)", w=W)
    compute_constants(graph)
    assert ops(graph) == ["MatMul", "MatMul"] and list(graph.initializers) == ["w"]


def test_a_parameter_that_is_an_output_stays() -> None:
    graph = graph_of("a = Sin (w)\ny = MatMul (x, a)", output="float[N,M] y, float[4,4] w", w=W)
    compute_constants(graph)
    assert "w" in graph.initializers


def test_what_is_drawn_at_random_or_depends_on_the_input_stays() -> None:
    graph = graph_of(
        "r = RandomNormalLike (w)\na = MatMul (x, r)\nb = Sin (x)\nc = Transpose (b)\ny = MatMul (a, c)", w=W
    )
    before = ops(graph)
    compute_constants(graph)
    assert ops(graph) == before


def test_what_onnx_runtime_cannot_compute_stays(caplog: pytest.LogCaptureFixture) -> None:
    """It has no Sin of bfloat16 on the CPU."""
    graph = graph_of("h = Cast <to = 16> (w)\ns = Sin (h)\na = Cast <to = 1> (s)\ny = MatMul (x, a)", w=W)
    compute_constants(graph)
    assert ops(graph) == ["Cast", "Sin", "Cast", "MatMul"] and "is left to be computed" in caplog.text


def test_a_deep_network_is_looked_through_once() -> None:
    """A recursion over 2,000 layers would end; one that forgets where it was would not."""
    doubled = "\n".join(f"c{i + 1} = Mul (c{i}, c{i})" for i in range(60))
    deep = "\n".join(f"d{i + 1} = Relu (d{i})" for i in range(2000))
    graph = graph_of(
        f"c0 = Sin (w)\n{doubled}\nd0 = Relu (x)\n{deep}\nm = MatMul (d2000, c60)\nt = Transpose (d2000)\ny = MatMul (m, t)",
        w=W,
    )
    compute_constants(graph)
    assert set(ops(graph)) == {"Relu", "MatMul", "Transpose"} and list(graph.initializers) == ["w"]
