"""Did what the label promises run: precision, placement, weights?"""

from __future__ import annotations

from collections.abc import Mapping

from harness.checks.reading import Seen
from harness.model import JSON, Facts, Precision, Trust
from harness.record import Record, Rules


def partly_int8(record: Record, rules: Rules) -> Seen | None:
    """A quantiser leaves layers out on purpose; a reader must know where that is most of them."""
    heavy = record.facts.heavy_layers if record.facts is not None else {}
    total, quantised = sum(heavy.values()), heavy.get("int8", 0)
    if record.cell.precision != "int8" or not total or quantised == total:
        return None
    others = ", ".join(f"{count} in {name}" for name, count in sorted(heavy.items()) if name != "int8")
    seen = f"{quantised} of {total} convolutions and matrix products run in int8, {others}"
    level: Trust = "caution" if 2 * quantised < total else "trusted"
    return Seen(level, seen, "backbench list exporters shows the quantisers' options")


def near_tolerance(record: Record, rules: Rules) -> Seen | None:
    """Verified with errors over half of what is allowed: limits that let correct artifacts pass let poor ones pass too."""
    verification = record.verification
    if verification is None:
        return None
    found = [
        (error / limit, f"{name} of {output.name} is {error:.2g}, {error / limit:.0%} of its limit")
        for output in verification.outputs
        for name in ("rel_l2", "median_rel_l2", "max_abs")
        if (error := getattr(output, name)) is not None and (limit := verification.tolerance.get(name))
    ]
    worst, seen = max(found, default=(0.0, ""))
    if worst <= 0.5:
        return None
    return Seen("caution", seen, "backbench accuracy measures what that costs, backbench diff where it begins")


def overflows(precision: Precision, facts: Facts | None, details: Mapping[str, JSON]) -> bool:
    """Whether int8 products can overflow: ONNX Runtime clamps sums of two to 16 bits where an x86 CPU has no VNNI."""
    return (
        precision == "int8"
        and facts is not None
        and facts.settings.get("vnni") is False
        and details.get("weight_bits") != 7  # whose products fit
    )


def int8_saturates(record: Record, rules: Rules) -> Seen | None:
    """What 8-bit weights cost where they overflow is for accuracy to say: in one net it was 5 points (docs/precision.md)."""
    details = record.artifact.details if record.artifact is not None else {}
    if not overflows(record.cell.precision, record.facts, details):
        return None
    seen = "this CPU has no VNNI, where ONNX Runtime's sums of products with 8-bit weights can overflow"
    return Seen(
        "caution", seen, "-o onnx_int8.reduce_range=true takes 7 bits; backbench accuracy tells what either costs"
    )


def provider_fallback(record: Record, rules: Rules) -> Seen | None:
    """Nodes that the provider which was asked for left to another: each may cost a copy there and back."""
    facts = record.facts
    first = facts.providers[0] if facts is not None and facts.providers else ""
    placed = facts.placement if facts is not None else {}
    total, mine = sum(placed.values()), placed.get(first, 0)
    if not first or not total or mine == total:
        return None
    others = ", ".join(f"{count} on {name}" for name, count in sorted(placed.items()) if name != first)
    left = facts.settings.get("left_to") if facts is not None else None
    named = left.values() if isinstance(left, Mapping) else ()
    kinds = sorted({str(kind) for counts in named if isinstance(counts, Mapping) for kind in counts})
    seen = f"of {total} nodes, {first} runs {mine}; {others}" + (f" ({', '.join(kinds)})" if kinds else "")
    return Seen("caution", seen, "backbench profile shows what they cost")


def precision_unproven(record: Record, rules: Rules) -> Seen | None:
    """A label that nothing proves is no contradiction, but a reader must know."""
    if record.facts is None or record.facts.precision is not None:
        return None
    why = str(record.facts.settings.get("precision", "")).removeprefix("unavailable: ")
    seen = f"labelled {record.cell.precision}, and the runtime does not tell what runs" + (f": {why}" if why else "")
    return Seen("caution", seen, "backbench list precisions: another runtime may tell it")


def random_weights(record: Record, rules: Rules) -> Seen | None:
    """Said of every record whose accuracy means nothing."""
    if record.cell.backbone.weights != "random":
        return None
    seen = "weights are random: latency is that of trained weights, accuracy is not"
    return Seen("trusted", seen, "for accuracy: --weights pretrained, or a checkpoint's path")
