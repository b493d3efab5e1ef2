"""Shares, drops, classes and disagreements are counted as by hand; checks say what the evidence shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.accuracy import answers, checks
from harness.accuracy.answers import Answers
from harness.accuracy.checks import Probe
from harness.accuracy.dataset import Classes
from harness.model import JSON, Facts
from harness.preprocess import DataConfig
from harness.published import Published
from tests.making import FAST

LABELS = (0, 1, 2, 0, 1, 2)
BASE = Answers(LABELS, ((0, 1, 2), (1, 0, 2), (2, 0, 1), (1, 0, 2), (0, 2, 1), (2, 1, 0)))
"""Right on 4 of 6; the others are second and third."""
MINE = Answers(LABELS, ((0, 1, 2), (0, 1, 2), (1, 2, 0), (0, 1, 2), (2, 1, 0), ()))
"""Right on 2 of 6; the last output is not finite."""


def random_answers(right: float, images: int = 400, classes: int = 10, seed: int = 0) -> Answers:
    rng = np.random.default_rng(seed)
    labels = tuple(int(i) for i in rng.integers(0, classes, images))
    first = [label if rng.random() < right else (label + int(rng.integers(1, classes))) % classes for label in labels]
    return Answers(labels, tuple((one,) for one in first))


def of(outputs: int) -> Classes:
    return Classes(tuple(map(str, range(outputs))), "the labels are indices")


def test_shares() -> None:
    assert BASE.share().value == pytest.approx(4 / 6)
    assert BASE.share(2).value == pytest.approx(5 / 6)
    assert MINE.right() == [True, False, False, True, False, False]
    assert MINE.not_finite() == [5]


def test_the_drop_is_paired() -> None:
    drop = answers.drop(MINE, BASE)
    assert (drop.lost, drop.gained, drop.disagree) == (3, 1, 5)
    assert drop.top1.value == pytest.approx(-2 / 6)
    assert drop.p == pytest.approx(2 * 5 / 16 - 4 / 16)  # X <= 1 of 4, mid-p
    assert answers.drop(BASE, BASE).p == 1.0


def test_classes_without_images_are_left_out() -> None:
    shares = answers.per_class(MINE, BASE, ("a", "b", "c", "unseen"))
    assert [(s.name, s.images, s.right, s.baseline_right) for s in shares] == [
        ("a", 2, 2, 1),
        ("b", 2, 0, 1),
        ("c", 2, 0, 2),
    ]
    assert answers.per_class(MINE, None, ("a", "b", "c"))[0].baseline_right is None


def test_a_drop_within_chance_is_no_finding() -> None:
    base = random_answers(0.9)
    mine = Answers(base.labels, (*base.top[:-1], ((base.labels[-1] + 1) % 10,)))
    assert checks.of_drop(FAST, mine, base, answers.drop(mine, base), None, {}) == []
    assert checks.of_drop(FAST, base, mine, answers.drop(base, mine), None, {}) == []  # a gain is none either


def test_a_large_drop_is_untrusted_and_a_small_one_a_caution() -> None:
    base = random_answers(1.0, images=4000)
    for lost, level in ((200, "untrusted"), (20, "caution")):
        mine = Answers(base.labels, tuple(((label + 1) % 10,) for label in base.labels[:lost]) + base.top[lost:])
        (found,) = checks.of_drop(FAST, mine, base, answers.drop(mine, base), None, {})
        assert found.level == level
        assert f"{lost} lost" in found.seen


def test_an_artifact_that_collapsed_says_so_with_its_calibration() -> None:
    base = random_answers(0.95)
    mine = Answers(base.labels, ((3,),) * len(base.labels))
    calibration: dict[str, JSON] = {"source": "generated", "images": 64, "digest": "d" * 64}
    details: dict[str, JSON] = {"calibration": calibration, "options": {"method": "MinMax"}, "opset": 20}
    cell = replace(FAST, precision="int8")
    (found,) = checks.of_drop(cell, mine, base, answers.drop(mine, base), None, details)
    assert "100% of all images are put into class 3" in found.seen
    assert "calibrated with images 64, source generated, method MinMax" in found.seen
    assert "--calib" in found.advice


@pytest.mark.parametrize("bits, told", [(8, True), (7, False)])
def test_a_drop_where_8_bit_weights_overflow_names_them_first(bits: int, told: bool) -> None:
    base = random_answers(1.0)
    mine = Answers(base.labels, tuple(((label + 1) % 10,) for label in base.labels[:100]) + base.top[100:])
    cell, facts = replace(FAST, precision="int8"), Facts("int8", "cpu", settings={"vnni": False})
    (found,) = checks.of_drop(cell, mine, base, answers.drop(mine, base), None, {"weight_bits": bits}, facts)
    assert ("VNNI" in found.seen, found.advice.startswith("-o onnx_int8.reduce_range=true")) == (told, told)


def test_a_baseline_at_chance_is_untrusted() -> None:
    (found,) = checks.of_baseline(random_answers(0.1), of(10))
    assert found.check == "chance"
    assert checks.of_baseline(random_answers(0.8), of(10)) == []


@pytest.mark.parametrize("zeros", [30, 90])
def test_a_baseline_that_always_answers_the_same_is_no_matter_of_names(zeros: int) -> None:
    labels = (0,) * zeros + (1,) * (100 - zeros)
    (found,) = checks.of_baseline(Answers(labels, ((0, 1),) * 100), of(2))
    assert found.check == "one answer"
    assert f"100% of all images into class 0, and {100 - zeros} of the {100 - zeros}" in found.seen


def test_answers_that_hardly_vary_are_not_renamed() -> None:
    """94 of 100 images are put into class 0: called 1, it is right on the 70 of class 1, as any constant answer is."""
    found = checks.of_baseline(Answers((0,) * 30 + (1,) * 70, ((1,),) * 3 + ((0,),) * 94 + ((1,),) * 3), of(2))
    assert "class order" not in [f.check for f in found]
    swapped = Answers((0,) * 30 + (1,) * 70, ((1,),) * 28 + ((0,),) * 72)
    assert [f.check for f in checks.of_baseline(swapped, of(2))] == ["class order"]


def test_a_rare_class_that_is_told_apart_is_no_constant_answer() -> None:
    right = Answers((0,) * 970 + (1,) * 30, ((0,),) * 985 + ((1,),) * 15)
    assert checks.of_baseline(right, of(2)) == []
    assert checks.of_baseline(Answers((0,) * 99 + (1,), ((0,),) * 100), of(2)) == [], "one image shows nothing"


@pytest.mark.parametrize("right", [0, 1])
def test_few_images_are_no_proof_of_a_fault(right: int) -> None:
    (found,) = checks.of_baseline(Answers((right,), ((1,),)), of(3))
    assert found.check == "chance"
    assert "1 images are too few to tell it from chance, which is 1 of 3" in found.seen
    assert found.advice.startswith("take more images")


def test_the_order_of_timms_training_is_told_where_it_does_better() -> None:
    alphabet, timm = ("c1", "c10", "c2", "c3"), ("c1", "c2", "c3", "c10")
    classes, labels = Classes(alphabet, "the alphabet", timm), tuple(range(4)) * 5
    trained_so = tuple((timm.index(alphabet[label]),) for label in labels)
    (found,) = checks.of_baseline(Answers(labels, trained_so), classes)
    assert (found.check, found.level) == ("class order", "untrusted")
    assert "right on 25.0% with the alphabet, but on 100.0%" in found.seen
    assert "output 1 is c2 and not c10" in found.seen
    assert "--classes FILE (c1, c2, c3, c10)" in found.advice
    assert checks.of_baseline(Answers(labels, tuple((label,) for label in labels)), classes) == []
    (constant,) = checks.of_baseline(Answers(labels, ((3,),) * 20), classes)
    assert constant.check == "one answer"


def test_a_cautioned_crop_hides_no_fault_of_the_baseline_and_another_normalisation_explains_it() -> None:
    used, own, wrong = DataConfig((3, 8, 8), crop_pct=0.9), DataConfig((3, 8, 8)), random_answers(0.0)
    cautioned = checks.of_preprocessing(used, own, True, wrong, [])
    assert [f.check for f in cautioned] == ["preprocessing"]
    assert [f.check for f in checks.of_baseline(wrong, of(10), cautioned)] == ["chance"]
    right = Answers(wrong.labels, tuple((label,) for label in wrong.labels))
    explained = checks.of_preprocessing(used, own, True, wrong, [Probe("0.5", (0.5,) * 3, (0.5,) * 3, right)])
    assert checks.of_baseline(wrong, of(10), explained) == []


def test_answers_that_only_need_other_names_tell_of_the_class_order() -> None:
    right = random_answers(0.9)
    shuffled = Answers(right.labels, tuple(((7 * row[0] + 3) % 10,) for row in right.top))
    (found,) = checks.of_baseline(shuffled, of(10))
    assert found.check == "class order"
    assert "--classes" in found.advice
    one_each = Answers(tuple(range(10)), tuple(((i + 1) % 10,) for i in range(10)))
    assert [f.check for f in checks.of_baseline(one_each, of(10))] == [
        "chance"
    ]  # ten images can be renamed to anything


def test_another_normalisation_that_is_far_better_is_told() -> None:
    used, own = DataConfig((3, 8, 8), (0.0,) * 3, (1.0,) * 3), DataConfig((3, 8, 8))
    here = random_answers(0.5)
    better = Answers(here.labels, tuple((label,) for label in here.labels))
    half = Probe("0.5", (0.5,) * 3, (0.5,) * 3, better)
    (found,) = checks.of_preprocessing(used, own, False, here, [half, Probe("same", used.mean, used.std, here)])
    assert found.level == "untrusted"
    assert found.advice.startswith("repeat with --mean 0.5 --std 0.5")


def test_more_images_are_asked_only_where_the_first_speak_for_another_normalisation() -> None:
    here = random_answers(0.5)
    assert checks.worth_probing(random_answers(1.0).only(range(40)), here.only(range(40)))
    assert not checks.worth_probing(here, here)


def test_a_changed_preprocessing_is_a_caution_only_where_timms_is_known_to_be_right() -> None:
    used, own = DataConfig((3, 8, 8), crop_pct=1.0), DataConfig((3, 8, 8))
    (found,) = checks.of_preprocessing(used, own, True, random_answers(0.5), [])
    assert "crop_pct 1.0 instead of 0.875" in found.seen
    assert checks.of_preprocessing(used, own, False, random_answers(0.5), []) == []
    assert checks.of_preprocessing(own, own, True, random_answers(0.5), []) == []


def test_candidates_are_different_from_what_is_used() -> None:
    own = DataConfig((3, 8, 8))
    assert "ImageNet's" not in checks.candidates(own, own)
    assert "the backbone's own" not in checks.candidates(own, own)
    assert "the backbone's own" in checks.candidates(replace(own, mean=(0.5,) * 3), own)
    grey = checks.candidates(DataConfig((1, 8, 8), (0.5,), (0.5,)), None)
    assert {len(mean) for mean, _ in grey.values()} == {1}


def test_published_accuracy_outside_the_interval_is_a_caution() -> None:
    here, far = random_answers(0.7), Published("mine.a", 224, 0.9, None, "timm", 0.95)
    assert checks.of_published(replace(far, top1=0.7), here, 0.95) == []
    (found,) = checks.of_published(far, here, 0.95)
    assert "90.0%" in found.seen
    assert checks.of_published(far, here, 0.875) == [], "of other pixels"
    assert checks.of_published(replace(far, crop_pct=None), here, 0.875) == [found]
