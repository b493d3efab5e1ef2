"""A library that is found without the native library it needs: which one is missing, and the command that mends it."""

from __future__ import annotations

import re

_MENDS = (
    (r"libcuda\.so", "the NVIDIA driver", "install the driver; in a container: docker run --gpus all"),
    (r"libnvinfer|libnvonnxparser|tensorrt_libs", "TensorRT", "pip install tensorrt; on a Jetson: sudo apt install tensorrt"),
    (r"libcudnn", "cuDNN", "pip install nvidia-cudnn-cu12 (nvidia-cudnn-cu13 for CUDA 13)"),
    (r"libcublas", "cuBLAS", "pip install nvidia-cublas-cu12 (nvidia-cublas for CUDA 13)"),
    (r"libcudart|libnvrtc", "the CUDA runtime", "pip install nvidia-cuda-runtime-cu12 (nvidia-cuda-runtime for CUDA 13)"),
    (r"libze_loader", "the Level Zero loader", "sudo apt install libze1"),
    (r"libOpenCL", "OpenCL", "sudo apt install ocl-icd-libopencl1"),
)  # fmt: skip
_FILE = re.compile(r"(?:lib[\w.+-]+\.so[\w.]*)")


def mend(error: BaseException) -> tuple[str, str]:
    """What an import misses, for a message, and the command that brings it; both empty where it is something else."""
    said = str(error)
    named = _FILE.search(said)
    for pattern, what, command in _MENDS:
        if re.search(pattern, said):
            return f"{named.group() if named else 'its library'} of {what} is missing or does not load", command
    return "", ""
