"""A library that is found without the native library it needs: which one is missing, and the command that mends it."""

from __future__ import annotations

import re
from collections.abc import Mapping

_MENDS = (
    (r"libcuda\.so", "the NVIDIA driver", "install the driver; in a container: docker run --gpus all"),
    (r"libnvinfer|libnvonnxparser|tensorrt_libs", "TensorRT",
     "pip install {tensorrt}; on a Jetson: sudo apt install tensorrt"),
    (r"libcudnn", "cuDNN", "pip install nvidia-cudnn-cu12 (nvidia-cudnn-cu13 for CUDA 13)"),
    (r"libcublas", "cuBLAS", "pip install {nvidia-cublas}"),
    (r"libcufft", "cuFFT", "pip install {nvidia-cufft}"),
    (r"libcurand", "cuRAND", "pip install {nvidia-curand}"),
    (r"libnvJitLink", "the JIT linker of CUDA", "pip install {nvidia-nvjitlink}"),
    (r"libnvrtc", "the CUDA run-time compiler", "pip install {nvidia-cuda-nvrtc}"),
    (r"libcudart", "the CUDA runtime", "pip install {nvidia-cuda-runtime}"),
    (r"libze_loader", "the Level Zero loader", "sudo apt install libze1"),
    (r"libOpenCL", "OpenCL", "sudo apt install ocl-icd-libopencl1"),
)  # fmt: skip
_FILE = re.compile(r"(?:lib[\w.+-]+\.so[\w.]*)")
_CUDA: Mapping[str, int] = {"libcufft.so.11": 12, "libcufft.so.12": 13}
"""CUDA's major version, of files that have a number of their own; cuRAND's says nothing."""


def mend(error: BaseException | str) -> tuple[str, str]:
    """What a loader misses, for a message, and the command that brings it; both empty where it is something else."""
    said = str(error)
    for pattern, what, command in _MENDS:
        if re.search(pattern, said):
            named = next((name for name in _FILE.findall(said) if re.search(pattern, name)), "its library")
            return f"{named} of {what} is missing or does not load", _filled(command, named)
    return "", ""


def _filled(command: str, file: str) -> str:
    """The command with the package that has this very file: `libnvinfer.so.10` is of no other TensorRT."""
    number = re.search(r"\.so\.(\d+)", file)
    major = int(number[1]) if number else 0

    def package(found: re.Match[str]) -> str:
        if found[1] == "tensorrt":
            return f"'tensorrt=={major}.*'" if major else "tensorrt"
        cuda = _CUDA.get(file, 0 if "curand" in file else major)
        if cuda == 12:
            return f"{found[1]}-cu12"
        return found[1] if cuda else f"{found[1]}-cu12 ({found[1]} for CUDA 13)"

    return re.sub(r"\{([\w-]+)\}", package, command)
