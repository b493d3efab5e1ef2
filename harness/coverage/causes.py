"""Reason classes of failures: told from what a library says, never from the name of an architecture."""

from __future__ import annotations

import re

from harness.errors import of_memory

MEMORY, TIME = "memory", "time"
_TIME = re.compile(r"over its limit of time|no reply to .* within")
_CREATE = (
    (r"barely differ", "create: constant outputs"),
    (r"NaN or infinity", "create: not finite"),
    (r"features_only=True", "create: no feature maps"),
    (r"cannot create", "create: timm"),
    (r"does not run on", "create: does not run"),
)
_EXPORT = (
    (r"killed by|exited with", "export: crash"),  # whatever its last words were
    (r"specializ|Constraints violated|SymbolicTensor|"
     r"dynamic batch|batch that should be dynamic|symbolic|for a batch of|dynamic_shapes|"
     r"mark_dynamic|Dim\.|_dynamo\.exc\.UserError|suggested fixes", "export: dynamic shape"),
    (r"data-dependent|GuardOnDataDependent|unbacked", "export: depends on data"),
    (r"[Uu]nsupported.*op|No (ONNX|Onnx) function|No decompositions|not supported|UnsupportedOperator|"
     r"DispatchError", "export: unsupported op"),
    (r"not valid ONNX", "export: invalid graph"),
)  # fmt: skip
_RUNTIME = (
    (r"killed by|exited with", "runtime: crash"),
    (r"NOT_IMPLEMENTED|[Uu]nsupported|not supported|no exporter leads|No conversion rule", "runtime: unsupported"),
    (r"cannot convert|cannot load|cannot compile|does not load|cannot open", "runtime: does not open"),
    (r"MissingLibrary|not installed", "runtime: not installed"),
)


def _of(message: str, table: tuple[tuple[str, str], ...], other: str) -> str:
    if of_memory(message):
        return MEMORY
    if _TIME.search(message):
        return TIME
    return next((cause for pattern, cause in table if re.search(pattern, message)), other)


def of_create(message: str) -> str:
    """Why there is no model, or no reference that would verify something."""
    return _of(message, _CREATE, "create: other")


def of_export(message: str) -> str:
    """Why an exporter made nothing."""
    return _of(message, _EXPORT, "export: other")


def of_runtime(message: str) -> str:
    """Why a runtime did not open or run what was exported."""
    return _of(message, _RUNTIME, "runtime: does not run")


def of_parity(message: str) -> str:
    """Why an output that was computed is not the reference's."""
    return "parity: not finite" if "NaN" in message else "parity: error over the limit"


def of(step: str, message: str) -> str:
    """By the step in which it happened: `create`, `export` or the name of a runtime."""
    return {"create": of_create, "export": of_export}.get(step, of_runtime)(message)
