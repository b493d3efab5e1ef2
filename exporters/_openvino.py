"""What the exporters to OpenVINO IR share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.api import JSON, Artifact, Export, Precision, Request, TensorSpec

_MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Convert", "Multiply", "Add", "Concat", "Slice"})
"""What may stand between a softmax and the product with the values."""

_CONVOLUTIONS = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"}
)


def read(path: str, batch: int | None) -> Any:
    """The model in an ONNX file, its batch fixed where one is asked for, and what OpenVINO would do badly done otherwise.

    `read_model` sends no telemetry, unlike `ovc` and `convert_model`.
    """
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    if batch is not None:
        model.reshape({p.any_name: [batch, *list(p.partial_shape)[1:]] for p in model.inputs})
    constant = _resize_constants(core, model)
    _keep_factors_of_pixels(model, constant)
    return model


def _resize_constants(core: Any, model: Any) -> set[str]:
    """Compute, with the CPU's kernels, each interpolation of what depends on no input, as of a position embedding.

    Compiling a model computes them with a reference implementation: 200 s for one of [1, 96, 224, 224] (2026.4.1, bicubic;
    docs/known-issues), and again each time that the model is opened. Returns the names of all that depends on no input.
    """
    from openvino import opset13

    constant: set[str] = set()
    for op in model.get_ordered_ops():
        sources = [op.input_value(i) for i in range(op.get_input_size())]
        if op.get_type_name() == "Parameter" or any(s.get_node().get_name() not in constant for s in sources):
            continue
        constant.add(op.get_name())
        if op.get_type_name() == "Interpolate":
            data = _computed(core, [sources[0]], [])
            given = opset13.parameter(data.shape, data.dtype)
            op.input(0).replace_source_output(given.output(0))  # a kernel is used for what is not constant
            resized = opset13.constant(_computed(core, [op.output(0)], [given], data))
            op.output(0).replace(resized.output(0))
            constant.add(resized.get_name())
    return constant


def _keep_factors_of_pixels(model: Any, constant: set[str]) -> None:
    """Keep OpenVINO from moving a factor of each pixel into the weights of the convolution after it (docs/known-issues).

    2026.4.1 does where map and kernel have one size, and is wrong. What stands between hinders it; this clamp does nothing.
    """
    from openvino import opset13

    largest = 3.4028234663852886e38  # of float32
    for op in model.get_ops():
        if op.get_type_name() not in _CONVOLUTIONS:
            continue
        data = op.input_value(0)
        scaled = data.get_node()
        if scaled.get_type_name() not in ("Multiply", "Divide"):
            continue
        sides = data.partial_shape.rank.get_length() - 2
        factors = [f for f in map(scaled.input_value, (0, 1)) if f.get_node().get_name() in constant]
        if any(side > 1 for factor in factors for side in list(factor.shape)[-sides:]):
            op.input(0).replace_source_output(opset13.clamp(data, -largest, largest).output(0))


def _computed(core: Any, outputs: Any, parameters: Any, *inputs: Any) -> Any:
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(openvino.Model(outputs, parameters, "constants"), "CPU", exact)(inputs)[0].copy()


def attends(model: Any) -> bool:
    """Whether the graph has attention: one fused op, or a softmax whose result a matrix product takes.

    A classifier's own softmax ends in an output, and is none.
    """
    for op in model.get_ops():
        kind = op.get_type_name()
        if kind == "ScaledDotProductAttention" or (kind == "Softmax" and _reaches_product(op)):
            return True
    return False


def _reaches_product(softmax: Any) -> bool:
    waiting, seen = [softmax], set()
    while waiting:
        for output in waiting.pop().outputs():
            for port in output.get_target_inputs():
                follower = port.get_node()
                kind, name = follower.get_type_name(), follower.get_name()
                if kind == "MatMul":
                    return True
                if kind in _MOVES and name not in seen:
                    seen.add(name)
                    waiting.append(follower)
    return False


def ir_export(source: Artifact, want: Request, precision: Precision, more: Mapping[str, JSON]) -> Export:
    """What an exporter hands back for the `model.xml` that it wrote: the source's specs, at the batch asked for."""
    details = {key: source.details[key] for key in ("opset", "batch", "name") if key in source.details} | dict(more)
    if want.batch is None:
        return Export("model.xml", precision, source.inputs, source.outputs, details)
    inputs, outputs = (tuple(_fixed(s, want.batch) for s in specs) for specs in (source.inputs, source.outputs))
    return Export("model.xml", precision, inputs, outputs, {**details, "batch": want.batch})


def _fixed(spec: TensorSpec, batch: int) -> TensorSpec:
    return TensorSpec(spec.name, (batch, *spec.shape[1:]), spec.dtype)
