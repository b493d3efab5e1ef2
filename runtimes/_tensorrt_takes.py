"""What TensorRT takes of a quantised file, and what a DLA computes in: the same for every way to it."""

from __future__ import annotations

from collections.abc import Mapping

from harness.api import JSON, Precision

INT8_ASKS: Mapping[str, Mapping[str, JSON]] = {
    "onnx_int8": {
        "activations": "int8", "symmetric": True, "quantize_bias": False, "weight_pairs": True, "dedicated_pairs": True,
    }
}  # fmt: skip
"""What TensorRT's parser takes of a quantised file: no zero points, no int32; weights in floats before a pair of their own
(8.x takes no int8 constants: onnxruntime#11535), and a pair for each that reads it (as Optimum's preset for TensorRT)."""
NOT_ON_DLA: Mapping[Precision, str] = {
    "fp32": "a DLA computes in fp16 and int8", "tf32": "a DLA computes in fp16 and int8",
    "bf16": "a DLA computes in fp16 and int8",
    "int8": "a DLA takes int8 by calibration scales alone, and no explicitly quantised (QDQ) file, which the exporters make",
}  # fmt: skip
"""Why a network is not built for a DLA in a precision. TensorRT's guide, Working with DLA: no explicit quantisation there."""
