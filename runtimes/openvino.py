"""OpenVINO on the devices that it reports: CPU, Intel GPU, Intel NPU, and AUTO and HETERO over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from harness.api import Artifact, Device, OpenFailed, Runtime, Session, Setup
from runtimes._openvino import OpenVinoSession
from runtimes._openvino_devices import check_cache, check_capable, name_of, probe, properties
from runtimes._openvino_told import said
from runtimes._openvino_words import MODES

NO_TF32 = "TF32 is a mode of NVIDIA's tensor cores"
_CHOOSES = "the device that is chosen may not have it: ask for that device"


class OpenVino(Runtime):
    """OpenVINO's own runtime, with every property that matters set explicitly and read back.

    `priorities` are the devices of `auto` and `hetero` (`GPU,CPU`); empty for all that are there. `model_cache` is false,
    true (kept between runs), `cold` (an empty cache) or `warm` (filled before loading is timed).
    """

    accepts = ("openvino-ir", "onnx")
    precisions: ClassVar = {
        "cpu": ("fp32", "bf16", "int8"), "intel-gpu": ("fp32", "fp16", "int8"), "intel-npu": ("fp16", "int8"),
        "auto": ("fp32", "int8"), "hetero": ("fp32", "int8"),
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
        "auto": {"fp16": _CHOOSES, "bf16": _CHOOSES, "tf32": NO_TF32},
        "hetero": {"fp16": _CHOOSES, "bf16": _CHOOSES, "tf32": NO_TF32},
    }  # fmt: skip
    casts: ClassVar = {"bf16": "fp32"}
    needs: ClassVar = {"openvino": "openvino"}
    static_batch = ("intel-npu",)
    filled: ClassVar = {"model_cache": "warm"}
    options: ClassVar = {
        "hint": "LATENCY", "streams": 1, "pinning": True, "hyper_threading": False, "core_type": "ANY_CORE",
        "execution_mode": "PERFORMANCE", "precision_hint": "", "model_cache": False, "priorities": "",
    }  # fmt: skip
    words: ClassVar = {
        "hint": MODES, "core_type": ("ANY_CORE", "PCORE_ONLY", "ECORE_ONLY"), "execution_mode": ("PERFORMANCE", "ACCURACY"),
        "precision_hint": ("", "f32", "f16", "bf16"),
    }  # fmt: skip

    def devices(self) -> Sequence[Device]:
        """The devices on which a small model runs."""
        return probe()

    def open(self, artifact: Artifact, setup: Setup) -> Session:
        """Compile for the device. Raises `Unsupported` for a device or precision that is not there, else `OpenFailed`."""
        import openvino

        core = openvino.Core()
        device = name_of(core, setup)
        check_capable(core, device, setup.precision)
        chosen = properties(setup, device)

        def compile_with(more: Mapping[str, Any]) -> Any:
            try:
                model = core.read_model(artifact.path)
                model.reshape({port.any_name: [setup.batch, *list(port.partial_shape)[1:]] for port in model.inputs})
                return core.compile_model(model, device, {**chosen, **more})
            except Exception as error:
                why = f"OpenVINO cannot compile the model for {device}: {said(error)}"
                raise OpenFailed(why, "an option? see: backbench list runtimes; the trace is in the log") from error

        compiled = compile_with({})
        check_cache(compiled, setup, str(chosen.get("CACHE_DIR", "")))
        return OpenVinoSession(artifact, setup, compiled, compile_with)
