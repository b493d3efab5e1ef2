"""Which tensors of two graphs are the same one: outputs by place, others by name, else by operator, shape and order."""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from graphlib import TopologicalSorter
from typing import Literal


@dataclass(frozen=True)
class Tensor:
    """What a node makes; a graph's tensors come in the order of execution."""

    name: str
    kind: str
    """Operator type of the node."""
    node: str
    inputs: tuple[str, ...]
    """Tensors that the node takes."""
    shape: tuple[int, ...]
    restores: str = ""
    """Of what a DequantizeLinear makes: the tensor that was quantised before it."""


@dataclass(frozen=True)
class Pair:
    """The same tensor in two graphs."""

    first: Tensor
    second: Tensor
    by: Literal["output", "name", "order"]


def paired_outputs(first: Sequence[str], second: Sequence[str]) -> list[tuple[str, str]]:
    """The outputs of two graphs that belong together: by name where one's names are all the other's too, else by place."""
    if set(first) <= set(second) or set(second) <= set(first):
        return [(name, name) for name in first if name in second]
    return list(zip(first, second, strict=False))


def match(first: Sequence[Tensor], second: Sequence[Tensor], outputs: Sequence[tuple[str, str]] = ()) -> list[Pair]:
    """Pairs in the first graph's order.

    `outputs` belong together whatever makes them and whatever their shapes: they are what is deployed. Of the rest, names
    count where the shape agrees and the order of execution too (exporters number tensors, so that a name can come again
    elsewhere). A quantiser takes a Relu out, whose name its input then has, because the range that it quantises to cuts off
    the same: where operators differ, the tensor that comes back from int8 is the one of that name. Between two that are
    matched so, the rest is aligned by operator and shape.
    """
    order = {tensor.name: i for i, tensor in enumerate(first)}
    mine, its = ({tensor.name: tensor for tensor in side} for side in (first, second))
    fixed = [Pair(mine.pop(a), its.pop(b), "output") for a, b in outputs if a in mine and b in its]
    first, second = tuple(mine.values()), tuple(its.values())
    places = {tensor.name: i for i, tensor in enumerate(second)}
    back = _dequantised(first), _dequantised(second)
    named = []
    for i, tensor in enumerate(first):
        pair = (i, places[tensor.name]) if tensor.name in places else None
        if pair is not None and tensor.kind != second[pair[1]].kind:
            pair = back[0].get(tensor.name, pair[0]), back[1].get(tensor.name, pair[1])
        if pair is not None and first[pair[0]].shape == second[pair[1]].shape:
            named.append(pair)
    named.sort()
    anchors = _increasing(named)
    pairs = [*fixed, *(Pair(first[i], second[j], "name") for i, j in anchors)]
    bounds = [(-1, -1), *anchors, (len(first), len(second))]
    for (i, j), (k, m) in itertools.pairwise(bounds):
        pairs += _aligned(first[i + 1 : k], second[j + 1 : m])
    return sorted(pairs, key=lambda pair: order[pair.first.name])


def _dequantised(tensors: Sequence[Tensor]) -> Mapping[str, int]:
    """By tensor that is quantised: the place of the one that comes back from it."""
    return {tensor.restores: i for i, tensor in enumerate(tensors) if tensor.restores}


def _aligned(first: Sequence[Tensor], second: Sequence[Tensor]) -> Iterator[Pair]:
    keys = [[(tensor.kind, tensor.shape) for tensor in side] for side in (first, second)]
    for block in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_matching_blocks():
        for i in range(block.size):
            yield Pair(first[block.a + i], second[block.b + i], "order")


def _increasing(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of `pairs` (increasing in the first) that increases in the second too."""
    tails: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for index, (_, value) in enumerate(pairs):
        place = bisect.bisect_left(tails, value)
        before.append(last[place - 1] if place else -1)
        if place == len(tails):
            tails.append(value)
            last.append(index)
        else:
            tails[place], last[place] = value, index
    chain: list[tuple[int, int]] = []
    at = last[-1] if last else -1
    while at >= 0:
        chain.append(pairs[at])
        at = before[at]
    return chain[::-1]


def sorted_graph(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The tensors in an order in which they can be computed, that of the file as far as it is one."""
    makers = {tensor.name: i for i, tensor in enumerate(tensors)}
    graph = {i: [makers[name] for name in tensor.inputs if name in makers] for i, tensor in enumerate(tensors)}
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ready: list[int] = []
    order: list[Tensor] = []
    while sorter.is_active():
        for index in sorter.get_ready():
            heapq.heappush(ready, index)
        first = heapq.heappop(ready)
        sorter.done(first)
        order.append(tensors[first])
    return tuple(order)


def nearest(compared: Sequence[Tensor], graph: Sequence[Tensor]) -> Mapping[str, tuple[str, ...]]:
    """By tensor of `compared`: the nearest others of `compared` that it is computed from, through all of `graph`."""
    known = {tensor.name for tensor in compared}
    reach: dict[str, tuple[str, ...]] = {}
    for tensor in graph:
        above = ((name,) if name in known else reach.get(name, ()) for name in tensor.inputs)
        reach[tensor.name] = tuple(dict.fromkeys(one for names in above for one in names))
    return {name: reach[name] for name in known}
