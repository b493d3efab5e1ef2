"""A cell whose facts contradict its label is not reported under that label (METHOD 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import cache, codec, machine, onnx_file, plan, registry, run, spec, store
from harness.catalog import Catalog
from harness.label import contradiction
from harness.model import JSON, Facts
from harness.record import Record
from tests import making
from tests.runtimes.opening import conv_onnx
from tests.test_run import Quiet

CELL = replace(making.FAST, threads=2)
FACTS = Facts("fp32", "cpu", ("CPUExecutionProvider",), {"CPUExecutionProvider": 10}, {"f32": 9}, threads=2)
BF16 = {"avx512_bf16", "amx_bf16"} & set(map(str, machine.facts()["cpu_flags"]))  # type: ignore[arg-type]


def test_facts_that_fit_contradict_nothing() -> None:
    assert contradiction(CELL, FACTS) == ""
    unknown = Facts(None, "cpu", process={"busy_threads": "unavailable: no schedstat", "affinity": "unavailable"})
    assert contradiction(replace(CELL, cpus="0"), unknown) == "", "what a runtime does not tell is no contradiction"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (replace(FACTS, precision="bf16"), "labelled fp32, but bf16 runs"),
        (replace(FACTS, device="cuda:0"), "asked for cpu, but it runs on cuda:0"),
        (replace(FACTS, threads=4), "asked for 2 threads, but 4 are used"),
        (replace(FACTS, layer_precisions={"f32": 50, "bf16": 3}), "labelled fp32, but 3 layers run in bf16"),
        (replace(FACTS, process={"busy_threads": 5}), "asked for 2 threads, but 5 use the processor"),
        (
            replace(FACTS, providers=("XExecutionProvider", "CPUExecutionProvider")),
            "no node of the graph runs on XExecutionProvider (10 on CPUExecutionProvider)",
        ),
    ],
)
def test_facts_that_contradict_are_named(facts: Facts, said: str) -> None:
    assert contradiction(CELL, facts) == said


def test_a_worker_that_escaped_its_processors_is_named() -> None:
    facts = replace(FACTS, process={"affinity": [0, 1, 2, 3]})
    assert contradiction(replace(CELL, cpus="0-1"), facts) == "pinned to processors 0-1, but it may run on 0, 1, 2, 3"
    assert contradiction(replace(CELL, cpus="0-3"), facts) == ""


def _records(folder: Path, *runtimes: Any, **more: Any) -> Mapping[str, Record]:
    """Records by runtime of a real run of a small convolution."""
    model = folder / "conv.onnx"
    conv_onnx(model)
    data = {
        "backbones": [str(model)], "runtimes": runtimes, "threads": 1, "baseline": "ort_cpu",
        "rules": {"budget": 0.3, "min_rounds": 2, "burst": 0.01, "patience": 20}, **more,
    }  # fmt: skip

    def inspect(path: Path) -> Any:
        return codec.encode(onnx_file.inspect(path))

    made = plan.resolve(spec.check(data), plan.Sources(_no_catalog, inspect))
    kept = store.Store.create(folder / "run", run.new_run(made, ("backbench", "run")))
    done = run.carry_out(run.Campaign(kept, cache.Cache(folder / "cache"), 1, Quiet()))
    return {record.cell.runtime: record for record in done}


def _no_catalog() -> Catalog:
    raise AssertionError("no timm name is in these plans")


@pytest.mark.skipif(not BF16, reason="this CPU has no bf16")
def test_openvino_in_bf16_under_the_label_fp32_is_a_failed_cell(tmp_path: Path) -> None:
    """For real: the hint is forced underneath a cell that asks for fp32."""
    forced = {"name": "openvino", "options": {"precision_hint": "bf16"}}
    records = _records(tmp_path, "ort_cpu", forced)
    failed = records["openvino"]
    assert failed.outcome == "failed"
    assert "labelled fp32, but bf16 runs" in failed.reason
    assert failed.latency == {}, "nothing is published of it"
    assert failed.facts is not None and failed.facts.layer_precisions.get("bf16"), "what ran is kept"
    assert records["ort_cpu"].outcome == "ok"


def test_an_onnxruntime_cell_without_its_provider_is_a_failed_cell(tmp_path: Path, absent: None) -> None:
    """For real: a plug-in that asks ONNX Runtime for a provider that this build lacks, which it leaves out in silence."""
    records = _records(tmp_path, "ort_cpu", "ort_absent")
    failed = records["ort_absent"]
    assert failed.outcome == "failed"
    assert "left out" in failed.reason and "CoreMLExecutionProvider" in failed.reason
    assert "doctor" in failed.hint
    assert records["ort_cpu"].outcome == "ok"


_PLUGIN = '''
from typing import ClassVar
from harness.api import Device, Runtime
from runtimes._onnxruntime import OnnxRuntimeSession

class Absent(Runtime):
    """ONNX Runtime with a provider of another system."""
    accepts = ("onnx",)
    precisions: ClassVar = {"cpu": ("fp32",)}
    options: ClassVar = {"graph_optimization": "all", "spinning": True, "mem_pattern": True, "arena": True}

    def devices(self):
        return (Device("cpu"),)

    def open(self, artifact, setup):
        return OnnxRuntimeSession(artifact, setup, [("CoreMLExecutionProvider", {}), ("CPUExecutionProvider", {})])
'''


@pytest.fixture
def absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with an entry point, for this process and for its workers: `ort_absent`."""
    site = tmp_path / "site"
    about = site / "absent_provider-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "absent_provider.py").write_text(_PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: absent-provider\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[backbench.runtimes]\nort_absent = absent_provider:Absent\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    registry.found.cache_clear()
    yield
    registry.found.cache_clear()


def test_facts_are_read_back_for_every_runtime(tmp_path: Path) -> None:
    """What METHOD 5 asks for, in the records of a real run that is pinned to one processor."""
    only = min(machine.processors())
    for record in _records(tmp_path, "ort_cpu", "openvino", cpus=str(only)).values():
        assert record.outcome == "ok", record.reason
        facts = record.facts
        assert facts is not None
        assert (facts.precision, facts.device, facts.threads) == ("fp32", "cpu", 1)
        assert facts.process["affinity"] == [only]
        assert facts.process["busy_threads"] in (1, 0) or "unavailable" in str(facts.process["busy_threads"])
        assert facts.process["allocator"]
        assert facts.providers and facts.versions
        told: dict[str, Any] = dict(facts.settings)
        expected: dict[str, Sequence[JSON]] = {
            "ort_cpu": ("allow_spinning", "enable_cpu_mem_arena", "graph_optimization_level", "pool_threads"),
            "openvino": ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "ENABLE_CPU_PINNING", "INFERENCE_PRECISION_HINT", "kernels"),
        }  # fmt: skip
        assert set(expected[record.cell.runtime]) <= set(told)
