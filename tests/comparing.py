"""Scripted runs to compare: cells whose rounds have a chosen latency, on disk or in memory."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness import codec, store, summary
from harness.comparing import pairing
from harness.comparing.pairing import Measured
from harness.model import Backbone, Burst, Cell, Facts, Group
from harness.record import Plan, Record, Rules, Run, Samples
from harness.schedule import Trace
from tests import making

BACKBONES = tuple(Backbone(name) for name in ("resnet18", "resnet50", "vit_tiny_patch16_224"))
RULES = Rules(budget_s=1.0)
Script = Mapping[str, float]
"""Latency in ms by runtime; `torch_eager` is the baseline."""
USUAL: Script = {"torch_eager": 20.0, "ort_cpu": 10.0, "openvino": 9.0}


def run(
    name: str, script: Script = USUAL, *, rounds: int = 30, noise: float = 0.005, machine: float = 1.0,
    versions: Mapping[str, str] | None = None, calm: bool = True, backbones: Sequence[Backbone] = BACKBONES,
) -> tuple[Run, list[Record], list[Samples]]:  # fmt: skip
    """A run in which every cell's latency is the script's times `machine`, scattered by `noise` between rounds."""
    draw = random.Random(name)
    groups, records, samples = [], [], []
    for backbone in backbones:
        cells = {runtime: Cell(backbone, runtime, threads=2) for runtime in script}
        base = codec.key(cells["torch_eager"])
        groups.append(Group(codec.key((backbone, 1)), tuple(cells.values()), base))
        trace = Trace()
        for number in range(rounds):
            common = draw.lognormvariate(math.log(machine), noise)
            for order, (runtime, cell) in enumerate(cells.items()):
                ns = round(script[runtime] * 1e6 * common * draw.lognormvariate(0, noise))
                burst = Burst((ns, ns + 1, ns + 2), (ns + 1000,) * 3, seconds=0.1)
                trace.samples.append(Samples(codec.key(cell), 0, number, order, burst, 300 if calm else None))
        for runtime, cell in cells.items():
            facts = Facts("fp32", "cpu", threads=2, versions={runtime: (versions or {}).get(runtime, "1.0")})
            blank = Record(codec.key(cell), groups[-1].key, cell, base, cells["torch_eager"].title, "ok", facts=facts)
            records.append(summary.finish(blank, trace, RULES))
        samples += trace.samples
    head = replace(making.run(Plan("test", tuple(groups), RULES)), id=f"run-{name}", finished="later")
    return head, records, samples


def measured(name: str, script: Script = USUAL, **how: object) -> Measured:
    """The same, as `harness.comparing.compare` takes it."""
    head, records, samples = run(name, script, **how)  # type: ignore[arg-type]
    return pairing.measured(name, head, records, samples, "compute")


def kept(folder: Path, script: Script = USUAL, **how: object) -> Path:
    """The same, as a results folder."""
    head, records, samples = run(folder.name, script, **how)  # type: ignore[arg-type]
    store.Store.create(folder, head).add(records, samples)
    return folder
