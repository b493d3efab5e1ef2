"""Is the measurement itself good enough: its interval, its rounds, the shape of its latencies, its control?"""

from __future__ import annotations

import math

from harness import builds
from harness.checks.reading import Seen, number, value
from harness.model import Trust
from harness.record import Record, Rules

_Z95, _Z99 = 1.960, 2.576


def wide_interval(record: Record, rules: Rules) -> Seen | None:
    """The speed-up is less well known than the plan asks for."""
    speedup = record.speedup.get("compute")
    if speedup is None or speedup.ratio.half_width <= rules.target or rules.target <= 0:
        return None
    reached = speedup.ratio.half_width
    level: Trust = "caution" if reached <= 2.5 * rules.target else "untrusted"
    seen = f"the speed-up is known to ±{reached:.1%}, the target is ±{rules.target:.1%}"
    return Seen(level, seen, _narrower(reached, speedup.process_sd, rules))


def _narrower(reached: float, process_sd: float, rules: Rules) -> str:
    """What makes an interval narrower: fresh processes where their differences alone are too wide, else time."""
    floor = _Z95 * process_sd / math.sqrt(rules.processes)
    if floor > 0.8 * rules.target:
        processes = max(rules.processes + 1, math.ceil((_Z95 * process_sd / (0.8 * rules.target)) ** 2))
        budget = max(rules.budget_s, 2.0 * processes)
        return f"one process differs from the next: --processes {processes} --budget {budget:.0f}s"
    rounds = max(reached**2 - floor**2, 0.0)
    needed = rules.budget_s * max(rounds / (rules.target**2 - floor**2), 1.2)
    if needed > 600:
        return f"no time will do on this machine (about {needed / 60:.0f} min per cell): see what moves: backbench selftest"
    return f"measure longer: --budget {needed:.0f}s"


def not_steady(record: Record, rules: Rules) -> Seen | None:
    """Measuring began before the latency was flat."""
    if record.warmup is None or record.warmup.steady:
        return None
    seen = f"warm-up did not become flat in {record.warmup.seconds:.1f} s"
    return Seen("caution", seen, "close what else runs, or fix the clock rate (governor, power mode)")


def few_rounds(record: Record, rules: Rules) -> Seen | None:
    """Too few rounds for an interval that holds."""
    if record.rounds >= rules.min_rounds:
        return None
    seen = f"{record.rounds} rounds, and {rules.min_rounds} are the least"
    return Seen("untrusted", seen, f"give it more time: --budget {2 * rules.budget_s:.0f}s")


def few_shared_rounds(record: Record, rules: Rules) -> Seen | None:
    """Enough rounds of the cell, and too few that its baseline was in: a baseline that was lost leaves a few."""
    speedup = record.speedup.get("compute")
    if speedup is None or speedup.rounds >= rules.min_rounds or record.rounds < rules.min_rounds:
        return None
    seen = f"{speedup.rounds} of its {record.rounds} rounds have the baseline too, and {rules.min_rounds} are the least"
    return Seen("untrusted", seen, "see why the baseline ended, and measure again")


def latency_moved(record: Record, rules: Rules) -> Seen | None:
    """The latency was not one number while it was measured; the speed-up is paired, and may hold nevertheless."""
    kind, spread, change = (
        value(record, "shape", "kind"),
        number(record, "shape", "spread"),
        number(record, "shape", "change"),
    )
    if spread is None or change is None or kind == "steady":
        return None
    said = {
        "drift": f"the latency drifted by {change - 1:+.0%} from beginning to end",
        "step": f"the latency stepped by {change - 1:+.0%} and stayed there",
    }.get(str(kind), f"the latency swung: slow bursts took {spread:.2f} times what fast ones took")
    level: Trust = "untrusted" if swing(record) > 1.5 else "caution"
    advice = "the latency is of no single state of the machine; the speed-up, from rounds, cancels what hits both"
    if kind == "drift":
        advice = f"it warms up longer than warm-up lasts, or throttles: cool it, or --budget {4 * rules.budget_s:.0f}s"
    return Seen(level, said, advice)


def swing(record: Record) -> float:
    """By what factor bursts of a cell differed while it was measured; 1 where that is not known."""
    spread, change = (number(record, "shape", name) or 1.0 for name in ("spread", "change"))
    return max(spread, change, 1 / change)


def spikes(record: Record, rules: Rules) -> Seen | None:
    """More than one inference in a hundred took over twice the median."""
    share = number(record, "shape", "spikes")
    if share is None or share <= 0.01:
        return None
    seen = f"{share:.1%} of the inferences took over twice the median"
    return Seen("caution", seen, "look at the percentiles: something interrupts (a daemon, garbage, swap)")


def builds_differ(record: Record, rules: Rules) -> Seen | None:
    """What builds of one engine differ by: a latency of one of them is not that of the next."""
    apart = builds.spread(record.builds)
    medians = [build.median_ns for build in record.builds if build.median_ns is not None]
    if apart is None:
        return None
    each = min(build.processes for build in record.builds)
    seen = (
        f"{len(medians)} builds took {min(medians) / 1e6:.3g} to {max(medians) / 1e6:.3g} ms, {apart:.1%} apart, "
        f"{each} {'process' if each == 1 else 'processes'} each"
    )
    level: Trust = "trusted" if apart <= max(rules.target, 0.02) else "caution"
    fastest = min((b for b in record.builds if b.median_ns is not None), key=lambda b: b.median_ns or 0.0)
    name = f": sha256 {fastest.digest[:12]}… is the fastest" if fastest.digest else ""
    return Seen(level, seen, f"deploy the very engine that was measured, not a new build{name}")


def not_interleaved(record: Record, rules: Rules) -> Seen | None:
    """A tool that measures by itself (trtexec) is not in turn with the baseline: the machine may have changed between."""
    if record.facts is None or record.facts.settings.get("interleaved") is not False:
        return None
    seen = "timed by a foreign clock, not in turn with the others: a speed-up of it compares two moments"
    return Seen("caution", seen, "take the runtime tensorrt where Python can import TensorRT")


def control_failed(twin: Record) -> Seen | None:
    """What an A/A control says of its whole group: the baseline, measured against itself, must give 1.00.

    The interval is taken at 99 %, because one at 95 % misses 1.00 in one group of twenty on the best of machines.
    """
    speedup = twin.speedup.get("compute")
    if speedup is None:
        return None
    ratio, wider = speedup.ratio, _Z99 / _Z95
    low, high = (ratio.value + wider * (end - ratio.value) for end in (ratio.low, ratio.high))
    if low <= 1.0 <= high:
        return None
    seen = (
        f"the baseline against itself came out as {ratio.value:.3f} (99 % interval {low:.3f} to {high:.3f}), not 1.00"
    )
    return Seen("untrusted", seen, "something moves that rounds do not cancel: backbench selftest shows how much")
