"""Reasons to doubt an accuracy, or the artifact: what was seen, and what to do about it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.accuracy import answers
from harness.accuracy.answers import Answers
from harness.accuracy.dataset import Classes
from harness.accuracy.record import Drop
from harness.checks.execution import overflows
from harness.model import JSON, Cell, Facts, Precision, Trust, Verification
from harness.preprocess import DataConfig
from harness.published import Published
from harness.record import Finding, Interval

TOLERATED_DROP = 0.01
"""A loss of top-1 that deployments commonly accept of a lower precision: one point."""
ALPHA = 0.05
PROBE_ALPHA = 1e-3
"""Several normalisations are tried on the same images; only a difference far beyond chance is told."""
NORMALISATION = "normalisation"
"""Name of the check that another normalisation is right far more often."""
_COLLAPSED_SHARE = 0.5
_RENAMED_SHARE = 0.6
_SHOWN = 12
_NEARLY_ALL, _FEWEST_OTHERS = 0.95, 5
"""One answer is given to so many images, and to so many of at least a few that are of other classes."""

NORMALISATIONS: Mapping[str, tuple[float, float]] = {
    "0.5": (0.5, 0.5),
    "none (0..1)": (0.0, 1.0),
    "0..255": (0.0, 1 / 255),
}
"""Mean and standard deviation, the same for all channels, that training scripts use beside the per-channel ones."""
PER_CHANNEL: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CLIP's": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}

_REMEDY: Mapping[Precision, str] = {
    "int8": "calibrate with images like those it will see (--calib FOLDER), or with another method; see also: backbench diff",
    "fp16": "values may leave fp16's range (65,504): keep more operators in fp32, or deploy bf16",
    "bf16": "bf16 keeps 8 bits of a value: deploy fp16 or fp32 where that is not enough",
    "tf32": "TF32 keeps 11 bits of a value: deploy fp32 where that is not enough",
    "fp32": "an fp32 artifact must answer as PyTorch does: try another exporter; see also: backbench diff",
}


@dataclass(frozen=True)
class Probe:
    """Answers of the baseline to the same few images under another normalisation."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    answers: Answers


def candidates(used: DataConfig, own: DataConfig | None) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Normalisations that differ from the one in use: the backbone's own first, then common ones."""
    channels = used.input_size[0]
    found = {"the backbone's own": (own.mean, own.std)} if own is not None else {}
    found |= {name: ((mean,) * channels, (std,) * channels) for name, (mean, std) in NORMALISATIONS.items()}
    found |= {name: pair for name, pair in PER_CHANNEL.items() if len(pair[0]) == channels}
    different: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {}
    for name, pair in found.items():
        if pair != (used.mean, used.std) and pair not in different.values():
            different[name] = pair
    return different


def worth_probing(few: Answers, here: Answers) -> bool:
    """Whether another normalisation did better on the first few images, so that more are worth their time."""
    return sum(few.right()) > sum(here.right())


def of_preprocessing(
    used: DataConfig, own: DataConfig | None, pretrained: bool, here: Answers, probes: Sequence[Probe]
) -> list[Finding]:
    """Whether the baseline, on the same images, is right far more often under another normalisation.

    Of `pretrained` weights timm's config is known to be right; a checkpoint may have been trained with any.
    """
    if better := _best(here, probes):
        probe, gain = better
        words = f"--mean {_numbers(probe.mean)} --std {_numbers(probe.std)}"
        return [
            Finding(
                NORMALISATION, "untrusted",
                f"with mean {_numbers(probe.mean)} and std {_numbers(probe.std)} ({probe.name}) the baseline is right on "
                f"{probe.answers.share().value:.1%} of {len(here.labels)} images, with mean {_numbers(used.mean)} and std "
                f"{_numbers(used.std)} on {here.share().value:.1%}: the weights were trained with another normalisation",
                f"repeat with {words} (top-1 {gain:+.1%})",
            )
        ]  # fmt: skip
    changed = [] if own is None or not pretrained else [n for n in ("mean", "std", "interpolation", "crop_pct", "crop_mode")
                                      if getattr(used, n) != getattr(own, n)]  # fmt: skip
    if not changed:
        return []
    said = ", ".join(
        f"{name} {_shown(getattr(used, name))} instead of {_shown(getattr(own, name))}" for name in changed
    )
    advice = "leave the option out to use the backbone's own"
    return [
        Finding("preprocessing", "caution", f"images are not preprocessed as timm's config of it says: {said}", advice)
    ]


def _best(here: Answers, probes: Sequence[Probe]) -> tuple[Probe, float] | None:
    gains = []
    for probe in probes:
        found = answers.drop(probe.answers, here)
        if found.p < PROBE_ALPHA and found.top1.value > TOLERATED_DROP:
            gains.append((found.top1.value, probe))
    if not gains:
        return None
    gain, probe = max(gains, key=lambda pair: pair[0])
    return probe, gain


def of_baseline(here: Answers, classes: Classes, preprocessing: Sequence[Finding] = ()) -> list[Finding]:
    """Whether the framework itself is no better than chance, and whether it is consistent in being wrong.

    `preprocessing` is what `of_preprocessing` found: another normalisation explains wrong answers, a cautioned crop does not.
    """
    if any(finding.check == NORMALISATION for finding in preprocessing):
        return []
    if seen := _one_answer(here):
        return [Finding("one answer", "untrusted", seen, "check the weights (--weights), --mean and --std")]
    if classes.timm and (found := _timm_order(here, classes)):
        return found
    share, renamed = here.share(), _renamed(here)
    if renamed is not None and renamed.share().value > max(_RENAMED_SHARE, share.value + 0.2):
        return [
            Finding(
                "class order", "untrusted",
                f"the baseline is right on {share.value:.1%}, but on {renamed.share().value:.1%} if the classes were renamed "
                "one to one: the order of the classes is not the one that the weights were trained with",
                "give the names of the outputs in their order, one a line: --classes FILE (or --classes imagenet)",
            )
        ]  # fmt: skip
    return _chance(share, len(here.labels), len(classes.names))


def _timm_order(here: Answers, classes: Classes) -> list[Finding]:
    """Whether the answers are right more often if the outputs have the names that timm's training gives them."""
    place = {name: i for i, name in enumerate(classes.timm)}
    there = Answers(tuple(place[classes.names[label]] for label in here.labels), here.top)
    better = answers.drop(there, here)
    if better.p >= ALPHA or better.top1.value <= 0 or there.share().low <= 1 / len(classes.names):
        return []
    shown = ", ".join(classes.timm[:_SHOWN]) + (", …" if len(classes.timm) > _SHOWN else "")
    first = next(i for i, (a, b) in enumerate(zip(classes.names, classes.timm, strict=True)) if a != b)
    return [
        Finding(
            "class order", "untrusted",
            f"the baseline is right on {here.share().value:.1%} with {classes.kind}, but on {there.share().value:.1%} in the "
            f"order of timm's training, where output {first} is {classes.timm[first]} and not {classes.names[first]} "
            f"(numbers in names count as numbers, and case does not; p {_p(better.p)})",
            f"give the names in that order, one a line: --classes FILE ({shown})",
        )
    ]  # fmt: skip


def _one_answer(here: Answers) -> str:
    """A net that gives the same class to nearly everything, also to images of other classes; empty where it does not."""
    (top, times), *_ = Counter(here.first()).most_common(1)
    others = [answer for answer, label in zip(here.first(), here.labels, strict=True) if label != top]
    taken = others.count(top)
    if len(others) < _FEWEST_OTHERS or min(times / len(here.labels), taken / len(others)) < _NEARLY_ALL:
        return ""
    return (
        f"the baseline puts {times / len(here.labels):.0%} of all images into class {top}, and {taken} of the {len(others)} "
        "that are of other classes: accuracies and drops say nothing"
    )


def _chance(share: Interval, images: int, outputs: int) -> list[Finding]:
    """Whether so many images show that the net is better than chance; and if not, whether they show that it is not."""
    chance = 1 / outputs
    if share.low > chance:
        return []
    if share.value <= chance and share.high < (1 + chance) / 2:
        return [
            Finding(
                "chance", "untrusted",
                f"the baseline itself is right on {share.value:.1%} of {images} images, and 1 of {outputs} is "
                "chance: the weights, the labels or the preprocessing are wrong, and drops say nothing",
                "check --weights, --classes, --mean and --std",
            )
        ]  # fmt: skip
    return [
        Finding(
            "chance", "untrusted",
            f"the baseline is right on {share.value:.1%} [{share.low:.1%}, {share.high:.1%}]: {images} images are too few to "
            f"tell it from chance, which is 1 of {outputs}",
            "take more images; if it stays so, check --weights, --classes, --mean and --std",
        )
    ]  # fmt: skip


def _renamed(here: Answers) -> Answers | None:
    """The answers after renaming them one to one, greedily by how often an answer meets a label.

    None where that could not show anything: few images can be renamed to fit any answers (three a class are needed), and
    one answer that takes most images is right on the most frequent class whatever it is called, but not on the others.
    """
    met = Counter(zip(here.first(), here.labels, strict=True))
    meaning: dict[int, int] = {}
    for (answer, label), _ in met.most_common():
        if answer != answers.WRONG and answer not in meaning and label not in meaning.values():
            meaning[answer] = label
    renamed = Answers(here.labels, tuple((meaning.get(answer, answers.WRONG),) for answer in here.first()))
    classes = answers.per_class(renamed, None, [""] * (max(here.labels) + 1))
    over_classes = sum(one.right / one.images for one in classes) / len(classes)
    if len(meaning) < 2 or len(here.labels) < 3 * len(meaning) or over_classes <= _RENAMED_SHARE:
        return None
    return renamed


def of_drop(
    cell: Cell, here: Answers, baseline: Answers, drop: Drop, verification: Verification | None,
    details: Mapping[str, JSON], facts: Facts | None = None,
) -> list[Finding]:  # fmt: skip
    """Whether the artifact is right less often than the baseline beyond chance, and what the evidence points at."""
    loss = drop.top1
    if drop.p >= ALPHA or loss.value >= 0:
        return []
    level: Trust = "untrusted" if loss.value < -TOLERATED_DROP else "caution"
    seen = (
        f"right on {-loss.value * 100:.1f} points fewer images than the baseline "
        f"({-loss.high * 100:.1f} to {-loss.low * 100:.1f}; {drop.lost} lost, {drop.gained} gained, p {_p(drop.p)})"
    )
    evidence = _collapse(here, baseline) + _reference(verification) + _calibration(cell.precision, details)
    remedy = _REMEDY[cell.precision]
    if overflows(cell.precision, facts, details):
        evidence.append("this CPU has no VNNI, so 8-bit weights can overflow")
        remedy = f"-o onnx_int8.reduce_range=true takes weights of 7 bits; {remedy}"
    return [Finding("accuracy drop", level, "; ".join([seen, *evidence]), remedy)]


def _collapse(here: Answers, baseline: Answers) -> list[str]:
    """An artifact whose outputs saturate gives the same few classes to everything."""
    (top, times), *_ = Counter(here.first()).most_common(1)
    usual = baseline.first().count(top)
    if times / len(here.labels) <= max(_COLLAPSED_SHARE, 2 * usual / len(here.labels)):
        return []
    return [
        f"{times / len(here.labels):.0%} of all images are put into class {top} (baseline: {usual / len(here.labels):.0%})"
    ]


def _reference(verification: Verification | None) -> list[str]:
    if verification is None or verification.passed:
        return []
    return [f"its outputs are far from the reference's too: {verification.reason}"]


def _calibration(precision: Precision, details: Mapping[str, JSON]) -> list[str]:
    """How an int8 artifact was calibrated, as far as its details tell."""
    if precision != "int8":
        return []
    images, options = (
        part if isinstance(part := details.get(name), Mapping) else {} for name in ("calibration", "options")
    )
    told = {name: value for name in ("images", "source") if isinstance(value := images.get(name), (str, int))}
    told |= {name: value for name in ("method", "preset") if isinstance(value := options.get(name), (str, int))}
    return ["calibrated with " + ", ".join(f"{name} {value}" for name, value in told.items())] if told else []


def of_published(known: Published, here: Answers, crop_pct: float) -> list[Finding]:
    """Whether the framework's accuracy is what is published of these weights at this size, where images are cropped alike."""
    share = here.share()
    if not known.comparable(crop_pct) or share.low <= known.top1 <= share.high:
        return []
    return [
        Finding(
            "published accuracy", "caution",
            f"the baseline is right on {share.value:.1%} [{share.low:.1%}, {share.high:.1%}]; published: {known.top1:.1%} "
            f"({known.source}, ImageNet-1k's validation set)",
            "expected where these are other images; else check --classes and the preprocessing",
        )
    ]  # fmt: skip


def _numbers(values: Sequence[float]) -> str:
    distinct = set(values)
    return ",".join(f"{v:g}" for v in (values if len(distinct) > 1 else values[:1]))


def _shown(value: object) -> str:
    return _numbers(value) if isinstance(value, tuple) else str(value)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"
