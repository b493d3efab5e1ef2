"""What the exporters to OpenVINO IR share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.api import JSON, Artifact, Export, Precision, Request, TensorSpec

_MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Convert", "Multiply", "Add", "Concat", "Slice"})
"""What may stand between a softmax and the product with the values."""


def reshaped(model: Any, batch: int | None) -> Any:
    """The model with its batch fixed, where one is asked for."""
    if batch is not None:
        model.reshape({p.any_name: [batch, *list(p.partial_shape)[1:]] for p in model.inputs})
    return model


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
