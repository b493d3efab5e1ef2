"""ONNX Runtime on the CPU: bound in place, and honest about what its kernels run in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import registry
from harness.api import OpenFailed, RunFailed, Unsupported
from harness.model import Device, Setup
from tests.runtimes.opening import (
    conv_onnx,
    conv_reference,
    images,
    infer,
    onnx_artifact,
    opened,
    saved,
)

ort = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("batch", [1, 4])
def test_binding_copies_in_place_and_another_input_gives_another_output(tmp_path: Path, batch: int) -> None:
    with opened("ort_cpu", conv_onnx(tmp_path / "x.onnx"), batch=batch) as session:
        first = infer(session, images(batch, 1))
        where: Any = session._inputs["x"].data_ptr()  # type: ignore[attr-defined]
        second = infer(session, images(batch, 2))
        assert session._inputs["x"].data_ptr() == where  # type: ignore[attr-defined]
    np.testing.assert_allclose(first, conv_reference(images(batch, 1)), atol=1e-5)
    np.testing.assert_allclose(second, conv_reference(images(batch, 2)), atol=1e-5)


def test_binding_leaves_the_array_it_was_given_alone(tmp_path: Path) -> None:
    """An OrtValue made from an array shares its memory."""
    with opened("ort_cpu", conv_onnx(tmp_path / "x.onnx")) as session:
        given, kept = images(1, 1), images(1, 1)
        infer(session, given)
        infer(session, images(1, 2))
    assert (given == kept).all()


def test_facts_are_read_back(tmp_path: Path) -> None:
    artifact = conv_onnx(tmp_path / "x.onnx")
    with opened(
        "ort_cpu", artifact, spinning=False, mem_pattern=False, arena=False, graph_optimization="basic"
    ) as session:
        infer(session, images())
        facts = session.facts()
    assert facts.precision == "fp32"
    assert facts.providers == ("CPUExecutionProvider",)
    assert facts.threads == 1
    assert sum(facts.placement.values()) == 2
    assert facts.versions == {"onnxruntime": ort.__version__}
    read = {name: facts.settings[name] for name in ("allow_spinning", "enable_mem_pattern", "enable_cpu_mem_arena")}
    assert read == {"allow_spinning": "0", "enable_mem_pattern": False, "enable_cpu_mem_arena": False}
    assert facts.settings["graph_optimization_level"] == "ORT_ENABLE_BASIC"


def test_an_fp16_graph_is_told_to_run_in_fp32(tmp_path: Path) -> None:
    """The reason why `ort_cpu` has no fp16: its kernels are float between casts."""
    with opened("ort_cpu", conv_onnx(tmp_path / "x.onnx", "fp16"), precision="fp16") as session:
        infer(session, images())
        facts = session.facts()
    assert facts.precision == "fp32"
    assert facts.layer_precisions["float"] >= 1
    assert "fp16" not in registry.runtime_class("ort_cpu").precisions["cpu"]


def test_a_quantised_graph_is_int8_only_where_its_convolutions_are(tmp_path: Path) -> None:
    artifact = conv_onnx(tmp_path / "x.onnx", "qdq")
    with opened("ort_cpu", artifact, precision="int8") as session:
        output = infer(session, images())
        assert session.facts().precision == "int8"
    np.testing.assert_allclose(output, conv_reference(images()), atol=0.05)
    with opened("ort_cpu", artifact, precision="int8", graph_optimization="off") as session:
        infer(session, images())
        assert session.facts().precision == "fp32", "nothing fuses the Q and DQ nodes: the convolution is float"


def test_a_graph_without_weights_proves_no_precision(tmp_path: Path) -> None:
    from onnx import helper

    path = saved(tmp_path / "x.onnx", [helper.make_node("Relu", ["x"], ["y"])], [], (3, 8, 8))
    with opened("ort_cpu", onnx_artifact(path, (3, 8, 8))) as session:
        infer(session, images())
        facts = session.facts()
    assert facts.precision is None
    assert str(facts.settings["precision"]).startswith("unavailable: ")


def test_a_provider_that_is_left_out_in_silence_is_an_error(tmp_path: Path) -> None:
    from runtimes._onnxruntime import OnnxRuntimeSession

    runtime = registry.runtime_class("ort_cpu")
    setup = Setup(Device("cpu"), "fp32", 1, 1, dict(runtime.options), "")
    with (
        pytest.warns(UserWarning, match="XnnpackExecutionProvider"),
        pytest.raises(OpenFailed, match="XnnpackExecutionProvider"),
    ):
        OnnxRuntimeSession(
            conv_onnx(tmp_path / "x.onnx"), setup, [("XnnpackExecutionProvider", {}), ("CPUExecutionProvider", {})]
        )


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    artifact = conv_onnx(tmp_path / "x.onnx")
    Path(artifact.path).write_bytes(b"not a model")
    with pytest.raises(OpenFailed, match="cannot open the model"):
        opened("ort_cpu", artifact)


def test_an_input_of_another_shape_is_refused(tmp_path: Path) -> None:
    with opened("ort_cpu", conv_onnx(tmp_path / "x.onnx"), batch=4) as session:
        infer(session, images(4))
        with pytest.raises(RunFailed, match=r"x \(1, 3, 8, 8\)"):
            infer(session, images(1))


def test_the_profile_names_kernels_their_types_and_nodes(tmp_path: Path) -> None:
    with opened("ort_cpu", conv_onnx(tmp_path / "x.onnx")) as session:
        inferences = session.profile(2)
    assert len(inferences) == 2
    layers = inferences[-1].layers
    conv = next(layer for layer in layers if "Conv" in layer.kind)
    assert conv.precision == "float" and conv.device == "CPUExecutionProvider" and conv.time_ns > 0
    assert conv.start_ns is not None and 0 <= conv.start_ns <= inferences[-1].latency_ns


def test_a_profile_that_fails_says_why(tmp_path: Path) -> None:
    artifact = conv_onnx(tmp_path / "x.onnx")
    with opened("ort_cpu", artifact) as session:
        Path(artifact.path).unlink()
        with pytest.raises(Unsupported, match="gave no profile: "):
            session.profile(1)


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    session = opened("ort_cpu", conv_onnx(tmp_path / "x.onnx"))
    session.close()
    session.close()
