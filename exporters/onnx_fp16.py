"""ONNX in fp32 to ONNX in fp16, for runtimes that execute a graph in the types it is written in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from exporters._onnx_model import beside, graphs, loaded, refuse_unknown_operators, too_large
from harness.api import (
    Artifact,
    Export,
    Exporter,
    ExportFailed,
    Request,
    Unsupported,
    first_line,
    onnx_export,
    quiet_warnings,
)

KEPT_IN_FP32 = ("LayerNormalization", "Softmax", "Pow", "ReduceMean", "ReduceSum", "ReduceL2", "LpNormalization")
"""Normalisation (as one op, and decomposed) and softmax: sums of squares and exponentials leave fp16's range of 65504."""


class OnnxFp16(Exporter):
    """ONNX Runtime's own converter; what overflows in fp16 stays in fp32 between casts."""

    source = "onnx"
    target = "onnx"
    precisions = ("fp16",)
    reads: ClassVar = {"fp16": "fp32"}
    keeps_batch = True
    needs: ClassVar = {"onnx": "onnx", "onnxruntime": "onnxruntime"}
    options: ClassVar = {"keep_io_types": True, "keep_in_fp32": list(KEPT_IN_FP32)}

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Convert weights and operators; inputs and outputs stay fp32 unless `keep_io_types=false`."""
        import onnx
        from onnxruntime.transformers import float16

        kept = want.options["keep_in_fp32"]
        if not isinstance(kept, (list, tuple)):
            raise ExportFailed(f"keep_in_fp32={kept!r} is no list of ONNX operators", 'such as ["Softmax"]')
        blocked = {*float16.DEFAULT_OP_BLOCK_LIST, *map(str, kept)}
        file = folder / "model.onnx"
        model = loaded(source)
        refuse_unknown_operators("keep_in_fp32", map(str, kept), model)
        _refuse_in_bodies(model, blocked)
        with quiet_warnings():  # of weights that are clipped to fp16's range or flushed to zero: parity is checked
            try:
                model = _converted(model, blocked, keep_io_types=bool(want.options["keep_io_types"]))
                large = too_large(source.size_bytes / 2)
                onnx.save(model, str(file), save_as_external_data=large, location=beside(file))
            except Exception as error:
                raise ExportFailed(f"onnxruntime's fp16 converter: {first_line(error)}", "see the log") from error
        return onnx_export(file, want.batch, source)


def _converted(model: Any, blocked: set[str], *, keep_io_types: bool) -> Any:
    """The model in fp16 but for the operators `blocked`, its nodes in order. Shapes and types are inferred already."""
    from onnxruntime.transformers import float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = float16.convert_float_to_float16(
        model, keep_io_types=keep_io_types, op_block_list=sorted(blocked), disable_shape_infer=True
    )
    OnnxModel.graph_topological_sort(model.graph)  # the converter appends its casts,
    del model.graph.value_info[:]  # and leaves types behind that are no longer so
    return model


def _refuse_in_bodies(model: Any, blocked: set[str]) -> None:
    """Raise `Unsupported` for a node that stays in fp32 inside an If, Loop or Scan: the converter puts the casts around it
    into the main graph, which then is not valid."""
    from onnx import TensorProto

    for graph in graphs(model.graph):
        types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
        for node in graph.node:
            kinds = {types.get(name, TensorProto.UNDEFINED) for name in node.output if name}
            if node.op_type in blocked and kinds & {TensorProto.FLOAT, TensorProto.UNDEFINED}:
                name = f"node {node.name!r}" if node.name else f"the node of {node.output[0]!r}"
                raise Unsupported(
                    f"{name} ({node.op_type}) stays in fp32, and lies in the body of an If, Loop or Scan, where "
                    "onnxruntime's converter cannot put casts",
                    "measure it in fp32, or leave the operator out of onnx_fp16.keep_in_fp32",
                )
