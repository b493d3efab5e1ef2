"""Whether what runs is what the cell's label says: the facts against the request (METHOD 5)."""

from __future__ import annotations

from harness import machine
from harness.model import Cell, Facts


def contradiction(cell: Cell, facts: Facts) -> str:
    """How the facts contradict the cell's label; empty where they do not."""
    faults = []
    if facts.precision is not None and facts.precision != cell.precision:
        faults.append(f"labelled {cell.precision}, but {facts.precision} runs")
    if facts.device != cell.device and facts.device.partition(":")[0] != cell.device:
        faults.append(f"asked for {cell.device}, but it runs on {facts.device}")
    if cell.device == "cpu" and facts.threads is not None and facts.threads != cell.threads:
        faults.append(f"asked for {cell.threads} threads, but {facts.threads} are used")
    faults += [fault for check in (_half_layers, _unplaced, _too_busy, _elsewhere) if (fault := check(cell, facts))]
    return "; ".join(faults)


_HALF = frozenset({"f16", "bf16", "float16", "bfloat16", "fp16", "half"})


def _half_layers(cell: Cell, facts: Facts) -> str:
    """Most layers in fp32 is not fp32."""
    half = {name: count for name, count in facts.layer_precisions.items() if name.lower() in _HALF}
    if cell.precision not in ("fp32", "tf32") or facts.precision != cell.precision or not half:
        return ""
    return "labelled " + cell.precision + ", but " + ", ".join(f"{n} layers run in {name}" for name, n in half.items())


def _unplaced(cell: Cell, facts: Facts) -> str:
    """A provider that was asked for first and was given no node computes nothing."""
    first = facts.providers[0] if facts.providers else ""
    if not facts.placement or not first or facts.placement.get(first):
        return ""
    where = ", ".join(f"{count} on {name}" for name, count in facts.placement.items())
    return f"no node of the graph runs on {first} ({where})"


def _too_busy(cell: Cell, facts: Facts) -> str:
    """Over twice the threads asked for. Some milliseconds are watched, in which a helper thread that only spins counts too:
    an inference of microseconds was seen to have three."""
    busy = facts.process.get("busy_threads")
    if cell.device != "cpu" or not cell.threads or not isinstance(busy, int) or busy <= 2 * cell.threads:
        return ""
    return f"asked for {cell.threads} threads, but {busy} use the processor"


def _elsewhere(cell: Cell, facts: Facts) -> str:
    allowed = facts.process.get("affinity")
    if not cell.cpus or not isinstance(allowed, (list, tuple)) or set(allowed) == set(machine.processors(cell.cpus)):
        return ""
    return f"pinned to processors {cell.cpus}, but it may run on {', '.join(map(str, allowed))}"
