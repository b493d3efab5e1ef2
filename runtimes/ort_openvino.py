"""ONNX Runtime with OpenVINO behind it, by the plug-in provider that installs beside plain onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from harness.api import Artifact, Device, Runtime, Session, Setup
from runtimes._openvino_words import MODES
from runtimes._ort_open import LEVELS
from runtimes._ort_openvino import OpenVinoOrtSession, reached

_NO_TF32 = "TF32 is a mode of NVIDIA's tensor cores"


class OrtOpenVino(Runtime):
    """ONNX Runtime's OpenVINO execution provider (onnxruntime-ep-openvino), on the devices that it lists."""

    accepts = ("onnx",)
    precisions: ClassVar = {
        "cpu": ("fp32", "int8"),
        "intel-gpu": ("fp32", "fp16", "int8"),
        "intel-npu": ("fp16", "int8"),
    }
    refuses: ClassVar = {
        "cpu": {
            "fp16": "OpenVINO's CPU plug-in runs it in bf16 or fp32: see openvino", "tf32": _NO_TF32,
            "bf16": "no exporter makes an ONNX file in bf16; openvino casts",
        },
        "intel-gpu": {"bf16": "OpenVINO's GPU plug-in computes in f32 and f16", "tf32": _NO_TF32},
        "intel-npu": {
            "fp32": "the NPU computes in f16 and i8", "bf16": "the NPU computes in f16 and i8", "tf32": _NO_TF32,
        },
    }  # fmt: skip
    needs: ClassVar = {"onnxruntime": "onnxruntime>=1.23", "onnxruntime_ep_openvino": "onnxruntime-ep-openvino"}
    static_batch = ("intel-npu",)
    options: ClassVar = {
        "graph_optimization": "all", "spinning": True, "mem_pattern": True, "arena": True, "hint": "LATENCY", "streams": 1,
        "model_cache": False,
    }  # fmt: skip
    words: ClassVar = {"graph_optimization": tuple(LEVELS), "hint": MODES}

    def devices(self) -> Sequence[Device]:
        """The devices that the plug-in lists and runs a small model on."""
        return reached()

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """A session on the plug-in's device. Raises `Unsupported` where it lists none."""
        return OpenVinoOrtSession(artifact, setup)
