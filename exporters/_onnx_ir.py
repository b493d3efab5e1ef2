"""What `onnx_dynamo` mends in the ONNX IR graph of PyTorch's exporter, lets go of, and has looked at less often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def no_pairs_of_slices() -> Iterator[None]:
    """Have onnxscript's optimiser not look for two slices that make a split.

    Its rule for them (`slice_split_rule`, onnxscript 0.7) never matches, but looks at every pair of a node and a slice
    (docs/known-issues): 17 of the 46 s of exporting swinv2_cr_small_224, of 1,470 nodes.
    """
    from onnxscript.rewriter.rules.common import slice_split_rule

    slice_split_rule.match = lambda *_, **__: None  # of this object alone: the class is every rule's
    try:
        yield
    finally:
        del slice_split_rule.match


def restore_constants(graph: Any) -> None:
    """Give back to an ONNX IR graph the constants that nodes use and it no longer holds.

    onnxscript 0.7's optimiser loses the bounds of one of two clips of the same tensor (docs/known-issues): gemma4_vit.
    """
    for node in graph:
        for value in node.inputs:
            if value is None or value.const_value is None or value.producer() is not None or value.is_initializer():
                continue
            value.name = f"{value.name}_of_{node.name}"  # its own name is another constant's
            graph.register_initializer(value)


def let_go_of_weights(graph: Any, model: Any) -> None:
    """Of an ONNX IR graph that is written, and of the model that it was: what comes next has the memory.

    onnxscript 0.7's rewrite rules live as long as the process, and each remembers a node that it looked at, with its graph
    and with what stood there before it was folded.
    """
    for value in graph.initializers.values():
        value.const_value = None
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.new_empty(0)
