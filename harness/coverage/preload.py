"""What every process of a coverage run needs: imported once, by the process that all others are forked from.

No session is opened and nothing is computed here: threads would not survive the fork.
"""

from __future__ import annotations

import contextlib

from harness import codec, prepare, registry, torchvision_ops, worker  # noqa: F401

with contextlib.suppress(ImportError):  # what is missing is said by the plug-in that needs it
    torchvision_ops.declare()
    import onnx  # noqa: F401
    import onnxscript  # noqa: F401
    import timm  # noqa: F401
    import torch.onnx  # noqa: F401
