"""Artifacts of lower precision still compute what the backbone computes, and run in what they are labelled with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from harness import registry, verify
from harness.errors import ExportFailed
from harness.model import JSON, Artifact, Backbone, Device, Precision, Setup
from tests import nets

SIDE = 64
BACKBONES: Mapping[str, Backbone] = {
    "resnet": Backbone("test_resnet", input_size=SIDE),
    "vit": Backbone("test_vit", input_size=SIDE),
    "features": Backbone("test_resnet", input_size=SIDE, features_only=True),
}
Make: TypeAlias = Callable[..., Artifact]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything of this module, the reference of each backbone in `reference-<backbone>`."""
    return tmp_path_factory.mktemp("precision")


@pytest.fixture(scope="module")
def make(folder: Path) -> Make:
    """What an exporter makes of a backbone in a precision; without an exporter its ONNX file in fp32, each made once."""

    @cache
    def before(kind: str, backbone: str) -> Artifact:
        asked, place = BACKBONES[backbone], folder / f"{kind}-{backbone}"
        if kind == "timm":
            source = nets.snapshot(asked, place)
            nets.referenced(source, asked, folder / f"reference-{backbone}", 8)
            return source
        if kind == "images":
            return nets.watched_images(before("timm", backbone), asked, place)
        return nets.exported("onnx_dynamo", before("timm", backbone), place)

    def made(
        exporter: str, backbone: str, precision: Precision = "int8", batch: int | None = None, **options: JSON
    ) -> Artifact:
        if not exporter:
            return before("onnx", backbone)
        _need(exporter)
        source = before("timm" if registry.exporter_class(exporter).source == "timm" else "onnx", backbone)
        images = before("images", backbone) if precision == "int8" else None
        place = folder / f"{exporter}-{backbone}-{precision}-{batch}-{abs(hash(repr(options)))}"
        return nets.exported(exporter, source, place, batch, precision, images, **options)

    return made


def _need(exporter: str) -> None:
    if missing := registry.missing(registry.exporter_class(exporter).needs):
        pytest.skip(f"not installed: {', '.join(missing)}")


def _judged(
    runtime: str, artifact: Artifact, folder: Path, backbone: str, precision: Precision, **options: JSON
) -> tuple[Any, Any]:
    """Facts, and the comparison with the reference, of an artifact in a runtime of this process."""
    from harness import measure, reference

    plugin = registry.runtime_class(runtime)
    inputs, outputs = reference.load(folder / f"reference-{backbone}")
    inputs = {name: array.astype(artifact.inputs[0].dtype) for name, array in inputs.items()}
    setup = Setup(Device("cpu"), precision, 1, 1, {**plugin.options, **options}, str(folder / "cache"))
    with plugin().open(artifact, setup) as session:
        bench = measure.Bench(session, *measure.batches(inputs, 1))
        verification = bench.verify(outputs, verify.DEFAULTS[precision], "torch")
        return session.facts(), verification


def _nodes(artifact: Artifact) -> Any:
    import onnx

    return onnx.load(artifact.path).graph


# ── fp16 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_fp16_graph_computes_the_same_and_keeps_normalisation_and_softmax_in_fp32(make: Make, folder: Path) -> None:
    from onnx import TensorProto, shape_inference

    artifact = make("onnx_fp16", "vit", "fp16")
    assert artifact.precision == "fp16"
    assert artifact.inputs == make("", "vit").inputs
    assert artifact.size_bytes < 0.6 * make("", "vit").size_bytes
    import onnx

    graph = shape_inference.infer_shapes(onnx.load(artifact.path)).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    kept = [node for node in graph.node if node.op_type in ("LayerNormalization", "Softmax")]
    assert kept and all(types[node.output[0]] == TensorProto.FLOAT for node in kept)
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm", "Conv")]
    assert products and all(types.get(node.output[0]) == TensorProto.FLOAT16 for node in products)
    facts, verification = _judged("ort_cpu", artifact, folder, "vit", "fp16")
    assert verification.passed, verification.reason
    assert facts.precision == "fp32", "what ort_cpu makes of it, and why it refuses the label"


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("keep_io_types", [True, False])
def test_an_fp16_graph_is_valid_onnx_with_its_nodes_in_order(backbone: str, keep_io_types: bool, make: Make) -> None:
    """The converter appends its casts at the end, which ONNX Runtime opens all the same, and other readers refuse."""
    import onnx

    artifact = make("onnx_fp16", backbone, "fp16", keep_io_types=keep_io_types)
    onnx.checker.check_model(artifact.path, full_check=True)
    graph = _nodes(artifact)
    known = {value.name for value in (*graph.input, *graph.initializer)} | {""}
    for node in graph.node:
        assert set(node.input) <= known, f"{node.name} comes before what it takes"
        known |= set(node.output)


def test_inputs_and_outputs_become_fp16_on_request(make: Make, folder: Path) -> None:
    artifact = make("onnx_fp16", "resnet", "fp16", keep_io_types=False)
    assert {spec.dtype for spec in (*artifact.inputs, *artifact.outputs)} == {"float16"}
    _, verification = _judged("ort_cpu", artifact, folder, "resnet", "fp16")
    assert verification.passed, verification.reason


def test_an_fp16_ir_has_half_the_weights(make: Make, folder: Path) -> None:
    half, whole = make("openvino_ir", "resnet", "fp16"), make("openvino_ir", "resnet", "fp32")
    assert (half.precision, whole.precision) == ("fp16", "fp32")
    assert half.size_bytes < 0.65 * whole.size_bytes
    facts, verification = _judged("openvino", half, folder, "resnet", "fp32")
    assert verification.outputs[0].rel_l2 < verify.DEFAULTS["fp16"].rel_l2
    assert facts.precision == "fp32", "on the CPU it is fp32 with small weights"


# ── int8 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("exporter", "runtime"), [("onnx_int8", "ort_cpu"), ("openvino_int8", "openvino")])
def test_an_int8_artifact_runs_in_int8_and_every_output_is_near(
    exporter: str, runtime: str, backbone: str, make: Make, folder: Path
) -> None:
    artifact = make(exporter, backbone)
    assert artifact.precision == "int8"
    assert artifact.outputs == make("", backbone).outputs
    facts, verification = _judged(runtime, artifact, folder, backbone, "int8")
    assert facts.precision == "int8"
    assert facts.heavy_layers["int8"] >= sum(facts.heavy_layers.values()) / 2
    assert verification.passed, verification.reason
    assert [error.name for error in verification.outputs] == [spec.name for spec in artifact.outputs]


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_every_calibration_method_gives_a_sound_artifact(method: str, make: Make, folder: Path) -> None:
    _, verification = _judged("ort_cpu", make("onnx_int8", "resnet", method=method), folder, "resnet", "int8")
    assert verification.passed, verification.reason


def test_weights_are_quantised_per_channel(make: Make) -> None:
    from onnx import numpy_helper

    for per_channel in (True, False):
        graph = _nodes(make("onnx_int8", "resnet", per_channel=per_channel))
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        weights = {name for name, array in tensors.items() if array.dtype == np.int8 and array.ndim == 4}
        scales = [tensors[node.input[1]].size for node in graph.node if node.input and node.input[0] in weights]
        channels = [tensors[node.input[0]].shape[0] for node in graph.node if node.input and node.input[0] in weights]
        assert scales == (channels if per_channel else [1] * len(scales))


@pytest.mark.parametrize("runtime", ["tensorrt", "trtexec", "ort_tensorrt"])
def test_what_tensorrt_takes_is_pairs_of_symmetric_int8(runtime: str, make: Make) -> None:
    """Its parser takes no DequantizeLinear of int32, which is what a quantised bias is, and before 10 none of constants."""
    from onnx import numpy_helper

    graph = _nodes(make("onnx_int8", "resnet", **registry.runtime_class(runtime).asks["onnx_int8"]))
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    points = [tensors[node.input[2]] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert points
    assert all(not point.any() for point in points)
    assert {point.dtype for point in points} == {np.dtype(np.int8)}
    pairs = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    quantised = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert {node.input[0] for node in pairs} == set(quantised), "nothing is stored as int8 or int32"
    assert any(name in tensors and tensors[name].dtype == np.float32 for name in quantised.values()), (
        "weights are floats"
    )
    read = Counter(name for node in graph.node for name in node.input)
    assert all(read[node.output[0]] <= 1 for node in pairs), "each reader has a pair of its own"


def test_a_graph_with_attention_is_found_by_its_shape(make: Make) -> None:
    import openvino

    from exporters._onnx_quantise import operators
    from exporters._openvino import attends

    core = openvino.Core()
    found = {name: attends(core.read_model(make("", name).path)) for name in BACKBONES}
    assert found == {"resnet": False, "vit": True, "features": False}
    assert {name: bool(operators(Path(make("", name).path))) for name in BACKBONES} == found


def test_a_classifiers_own_softmax_is_no_attention(tmp_path: Path) -> None:
    from onnx import helper

    from exporters._onnx_quantise import operators
    from tests.runtimes.opening import conv_weights, saved

    weights = helper.make_tensor("w", 1, [4, 3, 3, 3], conv_weights().tobytes(), raw=True)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Softmax", ["c"], ["y"], axis=1),
    ]
    assert operators(saved(tmp_path / "x.onnx", nodes, [weights])) == []


def test_a_quantiser_that_fails_at_one_node_names_it_and_how_to_leave_it_out(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.quantization import registry as operators

    class Broken:
        def __init__(self, quantizer: object, node: object) -> None:
            self.node = node

        def quantize(self) -> None:
            raise NotImplementedError("no rule for this convolution")

    monkeypatch.setitem(operators.QDQRegistry, "Conv", Broken)
    with pytest.raises(
        ExportFailed, match=r"failed at node 'node_Conv\w+' \(Conv\): no rule for this convolution"
    ) as caught:
        make("onnx_int8", "resnet", percentile=1.0)
    assert "onnx_int8.exclude=" in caught.value.hint


def test_a_node_can_be_left_in_fp32(make: Make) -> None:
    first = next(node.name for node in _nodes(make("", "resnet")).node if node.op_type == "Conv")
    whole, without = make("onnx_int8", "resnet"), make("onnx_int8", "resnet", exclude=[first])
    assert isinstance(whole.details["quantized_tensors"], int) and isinstance(without.details["quantized_tensors"], int)
    names = {node.output[0]: node.op_type for node in _nodes(without).node}
    (conv,) = [node for node in _nodes(without).node if node.name == first]
    assert names.get(conv.input[0]) != "DequantizeLinear"


@pytest.mark.parametrize(
    ("exporter", "options", "said"),
    [
        ("onnx_int8", {"operators": ["Einsum"]}, "quantised nothing"),
        ("openvino_int8", {"exclude": ["no_such_layer"]}, "no_such_layer"),
    ],
)
def test_an_option_that_cannot_be_is_told(exporter: str, options: dict[str, Any], said: str, make: Make) -> None:
    with pytest.raises(ExportFailed, match=said):
        make(exporter, "resnet", **options)


def test_too_few_images_for_one_batch_are_told(make: Make) -> None:
    with pytest.raises(ExportFailed, match="do not fill one batch of 32") as caught:
        make("onnx_int8", "resnet", batch=32)
    assert "--calib-images" in caught.value.hint


def test_a_program_of_fixed_batch_says_so(make: Make) -> None:
    artifact = make("torch_int8", "resnet", batch=2)
    assert [spec.shape for spec in (*artifact.inputs, *artifact.outputs)] == [(2, 3, SIDE, SIDE), (2, 1000)]
    assert artifact.details["batch"] == 2


@pytest.mark.slow
def test_pytorchs_int8_runs_in_int8_once_it_is_compiled(make: Make, folder: Path) -> None:
    artifact = make("torch_int8", "resnet")
    facts, verification = _judged("torch_compile", artifact, folder, "resnet", "int8")
    assert facts.precision == "int8", "without freezing, every convolution runs in float"
    assert facts.heavy_layers["int8"] >= 10
    assert verification.passed, verification.reason

    from torch._inductor import config

    assert not config.freezing, "what this process compiles next would be compiled with weights as constants"
