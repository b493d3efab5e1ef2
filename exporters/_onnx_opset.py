"""Which opset an exporter to ONNX is asked for."""

from __future__ import annotations

from typing import Any

from harness.api import Request

OPTION: dict[str, Any] = {"opset": 0}
"""The option of an exporter to ONNX; 0 for what the runtime needs, and where it needs none, the exporter's own choice."""


def asked(want: Request) -> int | None:
    """The opset that the plan asks for, else that the runtime needs; None where neither does."""
    return int(str(want.options.get("opset") or 0)) or want.opset
