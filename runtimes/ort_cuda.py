"""ONNX Runtime on a CUDA GPU. Executed on an H100 (docs/edge.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harness.api import Artifact, Device, Runtime, Session, Setup
from runtimes._ort_cuda import NEEDS, OPTIONS, WORDS, CudaOrtSession, cuda_options, gpus
from runtimes._ort_provider import CPU, CUDA


class OrtCuda(Runtime):
    """ONNX Runtime's CUDA execution provider: options explicit and read back, inputs and outputs on the GPU."""

    accepts = ("onnx",)
    precisions: ClassVar = {"cuda": ("fp32", "tf32", "fp16")}
    refuses: ClassVar = {
        "cuda": {
            "bf16": "no exporter makes an ONNX file in bf16",
            "int8": "its CUDA provider has no int8 convolution: a QDQ graph's would run in float; take ort_tensorrt",
        }
    }  # fmt: skip
    casts: ClassVar = {"tf32": "fp32"}
    needs: ClassVar = NEEDS
    options: ClassVar = OPTIONS
    words: ClassVar = WORDS

    def devices(self) -> Sequence[Device]:
        """The GPUs on which the provider runs a small model."""
        return gpus(CUDA)

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """A session whose nodes run on the GPU; what CUDA has no kernel for runs on the CPU, and is counted."""
        options = cuda_options(setup, graph=bool(setup.options["cuda_graph"]))
        return CudaOrtSession(artifact, setup, [(CUDA, options), (CPU, {})])
