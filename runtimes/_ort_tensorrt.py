"""ONNX Runtime's TensorRT provider: its options, its caches, and what can be said of the precision it runs in.

The provider builds weakly typed engines by its own flags, and has no option for TF32, which TensorRT allows unless
`NVIDIA_TF32_OVERRIDE=0` is set before CUDA is loaded. Its engines keep no layer information, so that nothing tells what a
layer runs in: facts claim fp32 where every flag is off and TF32 is overridden, and nothing otherwise.
https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html. Not executed on a GPU yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from harness.api import JSON, Artifact, LayerTime, OpenFailed, Precision, Setup, nvidia
from runtimes._ort_cuda import CudaOrtSession, behind
from runtimes._ort_provider import CUDA, TENSORRT, Providers, require

_TF32 = "NVIDIA_TF32_OVERRIDE"
_FLAGS: Mapping[Precision, str] = {"fp16": "trt_fp16_enable", "int8": "trt_int8_enable"}
_ENGINES = ("*.engine", "*.profile")


class TensorRtOrtSession(CudaOrtSession):
    """TensorRT's subgraphs and CUDA's nodes in one stream."""

    STREAMED: ClassVar[tuple[str, ...]] = (TENSORRT, CUDA)

    def __init__(self, artifact: Artifact, setup: Setup) -> None:
        """Builds the engines, or takes those that an earlier session left in the cache folder. Raises as CUDA's does."""
        if setup.precision == "fp32":
            os.environ[_TF32] = "0"  # this process is the session's own, and CUDA is not loaded yet
        else:
            os.environ.pop(_TF32, None)
        require(TENSORRT)
        self._folder = cache_folder(artifact, setup)
        self._found = engines(self._folder)
        providers: Providers = [(TENSORRT, tensorrt_options(artifact, setup, self._folder)), *behind(setup)]
        super().__init__(artifact, setup, providers)

    def _fixed(self) -> Mapping[str, int]:
        return fixed_sizes(self._artifact, self._setup)

    def _settings(self, operators: Mapping[str, Mapping[str, int]]) -> Mapping[str, JSON]:
        kept = engines(self._folder)
        return {
            **super()._settings(operators),
            "engine_cache": "off" if not self._setup.options["engine_cache"] else "warm" if self._found else "cold",
            "engines_kept": len(kept),
            _TF32: os.environ.get(_TF32, "not set"),
        }

    def _precisions(self) -> tuple[Precision | None, Sequence[LayerTime], str]:
        precision, layers, unknown = super()._precisions() if self._all_off() else (None, (), "")
        if precision == "fp32":
            return precision, layers, unknown
        return (
            None,
            (),
            unknown or "TensorRT's provider does not tell what its layers run in; the runtime tensorrt does",
        )

    def _of_floats(self) -> tuple[Precision | None, Sequence[LayerTime], str]:
        return "fp32", (), ""

    def _all_off(self) -> bool:
        told = self._told.get(TENSORRT, {})
        flags = [told.get(flag) for flag in ("trt_fp16_enable", "trt_int8_enable")]
        return os.environ.get(_TF32) == "0" and all(flag in ("0", "False", "false") for flag in flags)


def tensorrt_options(artifact: Artifact, setup: Setup, folder: Path) -> Mapping[str, str]:
    """The provider's options, all that matter said outright. Raises `OpenFailed` for a profile that is none."""
    options = setup.options
    made = {
        "device_id": str(setup.device.index or 0),
        "trt_fp16_enable": _flag(setup.precision == "fp16"),
        "trt_int8_enable": _flag(setup.precision == "int8"),
        "trt_engine_cache_enable": _flag(options["engine_cache"]),
        "trt_timing_cache_enable": _flag(options["timing_cache"]),
        "trt_builder_optimization_level": str(options["builder_level"]),
        "trt_cuda_graph_enable": _flag(options["cuda_graph"]),
        **profile_shapes(artifact, setup),
    }
    if options["engine_cache"]:
        made["trt_engine_cache_path"] = str(folder)
    if options["timing_cache"]:
        made["trt_timing_cache_path"] = str(timing_folder(setup))
    if limit := int(str(options["workspace_mib"])):
        made["trt_max_workspace_size"] = str(limit << 20)
    return made


def fixed_sizes(artifact: Artifact, setup: Setup) -> Mapping[str, int]:
    """The cell's batch for every dynamic one, where no `profile` is asked for.

    With shapes known inside the graph the provider builds what it takes of it, and CUDA the rest. With a profile of the
    graph's inputs it would refuse a graph that it has to divide, where a part's own inputs are dynamic.
    """
    if setup.options["profile"]:
        return {}
    return {str(spec.shape[0]): setup.batch for spec in artifact.inputs if spec.dynamic_batch}


def profile_shapes(artifact: Artifact, setup: Setup) -> Mapping[str, str]:
    """Least, best and largest shape of every input with a dynamic batch, of `profile`; empty where that is."""
    given = setup.options["profile"]
    if not isinstance(given, (list, tuple)) or len(given) not in (0, 3):
        raise _no_profile(given)
    if not given:
        return {}
    sizes = [n for n in given if isinstance(n, int)]
    if len(sizes) != 3 or not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
        raise _no_profile(given)
    if not sizes[0] <= setup.batch <= sizes[2]:
        raise OpenFailed(f"batch {setup.batch} is not within profile={list(given)}", "leave out profile, or widen it")
    dynamic = [spec for spec in artifact.inputs if spec.dynamic_batch]
    names = ("trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes")
    return {
        name: ",".join(f"{spec.name}:{'x'.join(map(str, (size, *spec.shape[1:])))}" for spec in dynamic)
        for name, size in zip(names, sizes, strict=True)
        if dynamic
    }


def _no_profile(given: JSON) -> OpenFailed:
    return OpenFailed(
        f"profile={given!r} is not a least, best and largest batch", "for example: -o ort_tensorrt.profile=[1,8,32]"
    )


def _flag(on: object) -> str:
    """ONNX Runtime's Python binding reads this provider's options by itself, and takes no `1`, as CUDA's provider does."""
    return "True" if on else "False"


def cache_folder(artifact: Artifact, setup: Setup) -> Path:
    """Where engines of this artifact lie, by what ONNX Runtime's file names do not tell: precision, versions, options, GPU.

    Of the GPU they tell the compute capability alone, which several models share. Makes the folder. Raises `OpenFailed`
    where it cannot be written, `Unsupported` where there is no such GPU.
    """
    import onnxruntime as ort

    shared = ("engine_cache", "timing_cache")  # whether engines are kept changes none
    options = sorted((name, value) for name, value in setup.options.items() if name not in shared)
    gpu = nvidia.gpu(setup.device.id)
    made_for = (gpu.name, gpu.details["compute_capability"])
    fixed = fixed_sizes(artifact, setup)  # the file names are the same for a graph whose batch is open
    parts = (artifact.digest, setup.precision, setup.batch, ort.__version__, options, made_for, fixed)
    return _made(Path(setup.cache) / _digest(parts))


def timing_folder(setup: Setup) -> Path:
    """Where kernel timings lie that cells share, by what ONNX Runtime's file name does not tell: GPU, versions, TF32.

    Timings of another GPU of the same compute capability would choose kernels that are not the fastest here. Makes the
    folder; raises as `cache_folder` does.
    """
    import onnxruntime as ort

    gpu = nvidia.gpu(setup.device.id)
    tf32 = setup.precision != "fp32"  # as the environment is set for the session
    parts = (gpu.name, gpu.details["compute_capability"], ort.__version__, _tensorrt_version(), tf32)
    return _made(Path(setup.cache) / f"timings-{_digest(parts)}")


def _tensorrt_version() -> str:
    """Of the installed distribution; empty where there is none."""
    for name in ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return ""


def _digest(parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OpenFailed(
            f"the engine cache {folder} cannot be written: {error.strerror}",
            "set BACKBENCH_CACHE to a folder that can be written",
        ) from error
    return folder


def engines(folder: Path) -> Sequence[str]:
    """Names of the files that ONNX Runtime keeps of engines."""
    return sorted(file.name for pattern in _ENGINES for file in folder.glob(pattern))
