"""Chains of exporters are found from class attributes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import route
from harness.api import Artifact, Device, Export, Exporter, Request, Runtime, Session, Setup
from harness.errors import Unsupported
from harness.model import Format, Precision


def _exporter(
    source_: Format,
    target_: Format,
    precisions_: tuple[Precision, ...],
    rank_: int = 0,
    reads_: dict[Precision, Precision] | None = None,
) -> type[Exporter]:
    class Edge(Exporter):
        source = source_
        target = target_
        precisions = precisions_
        rank = rank_
        reads = reads_ or {}

        def export(self, source: Artifact, want: Request, folder: Path) -> Export:
            raise AssertionError("a route is found without exporting")

    return Edge


def _runtime(*formats: Format, casts_: dict[Precision, Precision] | None = None) -> type[Runtime]:
    class Opens(Runtime):
        accepts = formats
        precisions = {"cpu": ("fp32",)}  # noqa: RUF012
        casts = casts_ or {}

        def devices(self) -> Sequence[Device]:
            return ()

        def open(self, artifact: Artifact, setup: Setup) -> Session:
            raise AssertionError("a route is found without opening")

    return Opens


EXPORTERS = {
    "dynamo": _exporter("timm", "onnx", ("fp32",)),
    "torchscript": _exporter("timm", "onnx", ("fp32",), rank_=1),
    "ir": _exporter("onnx", "ir", ("fp32", "fp16", "int8")),
    "half": _exporter("onnx", "onnx", ("fp16",), reads_={"fp16": "fp32"}),
    "quantise": _exporter("onnx", "onnx", ("int8",), reads_={"int8": "fp32"}),
}


def _names(source: Format, runtime: type[Runtime], precision: Precision = "fp32") -> list[tuple[str, ...]]:
    return [step.exporters for step in route.find(EXPORTERS, source, runtime, precision)]


def test_what_a_runtime_opens_itself_needs_no_exporter() -> None:
    assert _names("timm", _runtime("timm")) == []


def test_the_preferred_format_wins_over_a_nearer_one() -> None:
    assert _names("timm", _runtime("onnx", "ir")) == [("dynamo", "torchscript")]
    assert _names("timm", _runtime("ir", "onnx")) == [("dynamo", "torchscript"), ("ir",)]


def test_a_format_that_nothing_leads_to_is_passed_over() -> None:
    assert _names("timm", _runtime("engine", "onnx")) == [("dynamo", "torchscript")]


def test_a_chain_goes_through_several_formats() -> None:
    assert _names("timm", _runtime("ir")) == [("dynamo", "torchscript"), ("ir",)]


def test_a_file_enters_in_the_middle() -> None:
    assert _names("onnx", _runtime("ir")) == [("ir",)]
    assert _names("onnx", _runtime("onnx")) == []


def test_a_precision_is_reached_through_the_exporter_that_makes_it() -> None:
    assert _names("timm", _runtime("onnx"), "fp16") == [("dynamo", "torchscript"), ("half",)]
    assert _names("timm", _runtime("ir"), "int8") == [("dynamo", "torchscript"), ("quantise",), ("ir",)]


def test_a_runtime_that_casts_needs_only_what_it_casts_from() -> None:
    assert _names("timm", _runtime("ir", casts_={"bf16": "fp32"}), "bf16") == [("dynamo", "torchscript"), ("ir",)]


def test_where_no_chain_leads_the_message_says_how_far_it_gets() -> None:
    with pytest.raises(Unsupported, match="from onnx to timm fp32"):
        _names("onnx", _runtime("timm"))
