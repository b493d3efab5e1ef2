"""ONNX Runtime's OpenVINO provider: its devices, and its properties through the plug-in's one option.

The plug-in (onnxruntime-ep-openvino 1.8) takes OpenVINO's properties as JSON in `load_config`, by device; it tells neither
what its layers run in nor which properties hold. It lists no device on AMD's processors, whatever OpenVINO itself reaches
there: seen with onnxruntime 1.32. Not executed on an Intel device yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.api import Artifact, Device, LayerTime, OpenFailed, Precision, Setup, first_line, working
from runtimes import _ort_plugin as plugin
from runtimes._onnxruntime import OnnxRuntimeSession
from runtimes._openvino_words import TYPES
from runtimes._ort_provider import OPENVINO, PROBE, placement

KINDS: Mapping[str, str] = {"CPU": "cpu", "GPU": "intel-gpu", "NPU": "intel-npu"}
_NAMES: Mapping[str, str] = {kind: name for name, kind in KINDS.items()}


def reached() -> Sequence[Device]:
    """The devices on which the provider runs a small model. Raises `Unsupported` where it lists none."""
    listed = plugin.devices(OPENVINO)
    if not listed:
        raise plugin.none_listed(OPENVINO)
    known = {}
    for one in listed:
        kind, number = plugin.numbered(plugin.name_of(one))
        if kind in KINDS:
            device = Device(KINDS[kind], number if kind == "GPU" else None, str(one.device.vendor))
            known[device.id] = (device, one)
    return working((device for device, _ in known.values()), lambda device: _prove(known[device.id][1]))


def _prove(device: Any) -> None:
    import numpy as np
    import onnxruntime as ort

    name = plugin.name_of(device)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        options.add_provider_for_devices([device], {})
        session = ort.InferenceSession(PROBE, options, enable_fallback=0)
        result = session.run(None, {"x": np.array([[-1, 0, 1, 2]], np.float32)})[0]
    except Exception as error:
        raise OpenFailed(f"{OPENVINO} does not run on {name}: {first_line(error)}", "see: backbench doctor") from error
    placed = placement(session)
    if (placed and not placed.get(OPENVINO)) or result.tolist() != [[0, 0, 1, 2]]:
        raise OpenFailed(f"{OPENVINO} left the model to another provider on {name}", "see: backbench doctor")


def provider_options(setup: Setup) -> Mapping[str, str]:
    """The device, and every property that matters, said outright."""
    options, name = setup.options, _NAMES[setup.device.kind]
    hint = "f16" if setup.precision == "int8" and name != "CPU" else TYPES[setup.precision]
    chosen = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": str(options["hint"])}
    if name == "CPU":
        chosen |= {"INFERENCE_NUM_THREADS": str(setup.threads), "NUM_STREAMS": str(options["streams"])}
    if options["model_cache"]:
        chosen["CACHE_DIR"] = setup.cache
    number = setup.device.index
    exact = name if number is None else f"{name}.{number}"
    # By both names: some releases look for the device's own, others leave out its number.
    config = dict.fromkeys((name, exact), chosen)
    return {plugin.KIND: exact, "load_config": json.dumps(config, sort_keys=True)}


class OpenVinoOrtSession(OnnxRuntimeSession):
    """A session whose subgraphs OpenVINO computes; what it leaves out runs on the CPU, and is counted."""

    def __init__(self, artifact: Artifact, setup: Setup) -> None:
        """Raises `Unsupported` where the plug-in lists no such device."""
        super().__init__(artifact, setup, [(OPENVINO, provider_options(setup))])

    def _precisions(self) -> tuple[Precision | None, Sequence[LayerTime], str]:
        return None, (), "OpenVINO's provider does not tell what its layers run in; the runtime openvino does"
