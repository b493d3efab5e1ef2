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
    # fp16 and bf16 graphs load, but most of their kernels are fp32 between casts: that would be a false label.
    precisions: ClassVar = {"cpu": ("fp32", "int8")}
    needs: ClassVar = {"onnxruntime": "onnxruntime"}
    options: ClassVar = {"graph_optimization": "all", "spinning": True}

    def devices(self) -> Sequence[Device]:
        """The host, where the provider runs a small model."""
        prove(PROVIDER)
        return (Device("cpu"),)

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """A session on the CPU provider alone."""
        return OnnxRuntimeSession(artifact, setup, [(PROVIDER, {})])
