"""`--builds`: the engine is built again, the builds are measured in turn, and what they differ by is reported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import builds, checks, plan, registry, results, spec
from harness.catalog import Catalog
from harness.errors import PlanInvalid
from harness.model import Backbone, Burst, Cell
from harness.record import Build, Plan, Record, Rules, Samples
from harness.report import content
from harness.route import Step
from harness.schedule import Trace
from tests import making
from tests.test_run import Quiet, _carry_out, _inspect, _no_catalog

STEPS = (Step("onnx", "tensorrt-engine", "fp32", "fp32", ("tensorrt_engine",)),)


def _resolve(**data: Any) -> Plan:
    catalog = Catalog("1.0", ("resnet18",), ())
    sources = plan.Sources(lambda: catalog, lambda path: {"precision": "fp32", "inputs": []})
    return plan.resolve(spec.check({"backbones": ["resnet18"], "threads": 1, **data}), sources)


def test_each_build_has_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "missing", lambda needs: ())
    made = _resolve(runtimes=["tensorrt"], devices=["cuda:0"], rules={"builds": 3})
    assert (made.rules.builds, made.rules.processes) == (3, 3)
    assert _resolve(runtimes=["tensorrt"], devices=["cuda:0"], rules={"builds": 3, "processes": 6}).rules.processes == 6
    engine = next(cell for cell in made.groups[0].cells if cell.runtime == "tensorrt")
    assert engine.exports == {"tensorrt_engine": {"timing_cache": False}}, "kept timings would make builds alike"
    assert "tensorrt_engine.timing_cache=False" in engine.title


def test_one_build_changes_no_cell() -> None:
    cell = Cell(Backbone("resnet18"), "tensorrt", device="cuda:0")
    assert builds.independent(cell, STEPS, 1) == cell


def test_a_runtime_that_builds_while_it_opens_keeps_nothing() -> None:
    cell = Cell(Backbone("resnet18"), "ort_tensorrt", device="cuda:0", options={"engine_cache": True})
    assert builds.independent(cell, (), 2).options == {"timing_cache": False}
    assert builds.independent(Cell(Backbone("x"), "trtexec"), (), 2).options == {"keep_engine": False}


def test_builds_of_what_is_not_built_are_a_mistake() -> None:
    with pytest.raises(PlanInvalid, match="2 builds are asked for, and no runtime of the plan") as caught:
        _resolve(runtimes=["ort_cpu"], rules={"builds": 2})
    assert "-r tensorrt" in caught.value.hint


def test_where_the_runtime_was_refused_its_reason_is_told_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "missing", lambda needs: ("tensorrt",) if "tensorrt" in needs else ())
    made = _resolve(runtimes=["tensorrt"], devices=["cuda:0"], rules={"builds": 2})
    assert any("needs tensorrt" in record.reason for record in made.refused)


@pytest.mark.parametrize("number", [0, 21])
def test_a_number_of_builds_that_is_none_is_refused(number: int) -> None:
    with pytest.raises(PlanInvalid, match=r"rules\.builds"):
        spec.check({"backbones": ["resnet18"], "rules": {"builds": number}})


# ── what is seen between builds ───────────────────────────────────────────────────────────────────────────────────


def _measured(medians_ms: list[float], made: int) -> Record:
    """A record of `made` builds, and a process for each median."""
    trace = Trace()
    record = replace(making.record(), builds=tuple(Build(f"{n}" * 64, 60.0, 1 << 20) for n in range(made)))
    for process, median in enumerate(medians_ms):
        for number in range(3):
            burst = Burst((round(median * 1e6),) * 5)
            trace.samples.append(Samples(record.key, process, number, 0, burst))
    return replace(record, builds=builds.described(record, trace, Rules(processes=len(medians_ms), builds=made)))


def test_the_spread_is_of_the_builds_medians() -> None:
    record = _measured([10.0, 10.5, 10.0, 10.5], 2)
    assert [(build.median_ns, build.processes) for build in record.builds] == [(10e6, 2), (10.5e6, 2)]
    assert builds.spread(record.builds) == pytest.approx(0.05)


def test_the_verdict_the_table_and_the_columns_tell_it() -> None:
    record = _measured([10.0, 10.5, 10.2], 3)
    trust, findings = checks.judge(record, Rules())
    (found,) = [finding for finding in findings if finding.check == "builds_differ"]
    assert (trust, found.level) == ("caution", "caution")
    assert found.seen == "3 builds took 10 to 10.5 ms, 5.0% apart, 1 process each"
    assert "sha256 000000000000… is the fastest" in found.advice
    assert content.built(record) == "3, 5.0% apart"
    row = results.row(making.run(), record)
    assert (row["builds"], row["build_spread"]) == (3, pytest.approx(0.05))


def test_builds_that_are_alike_cost_no_trust() -> None:
    trust, findings = checks.judge(_measured([10.0, 10.1], 2), Rules())
    assert trust == "trusted"
    assert "builds_differ" in [finding.check for finding in findings]


def test_a_run_without_builds_has_no_such_column() -> None:
    record = making.record()
    assert builds.spread(record.builds) is None
    assert "builds" not in [content.HEADERS[i] for i in content.shown([record])]
    assert "builds_differ" not in [finding.check for finding in checks.judge(record, Rules())[1]]


# ── really built and measured ─────────────────────────────────────────────────────────────────────────────────────


def _plan(tmp_path: Path, runtime: str, **rules: Any) -> Plan:
    model = making.identity_onnx(tmp_path / "identity.onnx")
    data = {
        "name": "builds", "backbones": [str(model)], "runtimes": [runtime], "threads": 1, "baseline": "ort_cpu",
        "rules": {"budget": 0.5, "min_rounds": 4, "burst": 0.01, "target": 0, "patience": 5, "builds": 2, **rules},
    }  # fmt: skip
    return plan.resolve(spec.check(data), plan.Sources(_no_catalog, _inspect))


def test_an_exporter_is_asked_again_and_each_build_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    exporter = registry.exporter_class("openvino_ir")
    monkeypatch.setattr(exporter, "options", {"alone": False})
    monkeypatch.setattr(exporter, "independent", {"alone": True})
    watcher = Quiet()
    records = _carry_out(tmp_path, _plan(tmp_path, "openvino"), watcher)
    record = next(record for record in records.values() if record.cell.runtime == "openvino")
    assert record.outcome == "ok", record.reason
    assert watcher.notes.count("identity: openvino_ir") == 2
    assert record.cell.exports == {"openvino_ir": {"alone": True}}
    assert [build.processes for build in record.builds] == [1, 1]
    assert all(build.median_ns and build.digest and build.seconds > 0 for build in record.builds)
    assert len(record.colds) == 2
    assert record.artifact is not None and record.builds[0].digest == record.artifact.digest


def test_a_runtime_that_builds_while_it_opens_has_one_for_each_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = registry.runtime_class("fake")
    monkeypatch.setattr(runtime, "independent", {"latency_ns": runtime.options["latency_ns"]})
    records = _carry_out(tmp_path, _plan(tmp_path, "fake"))
    record = next(record for record in records.values() if record.cell.runtime == "fake")
    assert record.outcome == "ok", record.reason
    assert [(build.digest, build.processes) for build in record.builds] == [("", 1), ("", 1)]
    assert builds.spread(record.builds) is not None
