"""Whether this processor multiplies int8 without overflow."""

from __future__ import annotations

from pathlib import Path


def vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Whether an x86 processor has VNNI; None for other processors, and where Linux does not tell.

    Without it ONNX Runtime multiplies uint8 by int8 with VPMADDUBSW, whose sums of two products are clamped to 16 bits:
    weights of 8 bits can overflow, those of 7 cannot. Arm has no such instruction in the way.
    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    flags = next((line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")), None)
    if flags is None or "sse2" not in flags:
        return None
    return any(flag in flags for flag in ("avx512_vnni", "avx_vnni"))
