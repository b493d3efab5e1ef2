"""From what a session answered to what is said of it: shares right, the paired drop, per class, and disagreements. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.accuracy import proportions
from harness.accuracy.record import ClassShare, Drop
from harness.record import Interval

Top = tuple[tuple[int, ...], ...]
"""The classes of the five largest outputs of each image, the largest first; empty where an output is not finite."""
WRONG = -1
"""Class of an image whose output is not finite: none."""


@dataclass(frozen=True)
class Answers:
    """What one session answered to labelled images."""

    labels: tuple[int, ...]
    top: Top

    def only(self, images: Sequence[int]) -> Answers:
        """The answers to some of the images."""
        return Answers(tuple(self.labels[i] for i in images), tuple(self.top[i] for i in images))

    def first(self) -> list[int]:
        """The class of each image."""
        return [row[0] if row else WRONG for row in self.top]

    def right(self, among: int = 1) -> list[bool]:
        """Whether each image's label is among the first answers."""
        return [label in row[:among] for label, row in zip(self.labels, self.top, strict=True)]

    def not_finite(self) -> list[int]:
        """Images whose output holds NaN or infinity."""
        return [i for i, row in enumerate(self.top) if not row]

    def share(self, among: int = 1) -> Interval:
        """Share of images whose label is among the first answers, with its interval."""
        right = self.right(among)
        return proportions.wilson(sum(right), len(right))


def drop(answers: Answers, baseline: Answers) -> Drop:
    """What `answers` lose against the baseline's to the same images."""
    mine, its = answers.right(), baseline.right()
    lost = sum(b and not a for a, b in zip(mine, its, strict=True))
    gained = sum(a and not b for a, b in zip(mine, its, strict=True))
    return Drop(
        top1=proportions.paired_difference(lost, gained, len(mine)),
        lost=lost,
        gained=gained,
        disagree=len(disagreements(answers, baseline)),
        p=proportions.mcnemar(lost, gained),
        interval=proportions.PAIRED_INTERVAL,
        test=proportions.PAIRED_TEST,
    )


def disagreements(answers: Answers, baseline: Answers) -> list[int]:
    """Images that the two put into different classes."""
    pairs = zip(answers.first(), baseline.first(), strict=True)
    return [i for i, (mine, its) in enumerate(pairs) if mine != its]


def per_class(answers: Answers, baseline: Answers | None, names: Sequence[str]) -> tuple[ClassShare, ...]:
    """Right answers by class, for the classes that have images."""
    mine = answers.right()
    its = baseline.right() if baseline is not None else None
    members: dict[int, list[int]] = {}
    for i, label in enumerate(answers.labels):
        members.setdefault(label, []).append(i)
    return tuple(
        ClassShare(
            label, names[label], len(images), sum(mine[i] for i in images),
            None if its is None else sum(its[i] for i in images),
        )
        for label, images in sorted(members.items())
    )  # fmt: skip
