"""From raw samples to what is said of a cell: latency, speed-up, warnings. Pure, so that it can be computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness import builds, checks, codec, intervals, registry, schedule, stats
from harness.errors import BackbenchError, MissingLibrary, Unsupported, WorkerCrashed, WorkerTimedOut
from harness.model import JSON, SCOPES, Outcome
from harness.ready import Ready
from harness.record import ArtifactNote, Latency, Record, Rules, Samples, Speedup
from harness.schedule import Trace
from harness.shape import shape

BUSY = 4.0
"""A core-to-core reading above this multiple of the best is no distance: a processor had something else to do."""


def latencies(trace: Trace, key: str) -> Mapping[str, Latency]:
    """Summaries by scope (and `device`) over all of a cell's samples."""
    mine = list(trace.of(key))
    columns: dict[str, dict[int, list[tuple[int, ...]]]] = {}
    for s in mine:
        timed = {"compute": s.burst.compute_ns, "end_to_end": s.burst.end_to_end_ns, "device": s.burst.device_ns}
        timed |= {f"split_{name}": times for name, times in s.burst.split_ns.items()}
        for name, times in timed.items():
            if times:
                columns.setdefault(name, {}).setdefault(s.process, []).append(times)
    process_sd = max(stats.PROCESS_SD, trace.process_sd.get(key, 0.0))
    return {name: _latency(list(processes.values()), process_sd) for name, processes in columns.items()}


def _latency(bursts: Sequence[Sequence[Sequence[int]]], process_sd: float) -> Latency:
    summary = stats.summarise([ns for process in bursts for times in process for ns in times])
    return replace(summary, intervals_ns=intervals.latency_intervals(bursts, process_sd=process_sd))


def speedups(trace: Trace, baseline: str, key: str, rules: Rules) -> Mapping[str, Speedup]:
    """Speed-up over the baseline by scope; empty where no round has both."""
    found: dict[str, Speedup] = {}
    for scope in SCOPES:
        ratios = schedule.log_ratios(trace, baseline, key, rules, scope)
        if ratios.by_process:
            found[scope] = Speedup(
                ratios.interval(), ratios.rounds, stats.ESTIMATOR, ratios.left_out, ratios.mixed, ratios.process_sd
            )
    return found


def _core_to_core(trace: Trace, key: str) -> JSON:
    """What was read between the processors before this cell's bursts, in ns, and the share of bursts that was far."""
    readings = [s.core_to_core_ns for s in trace.of(key) if s.core_to_core_ns is not None]
    if not readings:
        return "unavailable: no two processors of the host compute here"
    bursts, disturbed = sum(1 for _ in trace.of(key)), trace.disturbed()
    return {
        "cpus": list(trace.cpus),
        "median_ns": stats.median(readings),
        "best_ns": trace.best_ns,
        "busy_share": sum(r > BUSY * (trace.best_ns or r) for r in readings) / len(readings),
        "far_share": sum(1 for _, _, of in disturbed if of == key) / bursts,
        "waited_s": trace.waited_s,
    }


def finish(record: Record, trace: Trace, rules: Rules) -> Record:
    """A record with what the trace says of its cell, judged; its outcome becomes the error's where it was lost."""
    if (error := trace.lost.get(record.key)) is not None:
        return failed(record, error)
    mine = list(trace.of(record.key))
    measured = replace(
        record,
        latency=latencies(trace, record.key),
        speedup={} if record.is_baseline else speedups(trace, record.baseline, record.key, rules),
        rounds=len(mine),
        measured_s=sum(s.burst.seconds for s in mine),
        conditions={
            **record.conditions,
            "shape": codec.encode(shape([s.burst for s in mine])),
            "core_to_core": _core_to_core(trace, record.key),
        },
    )
    measured = replace(measured, builds=builds.described(record, trace, rules))
    trust, findings = checks.judge(measured, rules)
    return replace(measured, trust=trust, findings=findings)


def finish_again(records: Sequence[Record], samples: Sequence[Samples], best_ns: int, rules: Rules) -> list[Record]:
    """Records of one group as they would be, had `best_ns` been known when its rounds were sorted into near and far."""
    trace = trace_of(records, samples)
    trace.best_ns = best_ns
    return [finish(record, trace, rules) if record.latency else record for record in records]


def trace_of(records: Sequence[Record], samples: Sequence[Samples]) -> Trace:
    """The trace that records and samples came from, with what was known of the machine and of the runtimes."""
    process_sd = {r.key: registry.process_sd(r.cell.runtime) for r in records}
    return Trace(list(samples), best_ns=best_ns(records), cpus=cpus(records), process_sd=process_sd)


def best_ns(records: Sequence[Record]) -> int | None:
    """The best core-to-core latency known when the records were made."""
    for record in records:
        said = record.conditions.get("core_to_core")
        if isinstance(said, dict) and isinstance(said.get("best_ns"), int):
            return int(said["best_ns"])
    return None


def cpus(records: Sequence[Record]) -> tuple[int, ...]:
    """The processors between which core-to-core latencies were read for the records; empty where they do not tell."""
    for record in records:
        said = record.conditions.get("core_to_core")
        if isinstance(said, dict) and isinstance(listed := said.get("cpus"), (list, tuple)):
            return tuple(cpu for cpu in listed if isinstance(cpu, int))
    return ()


def failed(record: Record, error: BackbenchError) -> Record:
    """A record of a cell that ended with `error`: no latency is published of it."""
    return replace(
        record,
        outcome=outcome_of(error),
        reason=error.message,
        hint=error.hint,
        latency={},
        speedup={},
        trust=None,
        findings=(),
    )


def outcome_of(error: BackbenchError) -> Outcome:
    """The outcome that an error stands for."""
    if isinstance(error, WorkerTimedOut):
        return "timed_out"
    if isinstance(error, WorkerCrashed):
        return "crashed"
    return "unsupported" if isinstance(error, (Unsupported, MissingLibrary)) else "failed"


def artifact_note(ready: Ready) -> ArtifactNote:
    """What a record keeps of its artifact."""
    made = ready.artifact
    inputs = (ready.steps or (made,))[0].inputs
    shape = inputs[0].shape if inputs else ()
    size = shape[2] if len(shape) == 4 and isinstance(shape[2], int) else None
    return ArtifactNote(
        made.format, made.precision, made.digest, ready.chain, ready.attempts, made.details, ready.params, size
    )
