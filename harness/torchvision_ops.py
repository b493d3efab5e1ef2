"""Lets torchvision (and so timm) import beside a torch that its extension was not built for, such as CPU torch."""

from __future__ import annotations

import functools

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@functools.cache
def declare() -> bool:
    """Declare the two operators that importing torchvision looks up, if its extension does not; whether it was needed.

    PyPI's torchvision is a CUDA build: beside CPU torch its extension does not load, and then importing it fails with
    `operator torchvision::nms does not exist`. No backbone calls either operator; a schema without a kernel is enough.
    """
    import torch

    if _extension_loads():
        return False
    # torch drops the schemas when the Library object goes, so the cache of this function's module keeps it.
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        name = schema.partition("(")[0]
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _kept.append(library)
    return True


_kept: list[object] = []


def _extension_loads() -> bool:
    """Whether torchvision's own extension defines the operators. It is loaded as torchvision itself does it."""
    import importlib.util
    from pathlib import Path

    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to help
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
    return hasattr(torch.ops.torchvision, "nms")
