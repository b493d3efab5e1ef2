"""Tensor specs as exporters state them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.api import TensorSpec


def fixed(specs: Sequence[TensorSpec], batch: int | None) -> tuple[TensorSpec, ...]:
    """The specs with that batch; as they are for None."""
    if batch is None:
        return tuple(specs)
    return tuple(TensorSpec(spec.name, (batch, *spec.shape[1:]), spec.dtype) for spec in specs)
