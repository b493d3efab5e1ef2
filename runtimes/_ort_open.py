"""Opening an ONNX Runtime session: its options outright, its providers by name, and errors that say what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.api import JSON, BackbenchError, OpenFailed, first_line
from runtimes import _ort_plugin as plugin
from runtimes._ort_provider import CPU, Providers, absent, preload

LEVELS = {
    "all": "ORT_ENABLE_ALL", "extended": "ORT_ENABLE_EXTENDED", "basic": "ORT_ENABLE_BASIC", "off": "ORT_DISABLE_ALL",
}  # fmt: skip


def tasks() -> int | None:
    """Threads of this process; None where the system does not tell."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return None


def session_options(threads: int, options: Mapping[str, JSON], fixed: Mapping[str, int]) -> Any:
    """Session options with everything that matters set explicitly; `fixed` are sizes of the graph's named dimensions."""
    import onnxruntime as ort

    made = ort.SessionOptions()
    made.intra_op_num_threads = threads
    made.inter_op_num_threads = 1
    made.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    made.graph_optimization_level = getattr(ort.GraphOptimizationLevel, LEVELS[str(options["graph_optimization"])])
    made.enable_mem_pattern = bool(options["mem_pattern"])
    made.enable_cpu_mem_arena = bool(options["arena"])
    made.log_severity_level = 3
    made.add_session_config_entry("session.intra_op.allow_spinning", "1" if options["spinning"] else "0")
    made.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for name, size in fixed.items():
        made.add_free_dimension_override_by_name(name, size)
    return made


def create(path: str, options: Any, providers: Providers) -> Any:
    """An InferenceSession. Raises `OpenFailed`, or what keeps the provider that was asked for first from starting.

    Without `enable_fallback=0` ONNX Runtime would print such an error and go on with the CPU.
    """
    import onnxruntime as ort

    names, settings = [name for name, _ in providers], [dict(given) for _, given in providers]
    preload(names[0])
    try:
        if plugin.added(options, providers):  # ONNX Runtime puts its CPU provider behind by itself
            return ort.InferenceSession(path, options, enable_fallback=0)
        return ort.InferenceSession(path, options, providers=names, provider_options=settings, enable_fallback=0)
    except BackbenchError:
        raise
    except Exception as error:
        raise _refused(names[0], error) from error


def _refused(provider: str, error: Exception) -> BackbenchError:
    said = first_line(error)
    if provider != CPU and not isinstance(found := absent(provider, said), OpenFailed):
        return found
    return OpenFailed(f"onnxruntime cannot open the model: {said}", "see the worker's log")
