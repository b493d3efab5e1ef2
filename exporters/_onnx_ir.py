"""What `onnx_dynamo` mends in the ONNX IR graph that PyTorch's exporter hands back."""

from __future__ import annotations

import importlib.util
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


def resize_constants(graph: Any) -> None:
    """Compute what an ONNX IR graph resizes and is constant, as a position embedding.

    onnxscript's optimiser has computed the small ones. OpenVINO reads a Resize without its `exclude_outside`
    (docs/known-issues), and so had hiera_*_abswin's embedding 2 % wrong.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return
    import onnx_ir

    for node in list(graph):
        if node.op_type != "Resize" or node.outputs[0].dtype is not onnx_ir.DataType.FLOAT:
            continue
        (output,) = node.outputs
        given = [value for value in node.inputs if value is not None]
        if output.is_graph_output() or any(value.const_value is None for value in given):
            continue
        computed = _run(node, given, graph.opset_imports[""])
        resized = onnx_ir.Value(
            name=f"{output.name}_computed",
            shape=onnx_ir.Shape(computed.shape),
            type=output.type,
            const_value=onnx_ir.tensor(computed),
        )
        graph.register_initializer(resized)
        onnx_ir.convenience.replace_all_uses_with(output, resized)
        graph.remove(node, safe=True)
        for value in given:
            if value.is_initializer() and not value.uses():
                graph.initializers.pop(value.name)


def _run(node: Any, given: list[Any], opset: int) -> Any:
    """The one output of a node whose inputs are constants, by ONNX Runtime."""
    import onnx
    import onnx_ir
    import onnxruntime

    weights = [onnx.numpy_helper.from_array(value.const_value.numpy(), value.name) for value in given]
    result = onnx.helper.make_tensor_value_info(node.outputs[0].name, onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([onnx_ir.serde.serialize_node(node)], "constant", [], [result], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {})[0]


def let_go_of_weights(graph: Any, model: Any) -> None:
    """Of an ONNX IR graph that is written, and of the model that it was: what comes next has the memory.

    onnxscript 0.7's rewrite rules live as long as the process, and each remembers a node that it looked at, with its graph
    and with what stood there before it was folded.
    """
    for value in graph.initializers.values():
        value.const_value = None
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.new_empty(0)
