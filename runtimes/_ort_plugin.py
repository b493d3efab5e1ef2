"""Execution providers that install beside plain onnxruntime, as a library that is registered with it (1.23 and later).

https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/usage.html
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from harness.api import MissingLibrary, Unsupported, companion, first_line
from runtimes._ort_provider import OPENVINO, Providers

MODULES: Mapping[str, str] = {OPENVINO: "onnxruntime_ep_openvino"}
"""Provider -> the module that tells where its library lies."""
KIND = "device"
"""The option that chooses among a plug-in's devices, by their own name (`CPU`, `GPU.1`, `NPU`); it is not the provider's."""


def devices(provider: str) -> Sequence[Any]:
    """The plug-in's devices as ONNX Runtime lists them. Raises `Unsupported` where this onnxruntime takes no plug-ins,
    `MissingLibrary` where the library does not load.
    """
    import onnxruntime as ort

    if not hasattr(ort, "get_ep_devices"):
        raise Unsupported(
            f"onnxruntime {ort.__version__} takes no plug-in providers", "pip install 'onnxruntime>=1.23'"
        )
    module = importlib.import_module(MODULES[provider])
    try:
        ort.register_execution_provider_library(provider, module.get_library_path())
    except Exception as error:
        if "already registered" not in str(error).lower():
            missing, command = companion(error)
            what = missing or first_line(error)
            raise MissingLibrary(
                f"{provider}'s library does not load: {what}", command or "see: backbench doctor"
            ) from error
    name = module.get_ep_name()
    return [device for device in ort.get_ep_devices() if device.ep_name == name]


def name_of(device: Any) -> str:
    """The plug-in's own name for a device (`CPU`, `NPU`); of several GPUs with its number (`GPU.1`)."""
    told = dict(device.ep_metadata).get("ov_device") or str(device.device.type).rpartition(".")[2]
    return str(told).upper()


def numbered(name: str) -> tuple[str, int]:
    """Kind and number of a device by its name; a name without a number is that of the first."""
    kind, _, number = name.partition(".")
    return kind, int(number) if number.isdigit() else 0


def none_listed(provider: str) -> Unsupported:
    """What is said where a plug-in is there and finds no device."""
    import onnxruntime as ort

    name = MODULES[provider].replace("_", "-")
    what = f"{name} {importlib.metadata.version(name)} lists no device here with onnxruntime {ort.__version__}"
    return Unsupported(
        f"{what}: it takes Intel's processors, GPUs and NPUs alone",
        "the runtime openvino may reach this device without onnxruntime: backbench list devices",
    )


def added(options: Any, providers: Providers) -> bool:
    """Add the plug-in among the providers to the session options; whether there is one.

    Raises `Unsupported` where it lists no such device.
    """
    mine = [(name, given) for name, given in providers if name in MODULES]
    for name, given in mine:
        listed = devices(name)
        if not listed:
            raise none_listed(name)
        chosen = [device for device in listed if numbered(name_of(device)) == numbered(given.get(KIND, ""))]
        if not chosen:
            has = ", ".join(sorted({name_of(device) for device in listed}))
            raise Unsupported(f"{name} lists no {given.get(KIND)}: it lists {has}", "see: backbench list devices")
        told = {key: value for key, value in given.items() if key != KIND}
        options.add_provider_for_devices(chosen[:1], told)
    return bool(mine)
