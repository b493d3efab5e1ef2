"""Constraints of a recommendation: a limit on a figure, or a choice among devices, runtimes or precisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from harness.deciding.evidence import Evidence
from harness.deciding.limits import Limit, Verdict, judge


class Constraint(Protocol):
    """Something that a cell keeps or not."""

    @property
    def title(self) -> str:
        """As a person would say it: `latency p90 ≤ 10 ms`."""

    def verdict(self, evidence: Evidence) -> Verdict:
        """PASS, FAIL or INCONCLUSIVE."""


@dataclass(frozen=True)
class Within:
    """A limit on a figure."""

    limit: Limit

    @property
    def title(self) -> str:
        """The limit's."""
        return self.limit.title

    def verdict(self, evidence: Evidence) -> Verdict:
        """The limit's verdict."""
        return judge(self.limit, evidence)


@dataclass(frozen=True)
class Only:
    """A choice among devices, runtimes or precisions."""

    what: Literal["device", "runtime", "precision"]
    names: tuple[str, ...]

    @property
    def title(self) -> str:
        """`device cpu`."""
        return f"{self.what} {' or '.join(self.names)}"

    def verdict(self, evidence: Evidence) -> Verdict:
        """Whether the cell is one of them; `cuda` means every `cuda:N`."""
        value = str(getattr(evidence.record.cell, self.what))
        kept = value in self.names or (self.what == "device" and value.partition(":")[0] in self.names)
        return Verdict("PASS" if kept else "FAIL", value)
