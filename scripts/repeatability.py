"""Which schedule and which estimator: candidates compared by spread and coverage, on recorded and on synthetic bursts.

    scripts/repeatability --aa DIR… --repeats DIR…

`--aa`: folders of `backbench selftest --out DIR` (a cell against itself: the truth is 1.00). `--repeats`: folders of
`scripts/figures --record DIR` (the same cells measured independently: the truth is unknown, but the same each time).
Synthetic machines need no recording: they drift, step, spike, have a neighbour, and the truth is known. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import codec, schedule
from harness.model import Burst, Pace
from harness.record import Record, Rules, Samples
from harness.schedule import Trace
from harness.selftest import TRACES
from harness.summary import trace_of

# One round: the two bursts' latencies in ns, baseline first, and whether it was disturbed.
Round = tuple[Sequence[int], Sequence[int], bool]
Rounds = Sequence[Round]
RESAMPLES = 500


# ── estimators: rounds -> log ratio ──────────────────────────────────────────────────────────────────────────────


def _paired(
    of_burst: Callable[[Sequence[int]], float], over_rounds: Callable[[Any], float]
) -> Callable[[Rounds], float]:
    def estimate(rounds: Rounds) -> float:
        return over_rounds(np.log([of_burst(a) / of_burst(b) for a, b, _ in rounds]))

    return estimate


def _trimmed(values: Any) -> float:
    ordered = np.sort(values)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def _pooled(rounds: Rounds) -> float:
    """Not paired: the ratio of the medians of all samples, as a loop over cells gives it."""
    return math.log(np.median([x for a, _, _ in rounds for x in a]) / np.median([x for _, b, _ in rounds for x in b]))


def _quartile(times: Sequence[int]) -> float:
    return float(np.quantile(times, 0.25))


ESTIMATORS: Mapping[str, Callable[[Rounds], float]] = {
    "median of rounds": _paired(statistics.median, lambda v: float(np.median(v))),
    "mean of rounds": _paired(statistics.median, lambda v: float(np.mean(v))),
    "25 % trimmed mean": _paired(statistics.median, _trimmed),
    "bursts' first quartile": _paired(_quartile, lambda v: float(np.median(v))),
    "bursts' minimum": _paired(min, lambda v: float(np.median(v))),
    "pooled, not paired": _pooled,
}

# ── intervals: log ratios of rounds, a generator, what processes differ by -> low, high ───────────────────────────


def _percentile(values: Any, rng: Any, block: int = 1, process: float = 0.0) -> tuple[float, float]:
    starts = rng.integers(0, len(values) - block + 1, (RESAMPLES, -(-len(values) // block)))
    drawn = np.stack([values[starts + i] for i in range(block)], axis=2).reshape(RESAMPLES, -1)[:, : len(values)]
    spread = np.median(drawn, axis=1) + rng.normal(0, process, RESAMPLES)
    low, high = np.quantile(spread, [0.025, 0.975])
    return float(low), float(high)


def _student(values: Any) -> tuple[float, float]:
    reach = 2.02 * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)


def _sign(values: Any) -> tuple[float, float]:
    ordered, n = np.sort(values), len(values)
    k = max(0, int(n / 2 - 0.98 * math.sqrt(n)))
    return float(ordered[k]), float(ordered[n - 1 - k])


INTERVALS: Mapping[str, Callable[[Any, Any, float], tuple[float, float]]] = {
    "bootstrap of the median": lambda v, rng, sd: _percentile(v, rng),
    "bootstrap in blocks of 5 rounds": lambda v, rng, sd: _percentile(v, rng, block=min(5, len(v))),
    "order statistics (sign test)": lambda v, rng, sd: _sign(v),
    "Student on the mean": lambda v, rng, sd: _student(v),
    "bootstrap + process component (used)": lambda v, rng, sd: _percentile(v, rng, process=sd),
}


# ── recorded ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Recorded:
    """One experiment: its trace, and the records of its cells by runtime (and label)."""

    trace: Trace
    keys: Mapping[str, str]
    baseline: str


def read(file: Path) -> Recorded:
    """A file of records and samples, as `backbench selftest` and `scripts/figures --record` keep them."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    records = [codec.decode(Record, line) for line in lines if "outcome" in line]
    samples = [codec.decode(Samples, line) for line in lines if "burst" in line]
    keys = {f"{r.cell.runtime} {r.cell.label}".strip(): r.key for r in records}
    return Recorded(trace_of(records, samples), keys, records[0].baseline)


def rounds_of(recorded: Recorded, key: str, first: int = 10**9) -> list[Round]:
    """The rounds that have both cells, of the first inferences of each burst only where `first` says so."""
    disturbed = recorded.trace.disturbed()
    bursts = {(s.key, s.process, s.round): s.burst.compute_ns[:first] for s in recorded.trace.samples}
    numbers = sorted(
        {(p, n) for k, p, n in bursts if k == key} & {(p, n) for k, p, n in bursts if k == recorded.baseline}
    )
    return [
        (
            bursts[(recorded.baseline, *n)],
            bursts[(key, *n)],
            (*n, key) in disturbed or (*n, recorded.baseline) in disturbed,
        )
        for n in numbers
    ]


def calm(rounds: Rounds) -> Rounds:
    """The undisturbed rounds where there are ten, else all."""
    kept = [r for r in rounds if not r[2]]
    return kept if len(kept) >= 10 else rounds


def aa_table(folders: Sequence[Path]) -> Iterator[str]:
    """Coverage and width of the interval candidates, on a cell against itself."""
    for folder in folders:
        experiments = [read(file) for file in sorted((folder / TRACES).glob("*.jsonl"))]
        twin = next(k for k in experiments[0].keys if k.endswith(" control"))
        all_rounds = [rounds_of(e, e.keys[twin]) for e in experiments]
        sds = [schedule.log_ratios(e.trace, e.baseline, e.keys[twin], Rules()).process_sd for e in experiments]
        length = statistics.median(map(len, all_rounds))
        yield f"\n### {folder.name}: {len(experiments)} A/A experiments, about {length:.0f} rounds\n"
        yield "| interval | rounds | contains 1.00 | half-width | 1.96 × spread |"
        yield "|---|---|--:|--:|--:|"
        for name, interval in INTERVALS.items():
            for choice, pick in (("all", lambda r: r), ("undisturbed", calm)):
                found, centres = [], []
                for number, rounds in enumerate(all_rounds):
                    ratios = np.log([statistics.median(a) / statistics.median(b) for a, b, _ in pick(rounds)])
                    found.append(interval(ratios, np.random.default_rng(number), sds[number]))
                    centres.append(float(np.median(ratios)))
                hits = sum(low <= 0 <= high for low, high in found)
                width = statistics.median([(high - low) / 2 for low, high in found])
                yield (
                    f"| {name} | {choice} | {hits} of {len(found)} | ±{width:.2%} | ±{1.96 * statistics.stdev(centres):.2%} |"
                )


def spread_table(folders: Sequence[Path]) -> Iterator[str]:
    """Largest over smallest speed-up of independent repeats, by estimator, rounds and burst length."""
    yield "\n### Speed-up of independent repeats: largest over smallest (standard deviation)\n"
    files = [file for folder in folders for file in sorted(folder.glob("*.jsonl"))]
    names = sorted({file.name.rsplit("-", 1)[0] for file in files})
    yield "| estimator | rounds | inferences per burst | " + " | ".join(names) + " |"
    yield "|---|---|--:|" + "--:|" * len(names)
    experiments = {name: [read(f) for f in files if f.name.rsplit("-", 1)[0] == name] for name in names}
    for estimator, estimate in ESTIMATORS.items():
        for choice, pick in (("all", lambda r: r), ("undisturbed", calm)):
            for first in (10**9, 3) if estimator == "median of rounds" else (10**9,):
                cells = [_spread(experiments[name], estimate, pick, first) for name in names]
                yield f"| {estimator} | {choice} | {'all' if first > 1000 else first} | " + " | ".join(cells) + " |"


def _spread(
    experiments: Sequence[Recorded], estimate: Callable[[Rounds], float], pick: Callable[[Rounds], Rounds], first: int
) -> str:
    shown = []
    for runtime in [k for k, key in experiments[0].keys.items() if key != experiments[0].baseline]:
        logs = [estimate(pick(rounds_of(e, e.keys[runtime], first))) for e in experiments]
        shown.append(f"{runtime} {math.exp(max(logs) - min(logs)):.3f} ({statistics.stdev(logs):.1%})")
    return ", ".join(shown)


# ── synthetic machines ───────────────────────────────────────────────────────────────────────────────────────────

Slowdown = Callable[[float], tuple[float, float]]
"""Of the baseline and of the other cell at a moment in seconds: what the machine does to each."""


def machines(seed: int) -> Mapping[str, Slowdown]:
    """Machines that move while they measure, each drawn from a seed."""
    draw = random.Random(seed)
    phase, at, slope = draw.uniform(0, 20), draw.uniform(2, 18), draw.uniform(-0.02, 0.02)
    spikes = sorted(draw.uniform(0, 40) for _ in range(30))

    def same(f: Callable[[float], float]) -> Slowdown:
        return lambda t: (f(t), f(t))

    def neighbour(t: float) -> tuple[float, float]:
        busy = (t + phase) % 20 < 8
        return (1.3, 1.12) if busy else (1.0, 1.0)

    return {
        "steady": same(lambda t: 1.0),
        "drift": same(lambda t: 1.0 + slope * t),
        "step of 1.6×": same(lambda t: 1.6 if t > at else 1.0),
        "throttling": same(lambda t: 1.0 + 0.5 * (0.5 + 0.5 * math.sin((t + phase) / 3))),
        "spikes": same(lambda t: 3.0 if any(0 <= t - s < 0.05 for s in spikes) else 1.0),
        "neighbour that hits one more": neighbour,
    }


class _Cell:
    """A cell on a synthetic machine: its bursts take virtual time from a clock that both share."""

    def __init__(self, now: list[float], slowdown: Callable[[float], float], ns: float, draw: random.Random) -> None:
        self._now, self._slowdown, self._ns, self._draw = now, slowdown, ns, draw

    def burst(self, pace: Pace) -> Burst:
        times: list[int] = []
        spent = 0.0
        while spent < pace.seconds or len(times) < pace.inferences:
            ns = self._ns * self._slowdown(self._now[0]) * self._draw.lognormvariate(0, 0.02)
            times.append(round(ns))
            spent += ns / 1e9
            self._now[0] += ns / 1e9
        return Burst(tuple(times), seconds=spent)


def _simulate(slowdown: Slowdown, burst_s: float, budget_s: float, order: str, seed: int) -> float:
    """The log of the estimated ratio over the true one (2.0)."""
    now, draw = [0.0], random.Random(seed)
    cells = {
        "base": _Cell(now, lambda t: slowdown(t)[0], 2e7, draw),
        "a": _Cell(now, lambda t: slowdown(t)[1], 1e7, draw),
    }
    trace, rules = Trace(), Rules(budget_s=budget_s, burst_s=burst_s, target=0.0, min_rounds=2, seed=seed, wait_s=0)
    if order == "back to back":
        for key, cell in cells.items():
            end = now[0] + budget_s
            number = 0
            while now[0] < end:
                trace.samples.append(Samples(key, 0, number, 0, cell.burst(schedule.pace_of(rules))))
                number += 1
        medians = {k: statistics.median([x for s in trace.of(k) for x in s.burst.compute_ns]) for k in cells}
        return math.log(medians["base"] / medians["a"] / 2)
    if order == "in turn, fixed order":
        number = 0
        while trace.spent_s() < 2 * budget_s:
            for place, (key, cell) in enumerate(cells.items()):
                trace.samples.append(Samples(key, 0, number, place, cell.burst(schedule.pace_of(rules))))
            number += 1
    else:
        schedule.measure(cells, "base", rules, 0, trace, lambda *_: None)
    return statistics.median(schedule.log_ratios(trace, "base", "a", rules).by_process[0]) - math.log(2)


def synthetic_table(repeats: int) -> Iterator[str]:
    """Bias and spread of schedules on machines whose truth is known."""
    yield f"\n### Synthetic machines: bias ± standard deviation of the ratio over {repeats} draws, 10 s per cell\n"
    names = list(machines(0))
    yield "| schedule | burst | " + " | ".join(names) + " |"
    yield "|---|--:|" + "--:|" * len(names)
    for order, burst_s in (
        ("back to back", 0.15), ("in turn, fixed order", 0.15), ("in turn, drawn afresh (used)", 0.05),
        ("in turn, drawn afresh (used)", 0.15), ("in turn, drawn afresh (used)", 0.5), ("in turn, drawn afresh (used)", 2.0),
    ):  # fmt: skip
        cells = []
        for name in names:
            errors = [_simulate(machines(s)[name], burst_s, 10.0, order, s) for s in range(repeats)]
            cells.append(f"{statistics.fmean(errors):+.1%} ± {statistics.stdev(errors):.1%}")
        yield f"| {order} | {burst_s} s | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--aa", type=Path, nargs="*", default=[], help="folders of `backbench selftest --out`")
    parser.add_argument("--repeats", type=Path, nargs="*", default=[], help="folders of `scripts/figures --record`")
    parser.add_argument("--draws", type=int, default=30, help="draws of each synthetic machine")
    args = parser.parse_args()
    for line in synthetic_table(args.draws):
        print(line, flush=True)
    for table in (aa_table(args.aa) if args.aa else (), spread_table(args.repeats) if args.repeats else ()):
        for line in table:
            print(line)


if __name__ == "__main__":
    main()
