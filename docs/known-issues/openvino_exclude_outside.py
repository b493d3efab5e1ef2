"""OpenVINO reads a Resize as if its attribute `exclude_outside` were 0: what is at the edges is wrong.

PyTorch's exporter sets it for `interpolate(mode="bicubic", antialias=True)`, which leaves out the pixels outside an image.
"""

import numpy as np
import onnxruntime as ort
import openvino as ov
from onnx import helper, numpy_helper

SMALL, LARGE = [1, 4, 16, 16], [1, 4, 64, 64]


def model(exclude_outside: int) -> bytes:
    """A bicubic, antialiased Resize of x: serialised ONNX."""
    node = helper.make_node(
        "Resize",
        ["x", "", "", "sizes"],
        ["y"],
        mode="cubic",
        cubic_coeff_a=-0.5,
        antialias=1,
        exclude_outside=exclude_outside,
    )
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("x", 1, SMALL)],
        [helper.make_tensor_value_info("y", 1, LARGE)],
        [numpy_helper.from_array(np.array(LARGE), "sizes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


x = np.random.default_rng(0).normal(size=SMALL).astype(np.float32)
core = ov.Core()
for exclude_outside in (0, 1):
    made = model(exclude_outside)
    right = ort.InferenceSession(made, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    got = core.compile_model(core.read_model(made), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]
    error = np.linalg.norm(got - right) / np.linalg.norm(right)
    print(f"exclude_outside={exclude_outside}: relative L2 error {error:.1e}")
