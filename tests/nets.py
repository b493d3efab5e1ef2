"""Small backbones and their artifacts, for the tests that need a real network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import backbone, cache, reference, registry
from harness.model import Artifact, Backbone, Recipe, Request

if TYPE_CHECKING:
    from harness.api import Array


def snapshot(asked: Backbone, folder: Path) -> Artifact:
    """The timm artifact of a backbone."""
    folder.mkdir(parents=True, exist_ok=True)
    return cache.seal(backbone.make(asked, folder), folder, "timm", Recipe("timm", ""), 0.0)


def exported(name: str, source: Artifact, folder: Path, batch: int | None = None) -> Artifact:
    """What the exporter `name` makes of `source` in fp32."""
    exporter = registry.exporter_class(name)
    folder.mkdir(parents=True, exist_ok=True)
    export = exporter().export(source, Request("fp32", batch, options=dict(exporter.options)), folder)
    return cache.seal(export, folder, exporter.target, Recipe(name, source.digest), 0.0)


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
