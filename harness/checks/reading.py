"""What checks share: what one says, and how it reads what the probes left in a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.model import Trust
from harness.record import Record

ORDER: Sequence[Trust] = ("trusted", "caution", "untrusted")


class Seen(NamedTuple):
    """What a check says: how bad it is, what it saw, and what to do about it."""

    level: Trust
    seen: str
    advice: str


def level_by(share: float, untrusted_from: float) -> Trust:
    """`untrusted` from there on, `caution` below."""
    return "untrusted" if share >= untrusted_from else "caution"


def value(record: Record, probe: str, name: str) -> object:
    """What the probe told under that name; None where it told nothing."""
    said = record.conditions.get(probe)
    return said.get(name) if isinstance(said, Mapping) else None


def number(record: Record, probe: str, name: str) -> float | None:
    """The same, where it is a number."""
    found = value(record, probe, name)
    return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def unavailable(said: object) -> bool:
    """Whether a probe could not be read."""
    return isinstance(said, str) and said.startswith("unavailable")
