"""Reads from an ONNX file what its weights and operators are: the few protobuf fields it needs, without the onnx package.

A box that only measures has no onnx, and loading the whole model would spoil the worker's memory figure. The file is
mapped, and tensor data is stepped over. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

_Buffer: TypeAlias = "mmap.mmap | memoryview"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _FUNCTION_NODE, _GRAPH_INITIALIZER = 1, 7, 5
_NODE_OPERATOR, _NODE_ATTRIBUTE = 4, 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_DIMS, _TENSOR_TYPE = 1, 2
_TYPES: Mapping[int, str] = {1: "float", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 16: "bfloat16"}


@dataclass(frozen=True)
class OnnxContent:
    """Elements of the constant tensors by ONNX type name, and nodes by operator; subgraphs and functions included."""

    elements: Mapping[str, int]
    operators: Mapping[str, int]

    @property
    def quantised(self) -> bool:
        """Whether operators quantise: the types of the weights then do not tell in what the layers run."""
        return any("Quantize" in name or "QLinear" in name or name.endswith("Integer") for name in self.operators)


def content(path: Path) -> OnnxContent:
    """What the file at `path` holds. Raises `ValueError` where it is not a protobuf message, `OSError` otherwise."""
    elements: Counter[str] = Counter()
    operators: Counter[str] = Counter()
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for field, start, end in _messages(data, 0, len(data)):
            if field in (_MODEL_GRAPH, _MODEL_FUNCTIONS):
                nodes = _GRAPH_NODE if field == _MODEL_GRAPH else _FUNCTION_NODE
                _graph(data, start, end, nodes, elements, operators)
    return OnnxContent(dict(elements), dict(operators))


def _graph(data: _Buffer, start: int, end: int, nodes: int, elements: Counter[str], operators: Counter[str]) -> None:
    for field, first, last in _messages(data, start, end):
        if field == nodes:
            _node(data, first, last, elements, operators)
        elif field == _GRAPH_INITIALIZER and nodes == _GRAPH_NODE:
            _tensor(data, first, last, elements)


def _node(data: _Buffer, start: int, end: int, elements: Counter[str], operators: Counter[str]) -> None:
    for field, first, last in _messages(data, start, end):
        if field == _NODE_OPERATOR:
            operators[bytes(data[first:last]).decode()] += 1
        elif field == _NODE_ATTRIBUTE:
            for part, begin, stop in _messages(data, first, last):
                if part in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                    _tensor(data, begin, stop, elements)
                elif part in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                    _graph(data, begin, stop, _GRAPH_NODE, elements, operators)


def _tensor(data: _Buffer, start: int, end: int, elements: Counter[str]) -> None:
    kind, dims = 0, []
    for field, wire, value, last in _fields(data, start, end):
        if field == _TENSOR_TYPE:
            kind = value
        elif field == _TENSOR_DIMS and wire == _VARINT:
            dims.append(value)
        elif field == _TENSOR_DIMS:  # packed
            position = value
            while position < last:
                size, position = _varint(data, position)
                dims.append(size)
    elements[_TYPES.get(kind, f"type {kind}")] += math.prod(dims)


def _messages(data: _Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field, first byte, byte after the last) of every length-delimited field."""
    return ((field, value, last) for field, wire, value, last in _fields(data, start, end) if wire == _BYTES)


def _fields(data: _Buffer, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field, wire type, value or first byte, byte after the field) of every field."""
    while position < end:
        tag, position = _varint(data, position)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
        elif wire == _BYTES:
            size, value = _varint(data, position)
            position = value + size
        elif wire in (_FIXED32, _FIXED64):
            value, position = position, position + (4 if wire == _FIXED32 else 8)
        else:
            raise ValueError(f"not an ONNX file: wire type {wire} at byte {position}")
        if position > end:
            raise ValueError(f"not an ONNX file, or truncated: a field ends at byte {position} of {end}")
        yield field, wire, value, position


def _varint(data: _Buffer, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data):
            raise ValueError("not an ONNX file, or truncated")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
