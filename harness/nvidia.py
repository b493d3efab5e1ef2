"""What exporters and runtimes share about NVIDIA GPUs: which are reached, TensorRT's log, what only some versions have.

Held to NVIDIA's own bindings by `scripts/check-tensorrt-api`, and tested on a typed double; executed on an H100
(docs/edge.md).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from typing_extensions import Buffer

from harness import tensorrt_types as types
from harness.errors import BackbenchError, StoreFailed, Unsupported
from harness.model import JSON, Device

__all__ = [
    "belongs_to", "cuda_errors", "failure", "foreign", "gpu", "gpu_index", "gpus", "library", "locked", "log_of", "of_cuda",
    "optional", "put", "replace_file", "said", "timing_cache_file", "types", "why",
]  # fmt: skip

_DRIVER = "install the NVIDIA driver; in a container: docker run --gpus all; then see: nvidia-smi"
_MENDS: Mapping[str, tuple[str, str]] = {
    "out of memory": ("the GPU's memory is full", "see who holds it: nvidia-smi; or take a smaller --batch"),
    "outofmemory": ("the GPU's memory is full", "see who holds it: nvidia-smi; or take a smaller --batch"),
    "insufficient for cuda runtime": ("the NVIDIA driver is too old for this CUDA", "update the driver; see: nvidia-smi"),
    "insufficient_driver": ("the NVIDIA driver is too old for this CUDA", "update the driver; see: nvidia-smi"),
    "system_driver_mismatch": ("the NVIDIA driver's kernel module and its library differ", "reboot; see: nvidia-smi"),
    "no_device": ("CUDA sees no GPU", "is CUDA_VISIBLE_DEVICES empty? see: nvidia-smi"),
    "[libloader.h": (
        "TensorRT does not find what it takes kernels from (cuBLAS, cuDNN), in the version that it was built with",
        "install it; or do without: -o tensorrt_engine.tactic_sources=EDGE_MASK_CONVOLUTIONS,JIT_CONVOLUTIONS",
    ),
    "nvidia driver library": ("there is no NVIDIA driver (libcuda.so.1)", _DRIVER),
    "libcuda.so": ("there is no NVIDIA driver (libcuda.so.1)", _DRIVER),
}  # fmt: skip


def why(error: BaseException | str) -> tuple[str, str] | None:
    """What an error of CUDA or TensorRT comes down to, and what mends it; None where it is nothing that is known."""
    text = str(error).lower().replace("cuda_error_", "").replace("out_of_memory", "out of memory")
    return next((mend for sign, mend in _MENDS.items() if sign in text), None)


@contextlib.contextmanager
def cuda_errors() -> Iterator[None]:
    """What cuda-core raises as a RuntimeError, which pybind11 makes of C++'s errors too; also a decorator.

    cuda-core's `CUDAError` is a plain Exception, in a module of its own that no release promises.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, RuntimeError) or not of_cuda(error):
            raise
        raise RuntimeError(str(error)) from error


def of_cuda(error: BaseException) -> bool:
    """Whether it is an error of cuda-core or cuda-bindings."""
    return type(error).__module__.partition(".")[0] == "cuda"


def gpus() -> Sequence[Device]:
    """The GPUs that CUDA reaches here, by its own order. Raises `Unsupported`, with what is missing."""
    from cuda.core import Device as Cuda

    try:
        return tuple(_described(cuda) for cuda in Cuda.get_all_devices())
    except Exception as error:
        message, hint = why(error) or (f"CUDA does not start: {error}", "see: nvidia-smi")
        raise Unsupported(message, hint) from error


def _described(cuda: Any) -> Device:
    capability = cuda.compute_capability
    details: Mapping[str, JSON] = {"compute_capability": f"{capability.major}.{capability.minor}", "uuid": cuda.uuid}
    return Device("cuda", int(cuda.device_id), cuda.name, None, details)


def gpu(device: str) -> Device:
    """The GPU of that id (`cuda:1`; `cuda` is the first), or of that DLA core. Raises `Unsupported` where there is none."""
    found = gpus()
    index = gpu_index(device)
    if index >= len(found):
        raise Unsupported(f"there is no {device}: CUDA sees {len(found)} GPUs", "see: backbench list devices")
    return found[index]


def gpu_index(device: str) -> int:
    """CUDA's number of the GPU: a DLA core (`dla:1`) is on the chip of the only one."""
    kind, _, number = device.partition(":")
    return int(number or 0) if kind == "cuda" else 0


# ── what an engine belongs to ─────────────────────────────────────────────────────────────────────────────────────


def belongs_to(device: Device, version: str, runs_on: str = "cuda") -> Mapping[str, JSON]:
    """What an engine is made for and will run on: the GPU's model, TensorRT's version, and DLA where it `runs_on` that."""
    return {
        **({"accelerator": "DLA"} if runs_on.startswith("dla") else {}),
        "device": device.name,
        "compute_capability": device.details.get("compute_capability", ""),
        "tensorrt": version,
    }


def foreign(made_for: Mapping[str, JSON], here: Mapping[str, JSON]) -> str:
    """Why an engine is not of here: what it was made for beside what is here; empty where it is."""
    if not made_for:
        return "its manifest does not say what it was made for"
    differs = [
        f"{name.replace('_', ' ')} {made_for.get(name, '(not told)')}, here it is {value}"
        for name, value in {**dict.fromkeys(made_for, "nothing"), **here}.items()
        if made_for.get(name) != value
    ]
    return f"it was made for {'; '.join(differs)}" if differs else ""


# ── TensorRT's module ─────────────────────────────────────────────────────────────────────────────────────────────


def library() -> types.TensorRT:
    """The module `tensorrt`, typed."""
    import tensorrt

    return cast(types.TensorRT, tensorrt)


def optional(owner: object, name: str) -> Any:
    """`owner`'s member of that qualified name (`BuilderFlag.FP16`), which only some versions have; else None."""
    return getattr(owner, name.rpartition(".")[2], None)


def put(owner: object, name: str, value: object) -> bool:
    """Set a property of that qualified name where this version has it; whether it has."""
    if not hasattr(owner, name := name.rpartition(".")[2]):
        return False
    setattr(owner, name, value)
    return True


def log_of(trt: types.TensorRT) -> types.ILogger:
    """A logger that passes on to stderr (the worker's log) and keeps the errors; `said` tells them."""

    def begin(self: Any) -> None:
        trt.ILogger.__init__(self)
        self.errors = []

    def log(self: Any, severity: object, msg: str) -> None:
        kind = str(severity).rpartition(".")[2]
        if kind in ("ERROR", "INTERNAL_ERROR"):
            self.errors.append(msg)
        if kind not in ("VERBOSE", "INFO"):
            sys.stderr.write(f"TensorRT {kind}: {msg}\n")

    made = type("Log", (trt.ILogger,), {"__init__": begin, "log": log})
    return cast(types.ILogger, made())


_CONSEQUENCE = "Assertion engine != nullptr failed"
"""What the builder says last, whatever went wrong before."""


def said(log: types.ILogger, otherwise: str = "TensorRT gave no reason") -> str:
    """The last error that TensorRT logged which names a cause; those before it are kept in the worker's log."""
    logged: Sequence[str] = getattr(log, "errors", ())
    errors = [error for error in logged if _CONSEQUENCE not in error] or logged
    return errors[-1].strip()[:300] if errors else otherwise


def failure(kind: type[BackbenchError], what: str, reason: str) -> BackbenchError:
    """An error of `kind`: what failed, TensorRT's reason, and what mends it where that is known."""
    known = why(reason)
    if known is None:
        return kind(f"{what}: {reason}", "TensorRT's log is in the worker's log")
    return kind(f"{what}: {known[0]} ({reason})", known[1])


# ── TensorRT's timing cache ───────────────────────────────────────────────────────────────────────────────────────


def timing_cache_file(belongs: Mapping[str, JSON]) -> Path:
    """Where kernel timings are kept for what an engine `belongs_to`, in the artifact cache."""
    from harness import cache, codec

    return cache.root() / "tensorrt" / f"{codec.key(belongs)}.timings"


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Alone with that file among processes. Raises `StoreFailed` where its folder cannot be written."""
    from filelock import FileLock

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{file}.lock")
        lock.acquire()
    except OSError as error:
        raise _unwritable(error) from error
    try:
        yield
    finally:
        lock.release()


def replace_file(file: Path, content: Buffer) -> None:
    """Write beside and rename: a reader sees the old content or the new. Raises `StoreFailed`, a full disk included."""
    beside = file.with_name(f"{file.name}.part")
    try:
        beside.write_bytes(content)
        beside.rename(file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> StoreFailed:
    from harness import cache

    hint = f"set BACKBENCH_CACHE to a folder on a disk with room, or empty the cache: {cache.root()}"
    return StoreFailed(f"the timing cache cannot be written: {error.strerror or error}", hint)
