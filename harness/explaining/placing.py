"""Which nodes of the ONNX graph a profiled layer computes, and which part of the backbone that is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.explaining.layers import Layer, group_of
from harness.model import GraphNode

_ANCHORS = ("convolution", "matrix product")
"""Groups of which a fused layer holds one node, that others were fused into."""


def place(layers: Sequence[Layer], graph: Sequence[GraphNode]) -> tuple[Layer, ...]:
    """Layers with the ONNX nodes that they compute, as far as names (or PyTorch's modules) tell, and their part.

    A node that no layer names was fused: into the layer that is called after a later one (a Conv under the name of its
    Relu), or into the layer that alone feeds it. `Layer.part` holds the module's path before, the part after.
    """
    wires = _Wires(graph)
    named = [_of_module(layer, graph) if layer.part else wires.named(layer.nodes) for layer in layers]
    claimed = {name for names in named for name in names}
    mine: list[list[str]] = []
    for layer, names in zip(layers, named, strict=True):
        found = names
        if len(names) == 1 and not layer.part and group_of(wires.nodes[names[0]].kind) != layer.group:
            found = wires.before(names[0], layer.group, claimed)
            claimed.update(found)
        mine.append(found)
    owners = {name: names for layer, names in zip(layers, mine, strict=True) for name in names if not layer.part}
    for node in graph:
        if node.name not in claimed and (feeder := wires.feeder(node, owners)) is not None:
            feeder.append(node.name)
            owners[node.name] = feeder
    return tuple(_placed(layer, names, wires) for layer, names in zip(layers, mine, strict=True))


def _placed(layer: Layer, names: Sequence[str], wires: _Wires) -> Layer:
    ordered = sorted(names, key=wires.order.__getitem__)
    module = layer.part or next((wires.nodes[n].modules[-1] for n in ordered if wires.nodes[n].modules), "")
    return replace(layer, nodes=tuple(ordered), part=part_of(module))


class _Wires:
    """What feeds what in a graph."""

    def __init__(self, graph: Sequence[GraphNode]) -> None:
        self.nodes = {node.name: node for node in graph}
        self.order = {node.name: i for i, node in enumerate(graph)}
        self._makers = {tensor: node for node in graph for tensor in node.outputs}
        self._users: dict[str, set[str]] = defaultdict(set)
        for node in graph:
            for tensor in node.inputs:
                self._users[tensor].add(node.name)

    def named(self, names: Sequence[str]) -> list[str]:
        """The nodes of these names, or that make tensors of these names."""
        found = (self.nodes.get(name) or self._makers.get(name) for name in names)
        return list(dict.fromkeys(node.name for node in found if node is not None))

    def before(self, last: str, group: str, claimed: set[str]) -> list[str]:
        """`last` and the unclaimed nodes that it alone uses, up to one that does what the layer does."""
        mine, waiting = [last], [self.nodes[last]]
        while waiting:
            for tensor in waiting.pop().inputs:
                node = self._makers.get(tensor)
                if node is None or node.kind == "Constant" or node.name in claimed or node.name in mine:
                    continue
                if all(self._users[out] <= set(mine) for out in node.outputs):
                    mine.append(node.name)
                    if group not in _ANCHORS or group_of(node.kind) != group:
                        waiting.append(node)
        return mine

    def feeder(self, node: GraphNode, owners: Mapping[str, list[str]]) -> list[str] | None:
        """The nodes of the layer that makes what `node` alone uses; of several, the one that runs last."""
        makers = [self._makers[t] for t in node.inputs if t in self._makers and self._users[t] == {node.name}]
        makers = [maker for maker in makers if maker.name in owners]
        return owners[max(makers, key=lambda maker: self.order[maker.name]).name] if makers else None


def _of_module(layer: Layer, graph: Sequence[GraphNode]) -> list[str]:
    """Nodes of the layer's module that do what it does; the only node of the module where it was folded into another."""
    mine = [node for node in graph if layer.part in node.modules]
    alike = [node.name for node in mine if group_of(node.kind) == layer.group]
    return alike or ([mine[0].name] if len(mine) == 1 else [])


def part_of(module: str) -> str:
    """`layer1.0.conv1` is of `layer1.0`, `blocks.3.attn.qkv` of `blocks.3`, `head.fc` of `head`."""
    words = module.split(".")
    number = next((i for i, word in enumerate(words) if word.isdigit()), 0)
    return ".".join(words[: number + 1])
