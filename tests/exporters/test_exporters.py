"""What the exporters make computes what the backbone computes, for every batch size that it says it takes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx
import pytest
import torch

from exporters import onnx_dynamo
from harness import backbone, registry
from harness.errors import ExportFailed
from harness.images import natural_images
from harness.model import Artifact, Backbone, Request
from tests import nets

if TYPE_CHECKING:
    from harness.api import Array

SIDE = 64
BACKBONES: Mapping[str, Backbone] = {
    "vit": Backbone("test_vit", input_size=SIDE),
    "resnet": Backbone("test_resnet", input_size=SIDE),
    "convnext": Backbone("test_convnext", input_size=SIDE),
    "features": Backbone("test_resnet", input_size=SIDE, features_only=True),
}
PARITY = 1e-4
Make: TypeAlias = Callable[[str, str, "int | None"], Artifact]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """The artifact that an exporter (or `timm`) makes of a backbone, each made once; IR is made of TorchScript's ONNX."""

    @cache
    def made(exporter: str, backbone: str, batch: int | None) -> Artifact:
        folder = tmp_path_factory.mktemp(f"{exporter}-{backbone}")
        if exporter == "timm":
            return nets.snapshot(BACKBONES[backbone], folder)
        source = "onnx_torchscript" if exporter == "openvino_ir" else "timm"
        return nets.exported(exporter, made(source, backbone, None), folder, batch)

    return made


def _run(artifact: Artifact, images: Array) -> list[Array]:
    """Outputs by the library of the artifact's format, itself set to compute in float32."""
    (name,) = (spec.name for spec in artifact.inputs)
    if artifact.format == "onnx":
        import onnxruntime

        session: Any = onnxruntime.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
        return list(session.run([spec.name for spec in artifact.outputs], {name: images}))
    import openvino

    compiled: Any = openvino.Core().compile_model(artifact.path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled({name: images})
    return [np.array(results[spec.name]) for spec in artifact.outputs]


EXPORTERS = ("onnx_dynamo", "onnx_torchscript", "openvino_ir")


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_dynamic_batch_computes_the_same_for_every_size(exporter: str, backbone: str, make: Make) -> None:
    artifact = make(exporter, backbone, None)
    assert artifact.precision == "fp32"
    assert all(spec.dynamic_batch for spec in (*artifact.inputs, *artifact.outputs))
    for batch in (1, 3):
        images = natural_images(batch, 3, SIDE, SIDE, seed=batch) * 4 - 2
        expected = nets.outputs_of(make("timm", backbone, None), images)
        for output, reference in zip(_run(artifact, images), expected, strict=True):
            assert output.shape == reference.shape
            assert nets.rel_l2(output, reference) < PARITY


@pytest.mark.parametrize("backbone", ["vit", "resnet"])
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_static_batch_is_fixed_and_computes_the_same(exporter: str, backbone: str, make: Make) -> None:
    artifact = make(exporter, backbone, 2)
    assert [spec.shape for spec in artifact.inputs] == [(2, 3, SIDE, SIDE)]
    assert artifact.outputs[0].shape == (2, 1000)
    assert artifact.details["batch"] == 2
    images = natural_images(2, 3, SIDE, SIDE, seed=0) * 4 - 2
    (output,), (expected,) = _run(artifact, images), nets.outputs_of(make("timm", backbone, None), images)
    assert nets.rel_l2(output, expected) < PARITY
    with pytest.raises(Exception, match=r"(?i)invalid dimensions|incompatible|not compatible|shape"):
        _run(artifact, images[:1])


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_names_and_details_are_the_backbones(exporter: str, make: Make) -> None:
    artifact, source = make(exporter, "features", None), make("timm", "features", None)
    assert [spec.name for spec in artifact.inputs] == [spec.name for spec in source.inputs]
    assert artifact.outputs == source.outputs
    assert artifact.details["name"] == "test_resnet"
    assert artifact.details["batch"] == "dynamic"
    assert artifact.size_bytes > 0


@pytest.mark.parametrize(
    ("exporter", "own", "asked", "got"),
    [("onnx_dynamo", 20, 18, 18), ("onnx_torchscript", 17, 13, 13), ("onnx_torchscript", 17, 20, 17)],
)
def test_the_opset_is_the_exporters_own_or_the_one_asked_for(
    exporter: str, own: int, asked: int, got: int, make: Make, tmp_path: Path
) -> None:
    assert make(exporter, "resnet", None).details["opset"] == own
    plugin = registry.exporter_class(exporter)
    made = plugin().export(make("timm", "resnet", None), Request("fp32", 1, asked), tmp_path)
    assert made.details["opset"] == got


@pytest.mark.parametrize(("exporter", "opset"), [("onnx_dynamo", 18), ("onnx_torchscript", 13)])
def test_an_opset_may_be_asked_for_by_an_option(exporter: str, opset: int, make: Make, tmp_path: Path) -> None:
    made = nets.exported(exporter, make("timm", "resnet", None), tmp_path, 1, opset=opset)
    assert made.details["opset"] == opset


def test_an_opset_that_the_newer_exporter_does_not_make_is_left_to_the_older_one(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="made opset 18, and 13 is asked for"):
        nets.exported("onnx_dynamo", make("timm", "vit", None), tmp_path, 1, opset=13)


def test_dynamo_writes_weights_beside_the_graph_where_one_file_cannot_hold_them(make: Make, tmp_path: Path) -> None:
    source = replace(make("timm", "resnet", None), size_bytes=3_000_000_000)
    artifact = nets.exported("onnx_dynamo", source, tmp_path)
    assert (tmp_path / "model.onnx.data").stat().st_size > (tmp_path / "model.onnx").stat().st_size
    images = natural_images(1, 3, SIDE, SIDE, seed=0)
    assert nets.rel_l2(_run(artifact, images)[0], nets.outputs_of(source, images)[0]) < PARITY


def test_ir_keeps_its_weights_in_float32(make: Make) -> None:
    """`ovc` would halve them unasked."""
    onnx, ir = make("onnx_torchscript", "resnet", None), make("openvino_ir", "resnet", None)
    assert Path(ir.path).with_suffix(".bin").stat().st_size > 0.9 * onnx.size_bytes


class TwoClips(torch.nn.Module):  # type: ignore[misc]
    """Clips one tensor twice, with bounds that are buffers, as gemma4_vit does."""

    def __init__(self) -> None:
        super().__init__()
        for name, value in {"a": -0.5, "b": 0.5, "c": -1.5, "d": 1.5}.items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.clamp(x, self.a, self.b) * torch.clamp(x, self.c, self.d)


def test_constants_that_the_optimiser_loses_are_in_the_file(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_dynamo, "load_timm", lambda _: TwoClips())
    artifact = nets.exported("onnx_dynamo", make("timm", "resnet", None), tmp_path)
    images = np.linspace(-2, 2, 2 * 3 * SIDE * SIDE, dtype=np.float32).reshape(2, 3, SIDE, SIDE)
    assert np.allclose(_run(artifact, images)[0], images.clip(-0.5, 0.5) * images.clip(-1.5, 1.5))


class ResizedConstant(torch.nn.Module):  # type: ignore[misc]
    """Adds a table to its input, resized to it as hiera's position embedding is; too large for the optimiser."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(1, 48, 16, 16, generator=torch.Generator().manual_seed(0)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = torch.nn.functional.interpolate(self.table, size=(SIDE, SIDE), mode="bicubic", antialias=True)
        return torch.nn.functional.interpolate(x + table[:, :3], scale_factor=0.5, mode="bilinear")


def test_a_constant_is_resized_by_the_exporter(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = ResizedConstant().eval()
    monkeypatch.setattr(onnx_dynamo, "load_timm", lambda _: ResizedConstant().eval())
    made = nets.exported("onnx_dynamo", make("timm", "resnet", None), tmp_path)
    graph = onnx.load(made.path).graph
    assert [node.op_type for node in graph.node].count("Resize") == 1  # of what depends on the input
    assert [list(tensor.dims) for tensor in graph.initializer if len(tensor.dims) == 4] == [[1, 48, SIDE, SIDE]]
    images = natural_images(2, 3, SIDE, SIDE, seed=0)
    with torch.inference_mode():
        expected = net(torch.from_numpy(images)).numpy()
    assert nets.rel_l2(_run(made, images)[0], expected) < 1e-5
    ir = nets.exported("openvino_ir", made, tmp_path)
    assert nets.rel_l2(_run(ir, images)[0], expected) < 1e-5


def test_standardised_weights_are_computed_by_the_exporter(tmp_path: Path) -> None:
    """Left in the graph, every runtime computes them when it opens the file."""
    source = nets.snapshot(Backbone("test_nfnet", input_size=SIDE), tmp_path / "timm")
    made = nets.exported("onnx_dynamo", source, tmp_path / "onnx")
    graph = onnx.load(made.path).graph
    weights = {tensor.name for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions and all(node.input[1] in weights for node in convolutions)
    assert "stem.conv3.weight" in weights  # under the parameter's name
    images = natural_images(2, 3, SIDE, SIDE, seed=0)
    (expected,) = nets.outputs_of(source, images)
    assert nets.rel_l2(_run(made, images)[0], expected) < 1e-5


def test_a_constant_that_would_grow_stays_in_the_graph(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Repeated(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.row = torch.nn.Parameter(torch.randn(1, SIDE))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.row.sin().repeat(5000, 1).mT

    monkeypatch.setattr(onnx_dynamo, "load_timm", lambda _: Repeated().eval())
    made = nets.exported("onnx_dynamo", make("timm", "resnet", None), tmp_path)
    assert made.size_bytes < 5000 * SIDE * 4  # over what onnxscript itself computes


def test_dynamo_seeks_no_pairs_of_slices(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxscript's rule for them matches nothing of PyTorch's: two fifths of exporting a Swin transformer."""
    from onnxscript.rewriter.rules.common import slice_split_rule

    class Halves(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[..., : SIDE // 2] - x[..., SIDE // 2 :]

    tried: list[Any] = []
    match = type(slice_split_rule).match

    def watched(self: Any, model: Any, graph: Any, node: Any, **options: Any) -> Any:
        tried.append(self)
        return match(self, model, graph, node, **options)

    monkeypatch.setattr(type(slice_split_rule), "match", watched)
    monkeypatch.setattr(onnx_dynamo, "load_timm", lambda _: Halves().eval())
    made = nets.exported("onnx_dynamo", make("timm", "resnet", None), tmp_path)
    slices = [node for node in onnx.load(made.path).graph.node if node.op_type == "Slice"]
    assert [len(node.input) for node in slices] == [5, 5]  # with steps: what the rule does not match
    assert tried
    assert slice_split_rule not in tried
    assert "match" not in vars(slice_split_rule)


def test_dynamo_captures_activations_out_of_place(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch decomposes those in place: up to a third of the time of an export, for the same graph."""
    captured: list[Any] = []
    export = torch.onnx.export

    def watched(model: Any, *args: Any, **options: Any) -> Any:
        captured.append(model)
        return export(model, *args, **options)

    monkeypatch.setattr(torch.onnx, "export", watched)
    source = make("timm", "resnet", None)
    nets.exported("onnx_dynamo", source, tmp_path, None)
    in_place = [[getattr(m, "inplace", False) for m in net.modules()] for net in (backbone.load(source), *captured)]
    assert [any(net) for net in in_place] == [True, False]


def test_dynamo_lets_go_of_the_weights_that_it_has_written(make: Make, tmp_path: Path) -> None:
    def alive() -> int:
        gc.collect()
        return sum(o.untyped_storage().nbytes() for o in gc.get_objects() if type(o) is torch.nn.Parameter)

    source, before = make("timm", "resnet", None), alive()
    registry.exporter_class("onnx_dynamo")().export(source, Request("fp32", None), tmp_path)
    assert alive() == before


@pytest.mark.parametrize("exporter", ["onnx_dynamo", "onnx_torchscript"])
def test_a_model_that_cannot_be_captured_fails_as_ours(
    exporter: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    class Odd(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def forward(self, x: Any) -> Any:
            raise RuntimeError("no inference\nwhatever")

    plugin = registry.exporter_class(exporter)
    monkeypatch.setattr(f"{plugin.__module__}.load_timm", lambda _: Odd().eval())
    with pytest.raises(ExportFailed, match=r"^torch\.onnx\.export.*: .+") as caught:
        plugin().export(make("timm", "resnet", None), Request("fp32", None), tmp_path)
    assert "\n" not in caught.value.message


def test_a_file_that_openvino_cannot_read_fails_as_ours(make: Make, tmp_path: Path) -> None:
    (tmp_path / "odd.onnx").write_bytes(b"no model")
    source = replace(make("onnx_torchscript", "resnet", None), path=str(tmp_path / "odd.onnx"))
    with pytest.raises(ExportFailed, match="OpenVINO cannot convert"):
        registry.exporter_class("openvino_ir")().export(source, Request("fp32", None), tmp_path)
