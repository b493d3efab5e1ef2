"""OpenVINO's words, which its own runtime and ONNX Runtime's provider of it are given alike."""

from __future__ import annotations

from collections.abc import Mapping

from harness.api import Precision

MODES = ("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT")
"""Performance hints."""
TYPES: Mapping[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""Precision hints: what an int8 model leaves unquantised runs in floats."""
