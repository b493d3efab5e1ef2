"""Accuracy that is kept is read back; a cell's last record counts; decisions rest on it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from harness import codec, schemas
from harness.accuracy import answers, join, store
from harness.accuracy.answers import Answers
from harness.accuracy.record import Accuracy, LabelledSet
from harness.accuracy.store import AccuracyStore, Predicted
from harness.deciding import evidence, figures
from harness.deciding.limits import Limit, judge
from harness.errors import StoreFailed
from harness.record import AccuracyNote, ArtifactNote, Finding, Interval, Record
from harness.store import Store
from tests import making

BASE, MINE = Answers((0, 1, 2, 3), ((0,), (1,), (2,), (0,))), Answers((0, 1, 2, 3), ((0,), (1,), (0,), (0,)))
NOTE = ArtifactNote("onnx", "fp32", "d" * 64, ("onnx_dynamo",), (), {})


def accuracy(top1: float = 0.5) -> Accuracy:
    key, base = codec.key(making.FAST), codec.key(making.BASE)
    return Accuracy(
        key, making.FAST, base, making.BASE.title, "ok", artifact=NOTE, data=LabelledSet("val", "e" * 64, 4, 4, "names"),
        top1=Interval(top1, top1 - 0.1, top1 + 0.1), drop=answers.drop(MINE, BASE), started="2026-11-24T10:00:00+00:00",
    )  # fmt: skip


def record() -> Record:
    return replace(making.record(), artifact=NOTE)


def test_the_last_record_of_a_cell_counts_and_a_torn_line_does_not(tmp_path: Path) -> None:
    kept = AccuracyStore.open(tmp_path)
    kept.add(accuracy(0.4), MINE, BASE, ("a", "b", "c", "d"))
    kept.add(accuracy(0.6), MINE, BASE, ("a", "b", "c", "d"))
    (found,) = store.read(tmp_path)
    assert found == accuracy(0.6)
    with (tmp_path / store.ACCURACY).open("a") as file:
        file.write('{"key": "to')
    assert store.read(tmp_path) == (found,)
    AccuracyStore.open(tmp_path).add(accuracy(0.7), None, None, ())
    assert [one.top1.value for one in store.read(tmp_path) if one.top1] == [0.7]


def test_a_repeat_that_fails_leaves_an_accuracy_as_it_was(tmp_path: Path) -> None:
    kept, images = AccuracyStore.open(tmp_path), ("a", "b", "c", "d")
    failed = replace(accuracy(), outcome="failed", reason="no network", top1=None, drop=None)
    kept.add(failed, None, None, ())
    assert store.read(tmp_path) == (failed,)
    kept.add(accuracy(0.4), MINE, BASE, images)
    kept.add(failed, None, None, ())
    assert store.read(tmp_path) == (accuracy(0.4),)
    assert kept.finished() == {failed.key: (accuracy(0.4), MINE.top)}
    assert len((tmp_path / store.DISAGREEMENTS).read_text().splitlines()) == 2
    nan = replace(failed, outcome="wrong_output")
    kept.add(nan, None, None, ())
    assert store.read(tmp_path) == (nan,), "that is said of the artifact"
    assert len((tmp_path / store.DISAGREEMENTS).read_text().splitlines()) == 1


def test_answers_are_those_to_the_record_s_own_images(tmp_path: Path) -> None:
    kept = AccuracyStore.open(tmp_path)
    kept.add(accuracy(), MINE, BASE, ("a", "b", "c", "d"))
    others = Predicted(accuracy().key, "f" * 64, BASE.top)  # of a run that was killed before its record
    with (tmp_path / store.PREDICTIONS).open("a") as file:
        file.write(codec.dumps(others) + "\n")
    assert kept.finished()[accuracy().key] == (accuracy(), MINE.top)


def test_disagreements_are_of_the_last_answers_alone(tmp_path: Path) -> None:
    file, images = tmp_path / store.DISAGREEMENTS, ("a", "b", "c, 3.png", "d")
    other = replace(accuracy(), key="another")
    kept = AccuracyStore.open(tmp_path)
    kept.add(other, MINE, BASE, images)
    kept.add(accuracy(), MINE, BASE, images)
    once = file.read_text()
    with file.open("a") as opened:
        opened.write("resnet18,ort_cpu,to")
    again = AccuracyStore.open(tmp_path)
    assert file.read_text() == once
    again.add(accuracy(), MINE, BASE, images)
    assert file.read_text() == once
    again.add(accuracy(), replace(MINE, top=((1,), (1,), (2,), (0,))), BASE, images)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [(row["key"], row["image"]) for row in rows] == [("another", "c, 3.png"), (accuracy().key, "a")]
    again.add(accuracy(), MINE, None, images)
    assert [row["key"] for row in csv.DictReader(file.read_text().splitlines())] == ["another"]


@pytest.mark.parametrize(("name", "file"), [("accuracy", store.ACCURACY), ("predictions", store.PREDICTIONS)])
def test_the_files_are_as_their_schemas_say(tmp_path: Path, name: str, file: str) -> None:
    AccuracyStore.open(tmp_path).add(accuracy(), MINE, BASE, ("a", "b", "c", "d"))
    (line,) = (tmp_path / file).read_text().splitlines()
    jsonschema.validate(json.loads(line), schemas.schema(name))


def test_what_makes_the_baseline_s_answers_say_nothing_is_said_of_every_cell() -> None:
    """Two nets at chance differ by nothing, and no drop is kept by that."""
    chance = Finding("chance", "untrusted", "the baseline itself is right on 1 %", "check --classes")
    lost = Finding("accuracy drop", "untrusted", "right on 5 points fewer", "calibrate")
    base = replace(accuracy(), key=codec.key(making.BASE), cell=making.BASE, drop=None, findings=(chance,))
    (sound,) = join.joined([record()], [replace(accuracy(), findings=(lost,)), replace(base, findings=())])
    (vain,) = join.joined([record()], [accuracy(), base])
    assert sound.accuracy is not None
    assert sound.accuracy.doubts == ()
    assert vain.accuracy is not None
    assert vain.accuracy.doubts == (chance,)
    for limit in (Limit("accuracy", 0.3), Limit("accuracy_drop", 0.99)):
        results = [judge(limit, one).result for one in evidence.gather(making.run(), (sound, vain), "RUN")]
        assert results == ["PASS", "INCONCLUSIVE"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailed, match="cannot write the results folder") as caught:
        AccuracyStore.open(tmp_path / "file")
    assert "--out" in caught.value.hint


def test_decisions_rest_on_the_measured_accuracy_and_its_paired_drop(tmp_path: Path) -> None:
    Store.create(tmp_path / "run", making.run()).add([making.record(making.BASE), record()])
    AccuracyStore.open(tmp_path / "accuracy").add(accuracy(), MINE, BASE, ("a", "b", "c", "d"))
    _, found = evidence.read([tmp_path / "run", tmp_path / "accuracy"])
    assert (found.accuracy.kind, found.accuracy.value, found.accuracy.source) == ("measured", 0.5, "4 images of val")
    drop = figures.METRICS["accuracy_drop"].read(found, "median")
    assert isinstance(drop, figures.Figure)
    paired = answers.drop(MINE, BASE).top1
    assert (drop.value, drop.low, drop.high) == (-paired.value, -paired.high, -paired.low)
    assert drop.value == 0.25
    assert evidence.read([tmp_path / "run"])[1].accuracy == evidence.UNKNOWN


def test_an_accuracy_of_another_artifact_or_runtime_joins_nothing() -> None:
    assert join.joined([record()], [accuracy()])[0].accuracy is not None
    other = replace(accuracy(), artifact=replace(NOTE, digest="f" * 64))
    elsewhere = replace(accuracy(), cell=replace(making.FAST, runtime="openvino"))
    failed = replace(accuracy(), outcome="wrong_output", top1=None)
    assert join.joined([record()], [other, elsewhere, failed])[0].accuracy is None
    many = replace(record(), cell=replace(making.FAST, batch=8, threads=1))
    (joined,) = join.joined([many], [accuracy()])
    paired = answers.drop(MINE, BASE)
    expected = (paired.top1.value, paired.top1.low, paired.top1.high, paired.p)
    assert joined.accuracy == AccuracyNote("measured", "4 images of val", 0.5, 0.4, 0.6, None, *expected)
