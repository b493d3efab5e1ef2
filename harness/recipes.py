"""The recipe of an artifact: what its cache key is computed from, so that equal recipes give equal artifacts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from harness import calibration_images, codec, interpreter, registry
from harness.memo import source_digest
from harness.model import JSON, Artifact, Recipe, Request
from harness.onnx_file import ASKED_SIZE


def recipe_of(name: str, source: Artifact, want: Request, belongs_to: Mapping[str, JSON], python: str = "") -> Recipe:
    """How exporter `name` makes `want` from `source`; `belongs_to` is the device of an artifact that is not portable.

    `python` is the interpreter it runs in, where that is not Backbench's own.
    """
    exporter = registry.exporter_class(name)
    digest = source_digest(*_own_modules(exporter.__module__))
    options = codec.encode(want)
    options.pop("calibration")
    if not want.build:  # the first is what a plan without builds has
        options.pop("build")
    options |= watched(want)  # where the images lie is no part of the recipe
    if asked := source.details.get(ASKED_SIZE):  # what does not run in one size may in another
        options[ASKED_SIZE] = asked
    if exporter.portable:
        options.pop("device")
    else:
        options["belongs_to"] = belongs_to
    versions = dict(interpreter.versions((*exporter.needs, *exporter.uses), python)) | {"source": digest}
    return Recipe(name, source.digest, options, versions)


def watched(want: Request) -> Mapping[str, JSON]:
    """The calibration images as the recipe tells them: number, method, digest; nothing where none are wanted."""
    images = want.calibration
    return {"calibration": calibration_images.told(images)} if images is not None else {}


def _own_modules(module: str) -> Sequence[str]:
    """A plug-in's module, and the modules with an underscore that it takes things from."""
    package = module.rpartition(".")[0]
    parts = {str(getattr(item, "__module__", "")) for item in vars(sys.modules[module]).values()}
    return (module, *sorted(part for part in parts if package and part.startswith(f"{package}._")))
