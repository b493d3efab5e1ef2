"""Evidence for verdicts and recommendations, made to order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.deciding.evidence import UNKNOWN, Accuracy, Evidence
from harness.model import JSON, Backbone, Cell, Outcome, Trust
from harness.record import ColdStart, Finding, Interval, Latency, Record
from tests import making


def latency(median_ms: float, width: float = 0.01, samples: int = 1000) -> Latency:
    """A summary whose median and supported percentiles have intervals of that half-width."""
    made = making.latency(median_ms, samples)
    values = {"median": made.median_ns, **made.percentiles_ns}
    spread = {name: Interval(v, v * (1 - width), v * (1 + width)) for name, v in values.items()}
    return replace(made, intervals_ns=spread)


def evidence(
    name: str = "resnet50",
    runtime: str = "ort_cpu",
    median_ms: float = 10.0,
    *,
    width: float = 0.01,
    samples: int = 1000,
    accuracy: float | None = None,
    memory_mb: float = 250.0,
    size_mb: float = 100.0,
    params: int | None = 25_000_000,
    trust: Trust = "trusted",
    doubt: str = "few_rounds",
    swing: float = 1.0,
    outcome: Outcome = "ok",
    loads: tuple[float, ...] = (0.2,),
    cell: Mapping[str, Any] | None = None,
) -> Evidence:
    """A measured cell with those figures."""
    made = Cell(Backbone(name), runtime, threads=2, **(cell or {}))
    record = making.record(made, median_ms)
    assert record.memory is not None
    memory = replace(record.memory, rss_peak_bytes=round(memory_mb * 1e6), artifact_bytes=round(size_mb * 1e6))
    timed = {"compute": latency(median_ms, width, samples), "end_to_end": latency(median_ms * 1.1, width, samples)}
    colds = tuple(ColdStart(1.0, 0.3, load, 0.05) for load in loads)
    findings = () if trust == "trusted" else (Finding(doubt, trust, f"{doubt} was seen", "measure longer"),)
    conditions: dict[str, JSON] = {"shape": {"kind": "swings", "spread": swing, "change": 1.0, "spikes": 0.0}}
    record = replace(record, conditions=conditions)
    record = replace(record, memory=memory, latency=timed, trust=trust, findings=findings, cold=colds[0], colds=colds)
    if outcome != "ok":
        record = replace(record, outcome=outcome, latency={}, trust=None, reason="it broke", hint="mend it")
    known = UNKNOWN if accuracy is None else Accuracy("published", accuracy, source="test")
    return Evidence(making.run(), record, baseline(), params, known, "RUN")


def baseline() -> Record:
    """PyTorch's record."""
    return making.record(making.BASE, 20.0)
