"""Measuring accuracy end to end, with a classifier of colours that is right by construction; and whatever can go wrong."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import codec, results
from harness.accuracy import dataset, evaluate, join, pixels, store
from harness.accuracy.answers import Answers
from harness.accuracy.asking import Asked
from harness.accuracy.store import AccuracyStore
from harness.errors import DataInvalid, PlanInvalid, RunFailed, StoreFailed
from harness.model import Backbone
from harness.preprocess import DataConfig
from harness.record import Finding
from harness.report import accuracy as report
from harness.report import content
from harness.store import Store
from tests import digits, making
from tests.accuracy.measuring import COLOURS, PLAIN, Watcher, colour_onnx, colours, measure, plan_of


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colours(tmp_path_factory.mktemp("pictures") / "colours")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(colour_onnx(tmp_path_factory.mktemp("model") / "colours.onnx"))


def both(classifier: str, **asked: Any) -> Any:
    """Two cells, the first the baseline; 18 images are no multiple of the batch."""
    return plan_of(classifier, runtimes=["ort_cpu", "openvino"], batches=[4], **asked)


def test_every_artifact_answers_every_image(classifier: str, pictures: Path, artifacts: str, tmp_path: Path) -> None:
    watcher = Watcher()
    baseline, deployed = records = measure(both(classifier), pictures, artifacts, tmp_path, watcher, **PLAIN)
    assert watcher.cells == list(records)
    for record in records:
        assert record.outcome == "ok", record.reason
        assert record.data is not None and record.top1 is not None
        assert (record.data.images, record.data.classes, record.data.order) == (
            18,
            3,
            "the class names in alphabetical order",
        )
        assert record.top1.value == 1.0
        assert record.top1.low == pytest.approx(1 / (1 + 1.96**2 / 18), rel=1e-3)
        assert record.top5 is None  # of three classes
        assert [c.name for c in record.per_class] == ["1_red", "2_green", "3_blue"]
        assert record.preprocessing["input_size"] == [3, 8, 8]
    assert baseline.is_baseline and baseline.drop is None
    assert deployed.drop is not None and (deployed.drop.lost, deployed.drop.gained, deployed.drop.p) == (0, 0, 1.0)
    answered = store.read_predictions(tmp_path)
    assert [len(p.top) for p in answered] == [18, 18]
    assert store.read(tmp_path) == records
    assert not (Path(artifacts) / "images").exists()  # the preprocessed ones are gone
    assert "18 images, 3 classes" in report.title(records)
    assert report.row(deployed)[4] == "0.0 [-17.6, +17.6]"


def test_a_wrong_order_of_classes_is_caught_and_explained(
    classifier: str, pictures: Path, artifacts: str, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("3_blue\n1_red\n2_green\n")
    baseline, deployed = measure(both(classifier), pictures, artifacts, tmp_path / "out", classes=str(names), **PLAIN)
    assert baseline.top1 is not None and baseline.top1.value == 0.0
    assert [f.check for f in baseline.findings] == ["class order"]
    assert deployed.drop is not None and deployed.drop.disagree == 0
    assert any("--classes FILE" in remark for remark in report.remarks([baseline, deployed]))


def test_a_checkpoint_of_timms_training_is_not_scored_in_the_alphabets_order_in_silence(
    classifier: str, artifacts: str, tmp_path: Path
) -> None:
    colours(tmp_path / "val")
    for old, new in zip(COLOURS, ("c1", "c2", "c10"), strict=True):
        (tmp_path / "val" / old).rename(tmp_path / "val" / new)
    baseline, _ = measure(both(classifier), tmp_path / "val", artifacts, tmp_path / "out", **PLAIN)
    (found,) = baseline.findings
    assert "right on 33.3% with the class names in alphabetical order, but on 100.0%" in found.seen


def test_a_caution_of_the_preprocessing_hides_no_wrong_order_of_classes(
    classifier: str, pictures: Path, artifacts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of pretrained weights with --crop-pct, which no test can load."""
    cautioned = Finding("preprocessing", "caution", "crop_pct 0.9 instead of 0.875", "leave the option out")
    monkeypatch.setattr(Asked, "_probe", lambda *_: [cautioned])
    (tmp_path / "names.txt").write_text("3_blue\n1_red\n2_green\n")
    names = str(tmp_path / "names.txt")
    baseline, _ = measure(both(classifier), pictures, artifacts, tmp_path / "out", classes=names, **PLAIN)
    assert [f.check for f in baseline.findings] == ["preprocessing", "class order"]


def test_accuracy_joins_the_latency_of_the_same_artifact(
    classifier: str, pictures: Path, artifacts: str, tmp_path: Path
) -> None:
    _, deployed = measure(both(classifier), pictures, artifacts, tmp_path / "accuracy", **PLAIN)
    alike = replace(deployed.cell, batch=1)
    measured = replace(making.record(alike), artifact=deployed.artifact)
    other = replace(making.record(replace(alike, precision="bf16")), artifact=deployed.artifact)
    run = Store.create(tmp_path / "run", making.run())
    run.add([measured, other])
    table = results.load([tmp_path / "run", tmp_path / "accuracy"])
    assert table.top1.tolist()[0] == 1.0
    assert table.accuracy_source.tolist()[0] == "measured"
    assert table.top1_drop.tolist()[0] == 0
    assert table.accuracy_source.isna().tolist() == [False, True]  # the same file, but run in another precision
    assert results.load(tmp_path / "run").top1.isna().all()
    with pytest.raises(StoreFailed, match="holds accuracies, but no run"):
        results.load(tmp_path / "accuracy")
    ((_, records),) = join.read([tmp_path / "run", tmp_path / "accuracy"])
    words = dict(zip(content.HEADERS, content.rows(records)[0], strict=True))
    assert words["top-1 %"] == "100.0 [82.4, 100.0]"
    assert any("measured on 18 images" in line for line in content.footer(content.Reported(run.run, records)))


def test_published_figures_are_never_borrowed_by_other_weights() -> None:
    def record(**backbone: Any) -> Any:
        return making.record(replace(making.FAST, backbone=Backbone("resnet50.a1_in1k", **backbone)))

    note = join.of_tag(record(weights="pretrained"))
    assert note is not None and (note.source, note.top1, note.top1_low) == ("published", 0.80382, None)
    for other in (
        {},
        {"weights": "/x/best.pth"},
        {"weights": "pretrained", "input_size": 96},
        {"weights": "pretrained", "features_only": True},
    ):
        assert join.of_tag(record(**other)) is None
    fp16 = record(weights="pretrained")
    assert join.of_tag(replace(fp16, cell=replace(fp16.cell, precision="int8"))) is None
    row = results.row(making.run(), record())
    assert (row["top1"], row["accuracy_source"], row["top1_published"]) == (None, None, 0.80382)


def test_finished_cells_are_kept(classifier: str, pictures: Path, artifacts: str, tmp_path: Path) -> None:
    """Ctrl-C while the second cell runs: the first is on disk, and is not measured again."""
    with pytest.raises(KeyboardInterrupt):
        measure(both(classifier), pictures, artifacts, tmp_path, Watcher(interrupt_after=1), **PLAIN)
    (kept,) = store.read(tmp_path)
    assert kept.is_baseline
    assert not (Path(artifacts) / "images").exists()
    with (tmp_path / store.ACCURACY).open("a") as file:
        file.write('{"torn')
    again = measure(both(classifier), pictures, artifacts, tmp_path, **PLAIN)
    assert again[0] == kept
    assert again[1].drop is not None
    assert store.read(tmp_path) == again
    (tmp_path / "names.txt").write_text("\n".join(reversed(COLOURS)))
    renamed = measure(both(classifier), pictures, artifacts, tmp_path, classes=str(tmp_path / "names.txt"), **PLAIN)
    (tmp_path / "names.txt").write_text("\n".join(COLOURS))
    mended = measure(both(classifier), pictures, artifacts, tmp_path, classes=str(tmp_path / "names.txt"), **PLAIN)
    assert [record.top1 for record in renamed] != [record.top1 for record in mended]  # the file's name is the same
    assert [record.top1 for record in mended] == [record.top1 for record in again]
    other = measure(both(classifier), pictures, artifacts, tmp_path, limit=9, **PLAIN)
    assert other[0].data is not None and other[0].data.images == 9  # other images: measured anew
    assert store.read(tmp_path) == other  # the last of each cell counts


def test_disagreements_name_image_and_classes(classifier: str, pictures: Path, artifacts: str, tmp_path: Path) -> None:
    record, _ = measure(both(classifier), pictures, artifacts, tmp_path / "a", **PLAIN)
    out = AccuracyStore.open(tmp_path / "b")
    mine, base = Answers((1, 2), ((1,), (0,))), Answers((1, 2), ((1,), (2,)))
    out.add(replace(record, baseline="other"), mine, base, ("x.png", "y, z.png"))
    (row,) = csv.DictReader((tmp_path / "b" / store.DISAGREEMENTS).read_text().splitlines())
    told = [row[name] for name in ("image", "label", "baseline_class", "class", "baseline_right", "right")]
    assert told == ["y, z.png", "2", "2", "0", "1", "0"]


def test_unreadable_images_are_named_or_left_out(
    classifier: str, pictures: Path, artifacts: str, tmp_path: Path
) -> None:
    some = dataset.read(pictures)
    (tmp_path / "cut.png").write_bytes(some.images[0].read_bytes()[:60])
    lines = [f"{image},{label}" for image, label in zip(some.images, some.labels, strict=True)]
    file = tmp_path / "set.csv"
    file.write_text("\n".join([*lines[:5], "cut.png,2_green", "absent.png,3_blue", *lines[5:]]))
    made = both(classifier)
    with pytest.raises(DataInvalid, match=r"2 of 20 images cannot be read: .*cut\.png.*absent\.png") as caught:
        measure(made, file, artifacts, tmp_path / "strict", **PLAIN)
    assert "--skip-unreadable" in caught.value.hint
    watcher = Watcher()
    records = measure(made, file, artifacts, tmp_path / "lenient", watcher, skip_unreadable=True, **PLAIN)
    assert any("left out" in note for note in watcher.notes)
    for record in records:
        assert record.data is not None and record.top1 is not None
        assert (record.data.images, len(record.data.skipped), record.top1.value) == (18, 2, 1.0)
    assert "2 images are left out" in " ".join(report.remarks(records))
    file.write_text("absent.png,1_red\ncut.png,2_green\ncut.png,3_blue")
    with pytest.raises(DataInvalid, match="3 of 3 images cannot be read"):
        measure(made, file, artifacts, tmp_path / "none", skip_unreadable=True, **PLAIN)


def test_a_backbone_that_does_not_fit_stops_only_itself(
    classifier: str, pictures: Path, artifacts: str, tmp_path: Path
) -> None:
    other = making.identity_onnx(tmp_path / "identity.onnx", 8)
    made = both(classifier, backbones=[str(other), classifier], input_size=0)
    records = measure(made, pictures, artifacts, tmp_path / "out", **PLAIN)
    assert {r.outcome for r in records if r.cell.backbone.name == "identity"} == {"failed"}
    assert {r.outcome for r in records if r.cell.backbone.name == "colours"} == {"ok"}
    said = {r.reason for r in records if r.outcome == "failed"}
    assert all(reason.startswith("identity is no classifier") for reason in said)


def test_classes_and_preprocessing_that_do_not_fit_are_said(
    classifier: str, pictures: Path, artifacts: str, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("1_red\n2_green\n")
    for i, (asked, reason) in enumerate(
        (
            ({**PLAIN, "classes": str(names)}, "has 2 classes, but the backbone has 3 outputs"),
            ({**PLAIN, "classes": "imagenet"}, "has 1000 classes, but the backbone has 3 outputs"),
            ({}, "does not tell how its images are to be preprocessed"),
            ({"overrides": {"mean": (0.5, 0.5), "std": (1.0,)}}, "mean has 2 values for 3 channels"),
        )
    ):
        records = measure(both(classifier), pictures, artifacts, tmp_path / str(i), **asked)
        assert [r.outcome for r in records] == ["failed", "failed"]
        assert reason in records[0].reason
    labels = tmp_path / "set.csv"
    labels.write_text(f"{next(pictures.rglob('*.png'))},7")
    (failed, _) = measure(both(classifier), labels, artifacts, tmp_path / "label", **PLAIN)
    assert "1 of the labels (7; 1 images) are none of the 3 classes" in failed.reason


def test_quantisers_watch_images_that_are_prepared_as_those_to_be_answered(classifier: str) -> None:
    own = {"folder": "", "images": 16}
    for calibration, expected in ((own, PLAIN["overrides"]), (own | {"config": {"mean": [0.5]}}, {"mean": [0.5]})):
        made = plan_of(classifier, precisions=["fp32", "int8"], calibration=calibration)
        (members,) = evaluate.calibrated_alike(made, PLAIN["overrides"]).groups
        watched = {cell.precision: cell.calibration.config for cell in members.cells if cell.calibration is not None}
        assert watched == {"int8": expected}
        assert members.baseline in [codec.key(cell) for cell in members.cells]


def test_a_baseline_that_is_quantised_stays_the_baseline(classifier: str) -> None:
    made = plan_of(classifier, precisions=["int8"])
    (members,) = made.groups
    quantised = next(codec.key(cell) for cell in members.cells if cell.calibration)
    made = replace(made, groups=(replace(members, baseline=quantised),))
    (after,) = evaluate.calibrated_alike(made, {"mean": (0.5,)}).groups
    assert after.baseline in {codec.key(cell) for cell in after.cells if cell.precision == "int8"} - {quantised}


def test_random_weights_are_refused(pictures: Path, artifacts: str, tmp_path: Path) -> None:
    with pytest.raises(PlanInvalid, match="would be random") as caught:
        measure(plan_of(digits.MODEL), pictures, artifacts, tmp_path)
    assert "--weights" in caught.value.hint


def test_outputs_that_are_not_finite_are_named(pictures: Path, artifacts: str, tmp_path: Path) -> None:
    """A graph that overflows on bright images only, as fp16 does."""
    data = tmp_path / "set"
    for label, brightness in ((0, 10), (1, 11), (2, 250)):
        digits.write_images(data, np.full((1, 8, 8), brightness, np.uint8), [label])
    # e^(10 · 49) is over float32's largest; the reference's images, normalised as usual, stay below e^30.
    model = str(colour_onnx(tmp_path / "overflow.onnx", exponent=10.0))
    overrides = {"mean": (0.0,), "std": (0.02,), "crop_pct": 1.0}
    (record,) = measure(plan_of(model), data, artifacts, tmp_path / "out", overrides=overrides)
    assert record.outcome == "wrong_output", record.reason
    assert record.top1 is None
    assert "1 of 3 images hold NaN or infinity (the first: " in record.reason
    assert "2/0000.png" in record.reason


def test_a_full_disk_is_said_before_anything_is_written(
    classifier: str, pictures: Path, artifacts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StoreFailed, match=r"preprocessed images take .* GB free") as caught:
        measure(both(classifier), pictures, artifacts, tmp_path, **PLAIN)
    assert "--limit" in caught.value.hint


def test_a_disk_that_fills_while_images_are_written_is_said(pictures: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    config = codec.encode(DataConfig((3, 2, 2)))
    with pytest.raises(StoreFailed, match=r"/dev/full cannot be written: No space left") as caught:
        pixels.write(full, 0, [str(next(pictures.rglob("*.png")))], config, 1)
    assert "BACKBENCH_CACHE" in caught.value.hint


def test_the_last_batch_is_filled_and_its_filling_dropped(tmp_path: Path) -> None:
    class Echo:
        """Scores class k highest for an image of brightness k."""

        def bind(self, feed: Mapping[str, Any]) -> None:
            (self.images,) = feed.values()
            assert self.images.shape == (4, 3, 2, 2) and self.images.dtype == np.float16

        def run(self) -> None: ...
        def sync(self) -> None: ...
        def fetch(self) -> Mapping[str, Any]:
            level = np.round(self.images[:, 0, 0, 0].astype(np.float32) * 255)
            return {"logits": -np.abs(np.arange(10)[None] - level[:, None])}

    config = codec.encode(DataConfig((3, 2, 2), (0.0,) * 3, (1.0,) * 3))
    file = tmp_path / "images.u8"
    np.concatenate([np.full(12, k, np.uint8) for k in range(10)]).tofile(file)
    like = {"input": np.zeros((4, 3, 2, 2), np.float16)}
    session: Any = Echo()
    found = pixels.predict(session, like, file, [9, 1, 2, 3, 5, 0], config)
    assert [row[0] for row in found.top] == [9, 1, 2, 3, 5, 0]
    assert found.top[4][:3] == (5, 4, 6)  # of equal scores the first
    session.fetch = lambda: {"logits": np.zeros((4, 10, 1))}
    with pytest.raises(RunFailed, match=r"the shape \(4, 10, 1\).*not a classifier"):
        pixels.predict(session, like, file, [0], config)
