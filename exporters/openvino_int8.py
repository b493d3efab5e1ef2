"""ONNX in fp32 to OpenVINO IR in int8, by NNCF's post-training quantisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from exporters._openvino import attends, ir_export, read
from harness.api import Artifact, Export, Exporter, ExportFailed, Request, calibration_inputs, first_line

PRESETS = ("mixed", "performance")
"""Activations asymmetric (which GELU and swish need), or symmetric."""


class OpenVinoInt8(Exporter):
    """NNCF's post-training quantisation, in its transformer mode where the graph has attention."""

    source = "onnx"
    target = "openvino-ir"
    precisions = ("int8",)
    reads: ClassVar = {"int8": "fp32"}
    calibrated = ("int8",)
    needs: ClassVar = {"openvino": "openvino", "nncf": "nncf"}
    options: ClassVar = {"preset": "mixed", "fast_bias_correction": True, "exclude": []}
    words: ClassVar = {"preset": PRESETS}

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Watch the images one by one and quantise weights per channel; layers that cannot be stay in fp32."""
        import nncf
        import openvino

        options = want.options
        inputs = calibration_inputs(want)
        size = want.batch or 1
        starts = range(0, len(next(iter(inputs.values()))) // size * size, size)
        feeds = [{name: array[i : i + size] for name, array in inputs.items()} for i in starts]
        if not feeds:
            raise ExportFailed(
                f"the calibration images do not fill one batch of {size}", f"give --calib-images {16 * size}"
            )
        try:
            model = read(source.path, want.batch)
            transformer = attends(model)
            quantised = nncf.quantize(
                model,
                nncf.Dataset(feeds),
                preset=nncf.QuantizationPreset(str(options["preset"])),
                subset_size=len(feeds),
                fast_bias_correction=bool(options["fast_bias_correction"]),
                model_type=nncf.ModelType.TRANSFORMER if transformer else None,
                ignored_scope=_ignored(nncf, options["exclude"]),
            )
            openvino.save_model(quantised, str(folder / "model.xml"), compress_to_fp16=False)
        except Exception as error:
            raise ExportFailed(
                f"nncf: {first_line(error)}", "leave a layer in fp32: -o openvino_int8.exclude=NAME"
            ) from error
        count = sum(op.get_type_name() == "FakeQuantize" for op in quantised.get_ops())
        if not count:
            raise ExportFailed("nncf quantised nothing", "does `exclude` leave anything?")
        details = {"model_type": "transformer" if transformer else "convolutional", "quantized_tensors": count}
        return ir_export(source, want, "int8", details)


def _ignored(nncf: Any, names: Any) -> Any:
    chosen = [names] if isinstance(names, str) else list(names)
    return nncf.IgnoredScope(names=chosen) if chosen else None
