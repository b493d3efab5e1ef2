"""Compares a session's outputs with the reference: relative L2, cosine, top-1 agreement, finite or not (METHOD 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.model import OutputError, Precision, Verification

if TYPE_CHECKING:
    from harness.api import Array


@dataclass(frozen=True)
class Tolerance:
    """Limits on one output: within all of them, an artifact still computes the same function."""

    rel_l2: float
    cosine: float
    top1_agreement: float


# Defaults, from what correct artifacts of timm backbones show, with room for other libraries' summation order. fp32
# chains measured here lie at 1e-7 to 2e-5; TF32 rounds products to 10 bits (5e-4 each), fp16 likewise with a small range,
# bf16 to 7 bits; int8 is bounded by what a quantised classifier that still works shows. Top-1 is loose where rounding
# may flip near ties (random weights have many).
DEFAULTS: Mapping[Precision, Tolerance] = {
    "fp32": Tolerance(1e-3, 0.99999, 0.99),
    "tf32": Tolerance(1e-2, 0.9999, 0.85),
    "fp16": Tolerance(2e-2, 0.999, 0.85),
    "bf16": Tolerance(8e-2, 0.99, 0.6),
    "int8": Tolerance(0.4, 0.9, 0.5),
}


def compare(name: str, output: Array, reference: Array) -> OutputError:
    """Errors of one output over all inputs; both arrays have the input's index first."""
    import numpy as np

    out = np.asarray(output, np.float64).reshape(len(output), -1)
    ref = np.asarray(reference, np.float64).reshape(len(reference), -1)
    if not np.isfinite(out).all():
        return OutputError(name, finite=False, rel_l2=None, cosine=None, max_abs=None, top1_agreement=None)
    size, ref_size = float(np.linalg.norm(out)), float(np.linalg.norm(ref))
    error = float(np.linalg.norm(out - ref))
    is_scores = reference.ndim == 2 and reference.shape[1] > 1
    return OutputError(
        name,
        finite=True,
        rel_l2=error / ref_size if ref_size else (0.0 if error == 0 else None),
        cosine=float((out * ref).sum()) / (size * ref_size) if size and ref_size else None,
        max_abs=float(np.abs(out - ref).max(initial=0.0)),
        top1_agreement=float((out.argmax(1) == ref.argmax(1)).mean()) if is_scores else None,
    )


def judge(errors: tuple[OutputError, ...], tolerance: Tolerance, inputs: int, reference: str) -> Verification:
    """Whether every output lies within `tolerance`; the reason names the first limit that is broken and by how much."""
    reasons = [reason for error in errors if (reason := _fault(error, tolerance))]
    limits = {
        "rel_l2": tolerance.rel_l2,
        "cosine": tolerance.cosine,
        "top1_agreement": tolerance.top1_agreement,
    }
    return Verification(not reasons, "; ".join(reasons), errors, inputs, reference, limits)


def _fault(error: OutputError, tolerance: Tolerance) -> str:
    if not error.finite:
        return f"{error.name} holds NaN or infinity"
    if error.rel_l2 is None or not error.rel_l2 <= tolerance.rel_l2:
        far = "undefined" if error.rel_l2 is None else f"{error.rel_l2:.2g}"
        return f"{error.name}: relative L2 error {far} is over {tolerance.rel_l2:g}"
    if error.cosine is not None and error.cosine < tolerance.cosine:
        return f"{error.name}: cosine {error.cosine:.6f} is under {tolerance.cosine:g}"
    if error.top1_agreement is not None and error.top1_agreement < tolerance.top1_agreement:
        return (
            f"{error.name}: top-1 agrees on {error.top1_agreement:.0%} of inputs, under {tolerance.top1_agreement:.0%}"
        )
    return ""


def tolerance_for(precision: Precision, overrides: Mapping[str, float] | None = None) -> Tolerance:
    """The default limits of a precision with single ones replaced."""
    base = DEFAULTS[precision]
    values = {"rel_l2": base.rel_l2, "cosine": base.cosine, "top1_agreement": base.top1_agreement} | dict(
        overrides or {}
    )
    if not all(math.isfinite(value) for value in values.values()):
        raise ValueError(f"tolerances must be finite: {values}")
    return Tolerance(**values)
