"""The frozen data that passes between the parts of Backbench; nothing here does anything, and nothing heavy is imported.

Units are in the names: `_ns` nanoseconds, `_s` seconds, `_bytes` bytes. A mapping or a tuple in a frozen class is never
changed after it was made; `dataclasses.replace` gives a changed copy. `harness.codec` turns every class into JSON and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from typing_extensions import TypeAliasType

SCHEMA = 1
"""Version of every file in a results folder; `harness.upgrade` reads the older ones."""

JSON = TypeAliasType(
    "JSON", "bool | int | float | str | list[JSON] | tuple[JSON, ...] | Mapping[str, JSON] | None"
)  # a string, because the type refers to itself
Format: TypeAlias = str
"""Name of an artifact format: `timm`, `onnx`, `openvino-ir`, `tensorrt-engine`, or a plug-in's own."""
Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16", "int8")
Scope = Literal["compute", "end_to_end"]
"""`compute`: run + sync, inputs already where the device reads them. `end_to_end`: bind + run + sync + fetch."""
SCOPES: tuple[Scope, ...] = ("compute", "end_to_end")
LATER: Mapping[str, bool] = {"later": True}
"""Metadata of a field that a class was given later: at its default, `codec.key` leaves it out, and no key changes."""
Outcome = Literal["ok", "unsupported", "failed", "crashed", "timed_out", "wrong_output"]
Trust = Literal["trusted", "caution", "untrusted"]
CONTROL = "control"
"""`Cell.label` of the baseline's twin in an A/A control."""


# ── what is measured ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Backbone:
    """An image backbone by `timm` name (with its pretrained tag) or as an ONNX file given by `path`."""

    name: str
    """timm name (`resnet50.a1_in1k`), or the stem of the ONNX file."""
    path: str = ""
    """Absolute path of an ONNX file; empty for a timm name."""
    weights: str = "random"
    """`random` (seeded), `pretrained`, or the absolute path of a checkpoint."""
    seed: int = 0
    """Seed of random weights and of the reference inputs."""
    input_size: int = 0
    """Height and width in pixels; 0 is the backbone's own."""
    features_only: bool = False
    """Multi-scale feature maps instead of the classifier."""
    precision: Precision = "fp32"
    """Precision of what the chain of exporters begins with: fp32 for timm, what is in the file for ONNX."""
    fixed_batch: int = 0
    """The only batch size that an ONNX file takes; 0 is any."""

    @property
    def source(self) -> Format:
        """The format that its chain of exporters begins with."""
        return "onnx" if self.path else "timm"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: name, shape (an integer, or the name of a dynamic dimension) and numpy dtype name."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str

    @property
    def dynamic_batch(self) -> bool:
        """Whether the first dimension takes any size."""
        return bool(self.shape) and isinstance(self.shape[0], str)


@dataclass(frozen=True)
class Recipe:
    """How an artifact was made: enough to make it again, and what its cache key is computed from."""

    exporter: str
    source_digest: str
    """sha256 of the artifact (or file) it was made from."""
    options: Mapping[str, JSON] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    """Version of every library the exporter needs or uses (`absent`: it did without), and of the exporter's own source."""


@dataclass(frozen=True)
class Attempt:
    """An exporter that was tried before the one that made the artifact, and why it failed."""

    exporter: str
    reason: str


@dataclass(frozen=True)
class Artifact:
    """A file or folder in one format. Made by an exporter, sealed (digest, size) by the cache."""

    format: Format
    path: str
    """Absolute path of what a runtime opens: a file, or a folder for formats that are folders."""
    precision: Precision
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    digest: str
    """sha256 over the content of all its files."""
    size_bytes: int
    """Size of all its files together."""
    recipe: Recipe
    seconds: float = 0.0
    """Time that the last step of its making took, in seconds."""
    details: Mapping[str, JSON] = field(default_factory=dict)
    """What the exporter has to say of it: opset, dynamic or static batch, node count, data config, …"""
    attempts: tuple[Attempt, ...] = ()
    """Exporters that failed before `recipe.exporter` succeeded."""


@dataclass(frozen=True)
class Device:
    """A device that a runtime reached: `kind` and `index` name it everywhere (`cpu`, `cuda:0`, `intel-gpu:0`)."""

    kind: str
    index: int | None = None
    name: str = ""
    memory_bytes: int | None = None
    """None where the runtime does not tell."""
    details: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`cpu`, `intel-npu`, `cuda:0`: what `--device` takes."""
        return self.kind if self.index is None else f"{self.kind}:{self.index}"


@dataclass(frozen=True)
class Calibration:
    """The images that a quantiser watches to choose its ranges."""

    folder: str = ""
    """Absolute path of a folder of image files; empty for generated images."""
    images: int = 64
    """How many; of a folder that holds fewer, all."""
    seed: int = 1_000_003
    """Of the choice among a folder's images, or of the generated ones, never the reference's of that seed: a quantiser
    that has watched the images it is judged by would look better than it is."""
    config: Mapping[str, JSON] = field(default_factory=dict, metadata=LATER)
    """Fields of the data config (`harness.preprocess.DataConfig`) in place of the backbone's own."""


@dataclass(frozen=True)
class Cell:
    """One point of the matrix: backbone × precision × batch × runtime × device × options."""

    backbone: Backbone
    runtime: str
    precision: Precision = "fp32"
    batch: int = 1
    device: str = "cpu"
    threads: int = 0
    """Threads that one inference may use on the CPU; with another device the host may use fewer (`Facts.threads`)."""
    options: Mapping[str, JSON] = field(default_factory=dict)
    """The runtime's own options where they differ from its defaults."""
    cpus: str = ""
    """Processors the worker is pinned to, as `taskset -c` takes them; empty for no pinning."""
    label: str = ""
    """Set where two cells are alike on purpose (an A/A control); part of the key."""
    python: str = field(default="", metadata=LATER)
    """Absolute path of the worker's interpreter; empty for the one that Backbench itself runs in."""
    calibration: Calibration | None = field(default=None, metadata=LATER)
    """None where no exporter of its chain watches images."""
    exports: Mapping[str, Mapping[str, JSON]] = field(default_factory=dict, metadata=LATER)
    """Options of the exporters of its chain, by exporter, where they differ from their defaults."""

    @property
    def title(self) -> str:
        """Short name without the backbone: `ort_cpu fp32 b1`, with device and options where they are not the default."""
        parts = [self.runtime, self.precision, f"b{self.batch}"]
        if self.device != "cpu":
            parts.append(self.device)
        parts += [f"{name}={value}" for name, value in sorted(self.options.items())]
        parts += [
            f"{name}.{key}={v}" for name, given in sorted(self.exports.items()) for key, v in sorted(given.items())
        ]
        if self.calibration is not None and self.calibration.folder:
            parts.append(f"calib={self.calibration.folder.rpartition('/')[2]}")
        if self.python:
            parts.append(f"python={self.python}")
        return " ".join([*parts, f"[{self.label}]"] if self.label else parts)


@dataclass(frozen=True)
class Group:
    """Cells that share backbone, weights, input and batch, measured together; `baseline` is the key of one of them."""

    key: str
    cells: tuple[Cell, ...]
    baseline: str


# ── what passes between the parent and a worker ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Request:
    """What an exporter is asked for."""

    precision: Precision
    batch: int | None
    """A fixed batch size, or None for a dynamic one."""
    opset: int | None = None
    """ONNX opset the target needs; None leaves it to the exporter."""
    device: str = "cpu"
    options: Mapping[str, JSON] = field(default_factory=dict)
    build: int = 0
    """Number of the build, where a plan asks for several (`--builds`)."""
    calibration: Artifact | None = None
    """Calibration images as the backbone takes them, for what the exporter says it is `calibrated` for."""


@dataclass(frozen=True)
class Export:
    """What an exporter hands back; the cache adds digest, size and recipe and makes it an `Artifact`."""

    file: str
    """What a runtime will open, relative to the folder the exporter was given; `.` for the folder itself."""
    precision: Precision
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    details: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """How a runtime shall open an artifact."""

    device: Device
    precision: Precision
    batch: int
    threads: int
    options: Mapping[str, JSON]
    """The runtime's declared options, every one of them, defaults filled in."""
    cache: str
    """A folder this runtime may keep compiled code in between runs."""


@dataclass(frozen=True)
class Facts:
    """What really runs, READ BACK from an open session; None and empty mean that the runtime does not tell."""

    precision: Precision | None
    device: str
    """`Device.id` of where it runs."""
    providers: tuple[str, ...] = ()
    """Execution providers or plug-ins in use, first choice first."""
    placement: Mapping[str, int] = field(default_factory=dict)
    """Graph nodes per provider."""
    layer_precisions: Mapping[str, int] = field(default_factory=dict)
    """Executed layers per precision, where the runtime tells it per layer."""
    heavy_layers: Mapping[str, int] = field(default_factory=dict)
    """The convolutions and matrix products among them, per precision: they are what a precision is chosen for."""
    threads: int | None = None
    streams: int | None = None
    memory_format: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, JSON] = field(default_factory=dict)
    """Every further property that was read back, by the runtime's own name for it."""
    process: Mapping[str, JSON] = field(default_factory=dict)
    """What the kernel tells of the worker, added by the harness: affinity, busy threads, allocator (`harness.process`)."""


@dataclass(frozen=True)
class LayerTime:
    """Time of one executed layer in one profiled inference, under the runtime's own names."""

    name: str
    kind: str
    """Operator type."""
    time_ns: float
    precision: str = ""
    device: str = ""
    start_ns: float | None = None
    """Since the inference began; None where the runtime does not tell."""
    kernel: str = ""
    """The implementation that was chosen."""
    nodes: tuple[str, ...] = ()
    """Names of the layers (ONNX nodes, or their output tensors) that it was made from, where the runtime tells."""
    module: str = ""
    """Path of the `torch.nn.Module` that it belongs to, where the runtime tells."""


@dataclass(frozen=True)
class ProfiledInference:
    """One inference while the runtime's profiler was on: slower than the one that is measured."""

    latency_ns: float
    """Of the whole inference, by the profiler's own clock."""
    layers: tuple[LayerTime, ...]
    """In the order of execution."""


@dataclass(frozen=True)
class GraphNode:
    """One node of an ONNX graph, in the order of the file."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    modules: tuple[str, ...] = ()
    """Paths of the `torch.nn.Module`s that it came from, as the exporter and the names of its weights tell."""


@dataclass(frozen=True)
class Usage:
    """What the kernel counted for the worker between two moments."""

    wall_ns: int = 0
    cpu_ns: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0
    minor_faults: int = 0
    major_faults: int = 0


@dataclass(frozen=True)
class Pace:
    """How long a burst lasts: at least `seconds` and `inferences` of `compute`, then `end_to_end_s` (0 for none)."""

    seconds: float
    end_to_end_s: float
    inferences: int


@dataclass(frozen=True)
class Burst:
    """Consecutive inferences of one session, timed one by one. Inferences that were thrown away are only counted."""

    compute_ns: tuple[int, ...]
    end_to_end_ns: tuple[int, ...] = ()
    device_ns: tuple[int, ...] = ()
    """The device's own clock beside `compute_ns`, where the session has one."""
    split_ns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Further inferences that the device's own clock divided: `h2d`, `compute`, `d2h`."""
    discarded: int = 0
    seconds: float = 0.0
    """Whole length by the clock the session is timed by, discarded inferences included."""
    started_ns: int = 0
    """`time.monotonic_ns` at its start (one clock for all processes of a machine)."""
    usage: Usage = Usage()


@dataclass(frozen=True)
class Opened:
    """A worker's answer to `open`: cold start and memory of a session that is ready."""

    facts: Facts
    import_s: float
    """Importing the runtime's libraries."""
    load_s: float
    """From the artifact on disk to a session; includes compilation where the runtime compiles."""
    first_inference_s: float
    rss_before_bytes: int
    """Resident memory of the worker before the runtime was imported."""
    rss_loaded_bytes: int
    """Resident memory after the first inference."""
    device_bytes: int | None = None
    timer: str = ""
    """Name of the clock it is timed by."""
    modules: tuple[str, ...] = ()
    """Frameworks in the worker's `sys.modules`."""
    rss_peak_bytes: int = 0
    """Largest resident memory so far: loading may take more than what stays."""


@dataclass(frozen=True)
class OutputError:
    """How far one output is from its reference. None: not defined, as the output holds NaN or infinity, or by `shapes`."""

    name: str
    finite: bool
    rel_l2: float | None
    """‖output − reference‖ / ‖reference‖ over all inputs: an input with a large output weighs most."""
    cosine: float | None
    max_abs: float | None
    top1_agreement: float | None
    """Share of inputs with the same largest class; None also for outputs that are not class scores."""
    median_rel_l2: float | None = None
    """The median of the single inputs' relative L2 errors; None also in records of before it was computed."""
    shapes: str = ""
    """That its shape is not the reference's, in words: nothing else was compared then."""


@dataclass(frozen=True)
class Verification:
    """Comparison of a session's outputs with the reference, on the same inputs, before anything is timed."""

    passed: bool
    reason: str
    """Empty where it passed."""
    outputs: tuple[OutputError, ...]
    inputs: int
    """Number of images compared."""
    reference: str
    """What the reference outputs were made with."""
    tolerance: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Warmup:
    """How the steady state was reached: bursts run, seconds spent, whether the running median went flat."""

    bursts: int
    seconds: float
    steady: bool
