"""Small made things that several tests need: records, runs, artifacts, an identity model."""

from __future__ import annotations

from pathlib import Path

from harness import codec
from harness.model import JSON, Artifact, Backbone, Cell, Facts, Group, Recipe, TensorSpec, Warmup
from harness.record import ColdStart, Interval, Latency, Memory, Plan, Record, Rules, Run, Speedup

BACKBONE = Backbone("resnet50")
BASE = Cell(BACKBONE, "torch_eager", threads=2)
FAST = Cell(BACKBONE, "ort_cpu", threads=2)


def latency(median_ms: float, samples: int = 1000) -> Latency:
    """A summary with that median."""
    ns = median_ms * 1e6
    percentiles = {"p90": ns * 1.1, "p95": ns * 1.2, "p99": ns * 1.5} if samples >= 662 else {}
    missing = {"p99.9": 6636 - samples} if samples >= 662 else {"p90": 64, "p95": 130, "p99": 662, "p99.9": 6636}
    return Latency(samples, ns, ns, ns / 20, ns / 2, ns * 2, percentiles, missing)


def record(cell: Cell = FAST, median_ms: float = 10.0, ratio: float = 2.0, half_width: float = 0.01) -> Record:
    """A measured record of `cell` in the group of `BASE`."""
    base = codec.key(BASE)
    measured = Record(codec.key(cell), codec.key((cell.backbone, cell.batch)), cell, base, BASE.title, "ok")
    spread = Interval(ratio, ratio * (1 - half_width), ratio * (1 + half_width))
    speedup = {} if measured.is_baseline else {"compute": Speedup(spread, 40, "test")}
    return codec.decode(
        Record,
        codec.encode(measured)
        | codec.encode(
            {
                "latency": {"compute": latency(median_ms), "end_to_end": latency(median_ms * 1.1)},
                "speedup": speedup,
                "facts": Facts("fp32", "cpu", threads=2),
                "cold": ColdStart(5.0, 0.3, 0.2, 0.05),
                "memory": Memory(100_000_000, 30_000_000, 200_000_000, 250_000_000, None),
                "warmup": Warmup(3, 0.5, steady=True),
                "rounds": 40,
                "measured_s": 10.0,
                "trust": "trusted",
            }
        ),
    )


def plan(*cells: Cell) -> Plan:
    """A plan of one group with `BASE` as its baseline."""
    members = cells or (BASE, FAST)
    return Plan("test", (Group(codec.key((BACKBONE, 1)), members, codec.key(BASE)),), Rules())


def run(made: Plan | None = None) -> Run:
    """The head of a run."""
    machine: dict[str, JSON] = {"cpu": "Test CPU", "cpus_usable": 2, "system": "Test OS", "virtual_machine": True}
    return Run(
        "run-test", ("backbench", "run", "test"), "2026-11-24T10:00:00+00:00", made or plan(), machine, {"timm": "1.0"}
    )


def identity_onnx(path: Path, width: int = 4, batch: int | str = "batch") -> Path:
    """An ONNX file that computes the identity on (batch, 3, width, width)."""
    import onnx
    from onnx import TensorProto, helper

    shape = [batch, 3, width, width]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["output"])],
        "identity",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def artifact(path: Path, shape: tuple[int | str, ...] = ("batch", 3, 4, 4)) -> Artifact:
    """An ONNX artifact of an identity model."""
    return Artifact(
        "onnx", str(path), "fp32", (TensorSpec("input", shape, "float32"),), (TensorSpec("output", shape, "float32"),),
        "0" * 64, 1000, Recipe("test", ""),
    )  # fmt: skip
