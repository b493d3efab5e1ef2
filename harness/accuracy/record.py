"""What is kept of accuracy: the frozen classes of `accuracy.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.model import JSON, SCHEMA, Cell, Facts, Outcome, Verification
from harness.record import ArtifactNote, Finding, Interval


@dataclass(frozen=True)
class LabelledSet:
    """The labelled images that accuracy was measured on."""

    source: str
    """The folder or CSV, as it was given."""
    digest: str
    """sha256 over name, size and label of every image."""
    images: int
    classes: int
    """Outputs of the backbone."""
    order: str
    """Where the order of the classes comes from."""
    skipped: tuple[str, ...] = ()
    """Images that could not be read and are left out, with the reason."""
    names_digest: str = ""
    """sha256 over the names of the classes in their order; empty in older records."""


@dataclass(frozen=True)
class Drop:
    """What an artifact's answers lose against the baseline's on the same images."""

    top1: Interval
    """Share right here minus share right at the baseline: below 0 is a loss."""
    lost: int
    """Images that only the baseline gets right."""
    gained: int
    """Images that only this one gets right."""
    disagree: int
    """Images that the two put into different classes, right or wrong."""
    p: float
    """Two-sided p value of `lost` and `gained` being equal but for chance."""
    interval: str
    """Method of the interval."""
    test: str
    """Method of the p value."""


@dataclass(frozen=True)
class ClassShare:
    """Right answers on the images of one class."""

    index: int
    name: str
    images: int
    right: int
    baseline_right: int | None = None


@dataclass(frozen=True)
class Accuracy:
    """A line of `accuracy.jsonl`: how often one deployed artifact is right. A failure is one too."""

    key: str
    cell: Cell
    baseline: str
    baseline_title: str
    outcome: Outcome
    reason: str = ""
    hint: str = ""
    artifact: ArtifactNote | None = None
    facts: Facts | None = None
    verification: Verification | None = None
    """Comparison with the reference on generated images: evidence where accuracy drops. It decides nothing here."""
    data: LabelledSet | None = None
    preprocessing: Mapping[str, JSON] = field(default_factory=dict)
    """The data config that was used."""
    top1: Interval | None = None
    top5: Interval | None = None
    """None where the backbone has five classes or fewer."""
    interval: str = ""
    """Method of their intervals."""
    drop: Drop | None = None
    """None at the baseline, and where the baseline has no answers."""
    per_class: tuple[ClassShare, ...] = ()
    findings: tuple[Finding, ...] = ()
    started: str = ""
    seconds: float = 0.0
    """Time that running the images took."""
    schema: int = SCHEMA

    @property
    def is_baseline(self) -> bool:
        """Whether the others of its backbone are compared with this one."""
        return self.key == self.baseline
