"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harness.api import Artifact, Device, Runtime, Session, Setup
from runtimes._onnxruntime import OnnxRuntimeSession, prove

PROVIDER = "CPUExecutionProvider"


class OrtCpu(Runtime):
    """ONNX Runtime's CPU execution provider, threads explicit, inputs and outputs bound."""

    accepts = ("onnx",)
    # Measured on 1.32: an fp16 graph runs every Conv and Gemm as float kernels between casts (slower than fp32), which
    # would be a false label; a bf16 graph does not open.
    precisions: ClassVar = {"cpu": ("fp32", "int8")}
    needs: ClassVar = {"onnxruntime": "onnxruntime"}
    options: ClassVar = {"graph_optimization": "all", "spinning": True, "mem_pattern": True, "arena": True}

    def devices(self) -> Sequence[Device]:
        """The host, where the provider runs a small model."""
        prove(PROVIDER)
        return (Device("cpu"),)

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """A session on the CPU provider alone."""
        return OnnxRuntimeSession(artifact, setup, [(PROVIDER, {})])
