"""timm to ONNX by `torch.onnx.export(dynamo=True)`, with a dynamic batch where the model can have one."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from harness.api import (
    TRACED_BATCH,
    Artifact,
    Export,
    Exporter,
    ExportFailed,
    Request,
    first_line,
    load_timm,
    onnx_export,
    quiet_warnings,
)

OPSET = 20
"""What torch's exporter makes without a conversion (2.13), and what current runtimes read."""


class OnnxDynamo(Exporter):
    """PyTorch's own exporter: the graph that `torch.export` captures, in ONNX."""

    source = "timm"
    target = "onnx"
    precisions = ("fp32",)
    needs: ClassVar = {"torch": "torch", "timm": "timm", "onnx": "onnx", "onnxscript": "onnxscript"}

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Capture the model with several images for a dynamic batch, else with the batch itself."""
        file = folder / "model.onnx"
        with _collector_resting():
            _write(file, source, want)
        gc.collect()  # the program refers to itself
        return onnx_export(file, want.batch, source)


@contextmanager
def _collector_resting() -> Iterator[None]:
    """Look for no cycles among millions of new objects of which nearly all stay: 5 to 10 % of an export's time, no memory."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _write(file: Path, source: Artifact, want: Request) -> None:
    import torch
    from timm.layers import set_exportable

    dynamic = want.batch is None
    shape = [TRACED_BATCH if want.batch is None else want.batch, *source.inputs[0].shape[1:]]
    with set_exportable(True), quiet_warnings():
        model = load_timm(source)
        try:
            program = torch.onnx.export(
                model,
                (torch.randn(shape),),
                dynamo=True,
                verbose=False,
                opset_version=want.opset or OPSET,
                input_names=[source.inputs[0].name],
                output_names=[spec.name for spec in source.outputs],
                dynamic_shapes=({0: torch.export.Dim("batch")},) if dynamic else None,
            )
            _restore_constants(program.model.graph)
            _resize_constants(program.model.graph)
            program.save(str(file), external_data=source.size_bytes > ONE_FILE_BYTES)
            _let_go_of_weights(program.model.graph, model)
        except Exception as error:
            raise ExportFailed(f"torch.onnx.export: {_why(error)}", "the trace is in the log") from error


def _why(error: BaseException) -> str:
    """What the exporter's own words ("failed to convert, this is step 3/3") come from: the innermost error."""
    innermost = error
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
    said = first_line(innermost)
    return said if innermost is error else f"{type(innermost).__name__}: {said}"


def _restore_constants(graph: Any) -> None:
    """Give back to an ONNX IR graph the constants that nodes use and it no longer holds.

    onnxscript 0.7's optimiser loses the bounds of one of two clips of the same tensor (docs/known-issues): gemma4_vit.
    """
    for node in graph:
        for value in node.inputs:
            if value is None or value.const_value is None or value.producer() is not None or value.is_initializer():
                continue
            value.name = f"{value.name}_of_{node.name}"  # its own name is another constant's
            graph.register_initializer(value)


def _resize_constants(graph: Any) -> None:
    """Compute what an ONNX IR graph resizes and is constant, as a position embedding.

    onnxscript's optimiser has computed the small ones. OpenVINO reads a Resize without its `exclude_outside`
    (docs/known-issues), and so had hiera_*_abswin's embedding 2 % wrong.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return
    import onnx_ir

    for node in list(graph):
        if node.op_type != "Resize" or node.outputs[0].dtype is not onnx_ir.DataType.FLOAT:
            continue
        (output,) = node.outputs
        given = [value for value in node.inputs if value is not None]
        if output.is_graph_output() or any(value.const_value is None for value in given):
            continue
        computed = _run(node, given, graph.opset_imports[""])
        resized = onnx_ir.Value(
            name=f"{output.name}_computed",
            shape=onnx_ir.Shape(computed.shape),
            type=output.type,
            const_value=onnx_ir.tensor(computed),
        )
        graph.register_initializer(resized)
        onnx_ir.convenience.replace_all_uses_with(output, resized)
        graph.remove(node, safe=True)
        for value in given:
            if value.is_initializer() and not value.uses():
                graph.initializers.pop(value.name)


def _run(node: Any, given: list[Any], opset: int) -> Any:
    """The one output of a node whose inputs are constants, by ONNX Runtime."""
    import onnx
    import onnx_ir
    import onnxruntime

    weights = [onnx.numpy_helper.from_array(value.const_value.numpy(), value.name) for value in given]
    result = onnx.helper.make_tensor_value_info(node.outputs[0].name, onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([onnx_ir.serde.serialize_node(node)], "constant", [], [result], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {})[0]


def _let_go_of_weights(graph: Any, model: Any) -> None:
    """Of an ONNX IR graph that is written, and of the model that it was: what comes next has the memory.

    onnxscript 0.7's rewrite rules live as long as the process, and each remembers a node that it looked at, with its graph
    and with what stood there before it was folded.
    """
    for value in graph.initializers.values():
        value.const_value = None
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.new_empty(0)


ONE_FILE_BYTES = 1_900_000_000
"""Over this a protobuf message (2 GiB at most) may not hold the weights: they go beside the graph."""
