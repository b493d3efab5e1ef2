"""Looks into ONNX files: those given by path, which are not trusted, and those that an exporter has just made."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import ExportFailed, SourceInvalid
from harness.model import Artifact, Export, Precision, TensorSpec

_TRIED = 1
"""The batch that is hardest for a graph: `torch.export` assumes that it is 2 or more, a number that an exporter has frozen is
`api.TRACED_BATCH`, and a frozen tensor would make this batch that one. It needs the least memory and time, too."""
ASKED_SIZE = "asked_size"
"""Where an artifact's details keep the input size that a plan gives to a file which leaves it open; 0 for none."""
_SIZE = 224
"""What it is tried with where none is given, as in `reference.generated`."""


def inspect(path: Path) -> Export:
    """Specs, precision, opset and digest of a file that somebody gives. Raises `SourceInvalid` naming what is wrong.

    External data outside the file's own folder is refused: the file would decide what is read from this machine.
    """
    import onnx

    model = _parse(path)
    external = _external_files(model, path)
    try:
        onnx.checker.check_model(str(path))
    except Exception as error:
        raise SourceInvalid(f"{path} is not a valid ONNX model: {first_line(error)}", "export it again") from error
    inputs, outputs = specs(model)
    if not inputs or not outputs:
        raise SourceInvalid(f"{path} has no {'inputs' if not inputs else 'outputs'}", "export it again")
    files = [path, *external]
    size = sum(file.stat().st_size for file in files)
    details = describe(model) | {"digest": _digest(files), "size_bytes": size, "params": parameters(model)}
    return Export(path.name, precision(model), inputs, outputs, details)


def read(path: Path) -> Any:
    """The model in a file that somebody gives, weights beside it not loaded. Raises `SourceInvalid`.

    Not checked further: some that ONNX Runtime opens are not valid (its fp16 converter leaves nodes unsorted).
    """
    model = _parse(path)
    _external_files(model, path)
    return model


def _parse(path: Path) -> Any:
    import onnx

    if not path.is_file():
        raise SourceInvalid(f"there is no ONNX file {path}", "check its path")
    if path.stat().st_size == 0:
        raise SourceInvalid(f"{path} is empty", "copy it again")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise SourceInvalid(
            f"{path} is not an ONNX file, or is truncated: {first_line(error)}", "copy it again, and compare its size"
        ) from error
    if not model.graph.node:
        raise SourceInvalid(f"{path} holds no graph: it is not an ONNX model, or is truncated", "copy it again")
    return model


def _external_files(model: Any, path: Path) -> list[Path]:
    """Files that hold the weights; each must lie in the model's folder or below."""
    folder = path.resolve().parent
    files: dict[str, Path] = {}
    for tensor in _tensors(model):
        kept = {entry.key: entry.value for entry in tensor.external_data}
        if (location := kept.get("location")) is None:
            continue
        if location not in files:
            files[location] = _beside(folder, location, path, tensor.name)
        end = int(kept.get("offset", 0)) + int(kept.get("length", 0))
        if files[location].stat().st_size < end:
            raise SourceInvalid(f"{location!r}, which holds weights of {path}, is truncated", "copy that file again")
    return list(files.values())


def _beside(folder: Path, location: str, path: Path, tensor: str) -> Path:
    file = folder / location
    if Path(location).is_absolute() or not file.resolve().is_relative_to(folder):
        raise SourceInvalid(
            f"{path} keeps weights outside its folder: {location!r} (tensor {tensor!r})",
            "such files can read anything on this machine; save it with its weights beside it",
        )
    if not file.is_file():
        raise SourceInvalid(f"{path} needs {location!r} beside it, which is missing", "copy that file too")
    return file


def _tensors(model: Any) -> Iterator[Any]:
    """All tensors of the graph and its subgraphs."""
    yield from _weights(model.graph)
    graphs = [model.graph, *model.functions]
    while graphs:
        for node in graphs.pop().node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                inner = [attribute.g] if attribute.HasField("g") else []
                for graph in (*inner, *attribute.graphs):
                    yield from _weights(graph)
                    graphs.append(graph)


def _weights(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def specs(model: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs (initialisers left out) and outputs of an ONNX model."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_spec(value) for value in model.graph.input if value.name not in weights)
    return inputs, tuple(_spec(value) for value in model.graph.output)


def _spec(value: Any) -> TensorSpec:
    from onnx import helper

    if not value.type.HasField("tensor_type"):
        raise SourceInvalid(f"{value.name!r} is not a tensor", "a backbone takes and gives tensors: export it again")
    tensor = value.type.tensor_type
    shape = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else (d.dim_param or f"dim_{i}")
        for i, d in enumerate(tensor.shape.dim)
    )
    return TensorSpec(value.name, shape, str(helper.tensor_dtype_to_np_dtype(tensor.elem_type)))


def precision(model: Any) -> Precision:
    """The precision that the graph's weights are in: int8 where it is quantised, else the type of most weight bytes."""
    from onnx import TensorProto

    operators = {node.op_type for node in model.graph.node}
    if operators & {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}:
        return "int8"
    names: dict[int, Precision] = {
        TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16",
    }  # fmt: skip
    weights: Counter[Precision] = Counter()
    for tensor in _tensors(model):
        if tensor.data_type in names:
            size = 1
            for n in tensor.dims:
                size *= n
            weights[names[tensor.data_type]] += size
    return weights.most_common(1)[0][0] if weights else "fp32"


def parameters(model: Any) -> int:
    """Elements of all weights that are numbers of a network (float, or int8 where quantised), not shapes and indices."""
    from onnx import TensorProto

    counted = {
        TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.UINT8,
    }  # fmt: skip
    return sum(math.prod(tensor.dims) for tensor in _tensors(model) if tensor.data_type in counted)


def describe(model: Any) -> dict[str, Any]:
    """Opset, number of nodes and producer."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    return {"opset": opset, "nodes": len(model.graph.node), "producer": model.producer_name}


def exported(file: Path, batch: int | None, source: Artifact, opset: int | None) -> Export:
    """What an exporter hands back for an ONNX file that it has just written: checked, and its dynamic batch tried.

    Raises `ExportFailed` where the file is not valid, has a later opset than `opset`, or claims a dynamic batch that does
    not run.
    """
    import onnx

    try:
        onnx.checker.check_model(str(file))
        model = onnx.load(str(file), load_external_data=False)
    except Exception as error:
        raise ExportFailed(f"the exported file is not valid ONNX: {first_line(error)}", "see the log") from error
    inputs, outputs = specs(model)
    described = describe(model)
    if opset is not None and described["opset"] > opset:
        raise ExportFailed(
            f"the exporter made opset {described['opset']}, and {opset} is asked for", "an older exporter is tried next"
        )
    if batch is None:
        _try_a_batch(file, inputs, outputs, source)
        inputs, outputs = (tuple(_with_batch(spec) for spec in group) for group in (inputs, outputs))
    details = {
        "batch": "dynamic" if batch is None else batch,
        "name": source.details.get("name", ""),
        **described,
    }
    return Export(file.name, precision(model), inputs, outputs, details)


def _with_batch(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(spec.name, ("batch", *spec.shape[1:]), spec.dtype)


def _try_a_batch(file: Path, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], source: Artifact) -> None:
    """A graph may have a symbolic batch and a reshape to the traced one: only running it tells."""
    if not all(spec.dynamic_batch for spec in inputs):
        raise ExportFailed("the exporter fixed the batch that should be dynamic", "a fixed batch is tried next")
    if importlib.util.find_spec("onnxruntime") is None:
        return
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # all for one run: least memory
    try:
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        feed = {spec.name: np.zeros((_TRIED, *_sizes(spec, source)), spec.dtype) for spec in inputs}
        for spec, result in zip(outputs, session.run(None, feed), strict=True):
            if result.shape[:1] != (_TRIED,):
                raise ExportFailed(f"output {spec.name} has shape {result.shape} for a batch of {_TRIED}", "")
    except ExportFailed:
        raise
    except Exception as error:
        raise ExportFailed(
            f"the dynamic batch does not run: {first_line(error)}", "a fixed batch is tried next"
        ) from error


def _sizes(spec: TensorSpec, source: Artifact) -> list[int]:
    """An input's dimensions after the batch; one that the file leaves open as the source has it, or as the plan asks."""
    given = source.details.get(ASKED_SIZE)
    size = given if isinstance(given, int) and given else _SIZE
    known = next((one.shape[1:] for one in source.inputs if one.name == spec.name), ())
    if len(known) != len(spec.shape[1:]):
        known = spec.shape[1:]
    return [next((n for n in pair if isinstance(n, int)), size) for pair in zip(spec.shape[1:], known, strict=True)]


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def first_line(error: BaseException) -> str:
    """The first line of a library's exception that says something, kept short."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # colours of a terminal
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
