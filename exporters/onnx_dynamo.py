"""timm to ONNX by `torch.onnx.export(dynamo=True)`, with a dynamic batch where the model can have one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from exporters._onnx_constants import compute_constants
from exporters._onnx_ir import let_go_of_weights, no_pairs_of_slices, restore_constants
from exporters._onnx_model import too_large
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

OPSET = 20
"""What torch's exporter makes without a conversion (2.13), and what current runtimes read."""


class OnnxDynamo(Exporter):
    """PyTorch's own exporter: the graph that `torch.export` captures, in ONNX."""

    source = "timm"
    target = "onnx"
    precisions = ("fp32",)
    needs: ClassVar = {"torch": "torch", "timm": "timm", "onnx": "onnx", "onnxscript": "onnxscript"}
    uses = ("onnxruntime", "onnx_ir")  # computes constants, and tries a dynamic batch; the graph that is worked on
    options: ClassVar = OPTION

    def export(self, source: Artifact, want: Request, folder: Path) -> Export:
        """Capture the model with several images for a dynamic batch, else with the batch itself."""
        file = folder / "model.onnx"
        with _collector_resting():
            _write(file, source, want)
        gc.collect()  # the program refers to itself
        return onnx_export(file, want.batch, source, asked(want))  # below 18 it may make 18, and only log that


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
    with set_exportable(True), quiet_warnings(), no_pairs_of_slices():
        model = load_timm(source)
        _out_of_place(model)
        try:
            program = torch.onnx.export(
                model,
                (torch.randn(shape),),
                dynamo=True,
                verbose=False,
                opset_version=asked(want) or OPSET,
                input_names=[source.inputs[0].name],
                output_names=[spec.name for spec in source.outputs],
                dynamic_shapes=({0: torch.export.Dim("batch")},) if dynamic else None,
            )
            restore_constants(program.model.graph)
            compute_constants(program.model.graph)
            program.save(str(file), external_data=too_large(source.size_bytes))
            let_go_of_weights(program.model.graph, model)
        except Exception as error:
            raise ExportFailed(f"torch.onnx.export: {_why(error)}", "the trace is in the log") from error


def _out_of_place(model: Any) -> None:
    """Have activations write new tensors: the graph is the same, and PyTorch decomposes what works in place, op by op.

    A third of the time of exporting a network of ReLU6 or Hardswish.
    """
    for module in model.modules():
        if getattr(module, "inplace", None) is True:
            module.inplace = False


def _why(error: BaseException) -> str:
    """What the exporter's own words ("failed to convert, this is step 3/3") come from: the innermost error."""
    innermost = error
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
    said = first_line(innermost)
    return said if innermost is error else f"{type(innermost).__name__}: {said}"
