"""What counting a model's cost gives: operations and bytes, of all and by operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.model import Precision

FLOAT_BYTES: Mapping[Precision, int] = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1}
"""Bytes of a float tensor in a cell of that precision."""


@dataclass(frozen=True)
class OperatorCost:
    """All nodes of one operator together."""

    name: str
    nodes: int
    flops: int
    bytes_moved: int | None
    """Inputs, weights and outputs of these nodes; None where it was not counted."""


@dataclass(frozen=True)
class Cost:
    """Operations and bytes of one inference of a whole batch."""

    batch: int
    params: int
    """Elements of the weights that the graph holds (an exporter folds BatchNorm into convolutions)."""
    flops: int
    """All floating-point operations; a multiply-add is 2."""
    matmul_flops: int
    """Those of matrix products and convolutions, biases left out: what `torch.utils.flop_counter` counts."""
    weight_bytes: int
    io_bytes: int
    """Inputs and outputs of the model."""
    graph_bytes: int | None
    """Weights once, and inputs and outputs of every executed node: what is moved if nothing is fused. None: not counted."""
    method: str
    """What it was counted in."""
    operators: tuple[OperatorCost, ...] = ()
    """The one with most operations first."""
    uncounted: Mapping[str, int] = field(default_factory=dict)
    """Nodes by operator whose operations are not known; their bytes are counted."""
    unshaped: Mapping[str, int] = field(default_factory=dict)
    """Nodes by operator whose shapes could not be inferred; nothing of them is counted."""

    @property
    def compulsory_bytes(self) -> int:
        """What any execution must move at least once: weights, inputs and outputs."""
        return self.weight_bytes + self.io_bytes

    @property
    def complete(self) -> bool:
        """Whether nothing was left out; else the operations are a lower bound."""
        return not self.uncounted and not self.unshaped
