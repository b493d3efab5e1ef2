"""ONNX files are converted whatever their size and shape; what cannot be converted, and a misspelt name, is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters import _onnx_model
from harness import calibration_images, onnx_file
from harness.errors import ExportFailed, Unsupported
from harness.model import Artifact, Recipe
from tests import nets

SIDE = 16


def _random(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _artifact(path: Path, details: Any = None) -> Artifact:
    found = onnx_file.inspect(path)
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    return Artifact(
        "onnx", str(path), found.precision, found.inputs, found.outputs, "0" * 64, size, Recipe("file", ""), 0.0,
        {**found.details, **(details or {})},
    )  # fmt: skip


def _images(folder: Path, count: int = 16, side: int = SIDE) -> Artifact:
    folder.mkdir()
    np.savez(folder / calibration_images.INPUTS, x=_random(count, 3, side, side))
    return Artifact("calibration", str(folder), "fp32", (), (), "0" * 64, 1, Recipe("calibration", ""))


def _net(
    path: Path,
    nodes: list[Any] | None = None,
    more: dict[str, Any] | None = None,
    *,
    sides: tuple[Any, Any] = (SIDE, SIDE),
    external: bool = False,
) -> Artifact:
    """A convolution named `conv` from `x` to `y`, then `nodes`, or what pools `y` to the output `z`."""
    weights = {"w": _random(64, 3, 3, 3), "b": np.ones(64, np.float32), **(more or {})}
    pooled = [
        helper.make_node("GlobalAveragePool", ["y"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["z"]),
    ]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], name="conv", pads=[1, 1, 1, 1]), *(nodes or pooled)],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, *sides])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 64])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(path), save_as_external_data=external, location=f"{path.name}.data", size_threshold=0)
    return _artifact(path)


def _run(artifact: Artifact, images: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": images})[0]


# ── more than one file can hold ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("exporter", "precision"), [("onnx_fp16", "fp16"), ("onnx_int8", "int8")])
def test_a_model_that_one_file_cannot_hold_is_converted(
    exporter: str, precision: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights lie beside the graph before and after, and nothing serialises them with it."""
    monkeypatch.setattr(_onnx_model, "ONE_FILE_BYTES", 2000)
    serialised: list[int] = []
    inferred = onnx.shape_inference.infer_shapes

    def infer_shapes(model: Any, *given: Any, **options: Any) -> Any:
        serialised.append(model.ByteSize())
        return inferred(model, *given, **options)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", infer_shapes)
    monkeypatch.setattr("onnxruntime.transformers.float16.infer_shapes", infer_shapes)
    source = _net(tmp_path / "net.onnx", external=True)
    images = _images(tmp_path / "images")
    made = nets.exported(exporter, source, tmp_path / "made", None, precision, images)
    assert max(serialised, default=0) < 2000
    assert {file.name for file in (tmp_path / "made").iterdir()} == {"model.onnx", "model.onnx.data", "manifest.json"}
    assert (tmp_path / "made" / "model.onnx").stat().st_size < made.size_bytes
    given = _random(2, 3, SIDE, SIDE)
    assert nets.rel_l2(_run(made, given), _run(source, given)) < 0.2


def test_shapes_that_lie_beside_the_graph_are_known(tmp_path: Path) -> None:
    """Else the types behind a Reshape would not be, and the converter would leave out a cast there."""
    nodes = [
        helper.make_node("Reshape", ["y", "shape"], ["r"]), helper.make_node("ReduceMean", ["r", "axes"], ["m"], keepdims=0),
        helper.make_node("Identity", ["m"], ["z"]),
    ]  # fmt: skip
    more = {"shape": np.array([0, 64, -1]), "axes": np.array([2])}
    source = _net(tmp_path / "net.onnx", nodes, more, external=True)
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in _onnx_model.loaded(source).graph.value_info
    }
    assert shapes["r"] == [0, 64, SIDE * SIDE]


# ── where symbolic shapes cannot be inferred ──────────────────────────────────────────────────────────────────────


def test_nothing_is_left_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime writes the whole model there where its symbolic shape inference fails."""
    nodes = [
        helper.make_node("MaxPool", ["y"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["m", "", "scales"], ["u"]), helper.make_node("Add", ["y", "u"], ["q"]),
        helper.make_node("GlobalAveragePool", ["q"], ["p"]), helper.make_node("Flatten", ["p"], ["z"]),
    ]  # fmt: skip
    scales = {"scales": np.array([1, 1, 2, 2], np.float32)}
    _net(tmp_path / "net.onnx", nodes, scales, sides=("height", "width"))
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    source = _artifact(Path("../net.onnx"))
    images = _images(tmp_path / "images", side=32)
    made = nets.exported("onnx_int8", source, Path("../made"), None, "int8", images)
    assert made.details["shape_inference"] == "onnx", "the way that this test is about"
    assert list(working.iterdir()) == []
    assert {file.name for file in (tmp_path / "made").iterdir()} == {"model.onnx", "manifest.json"}


# ── dynamic sides ─────────────────────────────────────────────────────────────────────────────────────────────────


def _tokens(path: Path, side: int) -> Artifact:
    """Its sides are open in the file, and only one runs, as in many a transformer."""
    nodes = [
        helper.make_node("Reshape", ["y", "shape"], ["t"]), helper.make_node("ReduceMean", ["t", "axes"], ["z"], keepdims=0),
    ]  # fmt: skip
    return _net(
        path, nodes, {"shape": np.array([-1, 64, side * side]), "axes": np.array([2])}, sides=("height", "width")
    )


@pytest.mark.parametrize(("side", "details"), [(224, {}), (64, {"asked_size": 64})])
@pytest.mark.parametrize(("exporter", "precision"), [("onnx_fp16", "fp16"), ("onnx_int8", "int8")])
def test_dynamic_sides_are_tried_with_the_size_that_is_measured(
    exporter: str, precision: Any, side: int, details: Any, tmp_path: Path
) -> None:
    _tokens(tmp_path / "net.onnx", side)
    source = _artifact(tmp_path / "net.onnx", details)
    images = _images(tmp_path / "images", side=side)
    made = nets.exported(exporter, source, tmp_path / "made", None, precision, images)
    assert made.inputs[0].shape == ("batch", 3, "height", "width")


# ── names that say nothing ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("exporter", "precision", "options", "said", "near"),
    [
        ("onnx_int8", "int8", {"exclude": ["convv"]}, "exclude: 'convv' is no node of the graph", "'conv'"),
        ("onnx_int8", "int8", {"operators": ["Conv", "Matmul"]}, "operators: 'Matmul' is no operator", "'MatMul'"),
        ("onnx_fp16", "fp16", {"keep_in_fp32": ["SoftMax"]}, "keep_in_fp32: 'SoftMax' is no operator", "'Softmax'"),
    ],
)
def test_a_misspelt_name_is_told_with_what_comes_near(
    exporter: str, precision: Any, options: Any, said: str, near: str, tmp_path: Path
) -> None:
    source, images = _net(tmp_path / "net.onnx"), _images(tmp_path / "images")
    with pytest.raises(ExportFailed, match=said) as caught:
        nets.exported(exporter, source, tmp_path / "made", None, precision, images, **options)
    assert f"did you mean {near}" in caught.value.hint


# ── bodies of If, Loop and Scan ───────────────────────────────────────────────────────────────────────────────────


def _branches(path: Path, operator: str) -> Artifact:
    """`operator` where there are several images, else Relu."""
    bodies = [
        helper.make_graph(
            [helper.make_node(op, ["f"], [f"{op}_out"], name=f"the_{op}")],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, None)],
        )
        for op in (operator, "Relu")
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["y"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Shape", ["x"], ["s"], start=0, end=1), helper.make_node("Greater", ["s", "one"], ["many"]),
        helper.make_node("Squeeze", ["many"], ["c"]),
        helper.make_node("If", ["c"], ["z"], then_branch=bodies[0], else_branch=bodies[1]),
    ]  # fmt: skip
    return _net(path, nodes, {"one": np.array([1])})


def test_what_stays_in_fp32_in_a_branch_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"'the_Softmax' \(Softmax\) stays in fp32.*body of an If") as caught:
        nets.exported("onnx_fp16", _branches(tmp_path / "net.onnx", "Softmax"), tmp_path / "made", None, "fp16")
    assert "keep_in_fp32" in caught.value.hint


def test_a_branch_in_which_all_becomes_fp16_is_converted(tmp_path: Path) -> None:
    source = _branches(tmp_path / "net.onnx", "Tanh")
    made = nets.exported("onnx_fp16", source, tmp_path / "made", None, "fp16")
    for batch in (1, 2):
        given = _random(batch, 3, SIDE, SIDE, seed=1)
        assert nets.rel_l2(_run(made, given), _run(source, given)) < 0.01
