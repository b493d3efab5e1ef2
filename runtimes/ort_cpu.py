"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harness.api import Artifact, Device, Runtime, Session, Setup
from runtimes._onnxruntime import OnnxRuntimeSession
from runtimes._ort_open import LEVELS
from runtimes._ort_provider import CPU, prove


class OrtCpu(Runtime):
    """ONNX Runtime's CPU execution provider, threads explicit, inputs and outputs bound."""

    accepts = ("onnx",)
    precisions: ClassVar = {"cpu": ("fp32", "int8")}
    refuses: ClassVar = {
        "cpu": {
            "fp16": "it runs an fp16 graph's Conv and Gemm as float kernels between casts, slower than fp32 (1.32)",
            "bf16": "its CPU provider has no bf16 kernels: such a graph does not open (1.32)",
            "tf32": "TF32 is a mode of NVIDIA's tensor cores",
        }
    }  # fmt: skip
    needs: ClassVar = {"onnxruntime": "onnxruntime"}
    options: ClassVar = {"graph_optimization": "all", "spinning": True, "mem_pattern": True, "arena": True}
    words: ClassVar = {"graph_optimization": tuple(LEVELS)}

    def devices(self) -> Sequence[Device]:
        """The host, where the provider runs a small model."""
        prove(CPU)
        return (Device("cpu"),)

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """A session on the CPU provider alone."""
        return OnnxRuntimeSession(artifact, setup, [(CPU, {})])
