"""What the tests of runtimes share: opening one in this process, and small convolution models as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness import registry
from harness.api import Session
from harness.model import JSON, Artifact, Device, Precision, Recipe, Setup, TensorSpec

SHAPE = (3, 8, 8)


def opened(
    runtime: str,
    artifact: Artifact,
    *,
    precision: Precision = "fp32",
    batch: int = 1,
    cache: str = "",
    device: Device | None = None,
    **options: JSON,
) -> Session:
    """A session of `runtime` with one thread and its default options, but for those given."""
    plugin = registry.runtime_class(runtime)
    assert set(options) <= set(plugin.options)
    setup = Setup(device or Device("cpu"), precision, batch, 1, {**plugin.options, **options}, cache)
    return plugin().open(artifact, setup)


def infer(session: Session, array: np.ndarray[Any, Any], name: str = "x") -> np.ndarray[Any, Any]:
    """The first output of one inference."""
    session.bind({name: array})
    session.run()
    session.sync()
    return np.array(next(iter(session.fetch().values())))


def images(batch: int = 1, seed: int = 0) -> np.ndarray[Any, Any]:
    """Random inputs in -1..1."""
    return np.random.default_rng(seed).uniform(-1, 1, (batch, *SHAPE)).astype(np.float32)


def onnx_artifact(path: Path, outputs: tuple[int, ...] = (4, 8, 8)) -> Artifact:
    """The artifact of a file with one input `x` and one output `y`."""
    x, y = TensorSpec("x", ("batch", *SHAPE), "float32"), TensorSpec("y", ("batch", *outputs), "float32")
    return Artifact("onnx", str(path), "fp32", (x,), (y,), "", path.stat().st_size, Recipe("test", ""))


def conv_weights() -> np.ndarray[Any, Any]:
    """Four 3x3 filters on three channels."""
    return np.random.default_rng(1).uniform(-0.5, 0.5, (4, 3, 3, 3)).astype(np.float32)


def conv_onnx(path: Path, kind: str = "fp32") -> Artifact:
    """x -> 3x3 convolution -> Relu -> y; `kind` is fp32, fp16 (between casts) or qdq (uint8 and int8)."""
    from onnx import TensorProto, helper

    types = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "qdq": TensorProto.INT8}
    weights = conv_weights()
    stored = {"fp32": weights, "fp16": weights.astype(np.float16), "qdq": np.round(weights * 128).astype(np.int8)}
    tensors = [helper.make_tensor("w", types[kind], weights.shape, stored[kind].tobytes(), raw=True)]
    conv = {"pads": [1, 1, 1, 1]}
    if kind == "fp32":
        nodes = [helper.make_node("Conv", ["x", "w"], ["c"], **conv), helper.make_node("Relu", ["c"], ["y"])]
    elif kind == "fp16":
        nodes = [
            helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
            helper.make_node("Conv", ["h", "w"], ["c"], **conv),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT),
        ]
    else:
        tensors += _scales()
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["qx"]),
            helper.make_node("DequantizeLinear", ["qx", "sx", "zx"], ["dx"]),
            helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["dw"]),
            helper.make_node("Conv", ["dx", "dw"], ["c"], **conv),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("QuantizeLinear", ["r", "sy", "zy"], ["qy"]),
            helper.make_node("DequantizeLinear", ["qy", "sy", "zy"], ["y"]),
        ]
    return onnx_artifact(saved(path, nodes, tensors))


def _scales() -> list[Any]:
    from onnx import TensorProto, helper

    zero, scale = TensorProto.UINT8, TensorProto.FLOAT
    return [
        helper.make_tensor("sx", scale, [], [1 / 127]), helper.make_tensor("zx", zero, [], [128]),
        helper.make_tensor("sw", scale, [], [1 / 128]), helper.make_tensor("zw", TensorProto.INT8, [], [0]),
        helper.make_tensor("sy", scale, [], [4 / 255]), helper.make_tensor("zy", zero, [], [0]),
    ]  # fmt: skip


def saved(path: Path, nodes: list[Any], tensors: list[Any], outputs: tuple[int, ...] = (4, 8, 8)) -> Path:
    """An ONNX file of opset 17 from `x` to `y`."""
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *SHAPE])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", *outputs])
    graph = helper.make_graph(nodes, "test", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def conv_reference(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the fp32 model computes, in plain numpy."""
    padded = np.pad(array, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.asarray(np.maximum(np.einsum("bchwij,ocij->bohw", windows, conv_weights()), 0))
