"""timm to ONNX by tracing to TorchScript: the older exporter, for what the newer one cannot capture."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from exporters._onnx_opset import OPTION, asked
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

OPSET = 17
"""The last opset this exporter was built for; it has LayerNormalization as one op, which fp16 needs."""


class OnnxTorchScript(Exporter):
    """The fallback: follows one inference, so that what depends on the input's content is frozen."""

    source = "timm"
    target = "onnx"
    precisions = ("fp32",)
    needs: ClassVar = {"torch": "torch", "timm": "timm", "onnx": "onnx"}
    uses = ("onnxruntime",)  # tries a dynamic batch
    rank = 1
    options: ClassVar = OPTION

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Trace one inference, of several images for a dynamic batch."""
        import torch
        from timm.layers import set_exportable

        names = [spec.name for spec in source.outputs]
        shape = [TRACED_BATCH if want.batch is None else want.batch, *source.inputs[0].shape[1:]]
        file = folder / "model.onnx"
        axes = {name: {0: "batch"} for name in [source.inputs[0].name, *names]}
        with set_exportable(True), quiet_warnings():
            model = load_timm(source)
            try:
                torch.onnx.export(
                    model,
                    (torch.randn(shape),),
                    str(file),
                    dynamo=False,
                    opset_version=min(asked(want) or OPSET, OPSET),
                    input_names=[source.inputs[0].name],
                    output_names=names,
                    dynamic_axes=axes if want.batch is None else None,
                )
            except Exception as error:
                raise ExportFailed(
                    f"torch.onnx.export (TorchScript): {first_line(error)}", "the trace is in the log"
                ) from error
        return onnx_export(file, want.batch, source, asked(want))
