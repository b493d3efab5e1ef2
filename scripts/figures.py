"""How far Backbench's own figures can be trusted on this machine: repeatability, truth, overhead, company, divided.

Repeatability: speed-ups of independent repeats, interleaved (as `backbench run` measures) and back to back (as a loop
over cells would). Truth: `compute` against OpenVINO's own benchmark_app and a bare loop over `run_with_iobinding`, the
two alternated. Overhead: an inference of the `fake` runtime that takes no time. Company: a cell among five idle sessions
over the same cell alone. Divided: what a person gets who runs benchmark_app, or a plain loop, twice.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness import cache, codec, group, machine, registry, run, stats
from harness.launch import Worker, environment
from harness.model import Backbone, Cell, Group, Pace
from harness.prepare import prepare
from harness.ready import Prepared, Ready
from harness.record import Record, Rules, Samples
from harness.station import Station

RUNTIMES = ("torch_eager", "ort_cpu", "openvino")
MODELS = ("resnet50", "mobilenetv3_large_100")
BARE_LOOP = """
import sys, time, statistics, numpy as np, onnxruntime as ort
path, inputs, threads, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
o = ort.SessionOptions(); o.intra_op_num_threads = threads; o.inter_op_num_threads = 1
s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
x = np.load(inputs)["input"][:1]
b = s.io_binding(); b.bind_ortvalue_input("input", ort.OrtValue.ortvalue_from_numpy(x))
b.bind_output(s.get_outputs()[0].name)
for line in sys.stdin:
    end = time.perf_counter() + 0.03
    while time.perf_counter() < end: s.run_with_iobinding(b)
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        t = time.perf_counter_ns(); s.run_with_iobinding(b); times.append(time.perf_counter_ns() - t)
    print(statistics.median(times), flush=True)
"""


@dataclass(frozen=True)
class Bench:
    """What every figure needs: prepared cells by model and runtime, and where things lie."""

    cells: Mapping[tuple[str, str], Cell]
    prepared: Prepared
    settings: group.Settings

    def ready(self, model: str, runtime: str) -> Ready:
        """The artifact and reference of a cell."""
        return self.prepared.ready[codec.key(self.cells[model, runtime])]


def set_up(folder: Path, budget_s: float, processes: int, wait_s: float) -> Bench:
    """Prepare all cells."""
    threads = machine.default_threads()
    cells = {(m, r): Cell(Backbone(m), r, threads=threads) for m in MODELS for r in RUNTIMES}
    kept = cache.Cache(cache.root())
    prepared = prepare({codec.key(c): c for c in cells.values()}, kept, folder, 1, lambda text: say(text))
    for error in prepared.failed.values():
        raise error
    rules = Rules(budget_s=budget_s, target=0.0, processes=processes, wait_s=wait_s)
    settings = group.Settings(
        rules, folder, kept.folder / "runtimes", lambda *_: None, lambda *_: None, kept.folder / "machine"
    )
    return Bench(cells, prepared, settings)


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


# ── repeatability ────────────────────────────────────────────────────────────────────────────────────────────────


Measured = tuple[list[Record], list[Samples]]


def interleaved(bench: Bench, model: str, seed: int) -> Measured:
    """One independent repeat: fresh processes, among which the budget is divided, and all cells in turn."""
    cells = tuple(bench.cells[model, r] for r in RUNTIMES)
    settings = replace(bench.settings, rules=replace(bench.settings.rules, seed=seed))
    return group.measure(Group("figures", cells, codec.key(cells[0])), bench.prepared, settings)


def back_to_back(bench: Bench, model: str, seed: int) -> Measured:
    """One repeat as others measure: each cell alone for its whole budget, one after another."""
    rules = replace(bench.settings.rules, wait_s=0.0, seed=seed, processes=1)
    records, samples = [], []
    for runtime in RUNTIMES:
        cell = bench.cells[model, runtime]
        alone = Group("alone", (cell,), codec.key(cell))
        found = group.measure(alone, bench.prepared, replace(bench.settings, rules=rules))
        records += found[0]
        samples += found[1]
    return records, samples


def half_widths(records: Sequence[Record]) -> Mapping[str, float]:
    """Of each speed-up's interval; nothing for cells that were not measured in turn."""
    return {r.cell.runtime: r.speedup["compute"].ratio.half_width for r in records if r.speedup}


def speedups(records: Sequence[Record]) -> Mapping[str, float]:
    """The speed-ups of a repeat: from its rounds, or (back to back) from the medians."""
    medians = {r.cell.runtime: r.latency["compute"].median_ns for r in records}
    return {
        r.cell.runtime: r.speedup["compute"].ratio.value
        if r.speedup
        else medians["torch_eager"] / medians[r.cell.runtime]
        for r in records
        if r.cell.runtime != "torch_eager"
    }


WAYS = {"interleaved": interleaved, "back to back": back_to_back}


def repeatability(bench: Bench, repeats: int, ways: Sequence[str], record: Path | None) -> list[dict[str, object]]:
    """The ways side by side, alternated, so that the machine treats all alike. Each repeat is said as it comes."""
    found: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    widths: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    mixed: dict[tuple[str, str], int] = {}
    for number in range(repeats):
        for model in MODELS:
            for way in ways:
                records, samples = WAYS[way](bench, model, number)
                ratios = speedups(records)
                found.setdefault((model, way), []).append(ratios)
                widths.setdefault((model, way), []).append(half_widths(records))
                unclear = any(s.mixed for r in records for s in r.speedup.values())
                mixed[model, way] = mixed.get((model, way), 0) + unclear
                say(f"{model}, {way}, {number + 1} of {repeats}: {json.dumps(ratios)}{' (mixed)' if unclear else ''}")
                if record is not None:
                    record.mkdir(parents=True, exist_ok=True)
                    lines = [codec.dumps(item) for item in (*records, *samples)]
                    (record / f"{model} {way}-{number:02d}.jsonl").write_text("\n".join(lines) + "\n")
    return [
        {
            "model": model,
            "runtime": runtime,
            "way": way,
            "speedups": [round(ratios[runtime], 3) for ratios in repeated],
            "max_over_min": round(max(r[runtime] for r in repeated) / min(r[runtime] for r in repeated), 3),
            "half_widths": [round(w[runtime], 4) for w in widths[model, way] if runtime in w],
            "budget_s": bench.settings.rules.budget_s,
            "processes": bench.settings.rules.processes if way == "interleaved" else 1,
            "wait_s": bench.settings.rules.wait_s if way == "interleaved" else 0.0,
            "mixed": mixed[model, way],
        }
        for (model, way), repeated in found.items()
        for runtime in RUNTIMES[1:]
    ]


# ── truth ────────────────────────────────────────────────────────────────────────────────────────────────────────


def truth(
    bench: Bench, model: str, runtime: str, other: Callable[[], float], pairs: int, seconds: float
) -> dict[str, object]:
    """Ratio of our `compute` median to somebody else's, alternated in bursts of `seconds`: ours, theirs, ours, …"""
    cell, pace, ratios = bench.cells[model, runtime], Pace(seconds, 0.0, 3), []
    log = bench.settings.logs / f"truth-{runtime}.log"
    with Worker(
        log, env=environment(cell.threads, more=registry.runtime_class(cell.runtime).environment), name=runtime
    ) as worker:
        station = Station(cell, bench.ready(model, runtime), worker, bench.settings.rules)
        station.open(bench.settings.runtime_caches)
        station.warm()
        say(f"truth: {model} {runtime}, {pairs} pairs")
        for _ in range(pairs):
            before = statistics.median(station.burst(pace).compute_ns)
            theirs = other()
            after = statistics.median(station.burst(pace).compute_ns)
            ratios.append(math.log((before + after) / 2 / theirs))
    interval = stats.ratio_interval([ratios])
    return {
        "model": model,
        "runtime": runtime,
        "ours_over_theirs": round(interval.value, 4),
        "interval": [round(interval.low, 4), round(interval.high, 4)],
        "pairs": [round(math.exp(r), 3) for r in ratios],
    }


def benchmark_app(bench: Bench, model: str, seconds: int) -> float:
    """Median of OpenVINO's own tool in ns, on the same IR, fp32, batch 1, latency hint.

    Its latency hint takes one thread per physical core, as our cells do; it allows no explicit number beside a hint.
    """
    xml = bench.ready(model, "openvino").artifact.path
    command = [
        str(Path(sys.executable).with_name("benchmark_app")), "-m", xml, "-d", "CPU", "-hint", "latency",
        "-shape", "[1,3,224,224]", "-infer_precision", "f32", "-t", str(seconds),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Median:\s+([0-9.]+) ms", done.stdout)
    assert found, done.stdout
    return float(found.group(1)) * 1e6


@contextmanager
def bare_loop(bench: Bench, model: str, seconds: float) -> Iterator[Callable[[], float]]:
    """A loop over `run_with_iobinding` in a process of its own, idle in between: each call gives a median in ns."""
    ready, cell = bench.ready(model, "ort_cpu"), bench.cells[model, "ort_cpu"]
    arguments = [ready.artifact.path, str(Path(ready.reference.path) / "inputs.npz"), str(cell.threads), str(seconds)]
    loop = subprocess.Popen(
        [sys.executable, "-c", BARE_LOOP, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(cell.threads),
    )

    def once() -> float:
        assert loop.stdin and loop.stdout
        loop.stdin.write("go\n")
        loop.stdin.flush()
        return float(loop.stdout.readline())

    try:
        once()
        yield once
    finally:
        loop.kill()


def against_benchmark_app(bench: Bench, model: str, repeats: int) -> dict[str, object]:
    """`compute` of openvino over benchmark_app's median."""
    other = functools.partial(benchmark_app, bench, model, 1)
    return truth(bench, model, "openvino", other, 4 * repeats, 0.7) | {"theirs": "benchmark_app"}


def against_bare_loop(bench: Bench, model: str, repeats: int) -> dict[str, object]:
    """`compute` of ort_cpu over the bare loop's median."""
    with bare_loop(bench, model, 0.2) as other:
        return truth(bench, model, "ort_cpu", other, 10 * repeats, 0.2) | {"theirs": "bare loop"}


# ── what others get ──────────────────────────────────────────────────────────────────────────────────────────────


def divided(bench: Bench, model: str, repeats: int) -> list[dict[str, object]]:
    """A cell over itself as people compare: benchmark_app, or a plain loop, run twice (5 s each) and divided."""

    def loop() -> float:
        with bare_loop(bench, model, 5.0) as once:
            return once()

    found = []
    for name, once in (("benchmark_app", functools.partial(benchmark_app, bench, model, 5)), ("plain loop", loop)):
        say(f"{model}: {name}, {repeats} times twice and divided")
        ratios = [once() / once() for _ in range(repeats)]
        found.append(
            {
                "model": model,
                "by": name,
                "ratios": [round(r, 3) for r in ratios],
                "max_over_min": round(max(ratios) / min(ratios), 3),
            }
        )
    return found


# ── idle sessions ────────────────────────────────────────────────────────────────────────────────────────────────


def in_company(bench: Bench, model: str, runtime: str, repeats: int) -> dict[str, object]:
    """Latency of a cell in a group of six over its latency alone, the two alternated: five sessions come and go."""
    subject = bench.cells[model, runtime]
    others = [replace(bench.cells[model, r], label=f"{r} {n}") for r in RUNTIMES for n in (1, 2)][:5]
    ratios = []
    with ExitStack() as stack:
        mine = _station(stack, bench, subject)
        for number in range(repeats):
            say(f"{model} {runtime}: alone and in a group of six, {number + 1} of {repeats}")
            before = [_median(mine) for _ in range(5)]
            with ExitStack() as passing:
                company = [_station(passing, bench, cell) for cell in others]
                together = []
                for _ in range(5):
                    for station in company:
                        _median(station)
                    together.append(_median(mine))
            after = [_median(mine) for _ in range(5)]
            alone = statistics.median(before + after)
            ratios.append(math.log(statistics.median(together) / alone))
    interval = stats.ratio_interval([ratios])
    return {
        "model": model,
        "runtime": runtime,
        "in_group_over_alone": round(interval.value, 4),
        "interval": [round(interval.low, 4), round(interval.high, 4)],
    }


def _station(stack: ExitStack, bench: Bench, cell: Cell) -> Station:
    env = environment(cell.threads, more=registry.runtime_class(cell.runtime).environment)
    worker = stack.enter_context(Worker(bench.settings.logs / "company.log", env=env, name=cell.title))
    model = cell.backbone.name
    station = Station(cell, bench.ready(model, cell.runtime), worker, bench.settings.rules)
    station.open(bench.settings.runtime_caches)
    station.warm()
    return station


def _median(station: Station) -> float:
    return statistics.median(station.burst(Pace(0.15, 0.0, 3)).compute_ns)


def main() -> None:
    """Measure what is asked for, and print it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--budget", type=float, default=10.0, help="seconds per cell")
    parser.add_argument("--processes", type=int, default=4, help="of each cell, where cells are interleaved")
    parser.add_argument("--wait", type=float, default=60.0, help="seconds that a group may wait for a calm machine")
    parser.add_argument("--only", choices=("repeatability", "truth", "overhead", "company", "divided"))
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS), help="of repeatability")
    parser.add_argument("--record", type=Path, help="keep the bursts of repeatability in this folder")
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    args = parser.parse_args()
    figures: dict[str, object] = {"machine": machine.facts(), "versions": machine.versions()}
    with tempfile.TemporaryDirectory() as folder, run.alone(cache.root(), say):
        bench = set_up(Path(folder), args.budget, args.processes, args.wait)
        if args.only in (None, "overhead"):
            figures["overhead_ns"] = run.overhead_ns(Path(folder))
        if args.only in (None, "truth"):
            figures["truth"] = [
                f(bench, model, args.repeats) for model in MODELS for f in (against_benchmark_app, against_bare_loop)
            ]
        if args.only in (None, "divided"):
            figures["divided"] = divided(bench, MODELS[1], 2 * args.repeats)
        if args.only in (None, "company"):
            figures["company"] = [in_company(bench, MODELS[1], r, 2 * args.repeats) for r in RUNTIMES]
        if args.only in (None, "repeatability"):
            figures["repeatability"] = repeatability(bench, args.repeats, args.ways, args.record)
    text = json.dumps(figures, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
