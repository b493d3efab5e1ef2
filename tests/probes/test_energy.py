"""A cell's energy is that of what computes it, and a reason where nothing counted it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model import JSON
from harness.probes.energy import energy_j_per_inference
from harness.record import Record
from tests import making

BOTH: dict[str, JSON] = {"rapl": {"energy_j_per_inference": 1.5}, "nvml": {"energy_j_per_inference": 0.5}}


def _on(device: str, conditions: dict[str, JSON]) -> Record:
    record = making.record()
    return replace(record, cell=replace(record.cell, device=device), conditions=conditions)


@pytest.mark.parametrize(("device", "joules"), [("cpu", 1.5), ("intel-gpu:0", 1.5), ("cuda:0", 0.5)])
def test_the_device_decides(device: str, joules: float) -> None:
    assert energy_j_per_inference(_on(device, BOTH)) == joules


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"rapl": "unavailable: no driver"}, "unavailable: no driver"),
        ({"rapl": {"energy_j_per_inference": "unavailable: permission denied"}}, "unavailable: permission denied"),
        ({"rapl": {}}, "unavailable: rapl told no energy"),
        ({}, "unavailable: nothing read the machine while it ran"),
    ],
)
def test_without_a_counter_the_reason_is_kept(conditions: dict[str, JSON], reason: str) -> None:
    assert energy_j_per_inference(_on("cpu", conditions)) == reason
