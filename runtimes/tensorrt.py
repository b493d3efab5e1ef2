"""TensorRT engines by TensorRT's own runtime: 8.5, 8.6, 10.x and 11.x through one API, that of tensor addresses.

Not executed on a GPU yet (its engines were built on an H100): held to NVIDIA's bindings by
`scripts/check-tensorrt-api`, and tested on a typed double.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from harness.api import JSON, Artifact, Device, OpenFailed, Runtime, Session, Setup, nvidia, working
from runtimes._tensorrt import TensorRtSession
from runtimes._tensorrt_engine import check_tensors
from runtimes._tensorrt_takes import INT8_ASKS, NOT_ON_DLA


class TensorRt(Runtime):
    """TensorRT on a CUDA GPU: an engine that was built for this very GPU and version, what it runs in read back."""

    accepts = ("tensorrt-engine",)
    precisions: ClassVar = {"cuda": ("fp32", "tf32", "fp16", "bf16", "int8"), "dla": ("fp16",)}
    refuses: ClassVar = {"dla": NOT_ON_DLA}
    asks: ClassVar = INT8_ASKS
    # cuda-core, and cuda-bindings of the driver's CUDA (12 or 13), which it needs beside itself.
    needs: ClassVar = {"tensorrt": "tensorrt", "cuda.core": "cuda-core>=1.0", "cuda.bindings": "cuda-bindings>=12.6"}
    options: ClassVar = {"cuda_graph": False}

    def devices(self) -> Sequence[Device]:
        """The GPUs on which TensorRT builds and runs a small network, and the DLA cores that it sees beside them."""
        from runtimes._tensorrt_probe import dla_cores, prove

        trt = nvidia.library()
        reached = working(nvidia.gpus(), lambda device: prove(trt, device))
        return (*reached, *dla_cores(trt, reached))

    @classmethod
    def opset(cls, versions: Mapping[str, str]) -> int | None:
        """17 for TensorRT 8, whose parser takes no later one; 16 before 8.6, which has no LayerNormalization of 17."""
        major, minor, *_ = (*versions.get("tensorrt", "").split("."), "")
        return None if major != "8" else 16 if minor.isdigit() and int(minor) < 6 else 17

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """Deserialise. Raises `OpenFailed`, with the reason, for an engine of another GPU or version of TensorRT."""
        trt = nvidia.library()
        device = setup.device.id
        _refuse_foreign(artifact, nvidia.belongs_to(nvidia.gpu(device), trt.__version__, device))
        from runtimes._cuda import Cuda

        try:
            plan = Path(artifact.path).read_bytes()
        except OSError as error:
            raise OpenFailed(f"the engine {artifact.path} cannot be read: {error.strerror}", _AGAIN) from error
        log = nvidia.log_of(trt)
        try:
            cuda = Cuda(nvidia.gpu_index(device))
            runtime = trt.Runtime(log)
            if setup.device.kind == "dla":
                runtime.DLA_core = setup.device.index or 0
            engine = runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise nvidia.failure(OpenFailed, "TensorRT does not take the engine", nvidia.said(log))
            check_tensors(engine, artifact, setup.batch)
            return TensorRtSession(trt, (log, runtime), engine, cuda, artifact, setup)
        except (RuntimeError, ValueError, TypeError) as error:  # CUDA's errors, and what pybind11 makes of C++'s
            raise nvidia.failure(OpenFailed, "TensorRT does not open the engine", str(error)) from error


_AGAIN = "run it again: an engine of here is built"


def _refuse_foreign(artifact: Artifact, here: Mapping[str, JSON]) -> None:
    made_for = artifact.details.get("belongs_to")
    reason = nvidia.foreign(made_for if isinstance(made_for, Mapping) else {}, here)
    if reason:
        raise OpenFailed(f"the engine {Path(artifact.path).name} is not used: {reason}", _AGAIN)
