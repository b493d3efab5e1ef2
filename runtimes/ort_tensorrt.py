"""ONNX Runtime with TensorRT behind it. Not executed on a GPU yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harness.api import Artifact, Device, Runtime, Session, Setup
from runtimes._ort_cuda import NEEDS, OPTIONS, WORDS, gpus
from runtimes._ort_provider import TENSORRT
from runtimes._ort_tensorrt import TensorRtOrtSession
from runtimes._tensorrt_takes import INT8_ASKS


class OrtTensorRt(Runtime):
    """ONNX Runtime's TensorRT execution provider, with CUDA's and the CPU's behind it for what it leaves out.

    `profile` is the least, best and largest batch of its engines; empty for the cell's batch alone, which the graph is then
    opened with. With one, a graph of which TensorRT leaves something out may not open. Engines are kept between runs with
    `engine_cache` (`warm`: they are there before loading is timed); by default building belongs to the cold start that is
    reported.
    """

    accepts = ("onnx",)
    precisions: ClassVar = {"cuda": ("fp32", "tf32", "fp16", "int8")}
    refuses: ClassVar = {"cuda": {"bf16": "no exporter makes an ONNX file in bf16"}}
    asks: ClassVar = INT8_ASKS
    casts: ClassVar = {"tf32": "fp32"}
    needs: ClassVar = NEEDS
    independent: ClassVar = {"engine_cache": False, "timing_cache": False}
    filled: ClassVar = {"engine_cache": "warm"}
    options: ClassVar = {
        **OPTIONS, "engine_cache": False, "timing_cache": True, "profile": [], "workspace_mib": 0, "builder_level": 3,
    }  # fmt: skip
    words: ClassVar = WORDS

    def devices(self) -> Sequence[Device]:
        """The GPUs on which the provider runs a small model."""
        return gpus(TENSORRT)

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """A session whose subgraphs are TensorRT engines; nodes left to CUDA or the CPU are counted."""
        return TensorRtOrtSession(artifact, setup)
