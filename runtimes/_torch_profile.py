"""Operator times of a PyTorch module by torch.profiler, each with the module that called it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from harness.api import LayerTime, ProfiledInference, Unsupported

WARM = 2
_INFERENCE, _MODULE = "backbench::inference", "backbench::module "
# Inductor's own kernels have no namespace: `graph_0_cpp_fused_add_relu_3`, `triton_poi_fused_add_0`.
_GENERATED = ("_cpp_fused", "triton_")
_CALLED = re.compile(r"^graph_\d+_cpp_(?=fused)|(?<=fused)(\w*?)_\d+$")
"""What Inductor's names have beside what was fused: the graph, and a running number."""
_PREPARES = re.compile(
    r"^aten::(empty\w*|new_empty\w*|resize\w*|as_strided_?|_?(unsafe_)?(view|reshape)\w*|expand\w*|transpose|t|permute|"
    r"select|slice|narrow|unsqueeze|squeeze|alias|detach_?|set_)$"
)
"""What makes or names a tensor without computing it: of a small operator it may take longer than what computes."""


def profiled(
    once: Callable[[], None], model: Any, device: str, precision: str, inferences: int
) -> Sequence[ProfiledInference]:
    """So many calls of `once` (run and synchronise); `model` is the module whose parts are named, None for none.

    A layer is an operator that no other operator called. On a GPU its time is that of its kernels.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device != "cpu"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with _modules_named(torch, model):
        for _ in range(WARM):
            once()
        with profile(activities=activities, acc_events=True) as profiler:
            for _ in range(inferences):
                with torch.profiler.record_function(_INFERENCE):
                    once()
    found = _read(profiler.events() or (), device, precision)
    if len(found) != inferences or not any(inference.layers for inference in found):
        raise Unsupported("torch.profiler recorded no operator")
    return found


@contextmanager
def _modules_named(torch: Any, model: Any) -> Iterator[None]:
    """Every module's forward is a named range, in which the profiler puts the operators that it calls."""
    ranges: list[Any] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            ranges.append(torch.profiler.record_function(_MODULE + name))
            ranges[-1].__enter__()

        return hook

    def leave(*_: Any) -> None:
        ranges.pop().__exit__(None, None, None)

    with ExitStack() as stack:
        for name, module in model.named_modules() if model is not None else ():
            stack.callback(module.register_forward_pre_hook(enter(name)).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        yield


def _read(events: Sequence[Any], device: str, precision: str) -> Sequence[ProfiledInference]:
    whole = sorted((e for e in events if e.name == _INFERENCE and _on_host(e)), key=lambda e: e.time_range.start)
    layers: dict[int, list[LayerTime]] = {id(event): [] for event in whole}
    for event in sorted((e for e in events if _is_operator(e) and _on_host(e)), key=lambda e: e.time_range.start):
        above = list(_ancestors(event))
        if above and id(above[-1]) in layers and not any(map(_is_operator, above)):
            module = next((e.name.removeprefix(_MODULE) for e in above if e.name.startswith(_MODULE)), "")
            layers[id(above[-1])].append(_layer(event, module, above[-1].time_range.start, device, precision))
    return [ProfiledInference(e.cpu_time_total * 1000.0, tuple(layers[id(e)])) for e in whole]


def _layer(event: Any, module: str, begin_us: float, device: str, precision: str) -> LayerTime:
    on_gpu = device != "cpu"
    return LayerTime(
        f"{module}/{event.name}" if module else event.name,
        _CALLED.sub(r"\1", event.name),
        (event.device_time_total if on_gpu else event.cpu_time_total) * 1000.0,
        precision,
        device,
        None if on_gpu else (event.time_range.start - begin_us) * 1000.0,  # kernels begin after they are launched
        _kernel(event, on_gpu),
        module=module,
    )


def _kernel(event: Any, on_gpu: bool) -> str:
    """What took longest within an operator, of what computes."""
    within = list(_descendants(event))
    computing = [e for e in within if not _PREPARES.match(e.name)] or within
    return str(max(computing, key=lambda e: e.self_device_time_total if on_gpu else e.self_cpu_time_total).name)


def _is_operator(event: Any) -> bool:
    ours = event.name.startswith((_INFERENCE, _MODULE))
    return not ours and ("::" in event.name or any(part in event.name for part in _GENERATED))


def _on_host(event: Any) -> bool:
    return "CPU" in str(event.device_type)


def _ancestors(event: Any) -> Iterator[Any]:
    while (event := event.cpu_parent) is not None:
        yield event


def _descendants(event: Any) -> Iterator[Any]:
    yield event
    for child in event.cpu_children:
        yield from _descendants(child)
