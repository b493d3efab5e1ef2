"""Was the machine left alone: other work, steal, throttling, clock, memory, the distance between its processors?"""

from __future__ import annotations

from collections.abc import Mapping

from harness.checks.reading import ORDER, Seen, level_by, number, unavailable, value
from harness.probes.probe import is_number
from harness.record import Record, Rules


def processors_apart(record: Record, rules: Rules) -> Seen | None:
    """Rounds while the processors were far from each other: left out, or so many that the speed-up is a mixture."""
    speedup = record.speedup.get("compute")
    if speedup is None or not (speedup.mixed or speedup.left_out):
        return None
    busy = (number(record, "core_to_core", "busy_share") or 0.0) > 0.25
    what = "other work kept the processors from each other" if busy else "a hypervisor had moved the processors apart"
    if not speedup.mixed:
        total = speedup.rounds + speedup.left_out
        seen = f"{speedup.left_out} of {total} rounds are not in the speed-up: {what}"
        return Seen("trusted", seen, "nothing to do; latencies are of all rounds")
    seen = f"{what} for so many rounds that the speed-up is of a mixture"
    advice = f"wait for it: --wait {max(60.0, 3 * rules.wait_s):.0f}s, or measure on a machine of its own"
    return Seen("caution", seen, "close what else runs" if busy else advice)


def steal(record: Record, rules: Rules) -> Seen | None:
    """The hypervisor ran others."""
    share = number(record, "cpu_time", "steal_share")
    if share is None or share < 0.01:
        return None
    seen = f"the hypervisor took {share:.1%} of the busy processors' time for others"
    return Seen(level_by(share, 0.05), seen, "measure on a machine of its own, or when its host is quieter")


def busy_neighbour(record: Record, rules: Rules) -> Seen | None:
    """Other processes ran beside the bursts, on the worker's processors or on their cores."""
    busy = number(record, "cpu_time", "other_cpus_busy")
    if busy is None or busy < 0.1:
        return None
    seen = f"other processes kept {busy:.2f} of its processors busy beside the bursts"
    advice = "close what else runs (top shows it)"
    if not record.cell.cpus:
        advice += ", or give the measurement processors of its own: --cpus"
    return Seen(level_by(busy, 0.5), seen, advice)


def throttled(record: Record, rules: Rules) -> Seen | None:
    """Quota, heat or a power limit held it back."""
    said: list[Seen] = []
    quota = number(record, "cgroup", "throttled_periods_share")
    if quota:
        seen = f"the cgroup's quota stopped it in {quota:.1%} of its periods"
        # As for steal: what a stopped period loses is a part of it, so that no more time than this was lost.
        said.append(Seen(level_by(quota, 0.05), seen, "raise the container's CPU limit, or give fewer --threads"))
    events = sum(number(record, "cpu_throttle", n) or 0 for n in ("core_throttle_events", "package_throttle_events"))
    if events:
        seen = f"the processor throttled for heat or power {events:.0f} times"
        said.append(Seen("caution", seen, "cool it, or fix the clock"))
    overcurrent = sum(_overcurrent(record))
    if overcurrent:
        seen = f"over-current or under-voltage slowed the board {overcurrent:.0f} times"
        said.append(
            Seen("caution", seen, "take a power mode that its supply holds (nvpmodel -m), or a stronger supply")
        )
    if hot := _past_trip(record):
        zone, reached, trip = max(hot, key=lambda one: one[1] - one[2])
        seen = f"{zone} reached {reached:.0f} °C, and from {trip:.0f} °C on the kernel lowers clocks"
        said.append(Seen("caution", seen, "cool it, or fix the clock below what it holds"))
    for name, why in (("thermal_limited_share", "heat"), ("power_limited_share", "its power limit")):
        share = number(record, "nvml", name)
        if share and share > 0.01:
            seen = f"the GPU was slowed by {why} for {share:.0%} of the time"
            said.append(
                Seen(level_by(share, 0.25), seen, "lock its clocks (nvidia-smi -lgc) below what it holds, or cool it")
            )
    if not said:
        return None
    worst = max(said, key=lambda item: ORDER.index(item.level))
    return Seen(worst.level, "; ".join(item.seen for item in said), worst.advice)


def _overcurrent(record: Record) -> list[float]:
    """Events of each line that a Jetson counts; empty where none is told."""
    told = record.conditions.get("jetson")
    names = [name for name in told if name.startswith("overcurrent_")] if isinstance(told, Mapping) else []
    return [events for name in names if (events := number(record, "jetson", name)) is not None]


def _past_trip(record: Record) -> list[tuple[str, float, float]]:
    """Thermal zones that reached their own passive trip point: name, highest temperature, and that point."""
    zones = value(record, "thermal", "zones")
    found = []
    for name, zone in zones.items() if isinstance(zones, Mapping) else ():
        reached, trip = (zone.get(key) if isinstance(zone, Mapping) else None for key in ("max_c", "passive_trip_c"))
        if is_number(reached) and is_number(trip) and reached >= trip:
            found.append((str(name), reached, trip))
    return found


def clock_changed(record: Record, rules: Rules) -> Seen | None:
    """The clock rate fell by over a tenth."""
    jetson = _told_by_jetson(record)
    rows = [("cpu_frequency", "cpu_mhz_min", "cpu_mhz_median", "processor")]
    if not jetson:  # whose GPU sleeps as soon as a burst ends, so that a minimum proves nothing
        rows.append(("nvml", "gpu_mhz_min", "gpu_mhz_median", "GPU"))
    for probe, low, middle, what in rows:
        least, typical = number(record, probe, low), number(record, probe, middle)
        if least is not None and typical and least < 0.9 * typical:
            seen = f"the {what}'s clock fell to {least:.0f} MHz from {typical:.0f}"
            fix = (
                "cpupower frequency-set -g performance" if what == "processor" else "nvidia-smi -lgc, or jetson_clocks"
            )
            return Seen("caution", seen, f"fix the clock rate: {fix}")
    slower = number(record, "jetson", "gpu_low_clock_slowdown")
    if jetson and slower is not None and slower > 1.05:
        least, most = (number(record, "jetson", name) or 0 for name in ("gpu_mhz_min", "gpu_mhz_max"))
        seen = f"the GPU's clock moved from {least:.0f} to {most:.0f} MHz, and with it the latency by {slower - 1:+.0%}"
        return Seen("caution", seen, "fix the clock rate: jetson_clocks")
    return None


def _told_by_jetson(record: Record) -> bool:
    """Whether a Jetson told the clock of the GPU that the cell runs on."""
    return record.cell.device.startswith("cuda") and number(record, "jetson", "gpu_mhz_median") is not None


def memory_pressure(record: Record, rules: Rules) -> Seen | None:
    """Pages came back from disk, or all waited for memory."""
    stalled = number(record, "pressure", "memory_full_share") or 0.0
    faults = number(record, "worker", "major_faults") or 0.0
    if stalled < 0.01 and faults == 0:
        return None
    seen = f"memory was short: {faults:.0f} pages came back from disk, {stalled:.1%} of the time all waited for memory"
    return Seen(level_by(stalled, 0.05), seen, "free memory, or measure fewer cells at once")


def unknown(record: Record, rules: Rules) -> Seen | None:
    """What would have shown a disturbance, and cannot be read here: unknown is not the same as quiet."""
    wanted = {
        "cpu_frequency": "clock rate",
        "cpu_throttle": "throttling",
        "thermal": "temperature",
        "cpu_time": "steal",
    }
    if _overcurrent(record):
        del wanted["cpu_throttle"]  # a Jetson's counters are of the board, its processors and its GPU
    if record.cell.device.startswith("cuda") and not (_told_by_jetson(record) and _overcurrent(record)):
        wanted["nvml"] = f"the GPU's {'' if _told_by_jetson(record) else 'clocks and '}throttling"
    missing = [what for probe, what in wanted.items() if unavailable(record.conditions.get(probe))]
    if not missing:
        return None
    return Seen("trusted", f"cannot be read here: {', '.join(missing)}", "backbench doctor says why")
