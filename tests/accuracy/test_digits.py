"""A checkpoint trained on real images, through every exporter, precision and runtime that is here, to an accuracy table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import machine, preprocess, registry
from harness.accuracy import answers, checks, dataset, store
from harness.accuracy.answers import Answers
from harness.model import PRECISIONS, Backbone
from harness.preprocess import DataConfig
from harness.report import accuracy as report
from tests import digits, making, nets
from tests.accuracy.measuring import measure, plan_of
from tests.digits import Digits

OVERRIDES: Mapping[str, Any] = {"mean": (digits.MEAN,), "std": (digits.STD,), "crop_pct": 1.0}

SEVEN_BITS = machine.vnni() is False
"""Whether ONNX Runtime needs weights of 7 bits here: with 8 it loses 2 to 5 points on a CPU without VNNI."""


def offered() -> list[str]:
    """Runtimes that are installed here; the scripted one answers nothing, and compiling takes a minute of its own."""
    names = [name for name in registry.found("runtimes") if name not in ("fake", "torch_compile")]
    return [name for name in names if not registry.missing(registry.runtime_class(name).needs)]


def test_every_runtime_and_precision_that_is_here_keeps_the_digits_accuracy(
    trained: Digits, artifacts: str, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"runtimes": offered(), "precisions": list(PRECISIONS)}
    made = plan_of(
        digits.MODEL, str(trained.checkpoint), **asked, exporters={"onnx_int8": {"reduce_range": SEVEN_BITS}}
    )
    records = measure(made, trained.images, artifacts, tmp_path / "out", overrides=OVERRIDES)
    here = [record for record in records if record.outcome != "unsupported"]
    assert {"torch_eager", "ort_cpu", "openvino"} & set(offered()) <= {record.cell.runtime for record in here}
    for record in here:
        assert record.outcome == "ok", f"{record.cell.title}: {record.reason}"
        assert record.top1 is not None and record.facts is not None and record.data is not None
        assert record.top1.value > 0.95, record.cell.title
        assert record.data.classes == 10  # the checkpoint's, not ImageNet's 1000
        if record.is_baseline:
            assert record.top1.value == pytest.approx(
                trained.accuracy, abs=0.004
            )  # PNG rounds nothing; timm's own figure
            assert record.drop is None
        else:
            assert record.drop is not None
            assert abs(record.drop.top1.value) <= 0.01, record.cell.title  # int8 too
            assert record.findings == () or record.findings[0].level != "untrusted"
        if record.cell.calibration is not None and record.artifact is not None:
            watched = record.artifact.details["calibration"]
            assert isinstance(watched, dict) and watched["config"]["mean"] == [digits.MEAN], "as the images are shown"
    assert all(record.reason for record in records if record.outcome == "unsupported")
    assert [r.key for r in store.read(tmp_path / "out")] == [r.key for r in records]


@pytest.mark.skipif(not SEVEN_BITS, reason="this CPU multiplies int8 without overflow, or does not tell")
def test_weights_that_overflow_are_caught_and_explained(trained: Digits, artifacts: str, tmp_path: Path) -> None:
    made = plan_of(digits.MODEL, str(trained.checkpoint), precisions=["fp32", "int8"])
    records = measure(made, trained.images, artifacts, tmp_path / "out", overrides=OVERRIDES)
    (quantised,) = [r for r in records if r.cell.precision == "int8" and r.cell.runtime == "ort_cpu"]
    (found,) = quantised.findings
    assert (found.check, found.level) == ("accuracy drop", "untrusted")
    assert "VNNI" in found.seen and found.advice.startswith("-o onnx_int8.reduce_range=true")


def test_a_calibration_on_dim_images_is_caught_and_explained(trained: Digits, artifacts: str, tmp_path: Path) -> None:
    """Through the product: ranges chosen by images that are nearly black cut off what real ones hold."""
    images, labels = digits.arrays()
    digits.write_images(tmp_path / "dim", (images[:48] / 8).astype(np.uint8), labels[:48])
    dim = {"folder": str(tmp_path / "dim"), "images": 48}
    made = plan_of(digits.MODEL, str(trained.checkpoint), precisions=["fp32", "int8"], calibration=dim)
    records = measure(made, trained.images, artifacts, tmp_path / "out", limit=300, overrides=OVERRIDES)
    (quantised,) = [r for r in records if r.cell.precision == "int8" and r.cell.runtime == "ort_cpu"]
    assert quantised.drop is not None, quantised.reason
    assert quantised.drop.top1.high < -0.01
    (found,) = quantised.findings
    assert (found.check, found.level) == ("accuracy drop", "untrusted")
    assert "calibrated with images 48, source dim" in found.seen
    assert "--calib" in found.advice
    assert report.verdict(quantised) == "untrusted"


def test_a_calibration_on_constant_images_is_refused_by_name(trained: Digits, artifacts: str, tmp_path: Path) -> None:
    digits.write_images(tmp_path / "flat", np.full((16, 32, 32), 90, np.uint8), range(16))
    flat = {"folder": str(tmp_path / "flat"), "images": 16}
    made = plan_of(digits.MODEL, str(trained.checkpoint), precisions=["fp32", "int8"], calibration=flat)
    records = measure(made, trained.images, artifacts, tmp_path / "out", limit=30, overrides=OVERRIDES)
    outcomes = {(r.cell.runtime, r.cell.precision): r.outcome for r in records}
    assert outcomes["ort_cpu", "fp32"] == "ok"
    assert outcomes["ort_cpu", "int8"] == "failed"
    assert any("of one colour each" in record.reason for record in records)


def test_every_onnx_exporter_keeps_the_answers(trained: Digits, artifacts: str, tmp_path: Path) -> None:
    asked = Backbone(digits.MODEL, weights=str(trained.checkpoint), input_size=digits.SIZE)
    source = nets.snapshot(asked, tmp_path / "snapshot")
    exporters = [n for n, e in registry.exporter_classes().items() if (e.source, e.target) == ("timm", "onnx")]
    assert len(exporters) >= 2
    shares = {}
    for name in exporters:
        file = Path(nets.exported(name, source, tmp_path / name).path)
        named = file.rename(file.with_name(f"{name}.onnx"))
        (record,) = measure(
            plan_of(str(named)), trained.images, artifacts, tmp_path / f"out-{name}", limit=200, overrides=OVERRIDES
        )
        assert record.top1 is not None, record.reason
        shares[name] = record.top1.value
    assert len(set(shares.values())) == 1 and next(iter(shares.values())) > 0.95, shares


def test_a_normalisation_that_was_forgotten_is_caught_and_explained(
    trained: Digits, artifacts: str, tmp_path: Path
) -> None:
    made = plan_of(digits.MODEL, str(trained.checkpoint))
    wrong = {"mean": (0.0,), "std": (1.0,), "crop_pct": 1.0}
    baseline, deployed = measure(made, trained.images, artifacts, tmp_path, limit=300, overrides=wrong)
    assert baseline.top1 is not None and deployed.drop is not None
    assert baseline.top1.value < trained.accuracy - 0.1
    assert deployed.drop.lost == deployed.drop.gained == 0  # the artifact is not to blame
    (found,) = [f for f in baseline.findings if f.check == "normalisation"]
    assert "trained with another normalisation" in found.seen
    assert f"--mean {digits.MEAN} --std {digits.STD}" in found.advice
    assert any(found.advice in remark for remark in report.remarks([baseline, deployed]))


def quantised(source: Path, target: Path, images: Any) -> Path:
    """A static int8 file of `source`, calibrated with `images`."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter([{"input": image[None]} for image in images])

        def get_next(self) -> Any:
            return next(self.left, None)

    form = QuantFormat.QDQ
    quantize_static(str(source), str(target), Reader(), quant_format=form, per_channel=True, reduce_range=SEVEN_BITS)
    return target


def test_a_calibration_on_constant_images_is_caught_and_explained(trained: Digits, tmp_path: Path) -> None:
    """Quantised by onnxruntime itself: what its scales become is real, whatever exporter calls it."""
    asked = Backbone(digits.MODEL, weights=str(trained.checkpoint), input_size=digits.SIZE)
    source = Path(nets.exported("onnx_dynamo", nets.snapshot(asked, tmp_path / "snapshot"), tmp_path / "onnx").path)
    data = dataset.read(trained.images)
    config = DataConfig((3, digits.SIZE, digits.SIZE), (digits.MEAN,) * 3, (digits.STD,) * 3, crop_pct=1.0)
    images = np.stack([preprocess.load(image, config) for image in data.images])
    constant = np.zeros((8, 3, digits.SIZE, digits.SIZE), np.float32)
    labels = dataset.fit(data, dataset.classes_of(None, data, 10))
    base = answered(source, images, labels)
    for calibration, broken in ((images[::20], False), (constant, True)):
        mine = answered(quantised(source, tmp_path / f"{broken}.onnx", calibration), images, labels)
        drop = answers.drop(mine, base)
        found = checks.of_drop(replace(making.FAST, precision="int8"), mine, base, drop, None, {})
        if broken:
            assert drop.top1.value < -0.3
            assert found[0].level == "untrusted" and "--calib" in found[0].advice
        else:
            assert abs(drop.top1.value) <= 0.01
            assert found == []


def answered(file: Path, images: Any, labels: tuple[int, ...]) -> Answers:
    import onnxruntime as ort

    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"input": images})[0]
    return Answers(labels, tuple((int(i),) for i in scores.argmax(1)))
