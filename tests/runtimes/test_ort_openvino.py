"""The plug-in provider of OpenVINO for ONNX Runtime: what it lists decides, and where it lists nothing the cell says so.

The plug-in's own library runs nothing here (no Intel device): registering and choosing devices is tried on the devices
that ONNX Runtime itself lists.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import registry
from harness.api import MissingLibrary, OpenFailed, Unsupported
from harness.model import JSON, Device, Precision, Setup
from runtimes import _ort_openvino
from runtimes import _ort_plugin as plugin
from runtimes._ort_openvino import provider_options, reached
from runtimes._ort_provider import CPU, OPENVINO
from tests.runtimes.opening import conv_onnx

ort = pytest.importorskip("onnxruntime")
if not hasattr(ort, "get_ep_devices"):
    pytest.skip(f"onnxruntime {ort.__version__} takes no plug-in providers", allow_module_level=True)


def setup_for(device: Device, precision: Precision, **options: JSON) -> Setup:
    known = registry.runtime_class("ort_openvino").options
    return Setup(device, precision, 1, 2, {**known, **options}, "/cache")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """The plug-in's Python module, with a library that is not there."""
    library = tmp_path / "libonnxruntime_providers_openvino_plugin.so"
    made = SimpleNamespace(get_library_path=lambda: str(library), get_ep_name=lambda: OPENVINO)
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_openvino", made)
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.8.1" if name == "onnxruntime-ep-openvino" else real(name)
    )
    yield made


def _listed(monkeypatch: pytest.MonkeyPatch, devices: Sequence[Any]) -> None:
    monkeypatch.setattr(plugin, "devices", lambda provider: list(devices))


def _device(kind: str) -> SimpleNamespace:
    return SimpleNamespace(ep_metadata={"ov_device": kind}, device=SimpleNamespace(type="x.CPU", vendor="Intel"))


def test_a_plugin_that_lists_no_device_is_unsupported_and_says_what_reaches_it(
    module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on AMD's processors, where this was seen."""
    _listed(monkeypatch, [])
    says = f"onnxruntime-ep-openvino 1.8.1 lists no device here with onnxruntime {ort.__version__}"
    with pytest.raises(Unsupported, match=says) as caught:
        reached()
    assert "the runtime openvino" in caught.value.hint
    runtime = registry.runtime_class("ort_openvino")
    with pytest.raises(Unsupported, match=says):
        runtime().open(conv_onnx(tmp_path / "x.onnx"), setup_for(Device("cpu"), "fp32"))


def test_a_device_that_it_does_not_list_is_unsupported(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _listed(monkeypatch, [_device("CPU"), _device("GPU")])
    options = provider_options(setup_for(Device("intel-npu"), "fp16"))
    with pytest.raises(Unsupported, match="OpenVINOExecutionProvider lists no NPU: it lists CPU, GPU"):
        plugin.added(ort.SessionOptions(), [(OPENVINO, options)])


class _Options:
    """What session options are given."""

    def add_provider_for_devices(self, devices: Sequence[Any], told: Any) -> None:
        """Keep it."""
        self.devices, self.told = devices, told


@pytest.mark.parametrize(
    ("names", "index", "chosen"),
    [(("CPU", "GPU"), 0, "GPU"), (("CPU", "GPU.0", "GPU.1"), 0, "GPU.0"), (("CPU", "GPU.0", "GPU.1"), 1, "GPU.1")],
)
def test_of_several_gpus_each_has_its_number(
    names: Sequence[str], index: int, chosen: str, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _listed(monkeypatch, [_device(name) for name in names])
    monkeypatch.setattr(_ort_openvino, "_prove", lambda device: None)
    assert [device.id for device in reached()] == ["cpu", *(f"intel-gpu:{n}" for n in range(len(names) - 1))]
    made = provider_options(setup_for(Device("intel-gpu", index), "fp16"))
    options: Any = _Options()
    assert plugin.added(options, [(OPENVINO, made)])
    assert [plugin.name_of(device) for device in options.devices] == [chosen]
    config = json.loads(options.told["load_config"])
    assert config["GPU"] == config[f"GPU.{index}"], "releases differ in the name that they look for"
    with pytest.raises(Unsupported, match=r"lists no GPU\.7: it lists CPU, GPU"):
        plugin.added(options, [(OPENVINO, provider_options(setup_for(Device("intel-gpu", 7), "fp16")))])


def test_a_device_that_runs_nothing_does_not_hide_the_others(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: Any) -> None:
        if plugin.name_of(device) == "NPU":
            raise OpenFailed("no compiler")

    _listed(monkeypatch, [_device("NPU"), _device("CPU")])
    monkeypatch.setattr(_ort_openvino, "_prove", refuse)
    assert [device.id for device in reached()] == ["cpu"]


def test_a_library_that_does_not_load_is_named(module: Any) -> None:
    with pytest.raises(MissingLibrary, match=r"OpenVINOExecutionProvider's library does not load: .*openvino_plugin"):
        plugin.devices(OPENVINO)


def test_a_library_without_its_companion_names_it(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, path: str) -> None:
        raise RuntimeError(
            f"Failed to load library {path} with error: libze_loader.so.1: cannot open shared object file"
        )

    monkeypatch.setattr(ort, "register_execution_provider_library", refuse)
    with pytest.raises(MissingLibrary, match=r"libze_loader\.so\.1 of the Level Zero loader is missing") as caught:
        plugin.devices(OPENVINO)
    assert caught.value.hint == "sudo apt install libze1"


def test_an_onnxruntime_without_plugins_is_too_old(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ort, "get_ep_devices")
    with pytest.raises(Unsupported, match="takes no plug-in providers") as caught:
        plugin.devices(OPENVINO)
    assert "onnxruntime>=1.23" in caught.value.hint


def test_the_real_session_takes_a_device_that_is_listed(
    module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With ONNX Runtime's own CPU device in the place of the plug-in's, through its real API."""
    listed = [device for device in ort.get_ep_devices() if device.ep_name == CPU]
    if not listed:
        pytest.skip("this onnxruntime lists no device of its own")
    _listed(monkeypatch, listed)
    assert plugin.name_of(listed[0]) == "CPU", "without the plug-in's own name the hardware's type decides"
    options = ort.SessionOptions()
    assert plugin.added(options, [(OPENVINO, {plugin.KIND: "CPU"})])
    assert options.has_providers()
    session = ort.InferenceSession(conv_onnx(tmp_path / "x.onnx").path, options, enable_fallback=0)
    assert session.get_providers() == [CPU]
    assert not plugin.added(ort.SessionOptions(), [(CPU, {})]), "the CPU provider is no plug-in"


@pytest.mark.parametrize(
    ("device", "precision", "name", "hint"),
    [
        (Device("cpu"), "fp32", "CPU", "f32"), (Device("cpu"), "int8", "CPU", "f32"),
        (Device("intel-gpu", 0), "fp16", "GPU", "f16"), (Device("intel-npu"), "int8", "NPU", "f16"),
    ],
)  # fmt: skip
def test_properties_are_said_outright(device: Device, precision: Precision, name: str, hint: str) -> None:
    made = provider_options(setup_for(device, precision))
    assert made[plugin.KIND].partition(".")[0] == name
    told = json.loads(made["load_config"])[name]
    assert (told["INFERENCE_PRECISION_HINT"], told["PERFORMANCE_HINT"]) == (hint, "LATENCY")
    assert (told.get("INFERENCE_NUM_THREADS") == "2") is (name == "CPU")
    assert "CACHE_DIR" not in told
    cached = json.loads(provider_options(setup_for(device, precision, model_cache=True))["load_config"])
    assert cached[name]["CACHE_DIR"] == "/cache"
