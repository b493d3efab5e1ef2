"""The plug-in contract: all that the author of an exporter or a runtime reads, and the only module a plug-in imports.

A plug-in is one class in one file of `exporters/` or `runtimes/` (or behind an entry point of the group
`backbench.exporters` or `backbench.runtimes`). Its module imports nothing heavy at the top: the light parent process
reads the class attributes, and only a worker process calls the methods. Library exceptions become ours at this boundary:
`raise OpenFailed("...", "what to type next") from error`.
"""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from harness import nvidia
from harness.errors import (
    BackbenchError,
    ExportFailed,
    MissingLibrary,
    OpenFailed,
    RunFailed,
    SourceInvalid,
    Unsupported,
    did_you_mean,
)
from harness.model import (
    JSON,
    Artifact,
    Device,
    Export,
    Facts,
    Format,
    LayerTime,
    Precision,
    ProfiledInference,
    Request,
    Setup,
    TensorSpec,
)

if TYPE_CHECKING:
    from harness.arrays import Array as Array

__all__ = [
    "JSON", "TRACED_BATCH", "Artifact", "BackbenchError", "Clock", "Device", "Export", "ExportFailed", "Exporter",
    "Facts", "Format", "LayerTime", "MissingLibrary", "OpenFailed", "Precision", "ProfiledInference", "Request",
    "RunFailed", "Runtime", "Session", "Setup", "SourceInvalid", "TensorSpec", "Unsupported", "calibration_inputs",
    "companion", "did_you_mean", "first_line", "load_timm", "nvidia", "onnx_export", "quiet_warnings", "usable_cpus", "vnni",
    "working",
]  # fmt: skip


class Exporter(ABC):
    """An edge from one artifact format to another."""

    source: ClassVar[Format]
    target: ClassVar[Format]
    precisions: ClassVar[tuple[Precision, ...]]
    """Precisions of the artifacts it makes. It is given a source in `reads`, whatever precision it is to make."""
    reads: ClassVar[Mapping[Precision, Precision]] = {}
    """Precision of the source for each precision made, where they differ: a quantiser has `{"int8": "fp32"}`."""
    needs: ClassVar[Mapping[str, str]] = {}
    """Import name of each library it needs -> the requirement that pip installs."""
    uses: ClassVar[tuple[str, ...]] = ()
    """Import names of the libraries that what it makes depends on where they are installed, and that it can do without."""
    portable: ClassVar[bool] = True
    """False: what it makes belongs to this device and these library versions, and is cached so."""
    dynamic_batch: ClassVar[bool] = True
    """Whether it can make an artifact that takes any batch size (it is then asked for that first)."""
    keeps_batch: ClassVar[bool] = False
    """Whether what it makes takes the batches that its source takes, whatever is asked for: it is then asked once."""
    calibrated: ClassVar[tuple[Precision, ...]] = ()
    """Precisions for which it watches images: `want.calibration` then holds them (`calibration_inputs` reads them)."""
    independent: ClassVar[Mapping[str, JSON]] = {}
    """Options with which a build owes nothing to earlier ones (no timing cache). Not empty: it chooses kernels by timing
    them, and another build may choose others (`--builds`)."""
    rank: ClassVar[int] = 0
    """Among exporters of one edge the lowest is tried first; the others are its fallbacks."""
    options: ClassVar[Mapping[str, JSON]] = {}
    """The options it knows, with their defaults; a value of another type than the default's is refused when planned."""
    words: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The words that an option takes, of those that take no others; another one is refused when planned."""

    def belongs_to(self, device: str) -> Mapping[str, JSON]:
        """What its artifacts are made for on that device, where they are not `portable`: part of their cache key."""
        return {}

    @abstractmethod
    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Write into the empty `folder` what `want` asks for. Raises `ExportFailed` or `Unsupported`."""


class Runtime(ABC):
    """Opens artifacts on devices. Never converts: `route` finds the exporters that lead to what it accepts."""

    accepts: ClassVar[tuple[Format, ...]]
    """Formats it opens, the preferred one first."""
    precisions: ClassVar[Mapping[str, tuple[Precision, ...]]]
    """Device kind -> the precisions it really executes there. Anything else is `unsupported`, never another one."""
    refuses: ClassVar[Mapping[str, Mapping[Precision, str]]] = {}
    """Why it does not execute the others: device kind -> precision -> the reason that a user is told."""
    casts: ClassVar[Mapping[Precision, Precision]] = {}
    """Precisions it makes itself while opening -> the precision of the artifact it needs for that."""
    asks: ClassVar[Mapping[str, Mapping[str, JSON]]] = {}
    """Options of the exporters that lead to it which it cannot do without: exporter -> option -> value."""
    needs: ClassVar[Mapping[str, str]] = {}
    """Import name of each library it needs -> the requirement that pip installs."""
    environment: ClassVar[Mapping[str, str]] = {}
    """Variables that its workers begin with, because a library reads them when it is loaded; they become facts."""
    process_sd: ClassVar[float] = 0.002
    """How much one fresh process differs from the next: standard deviation of the log of its median latency. No number of
    rounds shows it; it is the prior of every interval, which the processes of a run correct. Measured: ONNX Runtime and
    OpenVINO 0.002, PyTorch 0.025 (docs/method.md)."""
    independent: ClassVar[Mapping[str, JSON]] = {}
    """As an exporter's, of a runtime that builds while it opens."""
    static_batch: ClassVar[tuple[str, ...]] = ()
    """Device kinds that need an artifact of fixed batch size."""
    filled: ClassVar[Mapping[str, JSON]] = {}
    """Options with which it finds a cache that is full: where a cell has them, a session in a process of its own fills it
    before the one whose loading is timed is opened."""
    options: ClassVar[Mapping[str, JSON]] = {}
    """The options it knows, with their defaults; a value of another type than the default's is refused when planned."""
    words: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The words that an option takes, of those that take no others; another one is refused when planned."""

    @abstractmethod
    def devices(self) -> Sequence[Device]:
        """The devices it reaches, probed for real and not from a compile-time list."""

    @classmethod
    def opset(cls, versions: Mapping[str, str]) -> int | None:
        """The ONNX opset it needs of a library in these `versions`, by import name; None leaves it to the exporter."""
        return None

    @abstractmethod
    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """A session that is ready to be bound. Raises `OpenFailed` or `Unsupported`."""


class Session(ABC):
    """An open artifact. It never times itself; the harness holds the clock. A context manager that closes itself."""

    @abstractmethod
    def bind(self, feed: Mapping[str, Array]) -> None:
        """Put the inputs (name -> C-contiguous host array with the batch first) where the device reads them."""

    @abstractmethod
    def run(self) -> None:
        """Start one inference: the hot path, nothing else in it."""

    def sync(self) -> None:  # noqa: B027 - most runtimes have nothing to wait for
        """Wait until what `run` started is finished."""

    @abstractmethod
    def fetch(self) -> Mapping[str, Array]:
        """Outputs of the last inference as host arrays, in the order of the artifact's outputs."""

    @abstractmethod
    def facts(self) -> Facts:
        """What really runs, read back from the library; what it does not tell stays None or empty."""

    def clock(self) -> Clock | None:
        """The device's own clock, where there is one."""
        return None

    def split(self) -> Mapping[str, int] | None:
        """One more inference from host memory to host memory, divided by the device's own clock: `h2d`, `compute` and `d2h`
        in ns. The inputs are those that were bound last. None where nothing is copied, or nothing tells.
        """
        return None

    def timer(self) -> Callable[[], int] | None:
        """A nanosecond clock to time this session by instead of the host's; its records say `foreign clock`.

        For sessions whose time is scripted (`fake`), or told by a tool that times itself.
        """
        return None

    def device_bytes(self) -> int | None:
        """Device memory this session holds, in bytes; None where there is none of its own, or it cannot be told."""
        return None

    def profile(self, inferences: int) -> Sequence[ProfiledInference]:
        """So many inferences (on the bound inputs, warm) with the runtime's profiler on. Raises `Unsupported`.

        A pass of its own, after which the session need not be as fast as before.
        """
        raise Unsupported("this runtime has no per-layer profile")

    def close(self) -> None:  # noqa: B027 - most sessions end with their process
        """Release what the session holds."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Clock(Protocol):
    """A device clock: `start` before `run`, `end` after `run`, `elapsed_ns` once the session has synchronised."""

    def start(self) -> None: ...
    def end(self) -> None: ...
    def elapsed_ns(self) -> int: ...


def working(devices: Iterable[Device], prove: Callable[[Device], object]) -> list[Device]:
    """The devices on which `prove` raises nothing: one that is broken must not hide the others. Why it does not run goes to
    stderr. Raises the first fault where no device is left.
    """
    found, faults = [], []
    for device in devices:
        try:
            prove(device)
        except Exception as error:  # noqa: BLE001 - whatever a library raises there
            faults.append(error)
            sys.stderr.write(f"{device.id} runs nothing: {first_line(error)}\n")
        else:
            found.append(device)
    if faults and not found:
        raise faults[0]
    return found


def load_timm(artifact: Artifact) -> Any:
    """The `torch.nn.Module` of a `timm` artifact: float32, on the CPU, in `eval` mode. Imports torch and timm."""
    from harness.backbone import load

    return load(artifact)


def calibration_inputs(want: Request) -> Mapping[str, Array]:
    """The calibration images that an exporter was given: input name -> float array, the image's index first.

    Raises `ExportFailed` where there are none: the exporter has not said that it is `calibrated`.
    """
    from harness.calibration_images import inputs

    return inputs(want)


def usable_cpus() -> int:
    """Processors this process may use: its affinity, limited by the cgroup's CPU quota (rounded down, at least 1)."""
    from harness.machine import usable_cpus as count

    return count()


def vnni() -> bool | None:
    """Whether an x86 processor multiplies int8 by VNNI; None for other processors, and where Linux does not tell.

    Without it ONNX Runtime's uint8 by int8 products are summed in 16 bits, and clamped.
    """
    from harness.machine import vnni as has

    return has()


TRACED_BATCH = 3
"""Images to trace with where a batch of any size is wanted: 0 and 1 are taken for constants, and `onnx_export` tries 1."""


def onnx_export(file: Path, batch: int | None, source: Artifact, opset: int | None = None) -> Export:
    """What an exporter hands back for the ONNX file it wrote: checked, specs read, a dynamic batch (None) tried out.

    It is tried with one image, so that a graph traced with one would prove nothing. Raises `ExportFailed`, for a later
    opset than `opset` too.
    """
    from harness.onnx_file import exported

    return exported(file, batch, source, opset)


def first_line(error: BaseException) -> str:
    """The first line of a library's exception that says something, for a message."""
    from harness.onnx_file import first_line as first

    return first(error)


def companion(error: BaseException | str) -> tuple[str, str]:
    """The native library that an error says is missing, in words, and the command that brings it; empty where it is none."""
    from harness.companions import mend

    return mend(error)


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """No Python warnings while a library converts: they concern its own insides, and the result is checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
