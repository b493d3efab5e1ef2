"""ONNX files that somebody gives are looked into, not trusted: what is wrong is named, and no other file is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness import onnx_file
from harness.errors import ExportFailed, SourceInvalid
from harness.model import TensorSpec
from tests import making

WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3)


def _model(weight: Any = None, batch: int | str = "batch", opset: int = 17) -> Any:
    """`logits = input · W`, with W of shape (4, 3)."""
    tensor = numpy_helper.from_array(WEIGHT, "W") if weight is None else weight
    kind = tensor.data_type
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "W"], ["logits"])],
        "net",
        [helper.make_tensor_value_info("input", kind, [batch, 4])],
        [helper.make_tensor_value_info("logits", kind, [batch, 3])],
        [tensor],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def _external(location: str) -> Any:
    """A tensor whose data lie in another file."""
    tensor = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=WEIGHT.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", str(WEIGHT.nbytes))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _write(model: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


# ── what is not a usable file ─────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceInvalid, match=r"there is no ONNX file .*here.onnx"):
        onnx_file.inspect(tmp_path / "here.onnx")
    with pytest.raises(SourceInvalid, match="there is no ONNX file"):
        onnx_file.inspect(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>not found</html>", "is not an ONNX file, or is truncated"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "is not an ONNX"),
        (bytes(100), "is not an ONNX"),
        (np.random.default_rng(0).bytes(5000), "is not an ONNX"),
    ],
    ids=["empty", "html", "lfs pointer", "zeros", "noise"],
)
def test_what_is_not_onnx_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "odd.onnx").write_bytes(content)
    with pytest.raises(SourceInvalid, match=said) as caught:
        onnx_file.inspect(tmp_path / "odd.onnx")
    assert "odd.onnx" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "W")
    whole = _write(_model(weight), tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SourceInvalid, match=r"cut.onnx"):
        onnx_file.inspect(tmp_path / "cut.onnx")


def test_a_graph_that_breaks_the_rules_is_refused(tmp_path: Path) -> None:
    model = _model()
    model.graph.node[0].input[1] = "nowhere"
    with pytest.raises(SourceInvalid, match=r"is not a valid ONNX model: .*nowhere"):
        onnx_file.inspect(_write(model, tmp_path / "loose.onnx"))


def test_a_graph_without_inputs_is_refused(tmp_path: Path) -> None:
    model = _model()
    del model.graph.input[:]
    model.graph.initializer.append(numpy_helper.from_array(np.ones((1, 4), np.float32), "input"))
    with pytest.raises(SourceInvalid, match="has no inputs"):
        onnx_file.inspect(_write(model, tmp_path / "constant.onnx"))


def test_an_input_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("input", TensorProto.FLOAT, None)
    output = helper.make_tensor_value_info("length", TensorProto.INT64, [])
    graph = helper.make_graph([helper.make_node("SequenceLength", ["input"], ["length"])], "net", [sequence], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(SourceInvalid, match="'input' is not a tensor"):
        onnx_file.inspect(_write(model, tmp_path / "sequence.onnx"))


# ── weights in other files ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside the model's folder."""
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "model").mkdir()
    return tmp_path / "secret.bin"


def _in_initializer(location: str) -> Any:
    return _model(_external(location))


def _in_constant(location: str) -> Any:
    model = _model()
    del model.graph.initializer[:]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["W"], value=_external(location)))
    return model


def _in_subgraph(location: str) -> Any:
    model = _in_constant(location)
    branch = helper.make_graph(
        [model.graph.node[0]], "branch", [], [helper.make_tensor_value_info("W", TensorProto.FLOAT, [4, 3])]
    )
    yes = numpy_helper.from_array(np.array(True), "yes")
    del model.graph.node[0]
    model.graph.initializer.append(yes)
    model.graph.node.insert(0, helper.make_node("If", ["yes"], ["W"], then_branch=branch, else_branch=branch))
    return model


def _in_sparse_weights(location: str) -> Any:
    model = _model()
    del model.graph.initializer[:]
    values = _external(location)
    del values.dims[:]
    values.dims.append(WEIGHT.size)
    indices = numpy_helper.from_array(np.arange(WEIGHT.size, dtype=np.int64), "W_indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, list(WEIGHT.shape)))
    return model


@pytest.mark.parametrize("build", [_in_initializer, _in_constant, _in_subgraph, _in_sparse_weights])
@pytest.mark.parametrize("way", ["..", "absolute", "symlink", "folder symlink", "through a folder"])
def test_weights_outside_the_models_folder_are_refused(build: Callable[[str], Any], way: str, secret: Path) -> None:
    folder = secret.parent / "model"
    (folder / "sub").mkdir()
    (folder / "link.bin").symlink_to(secret)
    (folder / "up").symlink_to(secret.parent)
    location = {
        "..": "../secret.bin",
        "absolute": str(secret),
        "symlink": "link.bin",
        "folder symlink": "up/secret.bin",
        "through a folder": "sub/../../secret.bin",
    }[way]
    path = _write(build(location), folder / "model.onnx")
    with pytest.raises(SourceInvalid, match="keeps weights outside its folder") as caught:
        onnx_file.inspect(path)
    assert repr(location) in caught.value.message


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = _write(_model(_external("weights.bin")), tmp_path / "model.onnx")
    with pytest.raises(SourceInvalid, match=r"needs 'weights.bin' beside it, which is missing"):
        onnx_file.inspect(path)


def test_truncated_weights_are_named(tmp_path: Path) -> None:
    path = _write(_model(_external("weights.bin")), tmp_path / "model.onnx")
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes()[:-1])
    with pytest.raises(SourceInvalid, match=r"'weights.bin', which holds weights of .*, is truncated"):
        onnx_file.inspect(path)


def test_weights_beside_the_model_are_read_and_count(tmp_path: Path) -> None:
    path = _write(_model(_external("weights.bin")), tmp_path / "model.onnx")
    (tmp_path / "weights.bin").write_bytes(WEIGHT.tobytes())
    found = onnx_file.inspect(path)
    assert found.details["size_bytes"] == path.stat().st_size + WEIGHT.nbytes
    (tmp_path / "weights.bin").write_bytes((WEIGHT + 1).tobytes())
    assert onnx_file.inspect(path).details["digest"] != found.details["digest"]


# ── what is in it ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_described(tmp_path: Path) -> None:
    model = _model(opset=15)
    model.graph.input.append(helper.make_tensor_value_info("W", TensorProto.FLOAT, [4, 3]))  # as old exporters do
    found = onnx_file.inspect(_write(model, tmp_path / "net.onnx"))
    assert found.file == "net.onnx"
    assert found.inputs == (TensorSpec("input", ("batch", 4), "float32"),)
    assert found.outputs == (TensorSpec("logits", ("batch", 3), "float32"),)
    assert (found.details["opset"], found.details["nodes"]) == (15, 1)


@pytest.mark.parametrize(("batch", "dynamic"), [("batch", True), ("N", True), (0, True), (1, False), (4, False)])
def test_a_batch_is_dynamic_or_static(batch: int | str, dynamic: bool, tmp_path: Path) -> None:
    (spec,) = onnx_file.inspect(making.identity_onnx(tmp_path / "net.onnx", batch=batch)).inputs
    assert spec.dynamic_batch is dynamic
    assert dynamic or spec.shape[0] == batch


@pytest.mark.parametrize(
    ("kind", "expected"), [(TensorProto.FLOAT, "fp32"), (TensorProto.FLOAT16, "fp16"), (TensorProto.BFLOAT16, "bf16")]
)
def test_the_precision_is_that_of_the_weights(kind: int, expected: str, tmp_path: Path) -> None:
    weight = helper.make_tensor("W", kind, [4, 3], WEIGHT.ravel().tolist())
    found = onnx_file.inspect(_write(_model(weight), tmp_path / "net.onnx"))
    assert found.precision == expected
    assert found.inputs[0].dtype == {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[expected]


def test_fp16_with_some_weights_left_in_fp32_is_fp16(tmp_path: Path) -> None:
    model = _model(helper.make_tensor("W", TensorProto.FLOAT16, [4, 3], WEIGHT.ravel().tolist()))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32), "scale"))
    assert onnx_file.inspect(_write(model, tmp_path / "net.onnx")).precision == "fp16"


@pytest.mark.parametrize("way", ["static", "dynamic"])
def test_a_quantised_graph_is_int8(way: str, tmp_path: Path) -> None:
    """As onnxruntime's own tools quantise: QuantizeLinear pairs, and integer products."""
    from onnxruntime import quantization as q

    source = _write(_model(), tmp_path / "fp32.onnx")
    made = tmp_path / "int8.onnx"
    if way == "dynamic":
        q.quantize_dynamic(source, made)
    else:
        q.quantize_static(source, made, _Calibration(), quant_format=q.QuantFormat.QDQ)
    assert onnx_file.inspect(made).precision == "int8"


class _Calibration:
    def __init__(self) -> None:
        self._left = 3

    def get_next(self) -> dict[str, Any] | None:
        self._left -= 1
        return {"input": np.ones((1, 4), np.float32)} if self._left >= 0 else None


# ── what an exporter has made ─────────────────────────────────────────────────────────────────────────────────────


def _fixed_reshape(batch: int | str) -> Any:
    """Its input and output say any batch; inside it reshapes to the batch that it was traced with."""
    model = _model(batch=batch)
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 4]), "traced"))
    model.graph.node.insert(0, helper.make_node("Reshape", ["input", "traced"], ["same"]))
    model.graph.node[1].input[0] = "same"
    return model


def test_an_exported_dynamic_batch_is_tried_out(tmp_path: Path) -> None:
    source = making.artifact(tmp_path)
    good = onnx_file.exported(_write(_model(batch="N"), tmp_path / "good.onnx"), None, source, None)
    assert (good.inputs[0].shape, good.outputs[0].shape) == (("batch", 4), ("batch", 3))
    assert good.details["batch"] == "dynamic"
    with pytest.raises(ExportFailed, match="the dynamic batch does not run"):
        onnx_file.exported(_write(_fixed_reshape("N"), tmp_path / "traced.onnx"), None, source, None)
    with pytest.raises(ExportFailed, match="fixed the batch"):
        onnx_file.exported(_write(_model(batch=2), tmp_path / "fixed.onnx"), None, source, None)


def test_a_later_opset_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    """torch's newer exporter makes 18 where 17 is asked for, and only logs it."""
    file, source = _write(_model(opset=18), tmp_path / "net.onnx"), making.artifact(tmp_path)
    assert onnx_file.exported(file, None, source, 18).details["opset"] == 18
    with pytest.raises(ExportFailed, match="made opset 18, and 17 is asked for"):
        onnx_file.exported(file, None, source, 17)


def test_an_exported_static_batch_stays_static(tmp_path: Path) -> None:
    made = onnx_file.exported(_write(_model(batch=2), tmp_path / "net.onnx"), 2, making.artifact(tmp_path), None)
    assert made.inputs[0].shape == (2, 4)
    assert made.details["batch"] == 2


def test_an_invalid_export_is_refused(tmp_path: Path) -> None:
    model = _model()
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ExportFailed, match=r"not valid ONNX: .*NoSuchOperator"):
        onnx_file.exported(_write(model, tmp_path / "net.onnx"), 1, making.artifact(tmp_path), None)


def test_the_first_telling_line_of_an_error_is_kept() -> None:
    assert onnx_file.first_line(ValueError("\n\n  what is wrong\n  where\n")) == "what is wrong"
    assert onnx_file.first_line(ValueError("\x1b[96mstep 3/3\x1b[0m of")) == "step 3/3 of"
    assert onnx_file.first_line(KeyError()) == "KeyError"
    assert len(onnx_file.first_line(ValueError("x" * 5000))) == 300
