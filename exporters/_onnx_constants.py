"""Computes what an ONNX IR graph has of weights and resized constants that depend on no input."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Mapping
from typing import Any

from harness.api import first_line

log = logging.getLogger("backbench")

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Their second input is a weight, or what the network computes."""
_RANDOM = ("Random", "Multinomial", "Bernoulli")


def compute_constants(graph: Any) -> None:
    """Compute in an ONNX IR graph what depends on no input and is a weight, or is resized. onnxscript's optimiser has
    computed what is small.

    A weight: networks that standardise theirs (NFNets, BiT) had three of four nodes for that (nf_resnet50: 416 of 572), which
    OpenVINO computed for 6 s of a CPU at every opening.

    Resized, as a position embedding: OpenVINO reads a Resize without its `exclude_outside` (docs/known-issues), and so had
    hiera_*_abswin's embedding 2 % wrong.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return
    constant = _constant_nodes(graph)
    for node in list(graph):
        if node.op_type in _WEIGHTED:
            _compute(graph, node.inputs[1], constant)
        elif node.op_type == "Resize":
            _compute(graph, node.outputs[0], constant, may_grow=True)


def _constant_nodes(graph: Any) -> dict[Any, None]:
    """The nodes that need nothing but constants, in the graph's order."""
    found: dict[Any, None] = {}
    for node in graph:
        if _repeatable(node) and all(
            value is None or value.const_value is not None or value.producer() in found for value in node.inputs
        ):
            found[node] = None
    return found


def _compute(graph: Any, value: Any, constant: Mapping[Any, None], *, may_grow: bool = False) -> None:
    """Have an initializer in the value's place, if such nodes make it, in float32, and the file does not grow by it.

    What ONNX Runtime cannot compute stays as it is: whether a runtime can is not for an exporter to say.
    """
    import onnx_ir

    if value is None or value.const_value is not None or value.producer() not in constant:
        return
    if value.dtype is not onnx_ir.DataType.FLOAT or value.is_graph_output():
        return
    made_by = _makers(value, constant)
    given = {
        one.name: one for node in made_by for one in node.inputs if one is not None and one.const_value is not None
    }
    needed_here = [one for one in given.values() if all(use.node in made_by for use in one.uses())]
    room = sum(one.const_value.size for one in needed_here)
    if not may_grow and _size(value) > room:
        return
    try:
        array = _run(made_by, given, value.name, graph.opset_imports[""])
    except Exception as error:  # noqa: BLE001 - whatever ONNX Runtime has against it, the nodes do the same
        log.warning("%s is left to be computed by whoever opens the file: %s", value.name, first_line(error))
        return
    computed = onnx_ir.Value(shape=onnx_ir.Shape(array.shape), type=value.type, const_value=onnx_ir.tensor(array))
    onnx_ir.convenience.replace_all_uses_with(value, computed)
    for node in reversed(made_by):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
    unused = [one for one in given.values() if one.is_initializer() and not one.uses() and not one.is_graph_output()]
    for one in unused:
        graph.initializers.pop(one.name)
    parameter = max(given.values(), key=lambda one: int(one.const_value.size), default=None)
    computed.name = parameter.name if parameter is not None and parameter in unused else f"{value.name}_computed"
    graph.register_initializer(computed)


def _size(value: Any) -> int:
    """How many numbers it has; 0 where that is not known before."""
    return math.prod(value.shape) if value.shape is not None and value.shape.is_static() else 0


def _makers(value: Any, constant: Mapping[Any, None]) -> list[Any]:
    """Those of the constant nodes that compute a value, in the order of their running."""
    needed, waiting = set(), [value.producer()]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += [one.producer() for one in node.inputs if one is not None and one.const_value is None]
    return [node for node in constant if node in needed]


def _repeatable(node: Any) -> bool:
    """Whether a node computes the same each time, of its inputs alone: a standard operator without a graph inside."""
    import onnx_ir

    inside = (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS)
    return (
        node.domain in ("", "ai.onnx")
        and not node.op_type.startswith(_RANDOM)
        and not any(attribute.type in inside for attribute in node.attributes.values())
    )


def _run(nodes: list[Any], given: Mapping[str, Any], wanted: str, opset: int) -> Any:
    """The float32 value that nodes compute of constants, by ONNX Runtime."""
    import onnx
    import onnx_ir
    import onnxruntime

    weights = [onnx.numpy_helper.from_array(value.const_value.numpy(), name) for name, value in given.items()]
    result = onnx.helper.make_tensor_value_info(wanted, onnx.TensorProto.FLOAT, None)
    serialized = [onnx_ir.serde.serialize_node(node) for node in nodes]
    graph = onnx.helper.make_graph(serialized, "constant", [], [result], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {})[0]
