"""Small backbones and their artifacts, for the tests that need a real network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import backbone, cache, calibration_images, reference, registry
from harness.model import JSON, Artifact, Backbone, Calibration, Precision, Recipe, Request

if TYPE_CHECKING:
    from harness.api import Array


def snapshot(asked: Backbone, folder: Path) -> Artifact:
    """The timm artifact of a backbone."""
    folder.mkdir(parents=True, exist_ok=True)
    return cache.seal(backbone.make(asked, folder), folder, "timm", Recipe("timm", ""), 0.0)


def exported(
    name: str,
    source: Artifact,
    folder: Path,
    batch: int | None = None,
    precision: Precision = "fp32",
    images: Artifact | None = None,
    **options: JSON,
) -> Artifact:
    """What the exporter `name` makes of `source`, with its default options but for those given."""
    exporter = registry.exporter_class(name)
    assert set(options) <= set(exporter.options)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {**exporter.options, **options}
    export = exporter().export(source, Request(precision, batch, options=chosen, calibration=images), folder)
    return cache.seal(export, folder, exporter.target, Recipe(name, source.digest), 0.0)


def watched_images(source: Artifact, asked: Backbone, folder: Path, count: int = 16) -> Artifact:
    """Generated calibration images as `source` takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = calibration_images.make(source, asked, Calibration(images=count), (), folder)
    export = calibration_images.export(made, source, {"source": "generated", "images": count})
    return cache.seal(export, folder, calibration_images.FORMAT, Recipe(calibration_images.FORMAT, ""), 0.0)


def referenced(source: Artifact, asked: Backbone, folder: Path, count: int = 4) -> tuple[Array, Mapping[str, Array]]:
    """Reference inputs (of the only input) and outputs of an artifact."""
    folder.mkdir(parents=True, exist_ok=True)
    reference.make(source, asked, folder, count)
    inputs, outputs = reference.load(folder)
    (images,) = inputs.values()
    return images, outputs


def outputs_of(artifact: Artifact, images: Array) -> list[Array]:
    """Outputs of a timm artifact in eager PyTorch."""
    import torch

    with torch.inference_mode():
        result: Any = backbone.load(artifact)(torch.from_numpy(images))
    return [r.numpy() for r in (result if isinstance(result, (list, tuple)) else [result])]


def rel_l2(output: Array, expected: Array) -> float:
    """‖output − expected‖ / ‖expected‖."""
    wide, against = output.astype(np.float64), expected.astype(np.float64)
    return float(np.linalg.norm(wide - against) / np.linalg.norm(against))
