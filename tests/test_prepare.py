"""What exporters are asked for, step by step, with workers that only keep the questions."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import codec, prepare, recipes, registry, route
from harness.cache import Cache
from harness.errors import ExportFailed
from harness.model import Artifact, Backbone, Calibration, Cell, Export, Precision, Request, TensorSpec
from tests import making

OPEN = TensorSpec("x", ("batch", 3, "height", "width"), "float32")


class _Told:
    """Fails to export; an ONNX file is what `OPEN` says."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []

    def __call__(self, log: Path, name: str) -> Any:
        return self

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def ask(self, op: str, timeout_s: float, **fields: Any) -> Any:
        if op == "inspect":
            export = Export("net.onnx", "fp32", (OPEN,), (OPEN,), {"digest": "0" * 64, "size_bytes": 1})
            return codec.encode(export)
        self.asked.append(fields)
        raise ExportFailed("it cannot")


def _line(told: _Told, folder: Path, backbone: Backbone) -> prepare.Line:
    return prepare.Line(backbone, Cache(folder / "cache"), folder, lambda text: None, threading.Event(), start=told)


@pytest.mark.parametrize(
    ("exporter", "source", "batches"),
    [
        ("onnx_fp16", ("batch", 3, 4, 4), [None]),
        ("onnx_int8", ("batch", 3, 4, 4), [None]),
        ("onnx_int8", (8, 3, 4, 4), [8]),
        ("openvino_ir", ("batch", 3, 4, 4), [None, 8]),
        ("tensorrt_engine", ("batch", 3, 4, 4), [8]),
    ],
)
def test_an_exporter_that_keeps_the_batch_is_asked_once(
    exporter: str, source: tuple[int | str, ...], batches: list[int | None], tmp_path: Path
) -> None:
    """A second try with a fixed batch would make the same file, and only leave out that it is tried."""
    told = _Told()
    line = _line(told, tmp_path, Backbone("net", path="net.onnx"))
    kind = registry.exporter_class(exporter)
    made: Artifact = making.artifact(tmp_path / "net.onnx", source)
    assert list(route.batches(kind, made, 8, static=False)) == batches
    if registry.missing(kind.needs) or not kind.portable:
        return
    makes: Precision = kind.precisions[0]
    step = route.Step("onnx", kind.target, "fp32", makes, (exporter,))
    cell = Cell(line.backbone, "ort_cpu", makes, 8, calibration=Calibration())
    with pytest.raises(ExportFailed, match=f"{exporter} failed: it cannot"):
        line.step(step, made, cell, None, static=False, images=None)
    assert [asked["want"]["batch"] for asked in told.asked] == batches


def test_the_size_that_is_asked_for_goes_with_an_onnx_file_which_leaves_it_open(tmp_path: Path) -> None:
    """What an exporter said of one size is not found for another."""
    told, recipe = _Told(), {}
    for size in (0, 384):
        line = _line(told, tmp_path, Backbone("net", path="net.onnx", input_size=size))
        source = line._source(lambda: told)
        assert source.details["asked_size"] == size
        recipe[size] = recipes.recipe_of("onnx_fp16", source, Request("fp16", None), {})
    assert "asked_size" not in recipe[0].options, "so that what was kept is found again"
    assert recipe[384].options["asked_size"] == 384


@pytest.mark.parametrize(("exporter", "library"), [("onnx_int8", "sympy"), ("onnx_dynamo", "onnx_ir")])
def test_a_library_that_changes_what_is_made_is_part_of_the_recipe(exporter: str, library: str, tmp_path: Path) -> None:
    precision = registry.exporter_class(exporter).precisions[0]
    recipe = recipes.recipe_of(exporter, making.artifact(tmp_path / "net.onnx"), Request(precision, 1), {})
    assert recipe.versions[library] not in ("absent", "unknown")
