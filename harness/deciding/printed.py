"""The shape of what `validate` and `recommend` print as JSON, for their schemas; `tests/test_schemas` holds them to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from typing_extensions import TypedDict

from harness.model import Trust

Result = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class Decide(TypedDict):
    """What would decide an inconclusive check."""

    budget_s: float
    """Measuring time per cell in seconds; 0 where longer measuring decides nothing."""
    processes: int
    advice: str


class CheckedLimit(TypedDict):
    """One limit against one cell; figures in base units (ns, s, bytes, images/s, J, share)."""

    cell: str
    run: str
    trust: Trust | None
    metric: str
    percentile: str | None
    limit: float
    direction: Literal["at_most", "at_least"]
    line: int
    """Line of the targets file."""
    result: Result
    value: float | None
    low: float | None
    high: float | None
    said: str
    decide: Decide


class Validated(TypedDict):
    """`backbench validate --json`."""

    schema: int
    targets: str
    file: str
    result: Result
    decide: str
    """The command that decides what is inconclusive; empty where nothing is."""
    checks: tuple[CheckedLimit, ...]


class Figure(TypedDict):
    """A figure with its range, in base units."""

    value: float
    low: float
    high: float


class JudgedConstraint(TypedDict):
    """A constraint's verdict on a candidate."""

    constraint: str
    result: Result
    said: str


class ListedCandidate(TypedDict):
    """A measured cell that was considered."""

    cell: str
    run: str
    key: str
    fits: bool
    trust: Trust | None
    accuracy_kind: str
    figures: Mapping[str, Figure]
    """By axis."""
    verdicts: tuple[JudgedConstraint, ...]
    unjudged: str


class ConstraintCost(TypedDict):
    """What a constraint costs: the pick without it, and what it alone leaves out."""

    constraint: str
    instead: str | None
    alone_leaves_out: int


class LeftOpen(TypedDict):
    """A cell that could not be judged."""

    cell: str
    reason: str
    advice: str


class Recommended(TypedDict):
    """`backbench recommend --json`."""

    schema: int
    pick: str | None
    accuracy_known: bool
    reasons: tuple[str, ...]
    constraints: tuple[str, ...]
    not_applied: tuple[str, ...]
    front_axes: tuple[str, ...]
    front: tuple[str, ...]
    runners_up: Mapping[str, str]
    """By axis."""
    costs: tuple[ConstraintCost, ...]
    unjudged: tuple[LeftOpen, ...]
    candidates: tuple[ListedCandidate, ...]
    explained: tuple[str, ...]
    decide: str
    """The command that would settle what could not be judged; empty where nothing is open."""
