"""A profile in Chrome's trace-event format, which ui.perfetto.dev and chrome://tracing open.

Format: "Trace Event Format" (Google, 2016): complete events (`ph: X`) with `ts` and `dur` in µs, nested by time, one
process per cell; metadata events (`ph: M`) name processes and threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.explaining.layers import Layer, Profile, group_of
from harness.model import JSON, LayerTime

_THREAD = 1


def events(profiles: Sequence[Profile]) -> Mapping[str, JSON]:
    """The typical profiled inference of every cell, as one trace."""
    made: list[JSON] = [event for number, profile in enumerate(profiles, 1) for event in _process(number, profile)]
    return {"displayTimeUnit": "ms", "traceEvents": made, "otherData": {"producer": "backbench profile"}}


def _process(number: int, profile: Profile) -> Iterator[Mapping[str, JSON]]:
    cell, told = profile.cell, all(layer.start_ns is not None for layer in profile.typical.layers)
    title = f"{cell.backbone.name} {cell.title}"
    thread = "layers" if told else "layers, laid end to end (the runtime tells no starts)"
    yield _metadata("process_name", number, title)
    yield _metadata("process_sort_index", number, number, "sort_index")
    yield _metadata("thread_name", number, thread)
    placed = list(_placed(profile.typical.layers, told))
    whole_ns = max([profile.typical.latency_ns, *(start + layer.time_ns for layer, start in placed)])
    yield _event("inference", "inference", 0.0, whole_ns, number, {
        "latency_ms_measured": profile.latency_ns / 1e6, "latency_ms_profiled": profile.profiled_ns / 1e6,
        "threads": cell.threads, "batch": cell.batch, "precision": cell.precision,
    })  # fmt: skip
    about: dict[str, list[Layer]] = {}
    for known in profile.layers:
        about.setdefault(known.name, []).append(known)
    for layer, start_ns in placed:
        summary = about[layer.name].pop(0)  # a name that comes again is another layer
        told_of: dict[str, JSON] = {
            "operator": layer.kind, "precision": layer.precision, "device": layer.device, "kernel": layer.kernel,
            "onnx_nodes": ", ".join(summary.nodes), "part": summary.part, "median_ms": summary.time_ns / 1e6,
        }  # fmt: skip
        yield _event(layer.name, group_of(layer.kind), start_ns, layer.time_ns, number,
                     {name: value for name, value in told_of.items() if value})  # fmt: skip


def _placed(layers: Sequence[LayerTime], told: bool) -> Iterator[tuple[LayerTime, float]]:
    """Layers with their starts; those that overlap by a rounding of the profiler's clock are moved apart."""
    end_ns = 0.0
    for layer in layers:
        start_ns = max(layer.start_ns or 0.0, end_ns) if told else end_ns
        yield layer, start_ns
        end_ns = start_ns + layer.time_ns


def _metadata(name: str, process: int, value: JSON, field: str = "name") -> Mapping[str, JSON]:
    return {"ph": "M", "name": name, "pid": process, "tid": _THREAD, "ts": 0, "args": {field: value}}


def _event(
    name: str, category: str, start_ns: float, time_ns: float, process: int, args: Mapping[str, JSON]
) -> Mapping[str, JSON]:
    return {
        "ph": "X", "name": name, "cat": category, "pid": process, "tid": _THREAD, "ts": round(start_ns / 1e3, 3),
        "dur": round(time_ns / 1e3, 3), "args": args,
    }  # fmt: skip
