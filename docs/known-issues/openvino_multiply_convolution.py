"""OpenVINO folds a spatial factor into a convolution's weights where both have the kernel's size: the result is wrong.

A map is divided by a constant of shape [7, 7] (one factor per pixel), then convolved with a 7x7 kernel. OpenVINO moves the
factor into the weights, as may be done with a factor per channel alone.
"""

import numpy as np
import onnxruntime as ort
import openvino as ov
from onnx import helper, numpy_helper

SIZE = 7


def model(op: str, factor: np.ndarray) -> bytes:
    """`op` by a constant, then a convolution: serialised ONNX."""
    weights = np.random.default_rng(0).normal(size=(1, 2, SIZE, SIZE)).astype(np.float32)
    nodes = [
        helper.make_node(op, ["x", "factor"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "weights"], ["y"], pads=[SIZE // 2] * 4),
    ]
    graph = helper.make_graph(
        nodes,
        "scaled_convolution",
        [helper.make_tensor_value_info("x", 1, ["batch", 2, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", 1, ["batch", 1, SIZE, SIZE])],
        [numpy_helper.from_array(factor, "factor"), numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


rng = np.random.default_rng(1)
x = rng.normal(size=(1, 2, SIZE, SIZE)).astype(np.float32)
core = ov.Core()
for op in ("Div", "Mul"):
    for shape in ((SIZE, SIZE), (1, 1, SIZE, SIZE), (2, 1, 1)):
        made = model(op, rng.uniform(0.5, 2, shape).astype(np.float32))
        right = ort.InferenceSession(made, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        got = core.compile_model(core.read_model(made), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]
        error = np.linalg.norm(got - right) / np.linalg.norm(right)
        print(f"{op} by a constant of shape {list(shape)}: relative L2 error {error:.1e}")
