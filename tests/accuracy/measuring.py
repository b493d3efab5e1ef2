"""Measuring accuracy without the command line: a plan, labelled images, and somebody who watches."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness import codec, plan, spec
from harness.accuracy import dataset, evaluate
from harness.accuracy.campaign import Campaign, Settings
from harness.accuracy.record import Accuracy
from harness.accuracy.store import AccuracyStore
from harness.cache import Cache
from harness.catalog import Catalog
from harness.onnx_file import inspect
from harness.record import Plan
from tests import digits


@dataclass
class Watcher:
    """Remembers what it was told. Raises Ctrl-C once so many cells are done."""

    interrupt_after: int = 10**6
    notes: list[str] = field(default_factory=list)
    cells: list[Accuracy] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep the line."""
        self.notes.append(text)

    def step(self, what: str, done: int, total: int) -> None:
        """Ctrl-C, once it is time."""
        assert 0 < done <= total
        if len(self.cells) >= self.interrupt_after and "preprocessing" not in what:
            raise KeyboardInterrupt

    def done(self, record: Accuracy) -> None:
        """Keep the record."""
        self.cells.append(record)


def plan_of(model: str, weights: str = "random", **asked: Any) -> Plan:
    """The plan of one backbone, at the digits' size where it has no fixed one of its own."""
    data = {
        "backbones": [model],
        "weights": weights,
        "input_size": 0 if model.endswith(".onnx") else digits.SIZE,
        "batches": [32],
        "runtimes": ["ort_cpu"],
        "threads": 1,  # OpenMP threads that wait for each other take minutes where other tests run beside
        **asked,
    }
    known = Catalog("test", (digits.MODEL,), ())
    seen = lambda path: codec.encode(inspect(path))  # noqa: E731
    return plan.resolve(spec.check(data), plan.Sources(lambda: known, seen))


def measure(
    made: Plan, data: Path, artifacts: str, out: Path, watcher: Watcher | None = None, limit: int = 0, **settings: Any
) -> tuple[Accuracy, ...]:
    """Records of all cells; `settings` are those of `campaign.Settings` beside the images."""
    found = dataset.read(data)
    asked = Settings(found.limited(limit) if limit else found, **settings)
    campaign = Campaign(made, asked, Cache(Path(artifacts)), AccuracyStore.open(out), 1, watcher or Watcher())
    return evaluate.carry_out(campaign)


COLOURS = ("1_red", "2_green", "3_blue")
PLAIN: dict[str, Any] = {"overrides": {"mean": (0.0,), "std": (1.0,), "crop_pct": 1.0}}


def colours(folder: Path, each: int = 6) -> Path:
    """`folder`/COLOUR/NUMBER.png: images of one colour, with some noise."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for index, name in enumerate(COLOURS):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            array = rng.integers(0, 60, (9, 8, 3), dtype=np.uint8)
            array[..., index] += 150
            Image.fromarray(array).save(folder / name / f"{i}.png")
    return folder


def colour_onnx(path: Path, exponent: float = 0.0) -> Path:
    """A classifier of (batch, 3, 8, 8) images: the mean of each channel is the score of a class, in alphabetical order.

    With an `exponent`, the score is e to the power of so many times the mean, which overflows for bright images.
    """
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["mean"]),
    ]
    if exponent:
        nodes += [
            helper.make_node("Mul", ["mean", "factor"], ["scaled"]),
            helper.make_node("Exp", ["scaled"], ["logits"]),
        ]
    else:
        nodes += [helper.make_node("Mul", ["mean", "factor"], ["logits"])]
    specs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("input", ["batch", 3, 8, 8]), ("logits", ["batch", 3]))
    ]
    factor = helper.make_tensor("factor", TensorProto.FLOAT, [1], [exponent or 10.0])
    graph = helper.make_graph(nodes, "colours", specs[:1], specs[1:], [factor])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path
