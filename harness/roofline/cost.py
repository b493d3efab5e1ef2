"""What a model costs by its definition: floating-point operations, and the bytes that must or would be moved.

Counted in the ONNX graph with the shapes inferred at one batch size, or where there is no graph by
`torch.utils.flop_counter` in the framework. The convention of operations is that of `harness.roofline.operations`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from harness.errors import Unsupported
from harness.model import Artifact, Precision
from harness.roofline.costs import FLOAT_BYTES, Cost, OperatorCost
from harness.roofline.graph_cost import of_graph


@dataclass(frozen=True)
class Counted:
    """What `backbench cost --json` gives of one backbone."""

    model: str
    cost: Cost
    reason: str
    """Why it was not counted in ONNX; empty where it was."""


def of(artifact: Artifact, batch: int, size: int = 0, precision: Precision | None = None) -> Cost:
    """Cost of an `onnx` or `timm` artifact; floats are as wide as in `precision`, or as in the file for None.

    Raises `Unsupported` for another format or a batch that it cannot take, `SourceInvalid` for a file that cannot be read.
    """
    if artifact.format == "onnx":
        return of_graph(Path(artifact.path), batch, size, precision)
    if artifact.format == "timm":
        return _of_module(artifact, batch, precision or artifact.precision)
    raise Unsupported(f"operations are counted in ONNX, not in {artifact.format}", "export it to ONNX")


def _of_module(artifact: Artifact, batch: int, precision: Precision) -> Cost:
    """Cost of a timm snapshot: one image by `torch.utils.flop_counter`, times the batch; multiply-adds alone.

    Attention is taken apart for it, because the counter does not know PyTorch's fused attention on the CPU.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from harness.backbone import load

    model = load(artifact)
    image = torch.zeros(1, *(int(n) for n in artifact.inputs[0].shape[1:]))
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        model(image)
    found = {str(name).rpartition(".")[2]: batch * int(n) for name, n in counter.get_flop_counts()["Global"].items()}
    width = FLOAT_BYTES[precision]
    values = [*model.parameters(), *model.buffers()]
    kept = sum(value.numel() * (width if value.is_floating_point() else value.element_size()) for value in values)
    specs = (*artifact.inputs, *artifact.outputs)
    moved = sum(math.prod(int(n) for n in spec.shape[1:]) for spec in specs)
    return Cost(
        batch=batch,
        params=sum(value.numel() for value in model.parameters()),
        flops=sum(found.values()),
        matmul_flops=sum(found.values()),
        weight_bytes=kept,
        io_bytes=batch * moved * width,
        graph_bytes=None,
        method=f"torch {torch.__version__} flop_counter (multiply-adds alone)",
        operators=tuple(OperatorCost(n, 0, count, None) for n, count in sorted(found.items(), key=lambda i: -i[1])),
    )
