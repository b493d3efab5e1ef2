"""The trace holds to Chrome's trace-event format: what Perfetto needs to lay it out."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.explaining import layers, trace
from harness.explaining.layers import Profile
from harness.model import LayerTime, ProfiledInference
from tests import making

TOLD = ProfiledInference(
    100_000.0,
    (
        LayerTime("conv", "Conv", 40_000.0, "float", "CPU", 10_000.0, "brgconv", ("node",)),
        LayerTime("relu", "Relu", 30_000.0, start_ns=49_000.0),  # begins before the convolution has ended, by rounding
        LayerTime("conv", "Conv", 5_000.0, start_ns=90_000.0),
    ),
)
UNTOLD = ProfiledInference(100_000.0, tuple(LayerTime(name, "Conv", 60_000.0) for name in ("a", "b")))


def _profile(inference: ProfiledInference) -> Profile:
    summary = layers.summarise([inference])
    return Profile("key", making.FAST, 90_000.0, "test", 95_000.0, 100_000.0, 1, summary, inference)


@pytest.fixture
def written() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(trace.events([_profile(TOLD), _profile(UNTOLD)])))
    return made


def hold_to_the_format(written: Any) -> None:
    """What the format's document asks of a file of complete and metadata events (`tests/data/trace_event.schema.json`)."""
    import jsonschema

    schema = json.loads((Path(__file__).parent / "data" / "trace_event.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(written, schema, jsonschema.Draft202012Validator)
    named = {(event["pid"], event["name"]) for event in written["traceEvents"] if event["ph"] == "M"}
    for process in {event["pid"] for event in written["traceEvents"]}:
        assert (process, "process_name") in named and (process, "thread_name") in named


def test_every_event_has_the_fields_of_its_phase(written: dict[str, Any]) -> None:
    hold_to_the_format(written)
    assert all(event["dur"] > 0 for event in written["traceEvents"] if event["ph"] == "X")


@pytest.mark.parametrize(
    "broken",
    [
        {"ph": "B"},
        {"dur": None},
        {"ts": "0"},
        {"name": ""},
        {"pid": "cell"},
        {"args": {"nodes": ["a"]}},
        {"phase": "X"},
    ],
)
def test_the_check_finds_what_is_not_of_the_format(written: dict[str, Any], broken: dict[str, Any]) -> None:
    import jsonschema

    place = next(i for i, event in enumerate(written["traceEvents"]) if event["ph"] == "X")
    written["traceEvents"][place] |= broken
    with pytest.raises(jsonschema.ValidationError):
        hold_to_the_format(written)


def test_slices_of_a_thread_nest_and_never_overlap(written: dict[str, Any]) -> None:
    hold_slices_apart(written)


def hold_slices_apart(written: Any) -> None:
    """Perfetto drops or misplaces slices of one thread that overlap without nesting."""
    for process in {event["pid"] for event in written["traceEvents"]}:
        slices = [e for e in written["traceEvents"] if e["ph"] == "X" and e["pid"] == process]
        whole, *inner = sorted(slices, key=lambda event: (event["ts"], -event["dur"]))
        assert whole["name"] == "inference"
        for event in inner:
            assert event["ts"] + event["dur"] <= whole["ts"] + whole["dur"] + 1e-6
        for left, right in pairwise(inner):
            assert left["ts"] + left["dur"] <= right["ts"] + 1e-6


def test_layers_carry_what_is_known_of_them(written: dict[str, Any]) -> None:
    conv = next(e for e in written["traceEvents"] if e["ph"] == "X" and e["name"] == "conv")
    assert conv["args"]["kernel"] == "brgconv" and conv["args"]["onnx_nodes"] == "node"
    assert (conv["ts"], conv["dur"], conv["cat"]) == (10.0, 40.0, "convolution")


def test_starts_that_the_runtime_does_not_tell_are_said_to_be_made_up(written: dict[str, Any]) -> None:
    names = {e["pid"]: e["args"]["name"] for e in written["traceEvents"] if e["name"] == "thread_name"}
    assert names[1] == "layers"
    assert "tells no starts" in names[2]
