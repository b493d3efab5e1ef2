"""What every process of a coverage run needs: done once, by the process that all others are forked from.

Libraries are imported, and two tiny networks exported, which fills what PyTorch's exporter keeps between exports (ops,
decompositions, symbols): 1.2 to 1.5 s of exports of 5 to 8 s. One thread computes, because no other survives the fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import traceback

from harness import codec, prepare, registry, torchvision_ops, worker  # noqa: F401
from harness.api import quiet_warnings
from harness.installed import versions

_TINY = ("test_vit", "test_efficientnet")
"""timm's networks for tests: attention and convolutions between them."""
_EXPORT_FAULTS = (RuntimeError, ValueError, TypeError, AttributeError)
"""What an export raises: in an architecture's turn it raises the same, and there it is told."""


def _warm() -> None:
    import torch
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # or a progress bar of the exporter starts a thread
    torch.set_num_threads(1)
    for name in _TINY:
        try:
            _export(name)
        except _EXPORT_FAULTS:
            traceback.print_exc()
    versions({})  # what is installed is looked through once
    gc.collect()
    gc.freeze()  # what all share is not looked through by each


def _export(name: str) -> None:
    import timm
    import torch
    from timm.layers import set_exportable

    with set_exportable(True), quiet_warnings():
        model = timm.create_model(name).eval()
        images = torch.zeros(2, *model.pretrained_cfg["input_size"])
        batch = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(model, (images,), dynamo=True, verbose=False, dynamic_shapes=batch)


for _name in ("onnx", "onnxscript", "openvino", "torch.onnx"):  # not onnxruntime, which starts a thread
    with contextlib.suppress(ImportError):  # what is missing is said by the plug-in that needs it
        importlib.import_module(_name)
with contextlib.suppress(ImportError):
    torchvision_ops.declare()
    _warm()
