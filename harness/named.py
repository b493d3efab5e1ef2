"""The backbones that an entry of a plan names: of timm by name, wildcard or checkpoint, or an ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.catalog import Catalog
from harness.errors import PlanInvalid
from harness.model import Backbone
from harness.spec import BackboneSpec, Spec


@dataclass(frozen=True)
class Sources:
    """What a plan's names are looked up in."""

    catalog: Callable[[], Catalog]
    """Called only where the plan names a timm model."""
    inspect: Callable[[Path], Mapping[str, Any]]
    """Looks into an ONNX file; the result has `precision` and `inputs` as an `Export` has them."""


def backbones(entry: BackboneSpec, spec: Spec, sources: Sources) -> list[Backbone]:
    """What an entry names, with what it leaves to the plan. Raises `PlanInvalid`, `UnknownName`."""
    weights = spec.weights if entry.weights is None else entry.weights
    size = spec.input_size if entry.input_size is None else entry.input_size
    if entry.name.endswith((".yaml", ".yml")):
        raise PlanInvalid(
            f"{entry.name} is a plan file, and no backbone", f"give it without -m: backbench run {entry.name}"
        )
    if entry.name.endswith(".onnx") or ("/" in entry.name and Path(entry.name).is_file()):
        return [_onnx_file(entry, size, sources)]
    if weights not in ("random", "pretrained"):
        checkpoint = Path(weights).expanduser().absolute()
        if not checkpoint.is_file():
            raise PlanInvalid(
                f"weights {weights!r} is neither `random`, `pretrained` nor a file that exists",
                "give --weights PATH",
            )
        weights = str(checkpoint)
    names = sources.catalog().expand(entry.name)
    return [Backbone(name, "", weights, entry.seed, size, entry.features_only) for name in names]


def _onnx_file(entry: BackboneSpec, size: int, sources: Sources) -> Backbone:
    """A file has weights, outputs and often a size of its own: others would stand in the record, and not run."""
    path = Path(entry.name).expanduser().absolute()
    seen = sources.inspect(path)
    batch, *sides = (seen["inputs"][0]["shape"] if seen["inputs"] else ()) or (0,)
    if entry.weights is not None or entry.features_only:
        raise PlanInvalid(f"{entry.name} is an ONNX file: it has weights and outputs of its own", "leave them out")
    if size and any(isinstance(side, int) and side != size for side in sides[1:]):
        raise PlanInvalid(f"{entry.name} takes images of {sides[-1]} pixels, not of {size}", "leave out the input size")
    fixed = batch if isinstance(batch, int) else 0
    return Backbone(path.stem, str(path), "file", entry.seed, size, False, seen["precision"], fixed)
