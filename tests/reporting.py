"""Made runs for reports: any number of cells, with failures, doubts, raw samples and names that are hard to show."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness import codec, store
from harness.model import Backbone, Burst, Cell, Precision
from harness.record import ArtifactNote, Finding, Interval, Latency, Memory, Record, Roofline, Samples
from tests import making

NAMES = ("resnet50", "Größe_für_Fußgänger", "画像認識_小", "</script><b>x", "a|b & c")
RUNTIMES: tuple[tuple[str, Precision], ...] = (
    ("torch_eager", "fp32"), ("ort_cpu", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"),
)  # fmt: skip


def records(names: Sequence[str] = NAMES, batches: Sequence[int] = (1,), seed: int = 0) -> Iterator[Record]:
    """A record for each backbone, batch and runtime; some failed, some are in doubt, the framework's never."""
    draw, number = random.Random(seed), 0
    for name in names:
        size, slowness = draw.uniform(1e6, 9e7), draw.uniform(2, 80)
        for batch in batches:
            base = Cell(Backbone(name), *RUNTIMES[0], batch=batch, threads=2)
            for runtime, precision in RUNTIMES:
                cell = replace(base, runtime=runtime, precision=precision)
                number += 1
                yield _record(cell, base, slowness * batch, round(size), number, draw)


def _record(cell: Cell, base: Cell, slowness: float, params: int, number: int, draw: random.Random) -> Record:
    gain = 1.0 if cell == base else draw.uniform(0.8, 4)
    note = ArtifactNote("onnx", cell.precision, "0" * 64, ("onnx_dynamo",), (), {"params": params})
    made = making.record(cell, slowness / gain, gain)
    made = replace(
        made,
        memory=Memory(
            4 * params, 30_000_000, 90_000_000 + 5 * params, round(99_000_000 + draw.uniform(5, 9) * params), None
        ),
    )
    spread = {scope: _with_interval(found) for scope, found in made.latency.items()}
    made = replace(made, artifact=note, baseline=codec.key(base), baseline_title=base.title, latency=spread)
    flops, moved = round(22.5e6 * slowness), round(1.2e6 * slowness * params / 9e7)
    made = replace(made, roofline=_roofline(cell.precision, flops, moved, slowness / gain))
    if cell == base:
        return replace(made, speedup={})
    if number % 7 == 3:
        reason = draw.choice(
            ("no bf16 on this processor", "relative L2 error 0.3 is over 0.001", "killed by <SIGSEGV>")
        )
        return replace(
            made, outcome="crashed", reason=reason, hint="look at the log", latency={}, speedup={}, cold=None,
            memory=None, trust=None, roofline=None,
        )  # fmt: skip
    if number % 7 == 5:
        return replace(made, trust="caution", findings=(Finding("heat", "caution", "it was warm", "cool it"),))
    return made


def _roofline(precision: Precision, flops: int, moved: int, latency_ms: float) -> Roofline:
    """Below ceilings of 90 GFLOP/s (180 in bf16) and 12 GB/s, or 80 GB/s where what is moved fits in 16 MB of cache."""
    peak, level = 180e9 if precision == "bf16" else 90e9, "cache" if moved < 16e6 else "memory"
    stream = 80e9 if level == "cache" else 12e9
    computing_ns, moving_ns = flops / peak * 1e9, moved / stream * 1e9
    return Roofline(
        flops, flops, moved, None, flops / latency_ms * 1e3, moved / latency_ms * 1e3, None, peak, stream,
        max(computing_ns, moving_ns), max(computing_ns, moving_ns) / latency_ms / 1e6,
        "compute" if computing_ns > moving_ns else "memory", level, {"flops": "test", "peak_flops": "a product"},
    )  # fmt: skip


def _with_interval(found: Latency) -> Latency:
    median = found.median_ns
    return replace(found, intervals_ns={"median": Interval(median, median * 0.99, median * 1.01)})


def write(folder: Path, made: Sequence[Record], bursts: int = 20, seed: int = 0) -> Path:
    """A finished results folder with these records, and raw samples around each median with a tail to the right."""
    kept = store.Store.create(folder, replace(making.run(), finished="2026-11-24T10:10:00+00:00"))
    draw = random.Random(seed)
    kept.add(made, (sample for record in made if record.latency for sample in _samples(record, bursts, draw)))
    return folder


def _samples(record: Record, bursts: int, draw: random.Random) -> Iterator[Samples]:
    median = record.latency["compute"].median_ns
    for number in range(bursts):
        times = tuple(round(median * draw.lognormvariate(0, 0.03) + draw.expovariate(20 / median)) for _ in range(12))
        yield Samples(record.key, 0, number, 0, Burst(times))
