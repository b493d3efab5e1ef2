"""Reference outputs verify something, are the source's own, and can be read without any framework."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness import cache, onnx_file, reference
from harness.errors import ReferenceUseless, SourceInvalid
from harness.model import Artifact, Backbone, Recipe
from tests import making, nets

Nodes = Sequence[tuple[str, str, str]]
SMALL = Backbone("test_resnet", input_size=64)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return nets.snapshot(SMALL, tmp_path_factory.mktemp("small"))


def _onnx(folder: Path, nodes: Nodes, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> Artifact:
    """An ONNX artifact of (operator, inputs, output) in a row; `two`, `zero` and `sides` are constants."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = {"two": np.array(2, dtype), "zero": np.array(0, dtype), "sides": np.array([0, 3, 8, 8])}
    graph = helper.make_graph(
        [helper.make_node(operator, given.split(), [made]) for operator, given, made in nodes],
        "net",
        [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info("output", kind, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return cache.seal(onnx_file.inspect(folder / "net.onnx"), folder, "onnx", Recipe("file", ""), 0.0)


DOUBLE: Nodes = [("Mul", "input two", "output")]
ANY = ("batch", 3, 8, 8)


# ── what is made ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_timm_backbones_reference_is_its_own_eager_output(small: Artifact, tmp_path: Path) -> None:
    made = reference.make(small, SMALL, tmp_path, 4)
    inputs, outputs = reference.load(tmp_path)
    assert (list(inputs), list(outputs)) == (["input"], ["logits"])
    assert inputs["input"].shape == (4, 3, 64, 64)
    assert nets.rel_l2(nets.outputs_of(small, inputs["input"])[0], outputs["logits"]) < 1e-5
    assert made.details["inputs"] == 4
    assert reference.made_with(tmp_path) == made.details["made_with"]
    assert str(made.details["made_with"]).startswith("torch 2")


def test_the_inputs_are_images_preprocessed_as_the_model_wants(small: Artifact, tmp_path: Path) -> None:
    images, _ = nets.referenced(small, SMALL, tmp_path)
    mean, std = (np.asarray(small.details[key], np.float32)[:, None, None] for key in ("mean", "std"))
    back = images * std + mean
    assert back.min() > -1e-5 and back.max() < 1 + 1e-5
    assert images.dtype == np.float32


def test_the_seed_decides_the_inputs(small: Artifact, tmp_path: Path) -> None:
    first, again, other = (
        nets.referenced(small, replace(SMALL, seed=seed), tmp_path / name, 2)[0]
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_feature_map_has_a_reference(tmp_path: Path) -> None:
    asked = replace(SMALL, features_only=True)
    made = nets.snapshot(asked, tmp_path / "made")
    _, outputs = nets.referenced(made, asked, tmp_path / "reference", 2)
    assert list(outputs) == [f"feat_{i}" for i in range(5)]
    assert all(len(output) == 2 for output in outputs.values())


@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_an_onnx_files_reference_is_its_own_output(batch: int | str, tmp_path: Path) -> None:
    """Four inputs through a fixed batch of three: the last run is filled up, and what fills it is left out."""
    source = _onnx(tmp_path, DOUBLE, (batch, 3, 8, 8))
    images, outputs = nets.referenced(source, Backbone("net", path=source.path), tmp_path / "reference", 4)
    assert images.shape == (4, 3, 8, 8)
    assert np.array_equal(outputs["output"], images * 2)
    assert reference.made_with(tmp_path / "reference").startswith("onnxruntime")


@pytest.mark.parametrize(("asked", "expected"), [(0, 224), (32, 32)])
def test_dynamic_sides_get_the_input_size(asked: int, expected: int, tmp_path: Path) -> None:
    source = _onnx(tmp_path, DOUBLE, ("batch", 3, "height", "width"))
    images, _ = nets.referenced(source, Backbone("net", path=source.path, input_size=asked), tmp_path / "r", 2)
    assert images.shape == (2, 3, expected, expected)


@pytest.mark.parametrize(
    ("kind", "dtype"), [(TensorProto.UINT8, "uint8"), (TensorProto.FLOAT16, "float16"), (TensorProto.DOUBLE, "float64")]
)
def test_inputs_have_the_type_that_the_file_takes(kind: int, dtype: str, tmp_path: Path) -> None:
    source = _onnx(tmp_path, [("Identity", "input", "output")], ANY, kind)
    images, _ = nets.referenced(source, Backbone("net", path=source.path), tmp_path / "reference")
    assert images.dtype == np.dtype(dtype)
    assert images.std() > 0.1


# ── what verifies nothing, or does not run ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "nodes",
    [
        [("Mul", "input zero", "output")],
        [("Mul", "input zero", "nothing"), ("Add", "nothing two", "output")],
    ],
    ids=["zero", "constant"],
)
def test_outputs_that_do_not_depend_on_the_input_are_refused(nodes: Nodes, tmp_path: Path) -> None:
    source = _onnx(tmp_path, nodes, ANY)
    with pytest.raises(ReferenceUseless, match="barely differ") as caught:
        reference.make(source, Backbone("net", path=source.path), tmp_path, 4)
    assert "--weights" in caught.value.hint
    assert not (tmp_path / reference.OUTPUTS).exists()


@pytest.mark.parametrize("nodes", [[("Log", "input", "output")], [("Div", "input zero", "output")]], ids=["nan", "inf"])
def test_outputs_that_are_not_finite_are_refused(nodes: Nodes, tmp_path: Path) -> None:
    source = _onnx(tmp_path, nodes, ANY)
    with pytest.raises(ReferenceUseless, match="'output' holds NaN or infinity"):
        reference.make(source, Backbone("net", path=source.path), tmp_path, 4)


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    import torch

    snapshot = nets.snapshot(SMALL, tmp_path / "timm")
    file = Path(snapshot.path) / "weights.pt"
    weights = torch.load(file, weights_only=True)
    name = next(iter(weights))
    weights[name].view(-1)[0] = float("nan")
    torch.save(weights, file)
    with pytest.raises(ReferenceUseless, match=f"NaN or infinity: 1 weights do: {name}"):
        reference.make(snapshot, SMALL, tmp_path, 2)


def test_variation_does_not_depend_on_the_outputs_size() -> None:
    outputs = np.random.default_rng(0).normal(size=(8, 10))
    assert reference.variation(outputs * 1e6) == pytest.approx(reference.variation(outputs))
    assert reference.variation(outputs + 1e6) < reference.LEAST_VARIATION
    assert reference.variation(np.zeros((8, 10))) == 0


def test_a_file_that_onnxruntime_cannot_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no model")
    broken = making.artifact(tmp_path / "net.onnx")
    with pytest.raises(SourceInvalid, match=r"onnxruntime cannot load .*net\.onnx"):
        reference.make(broken, Backbone("net", path=broken.path), tmp_path, 2)


@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        ([("Transpose", "input", "output")], r"\(8, 8, 3, 1\)"),
        ([("ReduceMax", "input", "peak"), ("Squeeze", "peak", "output")], r"\(\)"),
    ],
    ids=["another axis first", "a single number"],
)
def test_an_output_whose_first_axis_is_not_the_batch_is_named(nodes: Nodes, shape: str, tmp_path: Path) -> None:
    source = _onnx(tmp_path, nodes, (1, 3, 8, 8))
    with pytest.raises(SourceInvalid, match=f"output 'output' of .* has shape {shape} for a batch of 1") as caught:
        reference.make(source, Backbone("net", path=source.path), tmp_path, 4)
    assert "first dimension" in caught.value.hint


def test_a_size_that_the_file_cannot_take_is_named(tmp_path: Path) -> None:
    """Its sides say any size, and inside it needs 8."""
    source = _onnx(tmp_path, [("Reshape", "input sides", "output")], ("batch", 3, "height", "width"))
    with pytest.raises(SourceInvalid, match=r"does not run on input \(1, 3, 32, 32\): .*reshape") as caught:
        reference.make(source, Backbone("net", path=source.path, input_size=32), tmp_path, 2)
    assert "--input-size" in caught.value.hint


# ── what a measuring worker does with it ──────────────────────────────────────────────────────────────────────────


def test_loading_imports_numpy_alone(small: Artifact, tmp_path: Path) -> None:
    reference.make(small, SMALL, tmp_path, 2)
    script = (
        "import sys; from pathlib import Path; from harness import reference\n"
        f"inputs, outputs = reference.load(Path({str(tmp_path)!r}))\n"
        "assert outputs['logits'].shape == (2, 1000)\n"
        "print([m for m in ('torch', 'timm', 'onnx', 'onnxruntime', 'openvino', 'pandas') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_folder_that_tells_nothing_of_itself_is_unknown(tmp_path: Path) -> None:
    assert reference.made_with(tmp_path) == "unknown"
