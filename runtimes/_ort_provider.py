"""ONNX Runtime's execution providers by name: is it built in, does its library load, does it run, which options hold.

ONNX Runtime drops a provider whose library does not load with a warning in its log, and computes on the CPU instead.
Why it was dropped is found out by loading the library in a process of its own: loaded here a second time, before
ONNX Runtime has set up what the library shares with it, it could bring this process down.
https://onnxruntime.ai/docs/execution-providers/
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.api import BackbenchError, MissingLibrary, OpenFailed, Unsupported, companion, first_line, nvidia

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
TENSORRT, OPENVINO = "TensorrtExecutionProvider", "OpenVINOExecutionProvider"
Providers = Sequence[tuple[str, Mapping[str, str]]]

# Relu on float32[1, 4], opset 13: the smallest model that proves a provider runs, without the onnx package.
PROBE = bytes.fromhex(
    "080712003a3b0a0c0a0178120179220452656c751201705a130a0178120e0a0c080112080a0208010a0208046213"
    "0a0179120e0a0c080112080a0208010a02080442040a00100d"
)
_GPU = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'"
_BUILDS: Mapping[str, str] = {CUDA: _GPU, TENSORRT: f"{_GPU} tensorrt"}
"""What installs an onnxruntime that has the provider."""
_LIBRARIES: Mapping[str, str] = {
    CUDA: "libonnxruntime_providers_cuda.so", TENSORRT: "libonnxruntime_providers_tensorrt.so",
}  # fmt: skip
_DISTRIBUTIONS = ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime")
_LOAD_LIMIT_S = 120
# Loads a provider's library as ONNX Runtime does: what pip installed first, then the library that providers share.
_LOAD = """
import contextlib, ctypes, importlib, sys
import onnxruntime
with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(AttributeError):
    onnxruntime.preload_dlls(directory="")
if "tensorrt" in sys.argv[2]:
    with contextlib.suppress(ImportError):
        importlib.import_module("tensorrt")
ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
try:
    ctypes.CDLL(sys.argv[2])
except OSError as error:
    print("missing:", error)
"""


def require(provider: str) -> None:
    """Raise `Unsupported` where this onnxruntime is built without the provider; load what pip installed beside it."""
    import onnxruntime as ort

    has = ort.get_available_providers()
    if provider not in has:
        raise Unsupported(
            f"this onnxruntime ({_distribution()}) is built without {provider}: it has {', '.join(has)}",
            _BUILDS.get(provider, "see: backbench doctor"),
        )
    preload(provider)


def _distribution() -> str:
    """`onnxruntime-gpu 1.31.1`; several where they share the import folder."""
    found = []
    for name in _DISTRIBUTIONS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return " and ".join(found) or "of no distribution"


def preload(provider: str) -> None:
    """CUDA's and TensorRT's libraries where pip put them, which is on no loader's path. Absent ones are found out later."""
    import contextlib

    import onnxruntime as ort

    if provider in _LIBRARIES and hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            ort.preload_dlls(directory="")
    if provider == TENSORRT:
        with contextlib.suppress(ImportError, OSError):
            nvidia.library()


def absent(provider: str, otherwise: str) -> BackbenchError:
    """Why ONNX Runtime left the provider out: the missing library with the command that brings it, or `otherwise`."""
    said = _load(provider)
    missing, command = companion(said)
    if missing:
        return MissingLibrary(f"{provider} does not load: {missing}", command)
    why = nvidia.why(said) or nvidia.why(otherwise)
    if why is not None:
        return Unsupported(f"{provider} does not start: {why[0]}", why[1])
    return OpenFailed(f"onnxruntime left out {provider}: {said or otherwise}", "see: backbench doctor")


def _load(provider: str) -> str:
    """What the loader says of the provider's library; empty where it loads, or there is none."""
    folder = _folder()
    shared, library = folder / "libonnxruntime_providers_shared.so", folder / _LIBRARIES.get(provider, "")
    if provider not in _LIBRARIES or not library.is_file():
        return ""
    command = [sys.executable, "-c", _LOAD, str(shared), str(library)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LOAD_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"{library.name} did not load within {_LOAD_LIMIT_S} s"
    told = [line.removeprefix("missing: ") for line in done.stdout.splitlines() if line.startswith("missing: ")]
    return told[0] if told else ""


def _folder() -> Path:
    """Where ONNX Runtime keeps its libraries."""
    import onnxruntime as ort

    return Path(ort.__file__).parent / "capi"


def prove(provider: str, options: Mapping[str, str] | None = None) -> None:
    """Run one inference on a provider. Raises `OpenFailed`, or what `absent` finds, where it does not run there."""
    import numpy as np
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = ort.InferenceSession(
            PROBE, settings, providers=[provider], provider_options=[dict(options or {})], enable_fallback=0
        )
        result = session.run(None, {"x": np.array([[-1, 0, 1, 2]], np.float32)})[0]
    except Exception as error:
        raise absent(provider, first_line(error)) from error
    placed = placement(session)
    if provider not in session.get_providers() or (placed and not placed.get(provider)):
        raise absent(provider, "it ran the model on another provider")
    if result.tolist() != [[0, 0, 1, 2]]:
        raise OpenFailed(f"{provider} computes a wrong result", "see: backbench doctor")


def placement(session: Any) -> Mapping[str, int]:
    """Graph nodes per execution provider; empty where this ONNX Runtime does not tell (1.32 does)."""
    return {name: sum(operators.values()) for name, operators in placed_operators(session).items()}


def placed_operators(session: Any) -> Mapping[str, Mapping[str, int]]:
    """Provider -> operator -> nodes; empty where this ONNX Runtime does not tell."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    found: dict[str, dict[str, int]] = {}
    for part in tell() if tell is not None else ():
        counts = found.setdefault(part.ep_name, {})
        for node in part.get_nodes():
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return found


# ── options ───────────────────────────────────────────────────────────────────────────────────────────────────────

_PRIVATE = ("user_compute_stream", "has_user_compute_stream", "gpu_external_alloc", "gpu_external_free",
            "gpu_external_empty_cache")  # fmt: skip
"""Addresses, which differ from process to process and say nothing."""
_ON, _OFF = ("1", "true"), ("0", "false")


def told_options(session: Any) -> Mapping[str, Mapping[str, str]]:
    """Every option of every provider in use, as ONNX Runtime tells it; addresses left out."""
    return {
        name: {str(key): str(value) for key, value in sorted(options.items()) if key not in _PRIVATE}
        for name, options in session.get_provider_options().items()
    }


def differing(asked: Mapping[str, str], told: Mapping[str, str]) -> list[str]:
    """Options that are not as they were asked for, in words; one that is not told is no difference."""
    return [
        f"{name} was asked to be {value}, and is {told[name]}"
        for name, value in asked.items()
        if name in told and _plain(told[name]) != _plain(value)
    ]


def _plain(value: str) -> str:
    low = value.lower()
    return "1" if low in _ON else "0" if low in _OFF else value


def untold(asked: Mapping[str, str], told: Mapping[str, str]) -> list[str]:
    """Options that were asked for and that the provider does not tell."""
    return [name for name in asked if name not in told]
