"""Compares a session's outputs with the reference: relative L2, cosine, top-1 agreement, finite or not (METHOD 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from harness.model import OutputError, Precision, Verification

if TYPE_CHECKING:
    from harness.arrays import Array


@dataclass(frozen=True)
class Tolerance:
    """Limits on one output: within all of them, an artifact still computes the same function."""

    rel_l2: float
    cosine: float
    top1_agreement: float
    median_rel_l2: float | None = None
    """Of single inputs; None is no limit."""
    max_abs: float | None = None
    """In the output's own unit, which differs between backbones: None, the default, is no limit."""


# Defaults: one and a half to two times the worst of correct artifacts of seven timm backbones (each figure is in
# docs/precision.md), with random weights, which are the hardest: many near ties, and outputs whose size differs twentyfold
# between images. fp32 was off by up to 3e-6, fp16 by 9e-3, bf16 by 7e-2. int8 was off by 0.87 where a range cut off one rare
# image whose output is the largest: there the median of single images decides (worst 0.38), the others only catch what is no
# longer the backbone (useless ranges: rel_l2 of 3 to 8), and top-1 only tells agreement from chance. TF32 rounds products to
# as many bits as fp16, and was not measured.
DEFAULTS: Mapping[Precision, Tolerance] = {
    "fp32": Tolerance(1e-3, 0.99999, 0.99),
    "tf32": Tolerance(1e-2, 0.9999, 0.85),
    "fp16": Tolerance(2e-2, 0.999, 0.85),
    "bf16": Tolerance(0.15, 0.99, 0.6),
    "int8": Tolerance(1.0, 0.5, 0.1, median_rel_l2=0.6),
}


def compare(name: str, output: Array, reference: Array) -> OutputError:
    """Errors of one output over all inputs; both arrays have the input's index first. One number is a batch of one.

    Of arrays of different shapes nothing is compared: numpy would repeat the smaller one until they fit.
    """
    import numpy as np

    if np.shape(output) != np.shape(reference):
        told = f"its shape is {_shown(np.shape(output))}, the reference's {_shown(np.shape(reference))}"
        return OutputError(name, True, rel_l2=None, cosine=None, max_abs=None, top1_agreement=None, shapes=told)
    out, ref = (np.asarray(array, np.float64) for array in (output, reference))
    out, ref = (array.reshape(len(array) if array.ndim else 1, -1) for array in (out, ref))
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
        median_rel_l2=_median_rel_l2(out, ref),
    )


def _shown(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "that of one number"


def _median_rel_l2(out: Array, ref: Array) -> float | None:
    import numpy as np

    sizes = np.linalg.norm(ref, axis=1)
    seen = sizes > 0  # an input whose reference is zero has no relative error
    return float(np.median(np.linalg.norm(out - ref, axis=1)[seen] / sizes[seen])) if seen.any() else None


def judge(errors: tuple[OutputError, ...], tolerance: Tolerance, inputs: int, reference: str) -> Verification:
    """Whether every output lies within `tolerance`; the reason names the first limit that is broken and by how much."""
    reasons = [reason for error in errors if (reason := _fault(error, tolerance))]
    limits = {name: limit for name, limit in asdict(tolerance).items() if limit is not None}
    return Verification(not reasons, "; ".join(reasons), errors, inputs, reference, limits)


def _fault(error: OutputError, tolerance: Tolerance) -> str:
    if error.shapes:
        return f"{error.name}: {error.shapes}"
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
    if tolerance.median_rel_l2 is not None and (error.median_rel_l2 or 0.0) > tolerance.median_rel_l2:
        far = f"{error.median_rel_l2:.2g} on half the inputs"
        return (
            f"{error.name}: relative L2 error is over {far}, and {tolerance.median_rel_l2:g} is the limit of the median"
        )
    if tolerance.max_abs is not None and error.max_abs is not None and error.max_abs > tolerance.max_abs:
        return f"{error.name}: an element is off by {error.max_abs:.2g}, over {tolerance.max_abs:g}"
    return ""


def tolerance_for(precision: Precision, overrides: Mapping[str, float] | None = None) -> Tolerance:
    """The default limits of a precision with single ones replaced."""
    made = replace(DEFAULTS[precision], **dict(overrides or {}))
    if not all(math.isfinite(value) for value in asdict(made).values() if value is not None):
        raise ValueError(f"tolerances must be finite: {made}")
    return made
