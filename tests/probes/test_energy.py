"""A cell's energy is that of what computes it, and a reason where nothing counted it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model import JSON, Burst, Usage
from harness.probes.energy import energy_j_per_inference
from harness.probes.nvml import Nvml
from harness.probes.probe import Metered
from harness.probes.worker import WorkerUsage
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


def test_inferences_whose_copies_are_timed_take_energy_too() -> None:
    """Five of a large backbone in a burst of eight: three of eight were left out of the divisor."""
    divided = dict.fromkeys(("h2d", "compute", "d2h"), (1, 2, 3))
    burst = Burst((1,) * 3, (2,), split_ns=divided, discarded=1, usage=Usage(wall_ns=1, minor_faults=14))
    metered = Metered({"energy_j": 16.0}, 1.0, burst)
    assert metered.inferences == 8
    assert Nvml().summarise([metered])["energy_j_per_inference"] == 2.0
    assert WorkerUsage().summarise([metered])["minor_faults_per_inference"] == 2.0, (
        "discarded ones are not in the usage"
    )
