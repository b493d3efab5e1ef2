"""ONNX in fp32 to ONNX in int8: static quantisation to QDQ form by `onnxruntime.quantization`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from exporters._onnx_model import refuse_unknown_nodes, refuse_unknown_operators, too_large
from exporters._onnx_quantise import Feed, culprit, operators, prepared, remove
from harness.api import Artifact, Export, Exporter, ExportFailed, Request, calibration_inputs, first_line, onnx_export

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile", "distribution": "Distribution"}
TYPES = {"uint8": "QUInt8", "int8": "QInt8"}


class OnnxInt8(Exporter):
    """ONNX Runtime's quantiser: weights per channel, activations by the ranges that calibration images show."""

    source = "onnx"
    target = "onnx"
    precisions = ("int8",)
    reads: ClassVar = {"int8": "fp32"}
    calibrated = ("int8",)
    keeps_batch = True
    needs: ClassVar = {"onnx": "onnx", "onnxruntime": "onnxruntime"}
    uses = ("sympy",)  # without it shapes are inferred in another way
    options: ClassVar = {
        "method": "minmax", "percentile": 99.99, "per_channel": True, "activations": "uint8", "symmetric": False,
        "reduce_range": False, "quantize_bias": True, "weight_pairs": False, "dedicated_pairs": False, "operators": [],
        "exclude": [],
    }  # fmt: skip
    words: ClassVar = {"method": tuple(METHODS), "activations": tuple(TYPES)}

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Fold constants, infer shapes, watch the images, quantise. TensorRT needs what its runtimes ask for."""
        from onnxruntime import quantization as ort

        options = want.options
        method = METHODS[str(options["method"])]
        images = Feed(calibration_inputs(want), want.batch)
        file = folder / "model.onnx"
        source_file, inference = prepared(source, folder)
        chosen, left = _names(options["operators"]), _names(options["exclude"])
        _refuse_unknown(source_file, chosen, left)
        extra: dict[str, Any] = {
            "ActivationSymmetric": options["symmetric"],
            "CalibStridedMinMax": images.stride,
            "QuantizeBias": options["quantize_bias"],
            "AddQDQPairToWeight": options["weight_pairs"],
            "DedicatedQDQPair": options["dedicated_pairs"],
        }
        if method == "Percentile":
            extra["CalibPercentile"] = options["percentile"]
        try:
            ort.quantize_static(
                str(source_file),
                str(file),
                images,
                op_types_to_quantize=chosen or operators(source_file),
                nodes_to_exclude=left,
                use_external_data_format=too_large(source.size_bytes),
                per_channel=options["per_channel"],
                reduce_range=options["reduce_range"],
                activation_type=getattr(ort.QuantType, TYPES[str(options["activations"])]),
                weight_type=ort.QuantType.QInt8,
                calibrate_method=getattr(ort.CalibrationMethod, method),
                extra_options=extra,
            )
        except Exception as error:
            node = culprit(error)
            where = f" at node {node.name!r} ({node.op_type})" if node else ""
            hint = f"leave it in fp32: -o 'onnx_int8.exclude=[\"{node.name}\"]'" if node else "see the log"
            raise ExportFailed(f"onnxruntime's quantiser failed{where}: {first_line(error)}", hint) from error
        remove(source_file)
        return _checked(onnx_export(file, want.batch, source), file, inference, 7 if options["reduce_range"] else 8)


def _names(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else list(map(str, given))


def _refuse_unknown(file: Path, chosen: list[str], left: list[str]) -> None:
    """Raise `ExportFailed` for a name that says nothing of this graph: the quantiser would ignore it in silence."""
    import onnx

    model = onnx.load(str(file), load_external_data=False)
    refuse_unknown_operators("operators", chosen, model)
    refuse_unknown_nodes("exclude", left, model)


def _checked(export: Export, file: Path, inference: str, weight_bits: int) -> Export:
    """Refuse a graph in which nothing was quantised; count what was."""
    from dataclasses import replace

    import onnx

    nodes = onnx.load(str(file), load_external_data=False).graph.node
    quantised = sum(node.op_type == "QuantizeLinear" for node in nodes)
    if not quantised:
        raise ExportFailed("the quantiser quantised nothing", "do `operators` and `exclude` leave anything?")
    found = {"quantized_tensors": quantised, "shape_inference": inference, "weight_bits": weight_bits}
    return replace(export, details={**export.details, **found})
