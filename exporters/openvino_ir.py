"""ONNX to OpenVINO IR, the weights in the precision they have."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from harness.api import Artifact, Export, Exporter, ExportFailed, Request, TensorSpec, first_line


class OpenVinoIr(Exporter):
    """OpenVINO's own ONNX frontend; fp32 stays fp32 (`ovc` would compress it to fp16 unasked)."""

    source = "onnx"
    target = "openvino-ir"
    precisions = ("fp32",)
    needs: ClassVar = {"openvino": "openvino"}

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Read and save; `read_model` and `save_model` send no telemetry, unlike `ovc` and `convert_model`."""
        import openvino

        try:
            model = openvino.Core().read_model(source.path)
            if want.batch is not None:
                shapes = {p.any_name: [want.batch, *list(p.partial_shape)[1:]] for p in model.inputs}
                model.reshape(shapes)
            openvino.save_model(model, str(folder / "model.xml"), compress_to_fp16=False)
        except Exception as error:
            raise ExportFailed(f"OpenVINO cannot convert the ONNX file: {first_line(error)}", "see the log") from error
        details = {key: source.details[key] for key in ("opset", "batch", "name") if key in source.details}
        if want.batch is None:
            return Export("model.xml", source.precision, source.inputs, source.outputs, details)
        inputs, outputs = (tuple(_fixed(s, want.batch) for s in specs) for specs in (source.inputs, source.outputs))
        return Export("model.xml", source.precision, inputs, outputs, {**details, "batch": want.batch})


def _fixed(spec: TensorSpec, batch: int) -> TensorSpec:
    return TensorSpec(spec.name, (batch, *spec.shape[1:]), spec.dtype)
