"""How far artifacts of each precision are from PyTorch fp32, on real backbones: what the default tolerances rest on.

    scripts/parity [BACKBONE…]       # prints a Markdown table; measures no latency

Every cell is made, opened and verified exactly as `backbench run` does it, without the limits.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import cache, codec, group, plan, prepare, spec
from harness.cli.matrix import cache_sources
from harness.errors import BackbenchError
from harness.launch import Worker, environment
from harness.model import Cell
from harness.ready import Ready
from harness.record import Rules

BACKBONES = (
    "resnet18", "resnet50", "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0", "vit_tiny_patch16_224",
    "convnext_atto",
)  # fmt: skip
CELLS = (
    ("torch_eager", "fp16"), ("torch_eager", "bf16"), ("ort_cpu", "fp32"), ("ort_cpu", "int8"), ("openvino", "fp32"),
    ("openvino", "bf16"), ("openvino", "int8"),
)  # fmt: skip
NO_LIMITS = {"rel_l2": 1e9, "cosine": -1.0, "top1_agreement": 0.0}


def rows(names: tuple[str, ...], folder: Path) -> Iterator[str]:
    """One line per backbone and cell."""
    runtimes = [{"name": name, "precisions": [precision]} for name, precision in CELLS]
    asked = spec.check({"backbones": list(names), "runtimes": runtimes})
    made = plan.resolve(asked, cache_sources(cache.root()))
    cells = {codec.key(cell): cell for members in made.groups for cell in members.cells}
    ready = prepare.prepare(cells, cache.Cache(cache.root()), folder, 1, lambda line: print(line, file=sys.stderr))
    for key, cell in cells.items():
        name = f"| {cell.backbone.name} | {cell.runtime} | {cell.precision} |"
        if key in ready.failed:
            yield f"{name} {ready.failed[key].message} | | | | |"
        elif (cell.runtime, cell.precision) in CELLS:
            yield f"{name} {_errors(cell, ready.ready[key], folder)}"


def _errors(cell: Cell, ready: Ready, folder: Path) -> str:
    rules = Rules(tolerances={cell.precision: {**NO_LIMITS, "median_rel_l2": 1e9}})
    try:
        with Worker(folder / f"{codec.key(cell)}.log", env=environment(cell.threads), name=cell.title) as worker:
            station = group.Station(cell, ready, worker, rules)
            heavy = station.open(folder).facts.heavy_layers
            (error, *_) = station.verify().outputs
    except BackbenchError as error:
        return f"{error.message} | | | | |"
    quantised = f"{heavy.get('int8', 0)}/{sum(heavy.values())}" if cell.precision == "int8" else ""
    top1 = "–" if error.top1_agreement is None else f"{error.top1_agreement:.0%}"
    return f"{error.rel_l2:.1e} | {error.median_rel_l2:.1e} | {error.cosine:.6f} | {top1} | {quantised} |"


def main() -> None:
    """Print the table."""
    names = tuple(sys.argv[1:]) or BACKBONES
    print("| backbone | runtime | precision | rel. L2 | median of inputs | cosine | top-1 agrees | int8 layers |")
    print("|---|---|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(names, Path(folder)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
