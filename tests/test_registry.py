"""Plug-ins are found by name, and nothing is imported until one is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

import pytest

from harness import installed, registry
from harness.errors import MissingLibrary, PlanInvalid, PluginConflict, UnknownName
from harness.model import Artifact, Recipe, Request
from harness.recipes import recipe_of


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    registry.found.cache_clear()
    yield
    registry.found.cache_clear()


def test_the_files_of_the_two_folders_are_found() -> None:
    assert {"torch_eager", "ort_cpu", "openvino", "fake"} <= set(registry.found("runtimes"))
    assert {"onnx_dynamo", "onnx_torchscript", "openvino_ir"} <= set(registry.found("exporters"))
    assert not any(name.startswith("_") for name in registry.found("runtimes"))


def test_a_mistyped_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'openvino'"):
        registry.runtime_class("openvno")


def _entry_points(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    point = metadata.EntryPoint(name, value, "backbench.runtimes")

    def entry_points(group: str) -> list[metadata.EntryPoint]:
        return [point] if group == "backbench.runtimes" else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)


def test_an_entry_point_gives_the_same_object(monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimes.fake import Fake

    _entry_points(monkeypatch, "elsewhere", "runtimes.fake:Fake")
    assert registry.runtime_class("elsewhere") is Fake


def test_two_plugins_of_one_name_are_refused_with_both_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    _entry_points(monkeypatch, "ort_cpu", "somewhere.else:Runtime")
    with pytest.raises(PluginConflict, match=r"'ort_cpu': one is built-in, one is somewhere\.else"):
        registry.found("runtimes")


def test_a_missing_library_gets_the_line_that_installs_it() -> None:
    with pytest.raises(MissingLibrary, match="needs nowhere>=2, which is not installed") as caught:
        registry.check_installed("thing", {"sys": "sys", "nowhere_to_be_found": "nowhere>=2"})
    assert caught.value.hint == "pip install 'nowhere>=2'"


def test_versions_are_those_of_the_distribution_behind_the_import_name() -> None:
    assert installed.versions(["yaml"]) == {"yaml": metadata.version("PyYAML")}


def test_a_library_that_an_exporter_can_do_without_is_part_of_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an artifact that ONNX Runtime had no part in would be taken for one that it had."""
    source = Artifact("timm", "/nowhere", "fp32", (), (), "0" * 64, 0, Recipe("none", "0" * 64))
    monkeypatch.setattr(registry.exporter_class("onnx_dynamo"), "uses", ("nowhere_to_be_found",))
    assert recipe_of("onnx_dynamo", source, Request("fp32", None), {}).versions["nowhere_to_be_found"] == "absent"


@pytest.mark.parametrize(
    ("name", "option", "value", "takes"),
    [
        ("openvino", "streams", "abc", "a whole number"), ("openvino", "streams", 1.5, "a whole number"),
        ("openvino", "streams", True, "a whole number"), ("ort_cpu", "spinning", "maybe", "true or false"),
        ("ort_cpu", "spinning", 1, "true or false"), ("fake", "noise", "much", "a number"),
        ("fake", "noise", False, "a number"), ("openvino", "hint", ["LATENCY"], "a word"),
        ("ort_tensorrt", "profile", 3, "a list"),
    ],
)  # fmt: skip
def test_a_value_that_is_unlike_the_default_is_refused(name: str, option: str, value: object, takes: str) -> None:
    with pytest.raises(PlanInvalid, match=f"{name}.{option} takes {takes}, not ") as caught:
        registry.check_runtime_options(name, {option: value})
    assert caught.value.hint.startswith("its default is ")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("openvino", {"streams": 2, "hint": "THROUGHPUT", "model_cache": "warm"}), ("openvino", {"model_cache": True}),
        ("fake", {"noise": 1, "latency_ns": 10**6}), ("ort_tensorrt", {"profile": [1, 8, 32], "engine_cache": "warm"}),
    ],
)  # fmt: skip
def test_a_value_like_the_default_is_taken(name: str, options: dict[str, object]) -> None:
    registry.check_runtime_options(name, options)


def test_options_of_exporters_are_checked_too() -> None:
    known = registry.exporter_class("onnx_int8")
    registry.check_options("onnx_int8", known, {"exclude": "node_Conv", "operators": ["Conv"], "percentile": 99})
    with pytest.raises(PlanInvalid, match=r"onnx_int8\.symmetric takes true or false"):
        registry.check_options("onnx_int8", known, {"symmetric": "yes"})
    with pytest.raises(PlanInvalid, match=r"tensorrt_engine.profile takes a list, not '1,8,32'"):
        registry.check_options("tensorrt_engine", registry.exporter_class("tensorrt_engine"), {"profile": "1,8,32"})


def test_every_default_is_like_itself() -> None:
    for name in registry.found("runtimes"):
        registry.check_runtime_options(name, registry.runtime_class(name).options)
    for name in registry.found("exporters"):
        known = registry.exporter_class(name)
        registry.check_options(name, known, known.options)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "openvino",
            {"hint": "FAST"},
            "openvino.hint is one of LATENCY, THROUGHPUT, CUMULATIVE_THROUGHPUT, not 'FAST'",
        ),
        ("ort_cpu", {"graph_optimization": "most"}, "ort_cpu.graph_optimization is one of all, extended, basic, off"),
        ("ort_cuda", {"cudnn_conv_algo_search": "BEST"}, "is one of EXHAUSTIVE, HEURISTIC, DEFAULT, not 'BEST'"),
        ("torch_compile", {"mode": "max_autotune"}, "is one of default, reduce-overhead, max-autotune"),
    ],
)
def test_a_word_that_is_none_of_an_options_is_refused_when_planned(
    name: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(PlanInvalid, match=said):
        registry.check_runtime_options(name, options)


@pytest.mark.parametrize(
    ("name", "options", "near"),
    [
        ("onnx_int8", {"method": "min-max"}, "did you mean 'minmax'?"),
        ("onnx_int8", {"activations": "int4"}, "did you mean 'int8'"),
        ("openvino_int8", {"preset": "best"}, 'its default is "mixed"'),
    ],
)
def test_a_word_that_an_exporter_does_not_know_is_refused_with_what_comes_near(
    name: str, options: dict[str, object], near: str
) -> None:
    with pytest.raises(PlanInvalid) as caught:
        registry.check_options(name, registry.exporter_class(name), options)
    assert near in caught.value.hint
