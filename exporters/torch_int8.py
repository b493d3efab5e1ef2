"""timm to an int8 program of `torch.export`: PT2E quantisation by torchao, for Inductor on x86 processors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from exporters._specs import fixed
from harness.api import (
    Artifact,
    Export,
    Exporter,
    ExportFailed,
    Request,
    calibration_inputs,
    first_line,
    load_timm,
    quiet_warnings,
)


class TorchInt8(Exporter):
    """PyTorch's own static quantisation; the program computes in int8 only once Inductor has lowered it."""

    source = "timm"
    target = "torch-export"
    precisions = ("int8",)
    reads: ClassVar = {"int8": "fp32"}
    calibrated = ("int8",)
    needs: ClassVar = {"torch": "torch", "timm": "timm", "torchao": "torchao"}
    options: ClassVar = {"reduce_range": False}

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Capture, insert observers, watch the images one by one, convert, and capture the result again."""
        import torch

        with quiet_warnings():  # importing them already warns of what torch deprecated
            from torchao.quantization.pt2e import quantize_pt2e
            from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        # 0 and 1 are specialised while capturing, so that a dynamic batch is captured with 2.
        size = 2 if want.batch is None else want.batch
        inputs = calibration_inputs(want)
        images = torch.from_numpy(next(iter(inputs.values())))
        step = 1 if want.batch is None else size
        if len(images) < size:
            raise ExportFailed(
                f"the calibration images do not fill one batch of {size}", f"give --calib-images {16 * size}"
            )
        example = (images[:size],)
        shapes = ({0: torch.export.Dim("batch")},) if want.batch is None else None
        quantizer = x86.X86InductorQuantizer()
        reduce = bool(want.options["reduce_range"])
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config(reduce_range=reduce))
        with quiet_warnings(), torch.no_grad():
            try:
                captured = torch.export.export(load_timm(source), example, dynamic_shapes=shapes)
                observed = quantize_pt2e.prepare_pt2e(captured.module(), quantizer)
                for start in range(0, len(images) - step + 1, step):
                    observed(images[start : start + step])
                converted = quantize_pt2e.convert_pt2e(observed)
                torch.export.save(torch.export.export(converted, example, dynamic_shapes=shapes), folder / "model.pt2")
            except Exception as error:
                raise ExportFailed(
                    f"torchao's PT2E quantisation: {first_line(error)}", "the trace is in the log"
                ) from error
        count = _count(converted)
        if not count:
            raise ExportFailed(
                "torchao quantised nothing", "no layer of this model is one that its x86 quantizer knows"
            )
        details = {
            "batch": "dynamic" if want.batch is None else want.batch,
            "name": source.details.get("name", ""),
            "quantized_tensors": count,
        }
        takes, gives = (fixed(specs, want.batch) for specs in (source.inputs, source.outputs))
        return Export("model.pt2", "int8", takes, gives, details)


def _count(module: Any) -> int:
    """Places where the program quantises an activation."""
    return sum(
        "quantize_per_tensor" in str(node.target) and "dequantize" not in str(node.target)
        for node in module.graph.nodes
    )
