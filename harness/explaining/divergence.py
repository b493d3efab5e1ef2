"""Where two ONNX files of one backbone part: intermediate outputs on the same inputs, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness import verify
from harness.errors import PlanInvalid, SourceInvalid
from harness.explaining import tensor_match
from harness.explaining.tensor_match import Tensor
from harness.model import SCHEMA
from harness.onnx_file import first_line, precision, read, specs

if TYPE_CHECKING:
    from harness.arrays import Array

INPUTS = 2
DEFAULT_SIZE = 224
_AT_ONCE = 48
"""Tensors that are held of both files together; all of a large backbone at high resolution would not fit."""
_FLOATS = frozenset({"tensor(float)", "tensor(float16)", "tensor(double)"})
_WHOLE = frozenset({"tensor(bool)", *(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64))})
"""Compared only where they are outputs: the indices and shapes inside of a graph are no results."""
_SMALL = 1024
"""Elements."""


@dataclass(frozen=True)
class Row:
    """One tensor that both files compute, in the first file's order of execution."""

    tensor: str
    other: str
    """Its name in the second file."""
    node: str
    """The node of the first file that makes it."""
    kind: str
    shape: tuple[int, ...]
    matched_by: Literal["output", "name", "order"]
    """`output`: both are outputs of their graph; `order`: by position among tensors of the same operator and shape, because
    the names differ."""
    rel_l2: float | None
    """‖second − first‖ / ‖first‖; None where it is not defined (NaN, a first that is all zero, or another shape)."""
    inherited: float | None
    """The largest `rel_l2` among the nearest compared tensors that it is computed from; None where there are none."""
    doubtful: bool = False
    """Matched by order and over the tolerance, while all that follows from it agrees: not the same tensor."""
    other_shape: tuple[int, ...] | None = None
    """Of an output whose shape in the second file is another one: that shape."""


@dataclass(frozen=True)
class Divergence:
    """Two files, tensor by tensor."""

    first: str
    second: str
    tolerance: float
    rows: tuple[Row, ...]
    culprit: int | None
    """Index of the first row above the tolerance; None where none is."""
    only_first: int
    """Tensors of the first file, floating-point or outputs, that nothing in the second was matched with."""
    only_second: int
    inputs: int
    """Images compared on."""
    outputs: tuple[int, int]
    """How many outputs each file has."""
    schema: int = SCHEMA

    @property
    def compared_outputs(self) -> int:
        """How many outputs of the two were compared with each other."""
        return sum(row.matched_by == "output" for row in self.rows)

    @property
    def agree(self) -> bool | None:
        """Whether the two give the same outputs; None where nothing parts, but an output was compared with none."""
        if self.culprit is not None:
            return False
        return True if 0 < self.compared_outputs == max(self.outputs) else None


def compare(first: Path, second: Path, tolerance: float | None, size: int, given: Path | None) -> Divergence:
    """Compare in ONNX Runtime on the CPU, its optimisations off. Raises `SourceInvalid` and `PlanInvalid`.

    `tolerance` None is that of the coarser precision of the two (`harness.verify`). `given` is a reference folder whose
    inputs are taken; without it, images are made, `size` pixels high and wide where a file leaves that open.
    """
    sides = (_Side(first), _Side(second))
    feeds = _feeds(sides, size, given)
    for side, feed in zip(sides, feeds, strict=True):
        side.learn_shapes(feed)
    outputs = tensor_match.paired_outputs(sides[0].outputs, sides[1].outputs)
    pairs = tensor_match.match(sides[0].tensors, sides[1].tensors, outputs)
    errors: dict[str, float | None] = {}
    for start in range(0, len(pairs), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        left = sides[0].run(feeds[0], [pair.first.name for pair in part])
        right = sides[1].run(feeds[1], [pair.second.name for pair in part])
        for pair in part:
            errors[pair.first.name] = _error(left[pair.first.name], right[pair.second.name])
    limit = max(verify.DEFAULTS[side.precision].rel_l2 for side in sides) if tolerance is None else tolerance
    rows = _rows(pairs, sides[0].graph, errors, limit)
    culprit = next((i for i, row in enumerate(rows) if _over(row.rel_l2, limit) and not row.doubtful), None)
    lone = [len(side.tensors) - len(pairs) for side in sides]
    count = len(next(iter(feeds[0].values())))
    there = len(sides[0].outputs), len(sides[1].outputs)
    return Divergence(str(first), str(second), limit, rows, culprit, lone[0], lone[1], count, there)


def _error(left: Array, right: Array) -> float | None:
    if left.size == right.size == 0:  # an output without elements
        return 0.0 if left.shape == right.shape else None
    return verify.compare("", right, left).rel_l2


def _over(error: float | None, limit: float) -> bool:
    return error is None or not error <= limit


def _rows(
    pairs: Sequence[tensor_match.Pair], graph: Sequence[Tensor], errors: Mapping[str, float | None], limit: float
) -> tuple[Row, ...]:
    nearest = tensor_match.nearest([pair.first for pair in pairs], graph)
    followers: dict[str, list[str]] = {}
    for name, sources in nearest.items():
        for one in sources:
            followers.setdefault(one, []).append(name)
    rows = []
    for pair in pairs:
        name, error = pair.first.name, errors[pair.first.name]
        above = [errors[one] for one in nearest[name]]
        known = [value for value in above if value is not None]
        after = followers.get(name, [])
        healed = bool(after) and not any(_over(errors[one], limit) for one in after)
        doubtful = pair.by == "order" and _over(error, limit) and healed
        inherited = max(known) if known and len(known) == len(above) else None
        made, other = pair.first, pair.second
        shape = other.shape if other.shape != made.shape else None
        rows.append(Row(name, other.name, made.node, made.kind, made.shape, pair.by, error, inherited, doubtful, shape))
    return tuple(rows)


class _Side:
    """One file with every floating-point tensor of its graph as an output beside its own."""

    def __init__(self, path: Path) -> None:
        import onnx
        import onnxruntime as ort

        self.path = path
        model = read(path)
        self.inputs, self.precision = specs(model)[0], precision(model)
        _read_small(model, path.resolve().parent)
        try:
            self.graph = self.tensors = tensor_match.sorted_graph(list(_tensors(model)))
        except CycleError as error:
            raise SourceInvalid(f"{path}: its nodes form a circle", "export it again") from error
        self.outputs = tuple(value.name for value in model.graph.output)
        model.graph.output.extend(onnx.ValueInfoProto(name=t.name) for t in self.tensors if t.name not in self.outputs)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(path.resolve().parent)
        )
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise SourceInvalid(f"onnxruntime cannot load {path}: {first_line(error)}", "see the log") from error
        types = {value.name: value.type for value in self._session.get_outputs()}
        compared = {n for n, kind in types.items() if kind in _FLOATS or (n in self.outputs and kind in _WHOLE)}
        self.tensors = tuple(tensor for tensor in self.tensors if tensor.name in compared)

    def learn_shapes(self, feed: Mapping[str, Array]) -> None:
        """Run once, some tensors at a time, and keep their shapes. Within, nothing can differ where there is no element."""
        shapes: dict[str, tuple[int, ...]] = {}
        for start in range(0, len(self.tensors), _AT_ONCE):
            names = [tensor.name for tensor in self.tensors[start : start + _AT_ONCE]]
            shapes |= {name: array.shape for name, array in self.run(feed, names).items()}
        shaped = (replace(tensor, shape=shapes[tensor.name]) for tensor in self.tensors)
        self.tensors = tuple(t for t in shaped if 0 not in t.shape or t.name in self.outputs)

    def run(self, feed: Mapping[str, Array], names: Sequence[str]) -> Mapping[str, Array]:
        """The named tensors. Raises `SourceInvalid`."""
        try:
            return dict(zip(names, self._session.run(list(names), dict(feed)), strict=True))
        except Exception as error:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
            raise SourceInvalid(
                f"{self.path} does not run on {shapes}: {first_line(error)}", "give the size it takes: --input-size"
            ) from error


def _read_small(model: Any, folder: Path) -> None:
    """Take small weights that lie beside the file into it: ONNX Runtime needs axes and the like while it loads."""
    from onnx import TensorProto, external_data_helper

    for tensor in model.graph.initializer:
        if external_data_helper.uses_external_data(tensor) and math.prod(tensor.dims) <= _SMALL:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def _tensors(model: Any) -> Iterator[Tensor]:
    """What the nodes make, in the order of the file; before it, outputs that no node makes."""
    made = {name for node in model.graph.node for name in node.output}
    for value in model.graph.output:
        if value.name not in made:
            yield Tensor(value.name, "–", "no node", (), ())
    quantised = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for number, node in enumerate(model.graph.node):
        restores = quantised.get(node.input[0], "") if node.op_type == "DequantizeLinear" else ""
        for name in node.output:
            if name:
                label = node.name or f"{node.op_type} (node {number})"
                yield Tensor(name, node.op_type, label, tuple(filter(None, node.input)), (), restores)


def _feeds(
    sides: tuple[_Side, _Side], size: int, given: Path | None
) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """The same inputs under each file's names and types; inputs of the two belong together by their order."""
    import numpy as np

    if len(sides[0].inputs) != len(sides[1].inputs):
        numbers = " and ".join(str(len(side.inputs)) for side in sides)
        raise PlanInvalid(f"the files take {numbers} inputs: they are not of one backbone")
    known = _given(given)
    feeds: tuple[dict[str, Array], dict[str, Array]] = ({}, {})
    for index, (left, right) in enumerate(zip(sides[0].inputs, sides[1].inputs, strict=True)):
        shape = _shape(left.shape, right.shape, size)
        if shape is None:
            raise PlanInvalid(
                f"input {left.name!r} is {list(left.shape)} in {sides[0].path} and {list(right.shape)} in {sides[1].path}",
                "compare files of one input size",
            )
        array = _fitting(known, index, shape)
        array = _made(shape, left.dtype) if array is None else array
        feeds[0][left.name] = np.ascontiguousarray(array, np.dtype(left.dtype))
        feeds[1][right.name] = np.ascontiguousarray(array, np.dtype(right.dtype))
    return feeds


def _given(folder: Path | None) -> list[Array]:
    from harness import reference

    return [] if folder is None else list(reference.load(folder)[0].values())


def _fitting(known: Sequence[Array], index: int, shape: Sequence[int]) -> Array | None:
    if index < len(known) and known[index].shape[1:] == tuple(shape[1:]) and len(known[index]) >= shape[0]:
        return known[index][: shape[0]]
    return None


def _shape(left: Sequence[int | str], right: Sequence[int | str], size: int) -> tuple[int, ...] | None:
    """Fixed sizes of either file; open ones are the number of inputs, and the image's size."""
    if len(left) != len(right):
        return None
    shape = []
    for axis, sizes in enumerate(zip(left, right, strict=True)):
        fixed = {n for n in sizes if isinstance(n, int)}
        if len(fixed) > 1:
            return None
        shape.append(fixed.pop() if fixed else INPUTS if axis == 0 else size)
    return tuple(shape)


def _made(shape: tuple[int, ...], dtype: str) -> Array:
    import numpy as np

    from harness.images import natural_images

    if len(shape) == 4 and shape[1] in (1, 3) and "float" in dtype:
        return (natural_images(*shape, seed=0) - 0.45) / 0.225
    made: Array = np.random.default_rng(0).normal(size=shape)
    return made
