"""Costs of whole models: against PyTorch's own counter, and by hand where there is nothing to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import SourceInvalid, Unsupported
from harness.model import Backbone
from harness.roofline import cost
from harness.roofline.graph_cost import of_graph
from tests import making, nets

REAL = [
    pytest.param("onnx_torchscript", Backbone("resnet18", input_size=96), id="resnet18"),
    pytest.param("onnx_dynamo", Backbone("mobilenetv3_small_100", input_size=96), id="mobilenetv3_small_100"),
    pytest.param("onnx_torchscript", Backbone("convnext_atto", input_size=96), id="convnext_atto"),
    pytest.param("onnx_dynamo", Backbone("vit_tiny_patch16_224"), id="vit_tiny"),
    pytest.param(
        "onnx_dynamo", Backbone("swin_tiny_patch4_window7_224", input_size=112), id="swin", marks=pytest.mark.slow
    ),
]


def _torch_flops(name: str, size: int, batch: int) -> int:
    """Operations by PyTorch's counter, on its `meta` device where nothing is computed; fused attention taken apart."""
    import timm
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    options = {"img_size": size} if size and "swin" in name else {}
    model = timm.create_model(name, **options).eval().to("meta")
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(batch, 3, size or 224, size or 224, device="meta"))
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("exporter", "backbone"), REAL)
def test_graphs_count_as_pytorch_counts(exporter: str, backbone: Backbone, tmp_path: Path) -> None:
    """Matrix products and convolutions of real backbones, exported, within 1 % of PyTorch's own figure."""
    source = nets.snapshot(backbone, tmp_path / "timm")
    graph = nets.exported(exporter, source, tmp_path / "onnx")
    found = cost.of(graph, 3, backbone.input_size)
    assert found.matmul_flops == pytest.approx(_torch_flops(backbone.name, backbone.input_size, 3), rel=0.01)
    assert found.complete, (found.uncounted, found.unshaped)
    assert found.matmul_flops <= found.flops < 1.2 * found.matmul_flops
    params = source.details["params"]
    assert isinstance(params, int)
    assert found.params == pytest.approx(params, rel=0.02)
    assert found.graph_bytes is not None
    assert found.graph_bytes > found.compulsory_bytes > found.weight_bytes >= 4 * found.params
    framework = cost.of(source, 3)
    assert framework.matmul_flops == pytest.approx(found.matmul_flops, rel=0.01)
    assert framework.io_bytes == found.io_bytes
    assert framework.weight_bytes == pytest.approx(found.weight_bytes, rel=0.05)
    assert framework.graph_bytes is None


def test_the_fallback_exporter_gives_the_same_count(tmp_path: Path) -> None:
    """TorchScript's graphs compute their shapes from the input's: those nodes are no work."""
    source = nets.snapshot(Backbone("test_vit", input_size=160), tmp_path / "timm")
    graphs = [nets.exported(name, source, tmp_path / name) for name in ("onnx_dynamo", "onnx_torchscript")]
    first, second = (cost.of(graph, 2) for graph in graphs)
    assert first.matmul_flops == second.matmul_flops
    assert second.complete
    assert second.flops == pytest.approx(first.flops, rel=0.02)


# ── graphs by hand ───────────────────────────────────────────────────────────────────────────────────────────────


def _graph(
    path: Path,
    nodes: Sequence[Any],
    constants: Mapping[str, Any],
    shape: Sequence[int | str],
    opsets: Sequence[Any] = (),
) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [given], [made], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), *opsets], ir_version=9), str(path))
    return path


def _node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def test_bytes_are_those_of_executed_nodes(tmp_path: Path) -> None:
    """A constant subgraph is folded when a model is loaded, a dead node never runs, and a view moves nothing."""
    nodes = [
        _node("Transpose", "w", "wt", perm=[1, 0]),
        _node("MatMul", "x wt", "m"),
        _node("Reshape", "m flat", "r"),
        _node("Relu", "r", "y"),
        _node("Exp", "m", "dead"),
    ]
    constants = {"w": np.zeros((3, 4), np.float32), "flat": np.array([-1, 3], np.int64)}
    found = of_graph(_graph(tmp_path / "g.onnx", nodes, constants, ["batch", 4]), 5)
    assert {one.name: one.nodes for one in found.operators} == {"MatMul": 1, "Reshape": 1, "Relu": 1}
    assert (found.matmul_flops, found.flops) == (2 * 5 * 4 * 3, 2 * 5 * 4 * 3 + 15)
    weights, x, y = 4 * 12, 4 * 20, 4 * 15
    assert (found.params, found.io_bytes) == (12, x + y)
    assert found.weight_bytes == weights + 16, "the shape of Reshape is read too"
    assert found.graph_bytes == found.weight_bytes + (x + y) + (y + y)


def test_a_reduced_precision_narrows_floats_alone(tmp_path: Path) -> None:
    nodes = [_node("Gather", "w i", "g"), _node("Add", "x g", "y")]
    constants = {"w": np.zeros((10, 4), np.float32), "i": np.array([0, 1], np.int64)}
    path = _graph(tmp_path / "g.onnx", [_node("MatMul", "x v", "y")], {"v": np.zeros((4, 4), np.float32)}, [2, 4])
    wide, narrow = of_graph(path, 2), of_graph(path, 2, precision="bf16")
    assert (narrow.compulsory_bytes * 2, narrow.flops) == (wide.compulsory_bytes, wide.flops)
    folded = of_graph(_graph(tmp_path / "f.onnx", nodes, constants, [2, 4]), 2)
    assert folded.weight_bytes == 4 * 8, "a lookup in constants is made once, when the model is loaded"


def test_a_lookup_reads_what_it_gives(tmp_path: Path) -> None:
    nodes = [_node("Slice", "x from to axis", "y")]
    constants = {name: np.array([value], np.int64) for name, value in {"from": 0, "to": 2, "axis": 1}.items()}
    found = of_graph(_graph(tmp_path / "g.onnx", nodes, constants, [1, 100]), 1)
    assert found.operators[0].bytes_moved == 2 * 4 * 2 + 3 * 8
    assert found.flops == 0


def test_quantised_weights_are_as_wide_as_they_are_stored(tmp_path: Path) -> None:
    nodes = [_node("DequantizeLinear", "w s z", "d"), _node("MatMul", "x d", "y")]
    constants = {"w": np.zeros((4, 4), np.int8), "s": np.float32(1), "z": np.int8(0)}
    found = of_graph(_graph(tmp_path / "g.onnx", nodes, constants, [1, 4]), 1)
    assert found.weight_bytes == 16


def test_an_unknown_operator_is_named_and_its_bytes_are_counted(tmp_path: Path) -> None:
    nodes = [_node("Relu", "x", "a"), _node("LRN", "a", "y", size=3)]
    found = of_graph(_graph(tmp_path / "g.onnx", nodes, {}, [1, 4, 5, 5]), 1)
    assert found.uncounted == {"LRN": 1}
    assert not found.complete
    assert next(one for one in found.operators if one.name == "LRN").bytes_moved == 2 * 4 * 100


def test_an_operator_of_somebody_else_is_named_with_what_follows_it(tmp_path: Path) -> None:
    from onnx import helper

    nodes = [_node("Strange", "x", "a", domain="somebody"), _node("Relu", "a", "y")]
    found = of_graph(_graph(tmp_path / "g.onnx", nodes, {}, [1, 4], [helper.make_opsetid("somebody", 1)]), 1)
    assert found.unshaped == {"somebody.Strange": 1, "Relu": 1}


def test_operators_that_onnxruntime_contributes_are_counted(tmp_path: Path) -> None:
    """Their shapes are seen in an inference."""
    from onnx import helper

    nodes = [_node("FusedMatMul", "x w", "a", domain="com.microsoft", transB=1), _node("Relu", "a", "y")]
    constants = {"w": np.zeros((3, 4), np.float32)}
    path = _graph(tmp_path / "g.onnx", nodes, constants, [2, 4], [helper.make_opsetid("com.microsoft", 1)])
    found = of_graph(path, 2)
    assert (found.complete, found.matmul_flops) == (True, 2 * 2 * 4 * 3)
    assert found.method.endswith("by an inference in onnxruntime")


def test_local_functions_are_opened(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    path = _graph(tmp_path / "g.onnx", [_node("Twice", "x", "y", domain="mine")], {}, [1, 4])
    model = onnx.load(str(path))
    model.functions.append(
        helper.make_function("mine", "Twice", ["a"], ["c"], [_node("Add", "a a", "c")], [helper.make_opsetid("", 17)])
    )
    model.opset_import.append(helper.make_opsetid("mine", 1))
    onnx.save(model, str(path))
    assert of_graph(path, 1).flops == 4


def test_external_weights_are_counted(tmp_path: Path) -> None:
    import onnx

    path = _graph(tmp_path / "g.onnx", [_node("MatMul", "x w", "y")], {"w": np.zeros((4, 512), np.float32)}, [1, 4])
    model = onnx.load(str(path))
    onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    assert of_graph(path, 1).weight_bytes == 4 * 2048
    (tmp_path / "w.bin").unlink()
    with pytest.raises(SourceInvalid, match=r"needs 'w\.bin' beside it"):
        of_graph(path, 1)


@pytest.mark.parametrize("content", [b"", b"\x08\x07", b"no model at all"])
def test_a_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(SourceInvalid, match=r"broken\.onnx"):
        of_graph(path, 1)


def test_another_batch_than_the_fixed_one_is_refused(tmp_path: Path) -> None:
    path = making.identity_onnx(tmp_path / "g.onnx", batch=2)
    assert of_graph(path, 2).batch == 2
    with pytest.raises(Unsupported, match="batch 2 only"):
        of_graph(path, 4)


def test_contradicting_shapes_are_refused(tmp_path: Path) -> None:
    path = _graph(tmp_path / "g.onnx", [_node("MatMul", "x w", "y")], {"w": np.zeros((3, 4), np.float32)}, [1, 5])
    with pytest.raises(SourceInvalid, match="cannot be inferred"):
        of_graph(path, 1)


def test_another_format_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    engine = replace(making.artifact(tmp_path / "e"), format="tensorrt-engine")
    with pytest.raises(Unsupported, match="not in tensorrt-engine"):
        cost.of(engine, 1)
