"""ONNX in fp32 to ONNX in fp16, for runtimes that execute a graph in the types it is written in."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from harness.api import Artifact, Export, Exporter, ExportFailed, Request, first_line, onnx_export, quiet_warnings

KEPT_IN_FP32 = ("LayerNormalization", "Softmax", "Pow", "ReduceMean", "ReduceSum", "ReduceL2", "LpNormalization")
"""Normalisation (as one op, and decomposed) and softmax: sums of squares and exponentials leave fp16's range of 65504."""
ONE_FILE_BYTES = 1_900_000_000
"""Over this a protobuf message (2 GiB at most) may not hold the weights: they go beside the graph."""


class OnnxFp16(Exporter):
    """ONNX Runtime's own converter; what overflows in fp16 stays in fp32 between casts."""

    source = "onnx"
    target = "onnx"
    precisions = ("fp16",)
    reads: ClassVar = {"fp16": "fp32"}
    needs: ClassVar = {"onnx": "onnx", "onnxruntime": "onnxruntime"}
    options: ClassVar = {"keep_io_types": True, "keep_in_fp32": list(KEPT_IN_FP32)}

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Convert weights and operators; inputs and outputs stay fp32 unless `keep_io_types=false`."""
        import onnx
        from onnxruntime.transformers import float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        kept = want.options["keep_in_fp32"]
        if not isinstance(kept, (list, tuple)):
            raise ExportFailed(f"keep_in_fp32={kept!r} is no list of ONNX operators", 'such as ["Softmax"]')
        blocked = [*float16.DEFAULT_OP_BLOCK_LIST, *map(str, kept)]
        file = folder / "model.onnx"
        with quiet_warnings():  # of weights that are clipped to fp16's range or flushed to zero: parity is checked
            try:
                model = float16.convert_float_to_float16(
                    onnx.load(source.path), keep_io_types=bool(want.options["keep_io_types"]), op_block_list=blocked
                )
                OnnxModel.graph_topological_sort(model.graph)  # the converter appends its casts,
                del model.graph.value_info[:]  # and leaves types behind that are no longer so
                onnx.save(model, str(file), save_as_external_data=source.size_bytes / 2 > ONE_FILE_BYTES)
            except Exception as error:
                raise ExportFailed(f"onnxruntime's fp16 converter: {first_line(error)}", "see the log") from error
        return onnx_export(file, want.batch, source)
