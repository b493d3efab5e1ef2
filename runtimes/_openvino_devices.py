"""OpenVINO's devices under Backbench's names: which run a small model, what they are, and the properties that each is given.

https://docs.openvino.ai/2026/openvino-workflow/running-inference/inference-devices-and-modes.html
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from harness.api import JSON, Device, OpenFailed, Precision, Setup, Unsupported
from runtimes._openvino_told import loaded_from_cache, plain, said
from runtimes._openvino_words import TYPES

KINDS: Mapping[str, str] = {"CPU": "cpu", "GPU": "intel-gpu", "NPU": "intel-npu", "AUTO": "auto", "HETERO": "hetero"}
_NAMES: Mapping[str, str] = {kind: name for name, kind in KINDS.items()}
CHOOSING = ("auto", "hetero")
"""Devices that choose among others: AUTO takes one of them, HETERO divides the model between them."""
_ORDER = ("NPU", "GPU", "CPU")
_CAPABILITIES: Mapping[Precision, str] = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "INT8"}
_MENDS: Mapping[str, str] = {
    "GPU": "install its driver: scripts/edge/intel; then see: backbench doctor",
    "NPU": "install its driver: scripts/edge/intel --npu-debs FOLDER; then see: backbench doctor",
}  # fmt: skip
_TOLD = ("DEVICE_ARCHITECTURE", "DEVICE_TYPE", "OPTIMIZATION_CAPABILITIES", "GPU_UARCH_VERSION", "NPU_DRIVER_VERSION")


def probe() -> tuple[Device, ...]:
    """The devices on which a small model runs, AUTO and HETERO over them. Why one does not run goes to stderr.

    Raises `OpenFailed` where none runs it.
    """
    import openvino

    core = openvino.Core()
    found, ran, faults = [], [], []
    for name in core.available_devices:
        kind, _, index = name.partition(".")
        if kind in KINDS:
            try:
                _run(core, name)
            except Exception as error:  # noqa: BLE001 - one that is broken must not hide the others
                faults.append(f"{name}: {said(error)}")
                continue
            ran.append(name)
            number = int(index) if index else (0 if kind == "GPU" else None)
            found.append(_described(core, name, Device(KINDS[kind], number)))
    sys.stderr.writelines(f"OpenVINO lists a device that runs nothing: {fault}\n" for fault in faults)
    if not found:
        raise OpenFailed(
            f"OpenVINO runs nothing here: {'; '.join(faults) or 'it lists no device'}", "see: backbench doctor"
        )
    return (*found, *_choosing(core, ",".join(_by_priority(ran))))


def _choosing(core: Any, names: str) -> Sequence[Device]:
    """AUTO and HETERO, where they run a small model over these devices, which do; why one does not goes to stderr."""
    found = []
    for name in ("AUTO", "HETERO"):
        try:
            _run(core, f"{name}:{names}")
        except Exception as error:  # noqa: BLE001 - what they choose among runs without them
            sys.stderr.write(f"OpenVINO's {name} runs nothing over {names}: {said(error)}\n")
            continue
        found.append(Device(KINDS[name], None, f"{name} over {names}"))
    return found


def _run(core: Any, name: str) -> None:
    import numpy as np
    import openvino
    from openvino import opset13

    parameter = opset13.parameter([1, 4], openvino.Type.f32)
    compiled = core.compile_model(openvino.Model([opset13.relu(parameter)], [parameter]), name)
    result = compiled([np.array([[-1, 0, 1, 2]], np.float32)])[0]
    if result.tolist() != [[0, 0, 1, 2]]:
        raise OpenFailed(f"OpenVINO computes a wrong result on {name}", "see: backbench doctor")


def _described(core: Any, name: str, device: Device) -> Device:
    """With the name, memory and driver, as far as the plug-in tells them."""
    supported = set(core.get_property(name, "SUPPORTED_PROPERTIES"))
    details: dict[str, JSON] = {key: plain(core.get_property(name, key)) for key in _TOLD if key in supported}
    memory = next((n for n in ("GPU_DEVICE_TOTAL_MEM_SIZE", "NPU_DEVICE_TOTAL_MEM_SIZE") if n in supported), "")
    size = int(core.get_property(name, memory)) if memory else None
    return Device(device.kind, device.index, str(core.get_property(name, "FULL_DEVICE_NAME")), size, details)


def _by_priority(names: Sequence[str]) -> Sequence[str]:
    """The most specialised first."""
    known = [name for name in names if name.partition(".")[0] in _ORDER]
    return sorted(known, key=lambda name: (_ORDER.index(name.partition(".")[0]), name))


def _having(core: Any, precision: Precision) -> Sequence[str]:
    """The devices that compute in the precision, the most specialised first. Raises `Unsupported` where none does."""
    found = []
    for name in _by_priority(core.available_devices):
        with contextlib.suppress(Exception):  # a device without a driver that works must not hide the others
            if _CAPABILITIES[precision] in core.get_property(name, "OPTIMIZATION_CAPABILITIES"):
                found.append(name)
    if not found:
        has = ", ".join(core.available_devices) or "no device"
        raise Unsupported(f"OpenVINO has {precision} on no device here: it lists {has}", "take another precision")
    return found


def name_of(core: Any, setup: Setup) -> str:
    """OpenVINO's name for the cell's device. Raises `Unsupported`, naming what it lists, where that is not among it.

    AUTO and HETERO choose among `priorities`; where none are given, among the devices that have the cell's precision.
    """
    listed = list(core.available_devices)
    kind = _NAMES[setup.device.kind]
    if setup.device.kind in CHOOSING:
        asked = str(setup.options["priorities"])
        names = [name.strip() for name in asked.split(",") if name.strip()] or _having(core, setup.precision)
        for name in names:
            _check_listed(name, listed)
        return f"{kind}:{','.join(names)}"
    # A single GPU is listed as `GPU`, several as `GPU.0`, `GPU.1`.
    return _check_listed(f"{kind}.{setup.device.index}" if setup.device.index else kind, listed)


def _check_listed(name: str, listed: Sequence[str]) -> str:
    if name in listed or f"{name}.0" in listed:
        return name
    has = ", ".join(listed) or "none"
    raise Unsupported(
        f"OpenVINO reaches no {name}: it lists {has}", _MENDS.get(name.partition(".")[0], "see: backbench list devices")
    )


def check_capable(core: Any, device: str, precision: Precision) -> None:
    """Raise `Unsupported` where the device (each one, of AUTO and HETERO) does not compute in the precision."""
    chooses = ":" in device
    for name in device.partition(":")[2].split(",") if chooses else [device]:
        try:
            capabilities = core.get_property(name, "OPTIMIZATION_CAPABILITIES")
        except Exception as error:
            raise OpenFailed(f"OpenVINO does not reach {name}: {said(error)}", "see: backbench doctor") from error
        if _CAPABILITIES[precision] not in capabilities:
            has = ", ".join(map(str, capabilities))
            hint = "leave it out of what is chosen among, as in -o openvino.priorities=GPU,CPU; or " if chooses else ""
            raise Unsupported(f"this {name} has no {precision} (it has: {has})", f"{hint}take another precision")


# ── properties ────────────────────────────────────────────────────────────────────────────────────────────────────


def properties(setup: Setup, device: str) -> Mapping[str, Any]:
    """Every property that matters, said outright; AUTO and HETERO hand each of their devices its own."""
    options = setup.options
    common: dict[str, Any] = {"PERFORMANCE_HINT": options["hint"]}
    if folder := cache_folder(setup):  # off by default: compiling belongs to the cold start that is reported
        common["CACHE_DIR"] = folder
    if setup.device.kind not in CHOOSING:
        return {**common, **_own(setup, device)}
    names = device.partition(":")[2].split(",")
    common["DEVICE_PROPERTIES"] = {name: _own(setup, name) for name in names}
    if setup.device.kind == "auto":  # or it would compute on the CPU until another device is ready
        common["ENABLE_STARTUP_FALLBACK"] = False
    return common


def _own(setup: Setup, device: str) -> Mapping[str, Any]:
    """Those of one device."""
    options, on_cpu = setup.options, device == "CPU"
    # What an int8 model leaves unquantised runs in the device's own float type.
    hint = "f16" if setup.precision == "int8" and not on_cpu else TYPES[setup.precision]
    own: dict[str, Any] = {"INFERENCE_PRECISION_HINT": options["precision_hint"] or hint}
    if not on_cpu:
        return own
    return own | {
        "INFERENCE_NUM_THREADS": setup.threads,
        "NUM_STREAMS": options["streams"],
        "ENABLE_CPU_PINNING": options["pinning"],
        "ENABLE_HYPER_THREADING": options["hyper_threading"],
        "SCHEDULING_CORE_TYPE": options["core_type"],
        "EXECUTION_MODE_HINT": options["execution_mode"],
    }


def cache_folder(setup: Setup) -> str:
    """Where compiled models are kept: nowhere for false, an empty folder for `cold`, the runtime's own for true and `warm`.

    Raises `OpenFailed` for another value.
    """
    asked = setup.options["model_cache"]
    if asked is False:
        return ""
    if asked == "cold":
        return tempfile.mkdtemp(prefix="cold-", dir=setup.cache)
    if asked is True or asked == "warm":
        return setup.cache
    raise OpenFailed(
        f"model_cache={asked!r} is none of false, true, cold, warm", "see: backbench list runtimes openvino"
    )


def check_cache(compiled: Any, setup: Setup, folder: str) -> None:
    """Raise `OpenFailed` where a warm cache was asked for and the model was compiled, or the other way round.

    The folder of a cold cache has served.
    """
    told, asked = loaded_from_cache(compiled), setup.options["model_cache"]
    if told is not None and asked in ("cold", "warm") and told is not (asked == "warm"):
        what = "was compiled" if asked == "warm" else "came from the cache"
        raise OpenFailed(
            f"model_cache={asked} was asked for, and the model {what}", "does the device keep compiled models?"
        )
    if asked == "cold":
        shutil.rmtree(folder, ignore_errors=True)
