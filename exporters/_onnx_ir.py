"""What `onnx_dynamo` mends in the ONNX IR graph that PyTorch's exporter hands back, and lets go of."""

from __future__ import annotations

from typing import Any


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
