"""The trust verdict: one table of checks, each with what it saw and advice (METHOD 7).

A check reads a finished record, and among it `conditions`: what the probes read of the machine, the shape of the cell's
latencies, and the distance between the processors. What a probe could not read is a string that says why; a check that finds
one says nothing, and `_unknown` says once what is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness import builds
from harness.model import Trust
from harness.record import Finding, Record, Rules

Check = Callable[[Record, Rules], Finding | None]
_ORDER: Sequence[Trust] = ("trusted", "caution", "untrusted")
_Z95, _Z99 = 1.960, 2.576


def judge(record: Record, rules: Rules) -> tuple[Trust, tuple[Finding, ...]]:
    """The verdict on a measured record: the worst level among its findings, and the findings."""
    findings = tuple(finding for check in CHECKS if (finding := check(record, rules)) is not None)
    worst = max((_ORDER.index(finding.level) for finding in findings), default=0)
    return _ORDER[worst], findings


def with_finding(record: Record, finding: Finding) -> Record:
    """The record with one more finding, and the verdict that follows."""
    if record.trust is None:
        return record
    trust = max(record.trust, finding.level, key=_ORDER.index)
    return replace(record, trust=trust, findings=(*record.findings, finding))


# ── the measurement ──────────────────────────────────────────────────────────────────────────────────────────────


def _wide_interval(record: Record, rules: Rules) -> Finding | None:
    speedup = record.speedup.get("compute")
    if speedup is None or speedup.ratio.half_width <= rules.target or rules.target <= 0:
        return None
    reached = speedup.ratio.half_width
    level: Trust = "caution" if reached <= 2.5 * rules.target else "untrusted"
    seen = f"the speed-up is known to ±{reached:.1%}, the target is ±{rules.target:.1%}"
    return Finding("wide_interval", level, seen, _narrower(reached, speedup.process_sd, rules))


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


def _not_steady(record: Record, rules: Rules) -> Finding | None:
    if record.warmup is None or record.warmup.steady:
        return None
    seen = f"warm-up did not become flat in {record.warmup.seconds:.1f} s"
    return Finding("not_steady", "caution", seen, "close what else runs, or fix the clock rate (governor, power mode)")


def _few_rounds(record: Record, rules: Rules) -> Finding | None:
    if record.rounds >= rules.min_rounds:
        return None
    seen = f"{record.rounds} rounds, and {rules.min_rounds} are the least"
    return Finding("few_rounds", "untrusted", seen, f"give it more time: --budget {2 * rules.budget_s:.0f}s")


def _moved(record: Record, rules: Rules) -> Finding | None:
    """The latency was not one number while it was measured; the speed-up is paired, and may hold nevertheless."""
    kind, spread, change = (_value(record, "shape", name) for name in ("kind", "spread", "change"))
    if not isinstance(spread, float) or not isinstance(change, float) or kind == "steady":
        return None
    said = {
        "drift": f"the latency drifted by {change - 1:+.0%} from beginning to end",
        "step": f"the latency stepped by {change - 1:+.0%} and stayed there",
    }.get(str(kind), f"the latency swung: slow bursts took {spread:.2f} times what fast ones took")
    level: Trust = "untrusted" if max(spread, change, 1 / change) > 1.5 else "caution"
    advice = "the latency is of no single state of the machine; the speed-up, from rounds, cancels what hits both"
    if kind == "drift":
        advice = f"it warms up longer than warm-up lasts, or throttles: cool it, or --budget {4 * rules.budget_s:.0f}s"
    return Finding("latency_moved", level, said, advice)


def _spikes(record: Record, rules: Rules) -> Finding | None:
    share = _number(record, "shape", "spikes")
    if share is None or share <= 0.01:
        return None
    seen = f"{share:.1%} of the inferences took over twice the median"
    return Finding("spikes", "caution", seen, "look at the percentiles: something interrupts (a daemon, garbage, swap)")


def _partly_int8(record: Record, rules: Rules) -> Finding | None:
    """A quantiser leaves layers out on purpose; a reader must know where that is most of them."""
    heavy = record.facts.heavy_layers if record.facts is not None else {}
    total, quantised = sum(heavy.values()), heavy.get("int8", 0)
    if record.cell.precision != "int8" or not total or quantised == total:
        return None
    others = ", ".join(f"{count} in {name}" for name, count in sorted(heavy.items()) if name != "int8")
    seen = f"{quantised} of {total} convolutions and matrix products run in int8, {others}"
    level: Trust = "caution" if 2 * quantised < total else "trusted"
    return Finding("partly_int8", level, seen, "backbench list exporters shows the quantisers' options")


def _fallback(record: Record, rules: Rules) -> Finding | None:
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
    return Finding("provider_fallback", "caution", seen, "backbench profile shows what they cost")


def _builds(record: Record, rules: Rules) -> Finding | None:
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
    return Finding("builds_differ", level, seen, f"deploy the very engine that was measured, not a new build{name}")


def _unproven(record: Record, rules: Rules) -> Finding | None:
    """A label that nothing proves is no contradiction, but a reader must know."""
    if record.facts is None or record.facts.precision is not None:
        return None
    why = str(record.facts.settings.get("precision", "")).removeprefix("unavailable: ")
    seen = f"labelled {record.cell.precision}, and the runtime does not tell what runs" + (f": {why}" if why else "")
    return Finding("precision_unproven", "caution", seen, "backbench list precisions: another runtime may tell it")


# ── the machine ──────────────────────────────────────────────────────────────────────────────────────────────────


def _processors_apart(record: Record, rules: Rules) -> Finding | None:
    speedup = record.speedup.get("compute")
    if speedup is None or not (speedup.mixed or speedup.left_out):
        return None
    busy = (_number(record, "core_to_core", "busy_share") or 0.0) > 0.25
    what = "other work kept the processors from each other" if busy else "a hypervisor had moved the processors apart"
    if not speedup.mixed:
        total = speedup.rounds + speedup.left_out
        seen = f"{speedup.left_out} of {total} rounds are not in the speed-up: {what}"
        return Finding("processors_apart", "trusted", seen, "nothing to do; latencies are of all rounds")
    seen = f"{what} for so many rounds that the speed-up is of a mixture"
    advice = f"wait for it: --wait {max(60.0, 3 * rules.wait_s):.0f}s, or measure on a machine of its own"
    return Finding("processors_apart", "caution", seen, "close what else runs" if busy else advice)


def _steal(record: Record, rules: Rules) -> Finding | None:
    share = _number(record, "cpu_time", "steal_share")
    if share is None or share < 0.01:
        return None
    seen = f"the hypervisor took {share:.1%} of the processors' time for others"
    return Finding("steal", _by(share, 0.05), seen, "measure on a machine of its own, or when its host is quieter")


def _neighbour(record: Record, rules: Rules) -> Finding | None:
    busy = _number(record, "cpu_time", "other_cpus_busy")
    if busy is None or busy < 0.1:
        return None
    seen = f"other processes kept {busy:.2f} processors busy beside the bursts"
    advice = "close what else runs (top shows it)"
    if not record.cell.cpus:
        advice += ", or give the measurement processors of its own: --cpus"
    return Finding("busy_neighbour", _by(busy, 0.5), seen, advice)


def _throttled(record: Record, rules: Rules) -> Finding | None:
    said: list[tuple[Trust, str, str]] = []
    quota = _number(record, "cgroup", "throttled_share")
    if quota:
        seen = f"the cgroup's quota stopped it for {quota:.1%} of the time"
        said.append((_by(quota, 0.01), seen, "raise the container's CPU limit, or give fewer --threads"))
    events = sum(_number(record, "cpu_throttle", n) or 0 for n in ("core_throttle_events", "package_throttle_events"))
    if events:
        said.append(
            ("caution", f"the processor throttled for heat or power {events:.0f} times", "cool it, or fix the clock")
        )
    for name, why in (("thermal_limited_share", "heat"), ("power_limited_share", "its power limit")):
        share = _number(record, "nvml", name)
        if share and share > 0.01:
            seen = f"the GPU was slowed by {why} for {share:.0%} of the time"
            said.append((_by(share, 0.25), seen, "lock its clocks (nvidia-smi -lgc) below what it holds, or cool it"))
    if not said:
        return None
    worst = max(said, key=lambda item: _ORDER.index(item[0]))
    return Finding("throttled", worst[0], "; ".join(item[1] for item in said), worst[2])


def _clock(record: Record, rules: Rules) -> Finding | None:
    for probe, low, middle, what in (
        ("cpu_frequency", "cpu_mhz_min", "cpu_mhz_median", "processor"),
        ("nvml", "gpu_mhz_min", "gpu_mhz_median", "GPU"),
    ):
        least, typical = _number(record, probe, low), _number(record, probe, middle)
        if least is not None and typical and least < 0.9 * typical:
            seen = f"the {what}'s clock fell to {least:.0f} MHz from {typical:.0f}"
            fix = (
                "cpupower frequency-set -g performance" if what == "processor" else "nvidia-smi -lgc, or jetson_clocks"
            )
            return Finding("clock_changed", "caution", seen, f"fix the clock rate: {fix}")
    return None


def _memory(record: Record, rules: Rules) -> Finding | None:
    stalled = _number(record, "pressure", "memory_full_share") or 0.0
    faults = _number(record, "worker", "major_faults") or 0.0
    if stalled < 0.01 and faults == 0:
        return None
    seen = f"memory was short: {faults:.0f} pages came back from disk, {stalled:.1%} of the time all waited for memory"
    return Finding("memory_pressure", _by(stalled, 0.05), seen, "free memory, or measure fewer cells at once")


def _unknown(record: Record, rules: Rules) -> Finding | None:
    """What would have shown a disturbance, and cannot be read here: unknown is not the same as quiet."""
    wanted = {
        "cpu_frequency": "clock rate",
        "cpu_throttle": "throttling",
        "thermal": "temperature",
        "cpu_time": "steal",
    }
    if record.cell.device.startswith("cuda"):
        wanted["nvml"] = "the GPU's clocks and throttling"
    missing = [what for probe, what in wanted.items() if _unavailable(record.conditions.get(probe))]
    if not missing:
        return None
    return Finding("unknown", "trusted", f"cannot be read here: {', '.join(missing)}", "backbench doctor says why")


def _not_interleaved(record: Record, rules: Rules) -> Finding | None:
    """A tool that measures by itself (trtexec) is not in turn with the baseline: the machine may have changed between."""
    if record.facts is None or record.facts.settings.get("interleaved") is not False:
        return None
    seen = "timed by a foreign clock, not in turn with the others: a speed-up of it compares two moments"
    return Finding("not_interleaved", "caution", seen, "take the runtime tensorrt where Python can import TensorRT")


def _random_weights(record: Record, rules: Rules) -> Finding | None:
    if record.cell.backbone.weights != "random":
        return None
    seen = "weights are random: latency is that of trained weights, accuracy is not"
    return Finding("random_weights", "trusted", seen, "for accuracy: --weights pretrained, or a checkpoint's path")


def control_failed(twin: Record) -> Finding | None:
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
    return Finding(
        "control_failed",
        "untrusted",
        seen,
        "something moves that rounds do not cancel: backbench selftest shows how much",
    )


CHECKS: tuple[Check, ...] = (
    _wide_interval, _not_steady, _few_rounds, _moved, _spikes, _processors_apart, _steal, _neighbour, _throttled, _clock,
    _memory, _unknown, _random_weights, _not_interleaved, _partly_int8,
    _fallback, _unproven, _builds,
)  # fmt: skip


def _by(share: float, untrusted_from: float) -> Trust:
    return "untrusted" if share >= untrusted_from else "caution"


def _value(record: Record, probe: str, name: str) -> object:
    said = record.conditions.get(probe)
    return said.get(name) if isinstance(said, Mapping) else None


def _number(record: Record, probe: str, name: str) -> float | None:
    value = _value(record, probe, name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _unavailable(said: object) -> bool:
    return isinstance(said, str) and said.startswith("unavailable")
