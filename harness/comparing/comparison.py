"""What a comparison of two runs says: frozen data, for `--json` and for every form it is shown in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.comparing.comparable import Change
from harness.model import SCHEMA, Cell, Scope
from harness.record import Interval

Verdict = Literal["faster", "slower", "same", "cant_tell"]
Status = Literal["compared", "not_comparable", "broken", "mended", "failed", "only_base", "only_new"]
"""`broken`: ran in BASE and fails in NEW; `mended`: the reverse; `failed`: ran in neither."""
By = Literal["speedup", "latency", "in_turn"]
"""Relative to the unchanged baseline; as it stands; or BASE and NEW measured in turn (`--live`)."""


@dataclass(frozen=True)
class Estimate:
    """A ratio of latencies, NEW over BASE: above 1 is slower."""

    by: By
    ratio: Interval
    p: float
    """Two-sided p-value of the rank test over rounds: Mann-Whitney, or the sign test where rounds are paired."""
    rounds: tuple[int, int]
    runs: tuple[int, int]
    variance: Mapping[str, float]
    """Variance of the log ratio by where it comes from: `rounds`, `processes`, `runs`; the last not for `in_turn`."""


@dataclass(frozen=True)
class Comparison:
    """One cell."""

    backbone: str
    title: str
    status: Status
    verdict: Verdict | None = None
    """None where nothing was compared."""
    reason: str = ""
    """Why it cannot be told, is not comparable, or failed."""
    base: Cell | None = None
    new: Cell | None = None
    base_key: str = ""
    new_key: str = ""
    base_ns: float | None = None
    """Median latency of all samples, in ns."""
    new_ns: float | None = None
    estimate: Estimate | None = None
    """What the verdict rests on."""
    latency: Estimate | None = None
    """The ratio of the latencies as they stand, where the verdict rests on something better."""
    differs: tuple[Change, ...] = ()
    """What makes the two not comparable."""
    forced: tuple[Change, ...] = ()
    """What would, had it not been forced."""
    changes: tuple[Change, ...] = ()
    """Facts that changed."""


@dataclass(frozen=True)
class Overall:
    """Geometric mean of the ratios of these cells (not of cells at large)."""

    by: By
    cells: int
    ratio: Interval


@dataclass(frozen=True)
class SideNote:
    """Where a side comes from."""

    name: str
    run: str
    started: str
    finished: bool


@dataclass(frozen=True)
class Compared:
    """All that a comparison says."""

    base: tuple[SideNote, ...]
    new: tuple[SideNote, ...]
    scope: Scope
    effect: float
    level: float
    cells: tuple[Comparison, ...]
    overall: tuple[Overall, ...]
    drift: Overall | None
    """Latencies of unchanged baselines: what the machine did between the runs."""
    changes: tuple[Change, ...]
    """What changed between the runs as a whole."""
    forced: tuple[Change, ...]
    """Differences of the machines that were forced."""
    schema: int = SCHEMA

    def count(self, verdict: Verdict) -> int:
        """Number of cells with that verdict."""
        return sum(cell.verdict == verdict for cell in self.cells)
