"""OpenVINO on the devices that it reports: CPU, Intel GPU, Intel NPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from harness.api import Artifact, Device, OpenFailed, Precision, Runtime, Session, Setup, Unsupported
from runtimes._openvino import OpenVinoSession, said

_KINDS: Mapping[str, str] = {"CPU": "cpu", "GPU": "intel-gpu", "NPU": "intel-npu"}
_NAMES: Mapping[str, str] = {kind: name for name, kind in _KINDS.items()}
NO_TF32 = "TF32 is a mode of NVIDIA's tensor cores"
_HINTS: Mapping[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_CAPABILITIES: Mapping[Precision, str] = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "INT8"}


class OpenVino(Runtime):
    """OpenVINO's own runtime, with every property that matters set explicitly and read back."""

    accepts = ("openvino-ir", "onnx")
    precisions: ClassVar = {
        "cpu": ("fp32", "bf16", "int8"), "intel-gpu": ("fp32", "fp16", "int8"), "intel-npu": ("fp16", "int8"),
    }  # fmt: skip
    refuses: ClassVar = {
        "cpu": {
            "fp16": "its CPU plug-in runs the hint f16 in bf16 or fp32 (measured), and an fp16 IR likewise",
            "tf32": NO_TF32,
        },
        "intel-gpu": {"bf16": "its GPU plug-in computes in f32 and f16", "tf32": NO_TF32},
        "intel-npu": {
            "fp32": "the NPU computes in f16 and i8", "bf16": "the NPU computes in f16 and i8", "tf32": NO_TF32,
        },
    }  # fmt: skip
    casts: ClassVar = {"bf16": "fp32"}
    needs: ClassVar = {"openvino": "openvino"}
    static_batch = ("intel-npu",)
    options: ClassVar = {
        "hint": "LATENCY", "streams": 1, "pinning": True, "hyper_threading": False, "core_type": "ANY_CORE",
        "execution_mode": "PERFORMANCE", "precision_hint": "", "model_cache": False,
    }  # fmt: skip

    def devices(self) -> Sequence[Device]:
        """The devices on which a small model runs."""
        import numpy as np
        import openvino
        from openvino import opset13

        core = openvino.Core()
        parameter = opset13.parameter([1, 4], openvino.Type.f32)
        probe = openvino.Model([opset13.relu(parameter)], [parameter])
        found = []
        for name in core.available_devices:
            kind, _, index = name.partition(".")
            if kind in _KINDS:
                core.compile_model(probe, name)([np.ones((1, 4), np.float32)])
                number = int(index) if index else (0 if kind == "GPU" else None)
                found.append(Device(_KINDS[kind], number, str(core.get_property(name, "FULL_DEVICE_NAME"))))
        return found

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """Compile for the device. Raises `Unsupported` for a precision that it does not have, `OpenFailed` otherwise."""
        import openvino

        core = openvino.Core()
        device = _NAMES[setup.device.kind] + (f".{setup.device.index}" if setup.device.index else "")

        def compile_with(more: Mapping[str, Any]) -> Any:
            try:
                model = core.read_model(artifact.path)
                model.reshape({port.any_name: [setup.batch, *list(port.partial_shape)[1:]] for port in model.inputs})
                return core.compile_model(model, device, {**_properties(setup), **more})
            except Exception as error:
                why = f"OpenVINO cannot compile the model for {device}: {said(error)}"
                raise OpenFailed(why, "an option? see: backbench list runtimes; the trace is in the log") from error

        _check_capable(core, device, setup.precision)
        return OpenVinoSession(artifact, setup, compile_with({}), compile_with)


def _check_capable(core: Any, device: str, precision: Precision) -> None:
    try:
        capabilities = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    except Exception as error:
        raise OpenFailed(f"OpenVINO does not reach {device}: {said(error)}", "see: backbench doctor") from error
    if _CAPABILITIES[precision] not in capabilities:
        has = ", ".join(map(str, capabilities))
        raise Unsupported(f"this {device} has no {precision} (it has: {has})", "take another precision")


def _properties(setup: Setup) -> dict[str, Any]:
    options = setup.options
    # What an int8 model leaves unquantised runs in the device's own float type.
    hint = "f16" if setup.precision == "int8" and setup.device.kind != "cpu" else _HINTS[setup.precision]
    properties = {
        "INFERENCE_PRECISION_HINT": options["precision_hint"] or hint,
        "PERFORMANCE_HINT": options["hint"],
    }
    if options["model_cache"]:  # off by default: compiling belongs to the cold start that is reported
        properties["CACHE_DIR"] = setup.cache
    if setup.device.kind == "cpu":
        properties |= {
            "INFERENCE_NUM_THREADS": setup.threads,
            "NUM_STREAMS": options["streams"],
            "ENABLE_CPU_PINNING": options["pinning"],
            "ENABLE_HYPER_THREADING": options["hyper_threading"],
            "SCHEDULING_CORE_TYPE": options["core_type"],
            "EXECUTION_MODE_HINT": options["execution_mode"],
        }
    return properties
