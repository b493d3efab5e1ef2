"""OpenVINO computes a bicubic Resize of a constant, while it compiles, with a reference implementation.

The same Resize of an input takes the plug-in's kernel. Seconds to compile; at 224 x 224 it is minutes.
"""

import time

import numpy as np
import openvino as ov
from onnx import helper, numpy_helper

SMALL, LARGE = [1, 96, 7, 7], [1, 96, 32, 32]


def model(resized: str) -> bytes:
    """`resized` ("constant" or "input") by bicubic Resize, and x added: serialised ONNX."""
    nodes = [
        helper.make_node("Resize", [resized, "", "", "sizes"], ["large"], mode="cubic", cubic_coeff_a=-0.75),
        helper.make_node("Add", ["x", "large"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "resize",
        [helper.make_tensor_value_info("x", 1, LARGE), helper.make_tensor_value_info("input", 1, SMALL)],
        [helper.make_tensor_value_info("y", 1, LARGE)],
        [
            numpy_helper.from_array(np.ones(SMALL, np.float32), "constant"),
            numpy_helper.from_array(np.array(LARGE), "sizes"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


core = ov.Core()
for resized in ("input", "constant"):
    begin = time.perf_counter()
    core.compile_model(core.read_model(model(resized)), "CPU")
    print(f"Resize of {SMALL} to {LARGE}, {resized}: compiled in {time.perf_counter() - begin:.2f} s")
