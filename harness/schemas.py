"""JSON Schemas of everything that Backbench writes or prints as JSON, made from the classes that hold it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UnknownName, did_you_mean

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Described:
    """One kind of JSON: what prints or holds it, and the type it is made from (imported when it is asked for)."""

    where: str
    kind: Callable[[], Any]


def _run() -> Any:
    from harness.record import Run

    return Run


def _record() -> Any:
    from harness.record import Record

    return Record


def _samples() -> Any:
    from harness.record import Samples

    return Samples


def _report() -> Any:
    from harness.report.content import Reported

    return list[Reported]


def _compare() -> Any:
    from harness.comparing.comparison import Compared

    return Compared


def _selftest() -> Any:
    from harness.selftest import Selftest

    return Selftest


def _profile() -> Any:
    from harness.explaining.profiling import Profiled

    return Profiled


def _diff() -> Any:
    from harness.explaining.divergence import Divergence

    return Divergence


def _cost() -> Any:
    from harness.roofline.cost import Counted

    return list[Counted]


def _ceilings() -> Any:
    from harness.roofline.ceilings import Ceilings

    return list[Ceilings]


def _accuracy() -> Any:
    from harness.accuracy.record import Accuracy

    return Accuracy


def _predictions() -> Any:
    from harness.accuracy.store import Predicted

    return Predicted


def _coverage() -> Any:
    from harness.coverage.record import Covered

    return Covered


def _printed(name: str) -> Callable[[], Any]:
    def kind() -> Any:
        from harness.deciding import printed

        return getattr(printed, name)

    return kind


def _listed(name: str) -> Callable[[], Any]:
    def kind() -> Any:
        from harness import listed

        return list[getattr(listed, name)]  # type: ignore[misc]

    return kind


SCHEMAS: Mapping[str, Described] = {
    "run": Described("run.json of a results folder", _run),
    "record": Described("a line of records.jsonl", _record),
    "samples": Described("a line of samples.jsonl", _samples),
    "accuracy": Described("a line of accuracy.jsonl; backbench accuracy --json prints a list of them", _accuracy),
    "predictions": Described("a line of predictions.jsonl", _predictions),
    "report": Described("backbench report --format json", _report),
    "profile": Described("backbench profile --json", _profile),
    "diff": Described("backbench diff --json", _diff),
    "compare": Described("backbench compare --json", _compare),
    "validate": Described("backbench validate --json", _printed("Validated")),
    "recommend": Described("backbench recommend --json", _printed("Recommended")),
    "cost": Described("backbench cost --json", _cost),
    "ceilings": Described("backbench ceilings --json", _ceilings),
    "coverage": Described("a line of coverage.jsonl; backbench coverage --json prints a list of them", _coverage),
    "selftest": Described("backbench selftest --json", _selftest),
    "list-models": Described("backbench list models --json", _listed("ListedModel")),
    "list-runtimes": Described("backbench list runtimes --json", _listed("ListedRuntime")),
    "list-exporters": Described("backbench list exporters --json", _listed("ListedExporter")),
    "list-precisions": Described("backbench list precisions --json", _listed("ListedPrecisions")),
    "list-devices": Described("backbench list devices --json", _listed("ListedDevice")),
    "doctor": Described("backbench doctor --json", _listed("Diagnosis")),
}
"""By the name that `backbench schema` takes."""


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of that name. Raises `UnknownName`.

    A field with a default is not required: older files lack those that came later.
    """
    from pydantic import ConfigDict, TypeAdapter

    if name not in SCHEMAS:
        raise UnknownName(
            f"no schema is called {name!r}", did_you_mean(name, SCHEMAS, f"there are: {', '.join(SCHEMAS)}")
        )
    described = SCHEMAS[name]
    # In a list, because pydantic takes no configuration for a class that could have its own.
    kind: Any = list[described.kind()]  # type: ignore[misc]
    made = TypeAdapter(kind, config=ConfigDict(use_attribute_docstrings=True)).json_schema()
    return {
        "$schema": DIALECT,
        "$id": f"backbench/{name}.schema.json",
        "title": described.where,
        **made["items"],
        "$defs": made.get("$defs", {}),
    }


def text(name: str) -> str:
    """The same as text, as it lies in `results/schema`."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
