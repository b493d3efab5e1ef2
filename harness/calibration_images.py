"""The images that a quantiser watches: chosen from a folder or generated, and prepared as the backbone takes them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness import installed, preprocess
from harness.cache import sha256
from harness.errors import DataInvalid, ExportFailed
from harness.memo import source_digest
from harness.model import JSON, Artifact, Backbone, Calibration, Export, Recipe, Request, TensorSpec

if TYPE_CHECKING:
    from harness.arrays import Array

FORMAT, INPUTS = "calibration", "inputs.npz"
LEAST_IMAGES = 16
"""Fewer would leave ranges to chance; more than the default of 64 bought nothing where it was measured."""
_LEAST_CONTRAST = 1e-2
"""Standard deviation of an image's normalised pixels below which it shows nothing; one step of 8 bits is about 0.017."""
_STREAM = 1 << 64
"""Added to the seed of generated images: no reference's seed is that large, so that none of its images is watched."""
_HINT = "give another folder: --calib FOLDER, or leave it out for generated images"


def choose(asked: Calibration) -> tuple[Path, ...]:
    """The files to watch, in order: all images below the folder, or a seeded choice of `asked.images` of them.

    Empty for generated images. Raises `DataInvalid` for a folder that is missing, empty or holds too few.
    """
    if not asked.folder:
        return ()
    folder = Path(asked.folder)
    if not folder.is_dir():
        raise DataInvalid(f"the calibration folder {folder} {'is a file' if folder.exists() else 'is missing'}", _HINT)
    try:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in preprocess.SUFFIXES)
    except OSError as error:
        raise DataInvalid(f"the calibration folder {folder} cannot be read: {error}", _HINT) from error
    if len(found) < LEAST_IMAGES:
        what = f"only {len(found)}" if found else "no"
        raise DataInvalid(f"the calibration folder {folder} holds {what} images; {LEAST_IMAGES} are the least", _HINT)
    chosen = random.Random(asked.seed).sample(found, min(asked.images, len(found)))
    return tuple(sorted(chosen))


def digest(files: Sequence[Path]) -> str:
    """sha256 over the content of the files, in their order. Raises `DataInvalid` naming one that cannot be read."""
    found = hashlib.sha256()
    for file in files:
        try:
            found.update(bytes.fromhex(sha256(file)))
        except OSError as error:
            raise DataInvalid(f"the calibration image {file} cannot be read: {error.strerror}", _HINT) from error
    return found.hexdigest()


def described(asked: Calibration, files: Sequence[Path], data_digest: str) -> Mapping[str, JSON]:
    """What a recipe and a record tell of the images; no path, because where they lay changes nothing."""
    config: Mapping[str, JSON] = {"config": asked.config} if asked.config else {}
    if not files:
        return {"source": "generated", "images": asked.images, "seed": asked.seed, **config}
    return {"source": Path(asked.folder).name, "images": len(files), "seed": asked.seed, "data": data_digest, **config}


@dataclass(frozen=True)
class Order:
    """What a worker needs to make the images, and what the cache finds them by."""

    asked: Calibration
    files: tuple[str, ...]
    about: Mapping[str, JSON]
    recipe: Recipe


def order(source: Artifact, backbone: Backbone, asked: Calibration) -> Order:
    """The images that `source`, which tells the data config, takes. Raises as `choose` and `digest` do, and
    `DataInvalid` where `asked.config` does not fit the backbone.

    Backbones of one data config and size share them: nothing else of a backbone is in the recipe.
    """
    if asked.config:
        _config(_only_image_input(source), source, backbone, asked.config)
    files = choose(asked)
    about = described(asked, files, digest(files) if files else "")
    inputs: JSON = [[spec.name, list(spec.shape[1:]), spec.dtype] for spec in source.inputs]
    config = {name: source.details[name] for name in preprocess.OVERRIDES if name in source.details} | dict(
        asked.config
    )
    options = {**about, "inputs": inputs, "input_size": backbone.input_size, "config": config}
    code = source_digest("harness.calibration_images", "harness.preprocess", "harness.images", "harness.reference")
    versions = dict(installed.versions(("numpy", "PIL"))) | {"source": code}
    return Order(asked, tuple(map(str, files)), about, Recipe(FORMAT, "", options, versions))


def told(images: Artifact) -> Mapping[str, JSON]:
    """What a recipe and a record keep of calibration images: not where they lie."""
    return {"digest": images.digest, **images.details}


def make(
    artifact: Artifact, backbone: Backbone, asked: Calibration, files: Sequence[Path], folder: Path
) -> Mapping[str, Array]:
    """Write the images, as every input of `artifact` takes them, into `folder`, and give them.

    Raises `DataInvalid` for an image that cannot be read, and where all of them show nothing.
    """
    import numpy as np

    from harness import reference

    if files:
        spec = _only_image_input(artifact)
        config = _config(spec, artifact, backbone, asked.config)
        found = {spec.name: np.stack([_load(file, config) for file in files]).astype(spec.dtype)}
    else:
        other, shown = (
            replace(backbone, seed=_STREAM + asked.seed),
            replace(artifact, details={**artifact.details, **asked.config}),
        )
        found = {spec.name: reference.generated(spec, shown, other, asked.images) for spec in artifact.inputs}
    for name, images in found.items():
        if images.ndim == 4 and float(images.std(axis=(2, 3), dtype=np.float64).mean()) < _LEAST_CONTRAST:
            raise DataInvalid(
                f"the calibration images of {name!r} are of one colour each: ranges chosen by them would cut off real ones",
                _HINT,
            )
    np.savez(folder / INPUTS, **cast(Any, found))
    return found


def export(made: Mapping[str, Array], artifact: Artifact, about: Mapping[str, JSON]) -> Export:
    """What the cache keeps of the images that `make` wrote."""
    specs = tuple(TensorSpec(s.name, tuple(made[s.name].shape), s.dtype) for s in artifact.inputs)
    return Export(".", "fp32", specs, (), about)


def inputs(want: Request) -> Mapping[str, Array]:
    """The images that a request carries: input name -> float array, the image's index first."""
    import numpy as np

    if want.calibration is None:
        raise ExportFailed("no calibration images were given", "this exporter must say that it is `calibrated`")
    with np.load(Path(want.calibration.path) / INPUTS) as held:
        return dict(held)


def _only_image_input(artifact: Artifact) -> TensorSpec:
    spec = artifact.inputs[0]
    if len(artifact.inputs) != 1 or len(spec.shape) != 4 or spec.shape[1] not in (1, 3):
        shapes = ", ".join(f"{s.name} {s.shape}" for s in artifact.inputs)
        raise DataInvalid(f"images do not fit the inputs {shapes}", "leave out --calib and --calib-config")
    return spec


def _config(
    spec: TensorSpec, artifact: Artifact, backbone: Backbone, overrides: Mapping[str, JSON]
) -> preprocess.DataConfig:
    """The backbone's own data config, or ImageNet's for an ONNX file, which tells none; with what replaces it."""
    size = tuple(n if isinstance(n, int) else backbone.input_size or 224 for n in spec.shape[1:])
    details: dict[str, Any] = {**artifact.details, "input_size": size}
    if size[0] == 1 and "mean" not in details:
        details |= {"mean": (0.485,), "std": (0.229,)}  # as the reference takes them
    return preprocess.overridden(details, overrides)


def _load(file: Path, config: preprocess.DataConfig) -> Array:
    try:
        return preprocess.load(file, config)
    except DataInvalid as error:
        hint = "mend or remove it, or give another folder: --calib FOLDER"
        raise DataInvalid(error.message.replace("the image", "the calibration image", 1), hint) from error
