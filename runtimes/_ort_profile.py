"""ONNX Runtime's profile of a model, made in a process of its own: what the executed kernels are, and their times.

The profiler slows the session that it watches, and a second session in the measuring worker would spoil its memory
figure. Run as `python -m runtimes._ort_profile` with the order as JSON on stdin (see `profiled`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.api import JSON, LayerTime, Precision, ProfiledInference, Unsupported

WARM, LIMIT_S = 2, 300
_RUN_IN: Mapping[str, Precision] = {
    "float": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8",
}  # fmt: skip
_HEAVY = ("Conv", "MatMul", "Gemm", "Attention")
_TAKES_FLOAT = ("DynamicQuantize",)
_BLOCKED = "_nchwc"
"""What ONNX Runtime appends to a node's (or its output's) name when it takes the kernel for its blocked layout."""


def profiled(order: Mapping[str, JSON], *, on_device: bool = False) -> Sequence[ProfiledInference]:
    """Kernel times of several inferences; `precision` is the ONNX type of a kernel's first input.

    `order`: path, threads, options, providers ([name, options] each), shapes (by input), inferences, fixed (sizes by
    named dimension). With `on_device` times are a GPU's, not the host's. Raises `Unsupported`, also where it tells no
    such times.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "runtimes._ort_profile"]
        request = json.dumps({**order, "prefix": str(Path(folder) / "profile")})
        try:
            subprocess.run(command, input=request, capture_output=True, text=True, check=True, timeout=LIMIT_S)
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]
            raise Unsupported(f"onnxruntime gave no profile: {last}") from error
        except subprocess.TimeoutExpired as error:
            raise Unsupported(f"onnxruntime gave no profile within {LIMIT_S} s") from error
        events = [event for file in Path(folder).glob("*.json") for event in json.loads(file.read_text())]
    found = inferences(device_times(events) if on_device else events)
    if len(found) <= WARM:
        raise Unsupported("onnxruntime's profile holds no inference")
    return found[WARM:]


def inferences(events: Sequence[Mapping[str, Any]]) -> Sequence[ProfiledInference]:
    """The inferences of ONNX Runtime's profile (times in µs), each with the kernels that began within it."""
    runs = sorted((e for e in events if e.get("name") == "model_run"), key=lambda event: event["ts"])
    kernels = sorted((e for e in events if _is_kernel(e)), key=lambda event: event["ts"])
    return tuple(
        ProfiledInference(
            run["dur"] * 1000.0,
            tuple(_layer(e, run["ts"]) for e in kernels if run["ts"] <= e["ts"] < run["ts"] + run["dur"]),
        )
        for run in runs
    )


def device_times(events: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The events without those of the device's kernels, whose times are their nodes' now.

    A kernel is written right behind the node that launched it (`MergeEvents` of ONNX Runtime's gpu_profiler_common.h), by
    builds with CUPTI alone. Raises `Unsupported` where there is none: a node's time is then what launching it took.
    """
    made: list[dict[str, Any]] = []
    launched = 0
    for event in events:
        if event.get("cat") != "Kernel":
            made.append(dict(event))
            launched = 0
        elif made and _is_kernel(made[-1]):
            made[-1]["dur"] = event["dur"] + (made[-1]["dur"] if launched else 0)
            launched += 1
    if len(made) == len(events):
        raise Unsupported(
            "this onnxruntime tells launch times only: it is built without CUPTI, as PyPI's is",
            "profile the runtime tensorrt or torch_eager, or build onnxruntime with --enable_cuda_profiling",
        )
    return made


def _is_kernel(event: Mapping[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time")


def _layer(event: Mapping[str, Any], begin_us: float) -> LayerTime:
    name, args = event["name"].removesuffix("_kernel_time"), event["args"]
    types = [kind for entry in args.get("input_type_shape", []) for kind in entry]
    return LayerTime(
        name,
        args.get("op_name", ""),
        event["dur"] * 1000.0,
        (types or [""])[0],
        args.get("provider", ""),
        (event["ts"] - begin_us) * 1000.0,
        nodes=(name.removesuffix(_BLOCKED),),
    )


def heavy_layers(times: Sequence[LayerTime]) -> Mapping[str, int]:
    """The convolutions and matrix products per precision; one that has no name here counts under the ONNX type."""
    heavy = [layer for layer in times if any(part in layer.kind for part in _HEAVY)]
    return Counter(_precision(layer) or layer.precision for layer in heavy)


def deciding(times: Sequence[LayerTime]) -> Precision | None:
    """The precision of the convolutions and matrix products; None where there are none, or it is another type.

    int8 as soon as one of them runs in it, because a quantiser leaves layers out on purpose (`heavy_layers` counts them);
    else that of most.
    """
    counted = heavy_layers(times)
    most = "int8" if counted.get("int8") else max(counted, key=lambda name: counted[name], default="")
    return next((known for known in _RUN_IN.values() if known == most), None)


def _precision(layer: LayerTime) -> Precision | None:
    return "int8" if layer.kind.startswith(_TAKES_FLOAT) else _RUN_IN.get(layer.precision)


def _main() -> None:
    import numpy as np

    from runtimes._ort_open import create, session_options

    order = json.loads(sys.stdin.read())
    options = session_options(order["threads"], order["options"], order["fixed"])
    options.enable_profiling = True
    options.profile_file_prefix = order["prefix"]
    session = create(order["path"], options, order["providers"])
    rng = np.random.default_rng(0)
    dtypes = {"tensor(float)": "float32", "tensor(double)": "float64"}
    feed = {
        value.name: rng.uniform(0, 1, order["shapes"][value.name]).astype(
            dtypes.get(value.type) or value.type.removeprefix("tensor(").removesuffix(")")
        )
        for value in session.get_inputs()
    }
    for _ in range(WARM + order["inferences"]):
        session.run(None, feed)
    session.end_profiling()


if __name__ == "__main__":
    _main()
