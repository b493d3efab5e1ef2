"""Counts the cost of an ONNX graph: which nodes are executed at one batch size, what they compute and what they move."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import SourceInvalid, Unsupported
from harness.model import Precision
from harness.onnx_file import first_line, read
from harness.roofline.costs import FLOAT_BYTES, Cost, OperatorCost
from harness.roofline.operations import SELECTS, VIEWS, Node, Operations, Shape, operations

log = logging.getLogger("backbench")
DEFAULT_SIZE = 224
"""Pixels of a dynamic height or width, where the backbone gives none (as for reference inputs)."""
_SMALL = 1024
"""Elements up to which a constant may be a shape that inference needs the values of."""


def of_graph(path: Path, batch: int, size: int = 0, precision: Precision | None = None) -> Cost:
    """Cost of an ONNX file at a batch; other dynamic dimensions of its inputs become `size` pixels.

    Raises `Unsupported` where its batch is another one, `SourceInvalid` where it cannot be read or its shapes contradict.
    """
    import onnx
    from onnx import inliner

    model = read(path)
    try:
        _load_small(model, path.parent)
        if model.functions:
            model = inliner.inline_local_functions(model)
        _fix_inputs(model, batch, size or DEFAULT_SIZE)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Unsupported:
        raise
    except Exception as error:
        raise SourceInvalid(
            f"the shapes of {path} cannot be inferred: {first_line(error)}", "export it again"
        ) from error
    graph, method = _Graph(model, precision), f"ONNX graph, shapes by onnx {onnx.__version__}"
    if missing := graph.without_shape():
        seen = _observed(path, model, missing)
        for name, (shape, element) in seen.items():
            graph.know(name, shape, element)
        method += ", and by an inference in onnxruntime" if seen else ""
    return graph.cost(batch, method)


def _observed(path: Path, model: Any, names: Sequence[str]) -> Mapping[str, tuple[Shape, int]]:
    """Shapes and types of tensors that cannot be inferred, from one inference; nothing where that is not possible.

    Inference knows neither contributed operators nor all that older exporters compute shapes with.
    """
    try:
        import numpy as np
        import onnx
        import onnxruntime as ort
        from onnx import helper, inliner

        whole = onnx.load(str(path))
        whole = inliner.inline_local_functions(whole) if whole.functions else whole
        outputs = {value.name for value in whole.graph.output}
        whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        session = ort.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
        given = {value.name: value.type.tensor_type for value in model.graph.input}
        feed = {
            value.name: np.zeros(
                [dim.dim_value for dim in given[value.name].shape.dim],
                helper.tensor_dtype_to_np_dtype(given[value.name].elem_type),
            )
            for value in session.get_inputs()
        }
        arrays = session.run(list(names), feed)
        return {n: (a.shape, helper.np_dtype_to_tensor_dtype(a.dtype)) for n, a in zip(names, arrays, strict=True)}
    except Exception as error:  # noqa: BLE001 - whatever keeps it from running: the nodes are then named as not counted
        log.warning("%s: some shapes are not known: %s", path, first_line(error))
        return {}


def _load_small(model: Any, folder: Path) -> None:
    """Values that may be shapes are kept, all others dropped: inference takes minutes with gigabytes of weights."""
    from onnx import TensorProto, external_data_helper

    for tensor in model.graph.initializer:
        external = tensor.data_location == TensorProto.EXTERNAL
        if math.prod(tensor.dims) <= _SMALL:
            if external:
                external_data_helper.load_external_data_for_tensor(tensor, str(folder))
                tensor.data_location = TensorProto.DEFAULT
                del tensor.external_data[:]
        elif not external:
            for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(name)


def _fix_inputs(model: Any, batch: int, size: int) -> None:
    """Give every dynamic dimension of the inputs a length, and forget all shapes that followed from the names."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name in constants:
            continue
        for index, dim in enumerate(value.type.tensor_type.shape.dim):
            wanted = batch if index == 0 else size
            if not (dim.HasField("dim_value") and dim.dim_value > 0):
                dim.Clear()
                dim.dim_value = wanted
            elif index == 0 and dim.dim_value != batch:
                fixed = dim.dim_value
                raise Unsupported(f"the graph takes batch {fixed} only, not {batch}", f"give --batch {fixed}")
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


class _Graph:
    """A graph whose shapes are inferred: which nodes are executed, what they compute and what they move."""

    def __init__(self, model: Any, precision: Precision | None) -> None:
        self.graph = model.graph
        self._float_bytes = FLOAT_BYTES[precision] if precision else None
        self._shapes: dict[str, Shape] = {}
        self._bytes: dict[str, int] = {}
        self._elements: dict[str, int] = {}
        self._weights = {tensor.name for tensor in self.graph.initializer}
        self._inputs = [value for value in self.graph.input if value.name not in self._weights]
        for tensor in self.graph.initializer:
            self.know(tensor.name, tuple(tensor.dims), tensor.data_type)
        for value in (*self.graph.input, *self.graph.value_info, *self.graph.output):
            kind = value.type.tensor_type
            if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
                self.know(value.name, tuple(dim.dim_value for dim in kind.shape.dim), kind.elem_type)

    def without_shape(self) -> list[str]:
        """Tensors of executed nodes whose shapes are not known."""
        names = (name for node in self._executed() for name in (*node.input, *node.output))
        return [name for name in dict.fromkeys(names) if name and name not in self._shapes]

    def know(self, name: str, shape: Shape, element: int) -> None:
        """Note the shape and the ONNX element type of a tensor."""
        self._shapes[name] = shape
        self._elements[name] = element
        self._bytes[name] = math.ceil(math.prod(shape) * self._item_bytes(element))

    def _item_bytes(self, element: int) -> float:
        from onnx import TensorProto, helper

        if element == TensorProto.FLOAT and self._float_bytes is not None:
            return self._float_bytes
        if element in (TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1):
            return 0.5
        if element == TensorProto.STRING:
            return 0.0
        return float(helper.tensor_dtype_to_np_dtype(element).itemsize)

    def cost(self, batch: int, method: str) -> Cost:
        """Add up the executed nodes."""
        totals: dict[str, _Total] = {}
        uncounted: Counter[str] = Counter()
        unshaped: Counter[str] = Counter()
        read: set[str] = set()
        for node in self._executed():
            kind = _kind(node)
            if any(name and name not in self._shapes for name in (*node.input, *node.output)):
                unshaped[kind] += 1
                continue
            total = totals.setdefault(kind, _Total())
            found = operations(self._node(node, kind))
            if found is None:
                uncounted[kind] += 1
            total.add(found or Operations(), self._moved(node, kind))
            read |= {name for name in node.input if name in self._weights}
        weights = sum(self._bytes[name] for name in read)
        activations = sum(total.activations for total in totals.values())
        ordered = sorted(totals.items(), key=lambda item: (-item[1].flops, -item[1].moved, item[0]))
        return Cost(
            batch=batch,
            params=sum(math.prod(self._shapes[name]) for name in read if self._is_parameter(name)),
            flops=sum(total.flops for total in totals.values()),
            matmul_flops=sum(total.multiply_add for total in totals.values()),
            weight_bytes=weights,
            io_bytes=sum(self._bytes.get(value.name, 0) for value in (*self._inputs, *self.graph.output)),
            graph_bytes=weights + activations,
            method=method,
            operators=tuple(OperatorCost(name, t.nodes, t.flops, t.moved) for name, t in ordered),
            uncounted=dict(uncounted),
            unshaped=dict(unshaped),
        )

    def _executed(self) -> Iterator[Any]:
        """Nodes that an output needs and that depend on an input: constants are computed once, when a model is loaded."""
        needed = {value.name for value in self.graph.output}
        alive = []
        for node in reversed(self.graph.node):
            if any(name in needed for name in node.output):
                needed.update(node.input)
                alive.append(node)
        for node in reversed(alive):
            known = all(name in self._weights for name in node.input if name)
            shape_alone = node.op_type in ("Shape", "Size") and node.output[0] in self._shapes
            if (known and not node.op_type.startswith(("Random", "Bernoulli", "Multinomial"))) or shape_alone:
                self._weights.update(node.output)
                if node.op_type == "DequantizeLinear":  # weights lie in memory as they are stored
                    self._bytes[node.output[0]] = self._bytes[node.input[0]]
            else:
                yield node

    def _node(self, node: Any, kind: str) -> Node:
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute if not a.HasField("g")}
        plain = {name: v.decode() if isinstance(v, bytes) else v for name, v in attributes.items()}
        inputs = [self._shapes[name] if name else None for name in node.input]
        return Node(kind, inputs, [self._shapes[name] for name in node.output if name], plain)

    def _moved(self, node: Any, kind: str) -> tuple[int, int]:
        """Bytes of activations that a node reads and writes, and of weights that it reads."""
        if kind in VIEWS:
            return 0, 0
        written = sum(self._bytes[name] for name in node.output if name)
        read = {name: self._bytes[name] for name in node.input if name}
        if kind in SELECTS and node.input[0] in read:
            read[node.input[0]] = min(written, read[node.input[0]])
        weights = sum(count for name, count in read.items() if name in self._weights)
        return written + sum(read.values()) - weights, weights

    def _is_parameter(self, name: str) -> bool:
        """Floats and quantised numbers of one dimension or more: no shapes, axes or scalars of the formula."""
        from onnx import TensorProto

        shapes = (TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING)
        return bool(self._shapes[name]) and self._elements[name] not in shapes


def _kind(node: Any) -> str:
    """The operator's name, with its domain where another operator has the same name, or the domain is not known."""
    if node.domain in ("", "ai.onnx") or (node.domain == "com.microsoft" and node.op_type != "Attention"):
        return str(node.op_type)
    return f"{node.domain}.{node.op_type}"


@dataclass
class _Total:
    """What has been added up for one operator."""

    nodes: int = 0
    multiply_add: int = 0
    other: int = 0
    activations: int = 0
    weights: int = 0

    @property
    def flops(self) -> int:
        return self.multiply_add + self.other

    @property
    def moved(self) -> int:
        return self.activations + self.weights

    def add(self, found: Operations, moved: tuple[int, int]) -> None:
        self.nodes += 1
        self.multiply_add += found.multiply_add
        self.other += found.other
        self.activations += moved[0]
        self.weights += moved[1]
