"""What measuring accuracy is asked for, and who is told what goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Protocol

from harness.accuracy.dataset import Dataset
from harness.accuracy.record import Accuracy
from harness.accuracy.store import AccuracyStore
from harness.cache import Cache
from harness.model import JSON
from harness.record import Plan


@dataclass(frozen=True)
class Settings:
    """What is measured on, and how, beside the plan."""

    data: Dataset
    classes: str | None = None
    """A file of class names, `imagenet`, or None to find them by the data."""
    overrides: Mapping[str, JSON] = field(default_factory=dict)
    """Fields of the data config in place of the backbone's own."""
    skip_unreadable: bool = False


class Watcher(Protocol):
    """Who is told what goes on."""

    def note(self, text: str) -> None:
        """One line: an export that began, a wait."""

    def step(self, what: str, done: int, total: int) -> None:
        """So many images of so many are done."""

    def done(self, record: Accuracy) -> None:
        """A cell has its record."""


@dataclass(frozen=True)
class Campaign:
    """A plan with all that measuring its accuracy needs."""

    plan: Plan
    settings: Settings
    cache: Cache
    store: AccuracyStore
    jobs: int
    watcher: Watcher


def now() -> str:
    """The moment, as records keep it."""
    return datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds")
