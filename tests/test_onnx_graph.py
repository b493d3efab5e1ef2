"""Nodes and the modules that they came from, of both exporters."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import onnx_graph
from harness.errors import SourceInvalid
from harness.model import Backbone
from tests import making, nets


@pytest.mark.parametrize("exporter", ["onnx_dynamo", "onnx_torchscript"])
def test_an_exported_backbone_tells_the_modules_of_its_convolutions(exporter: str, tmp_path: Path) -> None:
    source = nets.snapshot(Backbone("resnet10t", input_size=32), tmp_path / "snapshot")
    made = nets.exported(exporter, source, tmp_path / "onnx")
    nodes = onnx_graph.nodes(Path(made.path))
    modules = {module for node in nodes if node.kind == "Conv" for module in node.modules}
    assert {"layer1.0.conv1", "layer4.0.conv2"} <= modules
    relus = {module for node in nodes if node.kind == "Relu" for module in node.modules}
    assert "layer2.0.act1" in relus


def test_a_graph_of_somebody_elses_has_nodes_without_modules(tmp_path: Path) -> None:
    (node,) = onnx_graph.nodes(making.identity_onnx(tmp_path / "x.onnx"))
    assert (node.kind, node.outputs, node.modules) == ("Identity", ("output",), ())


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff\xff\xff")
    with pytest.raises(SourceInvalid, match=r"x\.onnx cannot be read as ONNX"):
        onnx_graph.nodes(tmp_path / "x.onnx")
