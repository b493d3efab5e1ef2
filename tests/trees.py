"""Recorded trees of `/proc` and `/sys`, unfolded into a folder; and bursts to read around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.model import Burst, Usage
from harness.probes.panel import Panel
from harness.probes.probe import Metered, Probe, Target
from harness.record import Samples

DATA = Path(__file__).parent / "data"
ORIN, XAVIER, INTEL = "jetson_agx_orin", "jetson_xavier_nx", "intel_box"
WORKER = Target(77, "cpu")
BURST = Burst(
    compute_ns=(10_000_000,) * 10,
    end_to_end_ns=(11_000_000,) * 5,
    discarded=5,
    seconds=0.2,
    usage=Usage(150_000_000, 300_000_000, 20, 30, 45, 2),
)
"""20 inferences in all, 15 of them timed."""


def unfold(folder: Path, name: str) -> Path:
    """The tree of that name below `folder`."""
    for path, content in yaml.safe_load((DATA / f"{name}.yaml").read_text()).items():
        write(folder, path, content)
    return folder


def write(root: Path, path: str, content: object) -> None:
    """Change one file of a tree; sysfs ends each with a newline."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{str(content).rstrip()}\n")


def read(probe: Probe, target: Target = WORKER) -> dict[str, Any]:
    """All that a probe reads at one moment."""
    return {**probe.counters(target), **probe.instants(target)}


def summary(probe: Probe, values: Sequence[Mapping[str, Any]], seconds: float = 0.25) -> dict[str, Any]:
    """The summary of bursts with those readings."""
    return dict(probe.summarise([Metered(one, seconds, BURST) for one in values]))


def around(panel: Panel, target: Target = WORKER, change: Any = None) -> Samples:
    """A sample whose machine was read around `change`, which alters the tree."""
    after = panel.around(target)
    if change is not None:
        change()
    return Samples("key", 0, 0, 0, BURST, machine=after())
