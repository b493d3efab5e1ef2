"""What an ONNX file tells of its nodes: names, tensors, and the PyTorch modules that they came from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import SourceInvalid
from harness.model import GraphNode
from harness.onnx_file import first_line

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where `torch.onnx.export(dynamo=True)` keeps the module path of a node, outermost first, the operator last."""


def nodes(path: Path) -> tuple[GraphNode, ...]:
    """The nodes of the main graph, in the order of the file. Raises `SourceInvalid`."""
    import onnx

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception as error:
        raise SourceInvalid(f"{path} cannot be read as ONNX: {first_line(error)}", "copy it again") from error
    weights = {tensor.name for tensor in graph.initializer}
    return tuple(
        GraphNode(node.name, node.op_type, tuple(node.input), tuple(node.output), tuple(_modules(node, weights)))
        for node in graph.node
    )


def _modules(node: Any, weights: set[str]) -> Iterator[str]:
    """Innermost module by the exporter's metadata (or TorchScript's node names), then those that own its weights.

    A folded BatchNorm leaves a node that came from two modules.
    """
    told = {entry.key: entry.value for entry in node.metadata_props}
    own = _scope(told[_SCOPES]) if _SCOPES in told else _scope_of_name(node.name)
    owners = (name.rpartition(".")[0] for name in node.input if name in weights)
    yield from dict.fromkeys(module for module in (own, *owners) if module)


def _scope(scopes: str) -> str:
    try:
        listed = ast.literal_eval(scopes)
    except (ValueError, SyntaxError):
        return ""
    return str(listed[-2]) if isinstance(listed, list) and len(listed) > 1 else ""


def _scope_of_name(name: str) -> str:
    """`/layer1/layer1.0/conv1/Conv` is of `layer1.0.conv1`: a child of a container carries its whole path."""
    path = ""
    for part in [part for part in name.split("/") if part][:-1] if name.startswith("/") else []:
        path = part if part == path or part.startswith(f"{path}.") else f"{path}.{part}" if path else part
    return path
