"""What `list` and `doctor` print as JSON: one class per kind of row. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.model import JSON, Precision

Level = Literal["ok", "warn", "fail", "none"]


@dataclass(frozen=True)
class ListedModel:
    """A timm model, with its pretrained tag where the pattern names one, and what the coverage table knows of it."""

    model: str
    family: str = ""
    """timm's module that defines it; empty, as all that follows, where the architecture has not been tried."""
    params: int | None = None
    input_size: str = ""
    """`3x224x224`: what it was exported with."""
    batch: str = ""
    """Of its ONNX file: `dynamic`, or the only size that it takes."""
    outcomes: Mapping[str, str] = field(default_factory=dict)
    """By runtime: `verified`, or the reason class."""
    features: Mapping[str, str] = field(default_factory=dict)
    """The same of its feature maps."""
    tried: str = ""
    """Day of it."""


@dataclass(frozen=True)
class ListedRuntime:
    """A runtime plug-in."""

    name: str
    state: str
    """`available`, or which library is not installed."""
    install: str
    """The command that installs it; empty where nothing is missing."""
    opens: tuple[str, ...]
    """Formats, first choice first."""
    precisions: Mapping[str, tuple[str, ...]]
    """By device kind."""
    options: Mapping[str, JSON]
    """With their defaults."""
    words: Mapping[str, tuple[str, ...]]
    """The words that an option takes, of those that take no others."""
    about: str


@dataclass(frozen=True)
class ListedExporter:
    """An exporter plug-in."""

    name: str
    state: str
    """`available`, or which library is not installed."""
    install: str
    """The command that installs it; empty where nothing is missing."""
    makes: str
    """`source → target`."""
    precisions: tuple[str, ...]
    options: Mapping[str, JSON]
    """With their defaults."""
    words: Mapping[str, tuple[str, ...]]
    """The words that an option takes, of those that take no others."""
    about: str


@dataclass(frozen=True)
class ListedPrecisions:
    """A runtime on one kind of device: in which precisions it executes there."""

    name: str
    """`openvino on cpu`."""
    state: str
    """`available`, or which library of the runtime is not installed."""
    ok: Mapping[Precision, str]
    """By precision: the exporters that lead to it and what the runtime casts."""
    unsupported: Mapping[Precision, str]
    """By precision: why not."""


@dataclass(frozen=True)
class ListedDevice:
    """A device that a runtime reached, or (its name in parentheses) a runtime that reaches none."""

    name: str
    state: str
    """`available`, or why the runtime reaches none."""
    called: str = ""
    """The device's own name."""
    memory_bytes: int | None = None
    """The device's; the system's where it has none of its own."""
    driver: str = ""
    """The kernel's driver and its version."""
    power_mode: str = ""
    """A Jetson's mode, an NVIDIA GPU's power limit, the CPU's governor."""
    reached_by: tuple[str, ...] = field(default=())
    """Runtimes that ran an inference on it."""
    not_tried_by: tuple[str, ...] = field(default=())
    """Runtimes that list it without having run one."""
    mend: str = ""
    """What to type where nothing is reached."""


@dataclass(frozen=True)
class Diagnosis:
    """One finding of `doctor`, and the command that mends it."""

    level: Level
    text: str
    mend: str = ""
    about: str = ""
    """`machine`, `probes`, `accelerators`, `packages` or `runtimes`."""
