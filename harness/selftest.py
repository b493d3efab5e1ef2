"""Runs what `backbench selftest` shows: the A/A experiments, the clock, the harness's overhead, the machine's noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import calibration, clock, codec, core_to_core, group, machine, prepare, run, summary
from harness.cache import Cache
from harness.calibration import Calibration, Experiment, Noise
from harness.errors import SelftestFailed
from harness.model import Group
from harness.record import Record, Rules, Samples

NOISE_S = 5.0
_PAUSE_S = 0.05
_WORK = 20_000
TRACES = "traces"


@dataclass(frozen=True)
class Selftest:
    """All that was found."""

    cell: str
    """What was measured against itself."""
    rules: Rules
    resolution_ns: int
    """Smallest step of the clock."""
    overhead_ns: float
    """The harness's own time per inference."""
    noise: Noise
    core_to_core_ns: tuple[int, ...]
    """Round trips between the processors, read beside `noise`; empty where they cannot be read."""
    calibration: Calibration
    lost: tuple[str, ...]
    """Experiments that failed, and why."""


@dataclass(frozen=True)
class Job:
    """What to do: a group of a cell and its twin, how often, and where things lie."""

    group: Group
    repeats: int
    rules: Rules
    cache: Cache
    folder: Path
    """For logs and traces."""
    note: Callable[[str], None]


def carry_out(job: Job) -> Selftest:
    """Run everything. Raises `SelftestFailed` where fewer than two experiments gave something."""
    logs = job.folder / "logs"
    with run.alone(job.cache.folder, job.note):
        job.note("clock, overhead and noise")
        overhead = run.overhead_ns(logs)
        noise, distances = sample_noise(NOISE_S)
        experiments, lost = _experiments(job, logs)
    if len(experiments) < 2:
        raise SelftestFailed("fewer than two experiments succeeded", lost[0] if lost else "give --repeats 2 or more")
    return Selftest(
        cell=f"{job.group.cells[0].backbone.name} {job.group.cells[0].title}",
        rules=job.rules,
        resolution_ns=clock.resolution_ns(),
        overhead_ns=overhead,
        noise=noise,
        core_to_core_ns=tuple(distances),
        calibration=calibration.calibrate(experiments, job.rules),
        lost=tuple(lost),
    )


def sample_noise(seconds: float) -> tuple[Noise, list[int]]:
    """Sample a fixed loop (about a millisecond) and the core-to-core latency, some times a second, for `seconds`."""
    times: list[int] = []
    distances: list[int] = []
    with core_to_core.Meter(sorted(machine.processors())) as meter:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter_ns()
            total = 0
            for i in range(_WORK):
                total += i
            times.append(time.perf_counter_ns() - begin)
            if (reading := meter.read()) is not None:
                distances.append(reading)
            time.sleep(_PAUSE_S)
    return calibration.noise_of(times), distances


def _experiments(job: Job, logs: Path) -> tuple[list[Experiment], list[str]]:
    cells = {codec.key(cell): cell for cell in job.group.cells}
    prepared = prepare.prepare(cells, job.cache, logs, 1, job.note)
    settings = group.Settings(
        job.rules, logs, job.cache.folder / "runtimes", lambda *_: None, lambda *_: None, job.cache.folder / "machine"
    )
    twin = next(key for key in cells if key != job.group.baseline)
    experiments: list[Experiment] = []
    lost: list[str] = []
    for number in range(job.repeats):
        job.note(f"experiment {number + 1} of {job.repeats}")
        rules = replace(job.rules, seed=job.rules.seed + number)
        records, samples = group.measure(job.group, prepared, replace(settings, rules=rules))
        if fault := next((r.reason for r in records if r.outcome != "ok"), ""):
            lost.append(fault)
            if number == 0:
                raise SelftestFailed(fault, next(r.hint for r in records if r.outcome != "ok"))
            continue
        _keep(job.folder / TRACES / f"{number:04d}.jsonl", records, samples)
        experiments.append(Experiment(summary.trace_of(records, samples), job.group.baseline, twin))
    return experiments, lost


def _keep(file: Path, records: Sequence[Record], samples: Sequence[Samples]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [codec.dumps(item) for item in (*records, *samples)]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise SelftestFailed(
            f"the traces cannot be kept in {file.parent}: {error.strerror}", "give --out DIR"
        ) from error
