"""Every plug-in is held to the contract of `harness.api`; a new file is found and tested without touching this one."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cache, codec, registry
from harness.api import Runtime
from harness.errors import MissingLibrary, Unsupported
from harness.launch import Worker
from harness.model import PRECISIONS, Artifact, Device, Recipe, Setup, TensorSpec
from tests import making

RUNTIMES = list(registry.found("runtimes"))
EXPORTERS = list(registry.found("exporters"))
FILES = [path for folder in ("runtimes", "exporters") for path in Path(folder).glob("[!_]*.py")]
HEAVY = ("numpy", "pandas", "torch", "timm", "onnx", "onnxruntime", "openvino", "tensorrt", "nncf")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_plugin_is_one_file_of_about_a_hundred_lines(file: Path) -> None:
    lines = len(file.read_text().splitlines())
    assert lines <= 120, f"{file} has {lines} lines: put what can stand alone into a module with an underscore"


@pytest.mark.parametrize("name", EXPORTERS)
def test_an_exporter_declares_what_the_route_reads(name: str) -> None:
    exporter: Any = registry.exporter_class(name)
    assert exporter.source
    assert exporter.target
    assert exporter.precisions and set(exporter.precisions) <= set(PRECISIONS)
    assert set(exporter.reads) <= set(exporter.precisions)
    for said in (exporter.portable, exporter.dynamic_batch, exporter.keeps_batch):
        assert isinstance(said, bool)
    _common(exporter)


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_declares_what_the_plan_reads(name: str) -> None:
    runtime: Any = registry.runtime_class(name)
    assert runtime.accepts and all(isinstance(format_, str) for format_ in runtime.accepts)
    assert runtime.precisions
    for kind, precisions in runtime.precisions.items():
        assert ":" not in kind and precisions and set(precisions) <= set(PRECISIONS)
    assert set(runtime.static_batch) <= set(runtime.precisions)
    assert set(runtime.casts) | set(runtime.casts.values()) <= set(PRECISIONS)
    opset = runtime.opset(dict.fromkeys(runtime.needs, "99.0"))
    assert opset is None or isinstance(opset, int)
    _common(runtime)


def _common(plugin: Any) -> None:
    assert (plugin.__doc__ or "").strip(), "its first sentence is what `backbench list` shows"
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in plugin.needs.items())
    assert json.loads(json.dumps(dict(plugin.options))) == dict(plugin.options)


@pytest.mark.parametrize("module", [f"{file.parent}.{file.stem}" for file in FILES])
def test_importing_a_plugin_imports_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", f"{module}: import the library inside the method that uses it"


# ── what a runtime does ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Artifact]:
    """A small artifact in every format that a built-in exporter makes, by format."""
    from harness import backbone
    from harness.model import Backbone, Request

    folder = tmp_path_factory.mktemp("sources")
    (folder / "timm").mkdir()
    snapshot = backbone.make(Backbone("test_resnet", input_size=64), folder / "timm")
    made = {"timm": cache.seal(snapshot, folder / "timm", "timm", Recipe("timm", ""), 0.0)}
    for name, source in (("onnx_torchscript", "timm"), ("openvino_ir", "onnx")):
        exporter = registry.exporter_class(name)
        target = folder / exporter.target
        target.mkdir()
        export = exporter().export(made[source], Request("fp32", None), target)
        made[exporter.target] = cache.seal(export, target, exporter.target, Recipe(name, ""), 0.0)
    return made


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all runtimes and batches, as in a run: what a runtime keeps there for one cell must not spoil another."""
    return tmp_path_factory.mktemp("cache")


def _installed(name: str) -> type[Runtime]:
    runtime = registry.runtime_class(name)
    if missing := registry.missing(runtime.needs):
        pytest.skip(f"not installed: {', '.join(missing)}")
    return runtime


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("batch", [1, 4])
def test_a_session_opens_runs_and_tells_the_truth(
    name: str, batch: int, sources: Mapping[str, Artifact], cache_folder: Path, tmp_path: Path
) -> None:
    """In a worker, as it is used: outputs equal the reference on every input, facts match the label, closing twice is
    harmless. The inputs differ, and so do their outputs: a session that does not bind again is found out.
    """
    from harness import reference, verify
    from harness.model import Backbone

    runtime = _installed(name)
    if "cpu" not in runtime.precisions:
        pytest.skip("it does not run on the CPU")
    format_ = next((f for f in runtime.accepts if f in sources), None)
    if format_ is None or name == "fake":
        pytest.skip("it opens nothing that can be made here" if format_ is None else "it computes the identity")
    reference.make(sources["timm"], Backbone("test_resnet", input_size=64), tmp_path, 8)
    setup = Setup(Device("cpu"), "fp32", batch, 1, dict(runtime.options), str(cache_folder))
    with Worker(tmp_path / "log", name=name) as worker:
        opened = worker.ask(
            "open",
            200,
            runtime=name,
            artifact=codec.encode(sources[format_]),
            setup=codec.encode(setup),
            reference=str(tmp_path),
        )
        assert opened["facts"]["precision"] == "fp32"
        assert opened["facts"]["device"] == "cpu"
        assert opened["facts"]["threads"] in (1, None), "None where the library does not tell"
        assert opened["facts"]["versions"]
        limits = codec.encode(verify.DEFAULTS["fp32"])
        verified = worker.ask("verify", 60, reference=str(tmp_path), precision="fp32", tolerance=limits)
        assert verified["passed"], verified["reason"]
        assert verified["outputs"][0]["rel_l2"] < 1e-4
        with contextlib.suppress(Unsupported):
            (inference,) = worker.ask("profile", 120, inferences=1)
            assert inference["layers"] and inference["latency_ns"] > 0
        worker.ask("close", 30)
        worker.ask("close", 30)


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_reaches_a_device_by_a_real_inference(name: str, tmp_path: Path) -> None:
    _installed(name)
    with Worker(tmp_path / "log", name=name) as worker:
        try:
            devices = [codec.decode(Device, device) for device in worker.ask("devices", 120, runtime=name)]
        except MissingLibrary as error:
            pytest.skip(error.message)  # a program, not a Python package
    assert devices
    assert {device.kind for device in devices} <= set(registry.runtime_class(name).precisions)


def test_fake_computes_the_identity(tmp_path: Path) -> None:
    runtime = registry.runtime_class("fake")
    spec = TensorSpec("input", ("batch", 3), "float32")
    artifact = making.artifact(tmp_path / "x.onnx", spec.shape)
    with runtime().open(artifact, Setup(Device("cpu"), "fp32", 1, 1, dict(runtime.options), "")) as session:
        for value in (1.0, 2.0):
            session.bind({"input": np.full((1, 3), value, np.float32)})
            session.run()
            session.sync()
            assert (session.fetch()["output"] == value).all()
