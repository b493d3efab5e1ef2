"""Which probe's energy is a cell's: that of what computes it."""

from __future__ import annotations

from collections.abc import Mapping

from harness.probes.probe import UNAVAILABLE, is_number, is_unavailable
from harness.record import Record


def energy_j_per_inference(record: Record) -> float | str:
    """Joules per inference, whatever the batch: of the GPU board for `cuda`, else of all CPU packages; or why not.

    Idle power and all else that ran there are in it; what the other of the two took is not.
    """
    probe = "nvml" if record.cell.device.startswith("cuda") else "rapl"
    entry = record.conditions.get(probe, f"{UNAVAILABLE}nothing read the machine while it ran")
    told = entry.get("energy_j_per_inference") if isinstance(entry, Mapping) else entry
    if is_number(told):
        return float(told)
    return told if is_unavailable(told) else f"{UNAVAILABLE}{probe} told no energy"
