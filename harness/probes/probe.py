"""The contract of a probe, and the words it has for folding what was read into a summary.

A probe is one class in one file of this folder, and one line in `panel.ALL`. It is read by the parent between bursts,
when nothing is timed: its counters before and after a burst, its instants right after it. What cannot be read is the
string `unavailable: <reason>`, never 0.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeGuard

from harness.errors import Unreadable
from harness.model import JSON, Burst

UNAVAILABLE = "unavailable: "
Values = Mapping[str, JSON]
"""What was read, by name with the unit in it; a string `unavailable: <reason>` for a value that cannot be read."""


@dataclass(frozen=True)
class Target:
    """What a burst is measured on: the worker's process and the cell's device (`cpu`, `cuda:0`)."""

    pid: int
    device: str


@dataclass(frozen=True)
class Metered:
    """A burst with what one probe read around it: differences of its counters, and its instants at the end."""

    values: Values
    seconds: float
    """Time between the two readings: the burst, discarded inferences included, and the way to the worker and back."""
    burst: Burst

    @property
    def timed(self) -> int:
        """Inferences that a clock was held to: `compute`, `end_to_end`, and those whose copies a device divided."""
        divided = max(map(len, self.burst.split_ns.values()), default=0)
        return len(self.burst.compute_ns) + len(self.burst.end_to_end_ns) + divided

    @property
    def inferences(self) -> int:
        """All that ran between the readings, discarded ones included."""
        return self.timed + self.burst.discarded


class Probe(ABC):
    """One source of facts about the machine while it runs."""

    name: ClassVar[str]
    reads: ClassVar[str]
    """What it reads and from where, for `backbench doctor`."""

    def __init__(self, root: Path = Path("/")) -> None:
        """`root` is where `/proc` and `/sys` lie: a recorded tree, in tests."""
        self.root = root

    def available(self) -> str:
        """Empty, or why nothing can be read. Tries to, unless a probe knows better."""
        target = Target(os.getpid(), "cpu")
        try:
            read = {**self.counters(target), **self.instants(target)}
        except Unreadable as error:
            return error.message
        reasons = [value.removeprefix(UNAVAILABLE) for value in read.values() if is_unavailable(value)]
        return reasons[0] if read and len(reasons) == len(read) else ""

    def counters(self, target: Target) -> Values:
        """Values that only grow. Raises `Unreadable`."""
        return {}

    def instants(self, target: Target) -> Values:
        """Values of this moment. Raises `Unreadable`."""
        return {}

    def full_scale(self, counter: str) -> float | None:
        """The value after which a counter begins again at 0; None where it does not."""
        return None

    @abstractmethod
    def summarise(self, bursts: Sequence[Metered]) -> Values:
        """What is kept of a cell's bursts (at least one) in its record."""


def is_unavailable(value: JSON) -> TypeGuard[str]:
    """Whether a value is a reason instead of a value."""
    return isinstance(value, str) and value.startswith(UNAVAILABLE)


def attempt(read: Callable[[], JSON]) -> JSON:
    """What `read` returns, or `unavailable: <reason>` where it raises `Unreadable`."""
    try:
        return read()
    except Unreadable as error:
        return f"{UNAVAILABLE}{error.message}"


def fold(bursts: Sequence[Metered], name: str, how: Callable[[list[float]], float]) -> JSON:
    """A value folded over the bursts in which it was read; the reason where it never was."""
    found = [value for burst in bursts if is_number(value := burst.values.get(name))]
    if found:
        return round(how(found), 6)
    reasons = (value for burst in bursts if is_unavailable(value := burst.values.get(name)))
    return next(reasons, f"{UNAVAILABLE}{name} was in no reading")


def rate(bursts: Sequence[Metered], name: str, per: Callable[[Metered], float], scale: float = 1.0) -> JSON:
    """The sum of a counter over the sum of `per`, times `scale`, over the bursts in which it was read."""
    read = [burst for burst in bursts if is_number(burst.values.get(name))]
    whole = sum(per(burst) for burst in read)
    if not read or whole <= 0:
        return fold(bursts, name, sum) if not read else f"{UNAVAILABLE}nothing to relate {name} to"
    return round(scale * sum(numbers(read, name)) / whole, 9)


def numbers(bursts: Iterable[Metered], name: str) -> list[float]:
    """The readings of a value, without the bursts in which it could not be read."""
    return [value for burst in bursts if is_number(value := burst.values.get(name))]


def is_number(value: JSON) -> TypeGuard[float]:
    """Whether it is a number (and no truth value)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
