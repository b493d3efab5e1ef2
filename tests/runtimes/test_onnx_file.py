"""The reader of ONNX files that needs no onnx: it agrees with onnx, and refuses what is not a model."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes._onnx_file import content
from tests.runtimes.opening import conv_onnx, conv_weights, saved


@pytest.mark.parametrize(("kind", "type_"), [("fp32", "float"), ("fp16", "float16"), ("qdq", "int8")])
def test_it_agrees_with_the_onnx_package(tmp_path: Path, kind: str, type_: str) -> None:
    import onnx

    path = Path(conv_onnx(tmp_path / "x.onnx", kind).path)
    found = content(path)
    model = onnx.load(str(path))
    assert found.operators == Counter(node.op_type for node in model.graph.node)
    assert found.elements[type_] >= conv_weights().size
    assert sum(found.elements.values()) == sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    assert found.quantised == (kind == "qdq")


def test_weights_beside_the_file_and_in_nodes_are_counted(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Constant", [], ["k"], value=helper.make_tensor("k", TensorProto.FLOAT16, [5], [0.0] * 5)),
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    weights = helper.make_tensor("w", TensorProto.FLOAT, conv_weights().shape, conv_weights().tobytes(), raw=True)
    path = saved(tmp_path / "x.onnx", nodes, [weights])
    onnx.save(
        onnx.load(str(path)), str(path), save_as_external_data=True, location="weights", size_threshold=0
    )  # fmt: skip
    assert content(path).elements == {"float16": 5, "float": conv_weights().size}


def test_subgraphs_are_counted(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    inner = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "s"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s"], ["z"])],
        "inner", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [helper.make_tensor("s", TensorProto.FLOAT, [], [1.0])],
    )  # fmt: skip
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    graph = helper.make_graph(nodes, "outer", [], [])
    path = tmp_path / "x.onnx"
    onnx.save(helper.make_model(graph), str(path))
    found = content(path)
    assert found.operators == {"If": 1, "QuantizeLinear": 2, "DequantizeLinear": 2}
    assert found.elements == {"float": 2}
    assert found.quantised


@given(st.binary(min_size=1, max_size=200))
def test_whatever_the_bytes_it_reads_or_refuses(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            content(Path(file.name))
        except ValueError as error:
            assert str(error)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = Path(conv_onnx(tmp_path / "x.onnx").path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="truncated"):
        content(path)
