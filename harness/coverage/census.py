"""The architectures of the installed timm with their sizes, found without making weights, once per version of timm."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import codec, store
from harness.cache import writing
from harness.coverage.processes import Process
from harness.coverage.record import Architecture

_SILENT_S = 300.0
_CREATION_FAULTS = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, KeyError)
"""What timm raises where an architecture has no feature maps: there is no one exception for it."""
_FILLING = frozenset(
    f"{name}_"
    for name in (
        "normal", "uniform", "trunc_normal", "kaiming_uniform", "kaiming_normal", "constant", "erfinv", "clamp", "mul", "add",
        "div", "fill", "zero", "copy",
    )
)  # fmt: skip
"""What gives a tensor its numbers, of torch.Tensor and torch.nn.init."""


def find(names: Sequence[str], cache: Path, timm: str, tell: Callable[[str], None]) -> tuple[Architecture, ...]:
    """The named architectures, those that are not known yet asked of a process. Raises `WorkerFailed`, `StoreFailed`."""
    kept = cache / f"architectures-timm-{timm}.jsonl"
    with writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
        kept.touch()
        store.drop_torn_line(kept)
    known = {one.name: one for one in store.decoded(Architecture, dict, kept)}
    missing = [name for name in names if name not in known]
    if missing:
        tell(f"counting the parameters of {len(missing)} architectures (without making their weights)")
        with Process(describe, missing, cache / "logs" / "architectures.log") as process:
            for told in process.news(lambda: time.monotonic() + _SILENT_S):
                one = codec.decode(Architecture, told)
                known[one.name] = one
                with writing(cache):
                    store.append(kept, [codec.dumps(one)])
    return tuple(known[name] for name in names)


def in_order(architectures: Iterable[Architecture]) -> tuple[Architecture, ...]:
    """The smallest of each family first, then the others, both by size: every family is seen early."""
    by_size = sorted(architectures, key=lambda one: (one.params * math.prod(one.input_size), one.name))
    first: dict[str, Architecture] = {}
    for one in by_size:
        first.setdefault(one.family, one)
    heads = sorted(first.values(), key=lambda one: (one.params, one.name))
    rest = sorted((one for one in by_size if first[one.family] != one), key=lambda one: (one.params, one.name))
    return (*heads, *rest)


def describe(names: Sequence[str], tell: Callable[[Any], None]) -> None:
    """What the process does: create each on the `meta` device, where tensors have shapes and no memory."""
    for name in names:
        tell(codec.encode(_described(name)))


def _described(name: str) -> Architecture:
    import timm
    from timm.models import model_entrypoint

    model = _on_meta(timm, name)
    config = model.pretrained_cfg
    return Architecture(
        name,
        model_entrypoint(name).__module__.rpartition(".")[2],
        sum(parameter.numel() for parameter in model.parameters()),
        tuple(config.get("input_size", (3, 224, 224))),
        _has_features(timm, name),
    )


def _on_meta(timm: Any, name: str, **options: Any) -> Any:
    """The model without memory; one whose making looks at numbers is made with them."""
    import torch

    try:
        with torch.device("meta"), _unfilled():
            return timm.create_model(name, **options)
    except _CREATION_FAULTS:
        return timm.create_model(name, **options)


def _unfilled() -> Any:
    """A mode in which tensors without memory are not filled: over half of the time that making a model takes on `meta`."""
    from torch.overrides import TorchFunctionMode

    class _Unfilled(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if getattr(func, "__name__", "") in _FILLING:
                tensor = args[0] if args else kwargs.get("tensor")  # so torch.nn.init names it
                if tensor is not None and tensor.is_meta:
                    return tensor
            return func(*args, **kwargs)

    return _Unfilled()


def _has_features(timm: Any, name: str) -> bool:
    try:
        _on_meta(timm, name, features_only=True)
    except _CREATION_FAULTS:
        return False
    return True
