"""Reads what older versions wrote: one function per step of the schema, applied in turn until the data is current."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from harness.errors import StoreFailed
from harness.model import SCHEMA

Kind = Literal["run", "record", "samples", "accuracy", "predictions"]
Step = Callable[[dict[str, Any]], dict[str, Any]]
_STEPS: Mapping[tuple[Kind, int], Step] = {}
"""(kind, schema it reads) -> function to the next schema. Schema 1 is the first: there are no steps yet."""


def run(data: Any) -> dict[str, Any]:
    """`run.json` in the current schema."""
    return _current("run", data)


def record(data: Any) -> dict[str, Any]:
    """A line of `records.jsonl` in the current schema."""
    return _current("record", data)


def samples(data: Any) -> dict[str, Any]:
    """A line of `samples.jsonl` in the current schema."""
    return _current("samples", data)


def accuracy(data: Any) -> dict[str, Any]:
    """A line of `accuracy.jsonl` in the current schema."""
    return _current("accuracy", data)


def predictions(data: Any) -> dict[str, Any]:
    """A line of `predictions.jsonl` in the current schema."""
    return _current("predictions", data)


def _current(
    kind: Kind, data: Any, steps: Mapping[tuple[Kind, int], Step] = _STEPS, current: int = SCHEMA
) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise StoreFailed(f"not a {kind}: {json.dumps(data)[:40]} is no JSON object")
    version = data.get("schema")
    if type(version) is not int or version < 1:  # isinstance would take true for 1
        raise StoreFailed(f"not a {kind}: its schema is {json.dumps(version)[:40]}, and not a number from 1")
    if version > current:
        raise StoreFailed(
            f"a {kind} of schema {version}; this Backbench reads up to {current}", "upgrade: pip install -U backbench"
        )
    while version < current:
        if (kind, version) in steps:
            data = steps[kind, version](data)
        version += 1
        data = data | {"schema": version}
    return dict(data)
