"""What a backbone is asked: how it is shown the images, and which of its outputs each label is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness import preprocess
from harness.accuracy import dataset
from harness.accuracy.dataset import Dataset
from harness.errors import DataInvalid
from harness.model import JSON, Artifact, Cell
from harness.preprocess import DataConfig


@dataclass(frozen=True)
class Wanted:
    """One backbone's data config and classes."""

    config: DataConfig
    own: DataConfig | None
    """The backbone's own data config, where it is known."""
    classes: dataset.Classes
    labels: tuple[int, ...]
    """Of every image of the set."""


def wanted_of(
    source: Artifact, cell: Cell, data: Dataset, classes: str | None, overrides: Mapping[str, JSON]
) -> Wanted:
    """From what the chain began with; `classes` and `overrides` as they were asked for.

    Raises `DataInvalid` where the backbone is no classifier, or the classes or the data config do not fit it."""
    outputs = source.outputs[0].shape
    if len(source.outputs) != 1 or len(outputs) != 2 or not isinstance(outputs[1], int):
        shapes = ", ".join(f"{spec.name} {spec.shape}" for spec in source.outputs)
        raise DataInvalid(f"{cell.backbone.name} is no classifier: its outputs are {shapes}", "leave features_only out")
    own = DataConfig.of(source.details) if source.format == "timm" else None
    details: dict[str, Any] = dict(source.details) if own is not None else _details_of_file(source, cell, overrides)
    known = dataset.classes_of(classes, data, outputs[1])
    return Wanted(preprocess.overridden(details, overrides), own, known, dataset.fit(data, known))


def _details_of_file(source: Artifact, cell: Cell, overrides: Mapping[str, JSON]) -> dict[str, Any]:
    """What an ONNX file tells of its preprocessing: the size, where it is fixed."""
    shape, size = source.inputs[0].shape, cell.backbone.input_size
    if missing := [f"--{name}" for name in ("mean", "std") if name not in overrides]:
        raise DataInvalid(
            f"{cell.backbone.name} is an ONNX file, which does not tell how its images are to be preprocessed",
            f"give {' and '.join(missing)} (0.485,0.456,0.406 and 0.229,0.224,0.225 are ImageNet's)",
        )
    sides = [n if isinstance(n, int) else size for n in shape[2:]]
    if len(shape) != 4 or not isinstance(shape[1], int) or not all(sides):
        raise DataInvalid(f"the input {source.inputs[0].name} {shape} has no known size", "give --input-size")
    return {"input_size": (shape[1], *sides)}
