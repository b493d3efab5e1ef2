"""ONNX to OpenVINO IR: fp32 and int8 as they are, or fp32 with its weights kept in fp16."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from exporters._openvino import ir_export, read
from harness.api import Artifact, Export, Exporter, ExportFailed, Request, first_line


class OpenVinoIr(Exporter):
    """OpenVINO's own ONNX frontend; fp32 stays fp32 (`ovc` would compress it to fp16 unasked)."""

    source = "onnx"
    target = "openvino-ir"
    precisions = ("fp32", "fp16", "int8")
    reads: ClassVar = {"fp16": "fp32"}
    needs: ClassVar = {"openvino": "openvino"}

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Read and save; `save_model` sends no telemetry, unlike `ovc`."""
        import openvino

        try:
            model = read(source.path, want.batch)
            openvino.save_model(model, str(folder / "model.xml"), compress_to_fp16=want.precision == "fp16")
        except Exception as error:
            raise ExportFailed(f"OpenVINO cannot convert the ONNX file: {first_line(error)}", "see the log") from error
        return ir_export(source, want, want.precision, {})
