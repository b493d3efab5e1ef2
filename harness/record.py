"""What is kept of a run: the frozen classes of `run.json`, `records.jsonl` and `samples.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.model import (
    JSON,
    SCHEMA,
    Attempt,
    Burst,
    Cell,
    Facts,
    Group,
    Outcome,
    Precision,
    Trust,
    Verification,
    Warmup,
)


@dataclass(frozen=True)
class Interval:
    """A point estimate with its two-sided interval."""

    value: float
    low: float
    high: float
    level: float = 0.95

    @property
    def half_width(self) -> float:
        """Half the interval's width relative to the value: 0.02 reads ±2 %."""
        return (self.high - self.low) / 2 / self.value if self.value else float("inf")


@dataclass(frozen=True)
class Latency:
    """Summary of all kept samples of one scope. Nothing is clipped."""

    samples: int
    median_ns: float
    mean_ns: float
    std_ns: float
    min_ns: float
    max_ns: float
    percentiles_ns: Mapping[str, float]
    """`p90`, `p95`, `p99`, `p99.9`, as far as the number of samples supports them (METHOD 3)."""
    samples_missing: Mapping[str, int]
    """For every percentile that is not given: how many more samples it needs."""
    intervals_ns: Mapping[str, Interval] = field(default_factory=dict)
    """Of `median` and the percentiles, as `harness.intervals` estimates them; empty in runs from before that."""


@dataclass(frozen=True)
class Speedup:
    """Latency of the baseline over latency of this cell, from the medians of shared rounds; above 1 is faster."""

    ratio: Interval
    rounds: int
    """Rounds it was computed from."""
    estimator: str
    left_out: int = 0
    """Rounds that were measured while the processors lay further apart than they can (`harness.core_to_core`)."""
    mixed: bool = False
    """True where too few rounds were undisturbed, so that it was computed from all."""
    process_sd: float = 0.003
    """What a process was believed to differ from the next by, before any was seen (standard deviation of the log ratio)."""


@dataclass(frozen=True)
class ColdStart:
    """What it costs before the second inference, in seconds."""

    export_s: float
    """All exporters of the chain, when they ran (a cached artifact keeps the figure of its making)."""
    import_s: float
    """Importing the runtime's libraries in a fresh process."""
    load_s: float
    """From the artifact on disk to a session; includes compilation where the runtime compiles."""
    first_inference_s: float


@dataclass(frozen=True)
class Memory:
    """Sizes in bytes."""

    artifact_bytes: int
    rss_before_bytes: int
    rss_loaded_bytes: int
    rss_peak_bytes: int
    device_bytes: int | None


@dataclass(frozen=True)
class Build:
    """One of several builds of a cell's engine (`harness.builds`)."""

    digest: str
    """sha256 of the artifact; empty where the runtime builds while it opens."""
    seconds: float
    """Time that building took."""
    size_bytes: int
    median_ns: float | None = None
    """Median `compute` latency of the processes that measured it; None where none did."""
    processes: int = 0
    """How many processes measured it."""


@dataclass(frozen=True)
class ArtifactNote:
    """What a record keeps of the artifact that was measured."""

    format: str
    precision: Precision
    digest: str
    chain: tuple[str, ...]
    """Exporters in the order in which they were applied."""
    attempts: tuple[Attempt, ...]
    details: Mapping[str, JSON]
    params: int | None = None
    """Parameters of the backbone, from the beginning of the chain; None where that does not tell."""
    input_size: int | None = None
    """Height of its images in pixels, likewise."""


@dataclass(frozen=True)
class Finding:
    """One reason of a verdict: the check's name, what was seen, and what to do about it."""

    check: str
    level: Trust
    seen: str
    advice: str


@dataclass(frozen=True)
class Roofline:
    """How far a cell is from what its machine could do (median `compute` latency; a multiply-add is 2 operations)."""

    flops: int = 0
    """Floating-point operations of one inference of the batch, by the model's definition."""
    matmul_flops: int = 0
    """Those of matrix products and convolutions."""
    compulsory_bytes: int = 0
    """Weights, inputs and outputs once, at the cell's precision: what any execution moves."""
    graph_bytes: int | None = None
    """Weights once, and inputs and outputs of every executed node: moved if nothing is fused. None: not counted."""
    flops_per_s: float = 0.0
    bytes_per_s: float = 0.0
    """Of the compulsory bytes."""
    graph_bytes_per_s: float | None = None
    peak_flops_per_s: float | None = None
    """Measured ceiling of arithmetic; None where there is none."""
    peak_bytes_per_s: float | None = None
    """Measured ceiling of the memory that the compulsory bytes fit in; None where there is none."""
    attainable_ns: float | None = None
    """Latency at the ceilings: the longer of all operations and all compulsory bytes at their peaks."""
    fraction: float | None = None
    """Attainable over measured latency: 1 is the roofline."""
    bound: str = ""
    """`compute` or `memory`: which ceiling the attainable latency follows from."""
    memory_level: str = ""
    """`memory`, or `cache` where the compulsory bytes fit in the last-level cache."""
    methods: Mapping[str, str] = field(default_factory=dict)
    """What `flops`, `peak_flops` and `peak_bytes` were counted or measured with."""
    uncounted: Mapping[str, int] = field(default_factory=dict)
    """Nodes by operator whose operations are not in `flops`, which is then a lower bound."""
    remarks: tuple[str, ...] = ()
    """What a reader must know to take it right."""
    unavailable: str = ""
    """Why a figure is missing; empty where none is."""

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: operations per compulsory byte."""
        return self.flops / self.compulsory_bytes if self.compulsory_bytes else 0.0


@dataclass(frozen=True)
class AccuracyNote:
    """What is known of an artifact's accuracy when results are read; shares in 0..1."""

    source: Literal["measured", "published"]
    """`published`: somebody else's figure of exactly these weights, not measured here."""
    of: str
    """The images, or who published it."""
    top1: float
    top1_low: float | None = None
    top1_high: float | None = None
    top5: float | None = None
    top1_drop: float | None = None
    """Share right minus the baseline's on the same images: below 0 is a loss."""
    top1_drop_low: float | None = None
    """Lower end of its paired 95 % interval."""
    top1_drop_high: float | None = None
    p: float | None = None
    """Two-sided p value of the loss being chance."""
    doubts: tuple[Finding, ...] = ()
    """Why the figures say nothing: the baseline's answers are no better than chance, its classes or pixels are mixed up."""


@dataclass(frozen=True)
class Record:
    """What is known of one cell after a run. A failure is a record too."""

    key: str
    group: str
    cell: Cell
    baseline: str
    """Key of the cell that speed-ups are relative to."""
    baseline_title: str
    outcome: Outcome
    reason: str = ""
    hint: str = ""
    artifact: ArtifactNote | None = None
    facts: Facts | None = None
    verification: Verification | None = None
    cold: ColdStart | None = None
    """Of the first process."""
    colds: tuple[ColdStart, ...] = ()
    """Of every process, the first included."""
    memory: Memory | None = None
    warmup: Warmup | None = None
    latency: Mapping[str, Latency] = field(default_factory=dict)
    """By scope; by the device's clock `device` (`compute`) and `split_h2d`, `split_compute`, `split_d2h` (`end_to_end`)."""
    speedup: Mapping[str, Speedup] = field(default_factory=dict)
    rounds: int = 0
    measured_s: float = 0.0
    """Seconds spent in this cell's bursts, discarded inferences included."""
    overhead_s: float = 0.0
    """Seconds spent on this cell beside load, first inference, warm-up, verification and bursts."""
    conditions: Mapping[str, JSON] = field(default_factory=dict)
    """The machine while it ran: one entry per probe; `unavailable: <why>` where it cannot be read."""
    trust: Trust | None = None
    """None where nothing was measured."""
    findings: tuple[Finding, ...] = ()
    roofline: Roofline | None = None
    """None where nothing was measured, or the run was asked not to."""
    builds: tuple[Build, ...] = ()
    """Where several builds were asked for: each, the first being `artifact`."""
    worker_log: str = ""
    """Path of the worker's log, relative to the results folder."""
    accuracy: AccuracyNote | None = None
    """Joined by the artifact's digest when results are read (`harness.accuracy.join`); never written with the record."""
    schema: int = SCHEMA

    @property
    def is_baseline(self) -> bool:
        """Whether the others of its group are compared with this one."""
        return self.key == self.baseline


@dataclass(frozen=True)
class Samples:
    """Raw samples of one burst: enough to compute every statistic again."""

    key: str
    process: int
    """Which of the cell's processes measured it, from 0."""
    round: int
    order: int
    """Position of the cell in the round's order."""
    burst: Burst
    core_to_core_ns: int | None = None
    """Round trip between the processors just before the burst; None where it cannot be read."""
    machine: Mapping[str, JSON] = field(default_factory=dict)
    """By probe, what it read around the burst (`harness/probes/`), and `seconds` between the two readings."""
    schema: int = SCHEMA


@dataclass(frozen=True)
class Rules:
    """How long and how carefully to measure (METHOD 1 and 4)."""

    budget_s: float = 10.0
    """Measuring time per cell, discarded inferences included."""
    target: float = 0.02
    """Half-width of every speed-up's 95 % interval at which measuring may stop before the budget."""
    burst_s: float = 0.15
    end_to_end_share: float = 0.4
    """Length of a burst's end-to-end part relative to its compute part."""
    min_inferences: int = 3
    min_rounds: int = 10
    processes: int = 1
    """Fresh processes per cell; the rounds are divided between them."""
    builds: int = 1
    """Builds of every engine whose kernels are chosen by timing them; the processes take them in turn."""
    seed: int = 0
    control: bool = False
    """Measure the baseline a second time under another name (A/A)."""
    wait_s: float = 20.0
    """How long measuring a group may wait, in all, for the processors to come together again (`harness.core_to_core`)."""
    patience_s: float = 60.0
    """How much longer than expected a worker may stay silent before it is killed (`timed_out`)."""
    tolerances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By precision: limits of `harness.verify` that differ from its defaults."""


@dataclass(frozen=True)
class Plan:
    """A plan with every name resolved: what a run's `run.json` holds, and what `--resume` compares."""

    name: str
    groups: tuple[Group, ...]
    rules: Rules
    refused: tuple[Record, ...] = ()
    """Cells known to be impossible before anything was started."""


@dataclass(frozen=True)
class Run:
    """Head of a results folder. `started` and `finished` are ISO 8601 with the UTC offset."""

    id: str
    command: tuple[str, ...]
    started: str
    plan: Plan
    machine: Mapping[str, JSON]
    versions: Mapping[str, str]
    elsewhere: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The same of the plan's other Python environments, by interpreter."""
    finished: str = ""
    """Empty until every cell has a record."""
    overhead_ns: float | None = None
    """The harness's own time per inference, measured with a session that does nothing; None until it is known."""
    schema: int = SCHEMA
