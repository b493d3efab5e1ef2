"""What the exporters to OpenVINO IR change of a graph that they read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from onnx import helper, numpy_helper

from exporters import _openvino

SMALL, LARGE = [1, 4, 5, 5], [1, 4, 16, 16]


def _resizes(mode: str, path: Path) -> Path:
    """x, a resized constant (moved and scaled before) and the input resized, added: as an ONNX file."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Transpose", ["table"], ["moved"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["moved", "factor"], ["scaled"]),
        helper.make_node("Resize", ["scaled", "", "", "sizes"], ["of_constant"], mode=mode),
        helper.make_node("Resize", ["of_constant", "", "", "sizes"], ["again"], mode=mode),
        helper.make_node("Resize", ["small", "", "", "sizes"], ["of_input"], mode=mode),
        helper.make_node("Sum", ["x", "again", "of_input"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "resizes",
        [
            helper.make_tensor_value_info("x", 1, ["batch", *LARGE[1:]]),
            helper.make_tensor_value_info("small", 1, SMALL),
        ],
        [helper.make_tensor_value_info("y", 1, ["batch", *LARGE[1:]])],
        [
            numpy_helper.from_array(rng.normal(size=(1, 5, 5, 4)).astype(np.float32), "table"),
            numpy_helper.from_array(np.float32(3), "factor"),
            numpy_helper.from_array(np.array(LARGE), "sizes"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize("mode", ["cubic", "linear", "nearest"])
def test_what_is_resized_and_depends_on_no_input_is_computed_once(mode: str, tmp_path: Path) -> None:
    file = _resizes(mode, tmp_path / "resizes.onnx")
    model = _openvino.read(str(file), None)
    assert [op.get_type_name() for op in model.get_ops()].count("Interpolate") == 1  # the input's
    assert {p.any_name for p in model.inputs} == {"x", "small"}
    rng = np.random.default_rng(1)
    feed = {
        "x": rng.normal(size=(2, *LARGE[1:])).astype(np.float32),
        "small": rng.normal(size=SMALL).astype(np.float32),
    }
    (right,) = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, feed)
    got = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feed)[0]
    np.testing.assert_allclose(got, right, rtol=1e-4, atol=1e-4)


def _scaled_convolution(op: str, shape: tuple[int, ...], path: Path) -> Path:
    """Channels of 7 x 7 by a constant of this shape, then a 7 x 7 convolution: as an ONNX file."""
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        [
            helper.make_node(op, ["x", "factor"], ["scaled"]),
            helper.make_node("Conv", ["scaled", "weights"], ["y"], pads=[3, 3, 3, 3]),
        ],
        "scaled_convolution",
        [helper.make_tensor_value_info("x", 1, ["batch", 2, 7, 7])],
        [helper.make_tensor_value_info("y", 1, ["batch", 4, 7, 7])],
        [
            numpy_helper.from_array(rng.uniform(0.5, 2, shape).astype(np.float32), "factor"),
            numpy_helper.from_array(rng.normal(size=(4, 2, 7, 7)).astype(np.float32), "weights"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize("op", ["Div", "Mul"])
@pytest.mark.parametrize("shape", [(7, 7), (1, 2, 7, 7), (7, 1), (2, 1, 1), (1,)])
def test_a_factor_of_each_pixel_stays_before_the_convolution(op: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    file = _scaled_convolution(op, shape, tmp_path / "net.onnx")
    model = _openvino.read(str(file), 1)
    clamps = [node.get_type_name() for node in model.get_ops()].count("Clamp")
    assert clamps == (shape[-1:] == (7,) or shape[0] == 7)
    x = np.random.default_rng(1).normal(size=(1, 2, 7, 7)).astype(np.float32)
    (right,) = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    got = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]
    np.testing.assert_allclose(got, right, rtol=1e-4, atol=1e-4)
