"""OpenVINO on the devices that it reports: CPU, Intel GPU, Intel NPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.api import (
    Artifact,
    Device,
    Facts,
    LayerTime,
    OpenFailed,
    Precision,
    Runtime,
    Session,
    Setup,
    Unsupported,
    first_line,
)  # fmt: skip
from runtimes._openvino import deciding, layer_precisions, plain, readable

if TYPE_CHECKING:
    from harness.api import Array

_KINDS: Mapping[str, str] = {"CPU": "cpu", "GPU": "intel-gpu", "NPU": "intel-npu"}
_NAMES: Mapping[str, str] = {kind: name for name, kind in _KINDS.items()}
_HINTS: Mapping[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_CAPABILITIES: Mapping[Precision, str] = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "INT8"}


class OpenVino(Runtime):
    """OpenVINO's own runtime, with every property that matters set explicitly and read back."""

    accepts = ("openvino-ir", "onnx")
    precisions: ClassVar = {
        "cpu": ("fp32", "bf16", "int8"), "intel-gpu": ("fp32", "fp16", "int8"), "intel-npu": ("fp16", "int8"),
    }  # fmt: skip
    casts: ClassVar = {"bf16": "fp32", "fp16": "fp32"}
    needs: ClassVar = {"openvino": "openvino"}
    static_batch = ("intel-npu",)
    options: ClassVar = {
        "hint": "LATENCY",
        "streams": 1,
        "pinning": True,
        "hyper_threading": False,
        "precision_hint": "",
    }

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
        capabilities = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        if _CAPABILITIES[setup.precision] not in capabilities:
            raise Unsupported(
                f"this {device} has no {setup.precision} (it has: {', '.join(map(str, capabilities))})",
                "take another precision",
            )
        try:
            model = core.read_model(artifact.path)
            model.reshape({port.any_name: [setup.batch, *list(port.partial_shape)[1:]] for port in model.inputs})
            compiled = core.compile_model(model, device, _properties(setup))
        except Exception as error:
            raise OpenFailed(
                f"OpenVINO cannot compile the model for {device}: {first_line(error)}", "see the log"
            ) from error
        return OpenVinoSession(artifact, setup, compiled)


def _properties(setup: Setup) -> dict[str, Any]:
    options = setup.options
    properties = {
        "INFERENCE_PRECISION_HINT": options["precision_hint"] or _HINTS[setup.precision],
        "PERFORMANCE_HINT": options["hint"],
    }
    if setup.device.kind == "cpu":
        properties |= {
            "INFERENCE_NUM_THREADS": setup.threads,
            "NUM_STREAMS": options["streams"],
            "ENABLE_CPU_PINNING": options["pinning"],
            "ENABLE_HYPER_THREADING": options["hyper_threading"],
            "EXECUTION_MODE_HINT": "PERFORMANCE",
        }
    return properties


class OpenVinoSession(Session):
    """One infer request over tensors that share memory with numpy arrays."""

    def __init__(self, artifact: Artifact, setup: Setup, compiled: Any) -> None:
        self._artifact, self._setup, self._compiled = artifact, setup, compiled
        self._request = compiled.create_infer_request()
        self._inputs: dict[str, Array] = {}

    def bind(self, feed: Mapping[str, Array]) -> None:
        """Copy into the input tensors' memory; the first call makes them."""
        import numpy as np
        import openvino

        if not self._inputs:
            for name, array in feed.items():
                self._inputs[name] = np.array(array)
                self._request.set_tensor(name, openvino.Tensor(self._inputs[name], shared_memory=True))
        for name, array in feed.items():
            np.copyto(self._inputs[name], array)

    def run(self) -> None:
        """Start one inference."""
        self._request.start_async()

    def sync(self) -> None:
        """Wait for it."""
        self._request.wait()

    def fetch(self) -> Mapping[str, Array]:
        """Host copies of the outputs, under the artifact's names."""
        import numpy as np

        ports = self._compiled.outputs
        return {
            spec.name: np.array(self._request.get_tensor(port).data)
            for spec, port in zip(self._artifact.outputs, ports, strict=True)
        }

    def facts(self) -> Facts:
        """Every property that the compiled model tells, and the precision its layers really run in."""
        import openvino

        settings = {name: plain(self._compiled.get_property(name)) for name in readable(self._compiled)}
        layers = layer_precisions(self._compiled)
        devices = settings.get("EXECUTION_DEVICES", "")
        return Facts(
            precision=deciding(layers),
            device=self._setup.device.id,
            providers=tuple(devices) if isinstance(devices, list) else (str(devices),),
            layer_precisions=dict(Counter(precision for _, precision in layers)),
            threads=int(str(settings["INFERENCE_NUM_THREADS"])) if "INFERENCE_NUM_THREADS" in settings else None,
            streams=int(str(settings["NUM_STREAMS"])) if "NUM_STREAMS" in settings else None,
            versions={"openvino": openvino.__version__},
            settings=settings,
        )

    def profile(self) -> Sequence[LayerTime]:
        """Layer times of one inference, of a model compiled again with profiling on."""
        import openvino

        core = openvino.Core()
        model = core.read_model(self._artifact.path)
        model.reshape({port.any_name: list(port.shape) for port in self._compiled.inputs})
        device = _NAMES[self._setup.device.kind]
        request = core.compile_model(
            model, device, {**_properties(self._setup), "PERF_COUNT": True}
        ).create_infer_request()
        for _ in range(3):
            request.infer(dict(self._inputs))
        return [
            LayerTime(
                i.node_name,
                i.node_type,
                i.real_time.total_seconds() * 1e9,
                i.exec_type.rpartition("_")[2],
                device,
                i.node_name,
            )
            for i in request.get_profiling_info()
            if i.real_time.total_seconds() > 0
        ]

    def close(self) -> None:
        """Let go of the request and the model."""
        self._request = self._compiled = None
