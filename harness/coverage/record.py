"""What `backbench coverage` knows of an architecture: frozen data, as it lies on a line of `coverage.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.model import Attempt

SCHEMA = 1
Part = Literal["classifier", "features"]
Key = tuple[str, Part]
"""What there is one record of: an architecture's name, and the part."""
PARTS: tuple[Part, ...] = ("classifier", "features")
LIMIT = 1e-4
"""Largest relative L2 error (fp32) of an output that still counts as the same function."""
INPUTS: Mapping[Part, int] = {"classifier": 4, "features": 2}
"""Different reference images. A classifier's: one alone, then all as one batch; each alone where the export has one batch
size. Of feature maps each alone."""


@dataclass(frozen=True)
class Architecture:
    """An architecture of timm, known without its weights having been made."""

    name: str
    family: str
    """timm's module that defines it: `vision_transformer`."""
    params: int
    """Of the classifier."""
    input_size: tuple[int, ...]
    """Channels, height and width."""
    features: bool = False
    """Whether timm makes a `features_only` backbone of it."""


@dataclass(frozen=True)
class Ran:
    """An architecture in a runtime."""

    runtime: str
    cause: str = ""
    """Reason class of `harness.coverage.causes`; empty where it is verified."""
    reason: str = ""
    batches: tuple[int, ...] = ()
    """Batch sizes whose outputs were compared, all from one export."""
    rel_l2: float | None = None
    """Largest relative L2 error of an output, over batches; None where nothing could be compared."""
    seconds: float = 0.0
    """Conversion to its own format, opening and running; nothing is timed."""

    @property
    def verified(self) -> bool:
        """Whether it computes the same function."""
        return not self.cause


@dataclass(frozen=True)
class Exported:
    """The ONNX file that all runtimes share."""

    exporter: str
    batch: int
    """0 is dynamic."""
    opset: int
    nodes: int
    size_bytes: int
    seconds: float
    """Of the exporter that made it, its check included."""
    peak_bytes: int | None = None
    """Largest resident memory meanwhile, libraries included; None where the kernel does not tell."""
    attempts: tuple[Attempt, ...] = ()
    """What failed before."""
    lost: str = ""
    """Reason class for which it has no dynamic batch; empty where it has one."""


@dataclass(frozen=True)
class Covered:
    """One part (classifier or feature maps) of an architecture, and how far it came."""

    architecture: Architecture
    part: Part
    day: str
    """ISO date."""
    versions: Mapping[str, str]
    runtimes: tuple[str, ...]
    """Those that were asked for."""
    cause: str = ""
    """Reason class of what stopped it before any runtime; empty where it reached them."""
    reason: str = ""
    export: Exported | None = None
    ran: tuple[Ran, ...] = ()
    outputs: int = 0
    seconds: float = 0.0
    """All of its work."""
    peak_bytes: int | None = None
    """Largest resident memory of its process, libraries included; None where it did not live to tell."""
    limit_s: float = 0.0
    limit_bytes: int = 0
    device: str = "cpu"
    """Where the runtimes ran."""
    schema: int = SCHEMA

    @property
    def key(self) -> Key:
        """What a store has one record of."""
        return self.architecture.name, self.part

    def made_with(self, versions: Mapping[str, str]) -> bool:
        """Whether these libraries made it; it may be of others too."""
        return versions.items() <= self.versions.items()

    @property
    def known(self) -> Known:
        """What decides whether it is covered once more."""
        return Known(self.runtimes, self.causes, self.verified)

    @property
    def verified(self) -> bool:
        """Whether every runtime that was asked for computes the same function."""
        return not self.cause and {ran.runtime for ran in self.ran if ran.verified} >= set(self.runtimes)

    @property
    def causes(self) -> tuple[str, ...]:
        """Every reason class of it, the lost dynamic batch included."""
        lost = self.export.lost if self.export else ""
        found = (self.cause, *(ran.cause for ran in self.ran), lost)
        return tuple(dict.fromkeys(cause for cause in found if cause))


@dataclass(frozen=True)
class Known:
    """How a part came out, from its record or from the committed table."""

    runtimes: tuple[str, ...]
    causes: tuple[str, ...]
    """Every reason class of it."""
    verified: bool


@dataclass(frozen=True)
class Order:
    """What a process is asked to cover."""

    architecture: Architecture
    part: Part
    runtimes: tuple[str, ...]
    device: str
    threads: int
    folder: str
    """Where its files are kept until it is done."""
    limit_bytes: int
    done: tuple[Ran, ...] = ()
    """Runtimes that an earlier process of it has finished, or died in."""


@dataclass(frozen=True)
class News:
    """What a process tells the one that waits for it, one line at a time."""

    kind: Literal["began", "created", "exported", "ran", "stopped", "ended"]
    step: str = ""
    """`create`, `export`, or the name of the runtime."""
    entry: str = ""
    """Cache entry that is being made, so that what kills the process is remembered and not tried again."""
    cause: str = ""
    reason: str = ""
    full_disk: str = ""
    """What to do about a disk that cannot be written: no architecture's fault."""
    export: Exported | None = None
    ran: Ran | None = None
    outputs: int = 0
    peak_bytes: int | None = None
