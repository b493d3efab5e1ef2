"""The JSON that `trtexec` writes: times of single inferences, and output tensors.

Forms: `exportJSONTrace` and `exportJSONOutput` in samples/common/sampleReporting.cpp of github.com/NVIDIA/TensorRT.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import RunFailed, TensorSpec

if TYPE_CHECKING:
    from harness.api import Array

_HINT = "is it NVIDIA's trtexec? run it by hand: trtexec --help"


@dataclass(frozen=True)
class Sample:
    """One inference: copies to and from the device, and the time of its kernels between two events."""

    h2d_ns: int
    compute_ns: int
    d2h_ns: int


def samples(file: Path, warm_ms: float) -> Sequence[Sample]:
    """The inferences in a file of `--exportTimes`, in order, without those that began in the first `warm_ms`.

    Older versions export the warm-up too; all times count from its begin. Raises `RunFailed` where the file is none, holds
    no inference after the warm-up, or a time that is no duration.
    """
    found = [_sample(entry) for entry in _read(file) if _number(entry, "startComputeMs") >= warm_ms]
    if not found:
        raise RunFailed(f"trtexec timed no inference after its warm-up of {warm_ms:.0f} ms", "give more duration_s")
    return found


def _sample(entry: Mapping[str, Any]) -> Sample:
    h2d, compute, d2h = (_number(entry, name) for name in ("h2dMs", "computeMs", "d2hMs"))
    if compute <= 0 or h2d < 0 or d2h < 0:
        raise RunFailed(f"trtexec reports a time that is no duration: {dict(entry)}", _HINT)
    return Sample(round(h2d * 1e6), round(compute * 1e6), round(d2h * 1e6))


def _number(entry: Any, name: str) -> float:
    value = entry.get(name) if isinstance(entry, Mapping) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise RunFailed(f"trtexec's times have no number {name!r}: {str(entry)[:120]}", _HINT)
    return float(value)


def outputs(file: Path, specs: Sequence[TensorSpec]) -> Mapping[str, Array]:
    """Output tensors in a file of `--exportOutput` (six significant digits), in the order of `specs`.

    Raises `RunFailed` where one is missing or has another number of values than its dimensions.
    """
    import numpy as np

    told = {str(entry.get("name")): entry for entry in _read(file) if isinstance(entry, Mapping)}
    made: dict[str, Array] = {}
    for spec in specs:
        if (entry := told.get(spec.name)) is None:
            raise RunFailed(f"trtexec wrote no output {spec.name!r}, but {', '.join(told) or 'none'}", _HINT)
        shape = [int(n) for n in re.findall(r"\d+", str(entry.get("dimensions", "")))]
        values = np.array(entry.get("values", ()), dtype=spec.dtype)
        if values.size != math.prod(shape):
            raise RunFailed(f"trtexec wrote {values.size} values of {spec.name!r}, whose shape is {shape}", _HINT)
        made[spec.name] = values.reshape(shape)
    return made


def _read(file: Path) -> Sequence[Any]:
    """The list in the file. C++ prints `nan` and `inf`, which JSON has not: they are read as such, outside of strings."""
    try:
        text = file.read_text()
    except OSError as error:
        raise RunFailed(f"trtexec did not write {file.name}: {error.strerror}", _HINT) from error
    plain = re.sub(r'"(?:[^"\\]|\\.)*"|-?\b(?:nan|inf)\b', _as_json, text)
    try:
        data = json.loads(plain)
    except ValueError as error:
        raise RunFailed(f"{file.name} of trtexec is no JSON: {error}", "is the disk full? see: df -h") from error
    if not isinstance(data, list):
        raise RunFailed(f"{file.name} of trtexec holds no list", _HINT)
    return data


def _as_json(match: re.Match[str]) -> str:
    word = match.group()
    if word.startswith('"'):
        return word
    return word.replace("nan", "NaN").replace("inf", "Infinity").replace("-NaN", "NaN")
