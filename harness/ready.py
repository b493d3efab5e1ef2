"""What preparing a plan's cells gives: artifacts that can be measured, or the error that stopped a cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.errors import BackbenchError
from harness.model import Artifact, Attempt


@dataclass(frozen=True)
class Ready:
    """What a cell needs to be measured."""

    artifact: Artifact
    reference: Artifact
    chain: tuple[str, ...]
    """Exporters in the order in which they were applied."""
    attempts: tuple[Attempt, ...]
    export_s: float
    params: int | None = None
    """Parameters of the backbone, where what its chain begins with tells."""
    steps: tuple[Artifact, ...] = ()
    """Every artifact of the chain, the source first and `artifact` last."""
    builds: tuple[Artifact, ...] = ()
    """Further builds of `artifact`, where several were asked for."""

    def build(self, process: int) -> Artifact:
        """The build that a process measures: all of them in turn."""
        return (self.artifact, *self.builds)[process % (1 + len(self.builds))]


@dataclass(frozen=True)
class Prepared:
    """All cells of a plan: ready, or with the error that stopped them. By the cell's key."""

    ready: Mapping[str, Ready] = field(default_factory=dict)
    failed: Mapping[str, BackbenchError] = field(default_factory=dict)
