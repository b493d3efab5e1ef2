"""An ONNX file as TensorRT's network, and what its parser does not take, node by node."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from harness.api import ExportFailed, Unsupported, nvidia


def parse(
    trt: nvidia.types.TensorRT, builder: nvidia.types.Builder, log: nvidia.types.ILogger, file: Path, device: str
) -> nvidia.types.INetworkDefinition:
    """The network of an ONNX file, strongly typed where TensorRT has that (10 and 11).

    Raises `Unsupported` with every node that the parser does not take, `ExportFailed` for another reason.
    """
    network = builder.create_network(_creation_flags(trt, device))
    parser = trt.OnnxParser(network, log)
    if parser.parse_from_file(str(file)) and not parser.num_errors:
        return network
    problems = [parser.get_error(index) for index in range(parser.num_errors)]
    if not problems:
        raise nvidia.failure(ExportFailed, f"TensorRT's parser does not take {file.name}", nvidia.said(log))
    lines = "".join(f"\n  - {_told(problem, file)}" for problem in problems)
    lacking = all("UNSUPPORTED" in str(problem.code()) for problem in problems)
    kind = Unsupported if lacking else ExportFailed
    options = "-o onnx_dynamo.opset=16 -o onnx_torchscript.opset=16"
    older = f"take an older opset ({options}) or a newer TensorRT, or measure it by ort_cuda"
    hint = older if lacking else "export the model again"
    raise kind(f"TensorRT {trt.__version__} does not take {len(problems)} nodes of {file.name}:{lines}", hint)


def typed(trt: nvidia.types.TensorRT, device: str) -> bool:
    """Whether the types are taken from the graph: on 10 and 11; for a DLA on 11 alone, which has no flags of a precision."""
    flag = nvidia.optional(trt.NetworkDefinitionCreationFlag, "NetworkDefinitionCreationFlag.STRONGLY_TYPED")
    by_flags = device.startswith("dla") and nvidia.optional(trt.BuilderFlag, "BuilderFlag.FP16") is not None
    return flag is not None and not by_flags


def _creation_flags(trt: nvidia.types.TensorRT, device: str) -> int:
    flags = trt.NetworkDefinitionCreationFlag
    flag = nvidia.optional(flags, "NetworkDefinitionCreationFlag.STRONGLY_TYPED") if typed(trt, device) else None
    if flag is None:
        flag = nvidia.optional(flags, "NetworkDefinitionCreationFlag.EXPLICIT_BATCH")
    return 0 if flag is None else 1 << int(flag)


def _told(problem: nvidia.types.ParserError, file: Path) -> str:
    """A parser's error with its node: name and operator by the parser (10 and later), else by the file's list."""
    name = nvidia.optional(problem, "ParserError.node_name")
    operator = nvidia.optional(problem, "ParserError.node_operator")
    told = name is not None and operator is not None
    where = f"{name()!r} ({operator()})" if told else _node(file, problem.node())
    return f"node {where}: {problem.desc().strip()}"


def _node(file: Path, index: int) -> str:
    if index < 0 or importlib.util.find_spec("onnx") is None:
        return f"number {index}"
    import onnx

    nodes = onnx.load(str(file), load_external_data=False).graph.node
    return f"{nodes[index].name!r} ({nodes[index].op_type})" if index < len(nodes) else f"number {index}"
