"""What the converters of ONNX files share: weights beside the graph, and the names that their options are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.api import Artifact, ExportFailed, did_you_mean, first_line

ONE_FILE_BYTES = 1_900_000_000
"""Over this a protobuf message (2 GiB at most) may not hold the weights: they go beside the graph."""
_SMALL_BYTES = 1024
"""What an initialiser of shapes, axes or sizes is no larger than."""


def too_large(size_bytes: float) -> bool:
    """Whether a model of that size has to have its weights beside the graph."""
    return size_bytes > ONE_FILE_BYTES


def beside(file: Path) -> str:
    """Name of the file that holds the weights of `file`."""
    return f"{file.name}.data"


def loaded(source: Artifact) -> Any:
    """The model with its weights, shapes and types inferred. Raises `ExportFailed`."""
    try:
        return _loaded(Path(source.path))
    except Exception as error:
        raise ExportFailed(f"{source.path} cannot be read: {first_line(error)}", "see the log") from error


def _loaded(file: Path) -> Any:
    """Shapes are inferred before the weights beside the graph are read: that serialises what it is given, 2 GiB at most."""
    import onnx
    from onnx import external_data_helper as external

    folder = str(file.parent)
    model = onnx.load(str(file), load_external_data=False)
    for tensor in model.graph.initializer:  # shapes follow from these
        kept = {entry.key: entry.value for entry in tensor.external_data}
        if external.uses_external_data(tensor) and int(kept.get("length", _SMALL_BYTES + 1)) <= _SMALL_BYTES:
            external.load_external_data_for_tensor(tensor, folder)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    model = onnx.shape_inference.infer_shapes(model)
    external.load_external_data_for_model(model, folder)
    return model


def graphs(graph: Any) -> Iterator[Any]:
    """The graphs inside a graph's nodes (bodies of If, Loop and Scan), at any depth."""
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield inner
                yield from graphs(inner)


def refuse_unknown_operators(option: str, names: Iterable[str], model: Any) -> None:
    """Raise `ExportFailed` for a name that is neither an operator of ONNX nor one of the graph's own."""
    import onnx

    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    _refuse_unknown(option, names, known | {node.op_type for node in model.graph.node}, "operator of ONNX")


def refuse_unknown_nodes(option: str, names: Iterable[str], model: Any) -> None:
    """Raise `ExportFailed` for a name that no node of the graph has."""
    _refuse_unknown(option, names, {node.name for node in model.graph.node if node.name}, "node of the graph")


def _refuse_unknown(option: str, names: Iterable[str], known: set[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise ExportFailed(f"{option}: {name!r} is no {what}", did_you_mean(name, known, "see the graph in Netron"))
