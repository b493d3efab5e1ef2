"""`backbench diff`: a weight that was broken is found at exactly its layer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from harness import schemas
from harness.cli import cli
from harness.errors import SourceInvalid
from harness.explaining import divergence
from harness.model import Backbone
from tests import making, nets

LAYER = "layer3.0.conv2"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    source = nets.snapshot(Backbone("resnet10t", input_size=32), folder / "snapshot")
    return Path(nets.exported("onnx_dynamo", source, folder / "onnx").path)


def _changed(source: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(str(source))
    change(model)
    onnx.save(model, str(folder / "changed.onnx"))
    return folder / "changed.onnx"


def _break(model: Any) -> None:
    """One weight of one convolution."""
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == f"{LAYER}.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] += 5.0
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _node_of(model: Path, weight: str) -> Any:
    return next(node for node in onnx.load(str(model)).graph.node if weight in node.input)


def _rename(model: Any) -> None:
    """Every tensor that a node makes, as another exporter would."""
    outputs = {value.name for value in model.graph.output}
    names = {name: f"/t{i}" for i, node in enumerate(model.graph.node) for name in node.output if name not in outputs}
    for node in model.graph.node:
        node.name = ""
        for names_of in (node.input, node.output):
            names_of[:] = [names.get(name, name) for name in names_of]
    del model.graph.value_info[:]


def _run(*arguments: str) -> tuple[int, Any]:
    done = CliRunner().invoke(cli, ["diff", *arguments, "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout)


def test_a_broken_weight_is_found_at_its_layer(good: Path, tmp_path: Path) -> None:
    bad = _changed(good, tmp_path, _break)
    code, found = _run(str(good), str(bad), "--exit-code")
    culprit = found["rows"][found["culprit"]]
    assert culprit["tensor"] == _node_of(good, f"{LAYER}.weight").output[0]
    assert culprit["inherited"] == 0.0, "all before it is equal"
    assert all(row["rel_l2"] == 0.0 for row in found["rows"][: found["culprit"]])
    assert code == 1
    import jsonschema

    jsonschema.validate(found, schemas.schema("diff"))


def test_it_is_found_where_all_names_differ(good: Path, tmp_path: Path) -> None:
    def change(model: Any) -> None:
        _break(model)
        _rename(model)

    _, found = _run(str(good), str(_changed(good, tmp_path, change)))
    culprit = found["rows"][found["culprit"]]
    assert culprit["tensor"] == _node_of(good, f"{LAYER}.weight").output[0]
    assert culprit["matched_by"] == "order"


def test_equal_files_agree(good: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(good, tmp_path / "copy.onnx"))
    code, found = _run(str(good), str(copy), "--exit-code")
    assert (code, found["culprit"]) == (0, None)
    assert {row["rel_l2"] for row in found["rows"]} == {0.0}
    assert len(found["rows"]) > 20 and found["only_first"] == found["only_second"] == 0


def test_the_tolerance_is_that_which_is_given(good: Path, tmp_path: Path) -> None:
    bad = str(_changed(good, tmp_path, _break))
    _, strict = _run(str(good), bad)
    worst = max(row["rel_l2"] for row in strict["rows"])
    assert _run(str(good), bad, "--tolerance", str(worst * 2))[1]["culprit"] is None


def test_a_nan_counts_as_a_difference(good: Path, tmp_path: Path) -> None:
    def poison(model: Any) -> None:
        (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == f"{LAYER}.weight")
        values = numpy_helper.to_array(tensor) * np.float32(np.nan)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    _, found = _run(str(good), str(_changed(good, tmp_path, poison)))
    assert found["rows"][found["culprit"]]["rel_l2"] is None


def test_half_precision_is_judged_by_its_own_tolerance(good: Path, tmp_path: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(str(good)), keep_io_types=True), str(tmp_path / "half.onnx"))
    _, found = _run(str(good), str(tmp_path / "half.onnx"))
    assert found["tolerance"] == pytest.approx(2e-2)
    assert found["culprit"] is None
    assert any(row["rel_l2"] > 1e-5 for row in found["rows"]), "fp16 rounds"


def test_weights_beside_the_file_are_read(good: Path, tmp_path: Path) -> None:
    onnx.save(
        onnx.load(str(good)), str(tmp_path / "x.onnx"), save_as_external_data=True, location="x.bin", size_threshold=0
    )
    assert (tmp_path / "x.bin").stat().st_size > 1_000_000
    assert _run(str(good), str(tmp_path / "x.onnx"))[1]["culprit"] is None


def test_two_exporters_of_one_backbone_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKBENCH_CACHE", str(tmp_path))
    _, found = _run(
        "-m", "resnet10t", "--input-size", "32", "--exporter", "onnx_dynamo", "--exporter", "onnx_torchscript"
    )
    assert found["culprit"] is None
    assert {row["matched_by"] for row in found["rows"]} >= {"order"}


def test_the_terminal_shows_the_first_difference_and_its_neighbours(good: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["diff", str(good), str(_changed(good, tmp_path, _break))], env={"COLUMNS": "150"})
    assert "first above the tolerance" in done.output
    assert f"they part at '{_node_of(good, f'{LAYER}.weight').output[0]}'" in done.output
    assert "more (--all shows them)" in done.output


def _mistake(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["diff", *arguments])
    assert done.exit_code != 0
    return str(done.exception)


def test_mistakes_are_named(good: Path, tmp_path: Path) -> None:
    assert "two ONNX files, or a backbone" in _mistake()
    assert "not 1" in _mistake(str(good))
    assert "there is no ONNX file absent.onnx" in _mistake(str(good), "absent.onnx")
    assert "go with -m" in _mistake(str(good), str(good), "--precision", "fp16")
    assert "two precisions, or by two exporters" in _mistake("-m", "resnet10t")
    other = making.identity_onnx(tmp_path / "small.onnx", width=4, batch=1)
    assert "compare files of one input size" in _mistake(
        str(other), str(making.identity_onnx(tmp_path / "wide.onnx", width=8))
    )
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(SourceInvalid, match="is empty"):
        divergence.compare(tmp_path / "empty.onnx", good, None, 32, None)


def test_a_tensor_of_the_same_place_but_another_meaning_is_doubted(tmp_path: Path) -> None:
    """A BatchNorm that was folded into the convolution: the convolutions' outputs differ, what follows agrees."""
    folded, apart = tmp_path / "folded.onnx", tmp_path / "apart.onnx"
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    _save(folded, [("conv_f", "Conv", ["x", "w"])], {"w": weight * 2})
    _save(apart, [("conv_a", "Conv", ["x", "w"]), ("scaled", "Mul", ["conv_a", "two"])],
          {"w": weight, "two": np.array(2.0, np.float32)})  # fmt: skip
    found = divergence.compare(folded, apart, None, 8, None)
    doubted = next(row for row in found.rows if row.tensor == "conv_f")
    assert (doubted.other, doubted.doubtful, found.culprit) == ("conv_a", True, None)


def test_a_scalar_is_compared_and_a_tensor_without_elements_is_left_out(tmp_path: Path) -> None:
    weight = np.ones((4, 3, 3, 3), np.float32)
    nodes = [
        ("conv", "Conv", ["x", "w"]), ("one", "Identity", ["scalar"]), ("none", "Identity", ["empty"]),
        ("rowless", "Identity", ["no_rows"]), ("scaled", "Mul", ["conv", "one"]),
    ]  # fmt: skip
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    for file, factor in ((first, 1.0), (second, 2.0)):
        given = {"scalar": np.array(factor, np.float32), "empty": np.zeros(0, np.float32)}
        _save(file, nodes, {"w": weight, **given, "no_rows": np.zeros((2, 0), np.float32)})
    found = divergence.compare(first, second, None, 8, None)
    errors = {row.tensor: row.rel_l2 for row in found.rows}
    assert errors == {"conv": 0.0, "one": 1.0, "scaled": 1.0, "y": 1.0}
    assert found.culprit == 1 and found.rows[1].shape == ()
    assert found.only_first == found.only_second == 0


def _heads(
    path: Path, nodes: Sequence[tuple[str, list[str], str]], outputs: Sequence[tuple[str, int, list[Any]]]
) -> str:
    """Nodes (operator, inputs, output) on `x` of (2, 3), with the weights `w`, `minus_w`, `b`, `b7`, and these outputs."""
    weight, bias = np.arange(6, dtype=np.float32).reshape(3, 2), np.ones(2, np.float32)
    weights = {"w": weight, "minus_w": -weight, "b": bias, "b7": 7 * bias, "one": np.array([1])}
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [name]) for kind, inputs, name in nodes],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return str(path)


GEMM = [("Gemm", ["x", "w", "b"], "logits")]
FLOAT, WHOLE = TensorProto.FLOAT, TensorProto.INT64


def test_outputs_of_other_names_and_operators_are_compared(tmp_path: Path) -> None:
    first = _heads(tmp_path / "a.onnx", GEMM, [("logits", FLOAT, [2, 2])])
    for weight, bias, code in (("minus_w", "b7", 1), ("w", "b", 0)):
        nodes = [("MatMul", ["x", weight], "product"), ("Add", ["product", bias], "output")]
        got, found = _run(first, _heads(tmp_path / "b.onnx", nodes, [("output", FLOAT, [2, 2])]), "--exit-code")
        (row,) = found["rows"]
        assert (row["tensor"], row["other"], row["matched_by"]) == ("logits", "output", "output")
        assert (got, found["culprit"]) == (code, 0 if code else None)


def test_an_output_of_another_shape_is_a_difference(tmp_path: Path) -> None:
    first = _heads(tmp_path / "a.onnx", GEMM, [("logits", FLOAT, [2, 2])])
    flat = _heads(tmp_path / "c.onnx", [*GEMM, ("Flatten", ["logits"], "flat"), ("ReduceMean", ["flat"], "mean")],
                  [("mean", FLOAT, [1, 1])])  # fmt: skip
    code, found = _run(first, flat, "--exit-code")
    assert code == 1
    assert [(row["shape"], row["other_shape"]) for row in found["rows"]] == [([2, 2], [1, 1])]
    told = CliRunner().invoke(cli, ["diff", first, flat]).output
    assert "its shape is 2×2, that of 'mean' 1×1" in told


def test_where_an_output_is_compared_with_none_nothing_is_said_to_agree(tmp_path: Path) -> None:
    first = _heads(tmp_path / "a.onnx", GEMM, [("logits", FLOAT, [2, 2])])
    more = [*GEMM, ("Relu", ["logits"], "relu")]
    second = _heads(tmp_path / "b.onnx", more, [("logits", FLOAT, [2, 2]), ("relu", FLOAT, [2, 2])])
    assert _run(first, second, "--exit-code")[0] == 2
    told = CliRunner().invoke(cli, ["diff", first, second]).output
    assert (
        "of 1 outputs of the first and 2 of the second, 1 were compared: whether the files agree is not known" in told
    )


def test_whole_numbers_and_outputs_that_no_node_makes_are_compared(tmp_path: Path) -> None:
    outputs = [("class", WHOLE, [2, 1]), ("one", WHOLE, [1])]
    first = _heads(tmp_path / "a.onnx", [*GEMM, ("ArgMax", ["logits"], "class")], outputs)
    assert (
        _run(first, _heads(tmp_path / "b.onnx", [*GEMM, ("ArgMax", ["logits"], "class")], outputs), "--exit-code")[0]
        == 0
    )
    other = [*GEMM, ("Neg", ["logits"], "negative"), ("ArgMax", ["negative"], "class")]
    assert _run(first, _heads(tmp_path / "c.onnx", other, outputs), "--exit-code")[0] == 1


def _save(path: Path, nodes: Sequence[tuple[str, str, list[str]]], weights: dict[str, Any]) -> None:
    """The nodes in a row, then a Relu to the output `y`."""
    made = [helper.make_node(kind, inputs, [name]) for name, kind, inputs in nodes]
    graph = helper.make_graph(
        [*made, helper.make_node("Relu", [nodes[-1][0]], ["y"])],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4, 6, 6])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
