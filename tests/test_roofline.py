"""From a cost, ceilings and a latency to how far a cell is from its roofline; and the commands and reports that say so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import cache, codec, plan, run, spec, store
from harness.cli import cli
from harness.model import Artifact
from harness.ready import Prepared, Ready
from harness.record import Record, Roofline
from harness.report import content, forms, text
from harness.report import roofline as report
from harness.roofline import ceilings
from harness.roofline import distance as roofline
from harness.roofline.ceilings import Arithmetic, Bandwidth, Ceilings, Place, Rate
from harness.roofline.costs import Cost
from tests import making, test_run

PLACE = Place("cpu", "fp32", 2)
COST = Cost(1, 100, 4_000_000_000, 3_900_000_000, 80_000_000, 20_000_000, 300_000_000, "test")
LIMITS = Ceilings(
    PLACE, Arithmetic(Rate(100e9, "product")), Bandwidth(Rate(10e9, "stream"), Rate(200e9, "cached"), 32 << 20)
)


def test_a_cell_is_bound_by_the_longer_of_computing_and_moving() -> None:
    """4 GFLOP at 100 GFLOP/s take 40 ms, 100 MB at 10 GB/s take 10 ms."""
    found = roofline.of(COST, LIMITS, 80e6)
    assert (found.attainable_ns, found.fraction, found.bound) == (40e6, 0.5, "compute")
    assert (found.flops_per_s, found.bytes_per_s, found.graph_bytes_per_s) == (50e9, 1.25e9, 3.75e9)
    assert found.intensity == 40.0
    assert found.remarks == ()
    moving = roofline.of(replace(COST, flops=400_000_000), LIMITS, 20e6)
    assert (moving.attainable_ns, moving.fraction, moving.bound, moving.memory_level) == (10e6, 0.5, "memory", "memory")


def test_a_model_that_fits_in_the_cache_is_not_held_to_memory() -> None:
    small = replace(COST, flops=1_000_000, weight_bytes=19_000_000, io_bytes=1_000_000)
    found = roofline.of(small, LIMITS, 1e6)
    assert (found.bound, found.memory_level, found.attainable_ns) == ("memory", "cache", 100e3)


def test_a_fraction_above_one_is_a_remark_and_stays() -> None:
    found = roofline.of(COST, LIMITS, 30e6)
    assert found.fraction == pytest.approx(4 / 3)
    assert "133% of the roofline: the compute ceiling is too low" in found.remarks[0]
    assert "backbench ceilings --refresh" in found.remarks[0]
    assert roofline.of(COST, LIMITS, 39e6).remarks == ()


def test_what_was_not_counted_is_a_remark() -> None:
    found = roofline.of(replace(COST, uncounted={"LRN": 2}, unshaped={"LRN": 1, "If": 1}), LIMITS, 80e6)
    assert found.uncounted == {"LRN": 3, "If": 1}
    assert found.remarks == ("operations are a lower bound: not counted are LRN (3), If (1)",)


def test_without_ceilings_there_are_rates_and_the_reason() -> None:
    lost = Ceilings(PLACE, Arithmetic(failed={"openvino": "it crashed"}), Bandwidth())
    found = roofline.of(COST, lost, 80e6)
    assert (found.flops_per_s, found.fraction, found.attainable_ns, found.bound) == (50e9, None, None, "")
    assert found.unavailable == "no measured ceiling (openvino: it crashed)"


def test_only_what_was_measured_has_a_roofline() -> None:
    measured = making.record(median_ms=80.0)
    limits = roofline.Limits({measured.key: COST}, {measured.key: LIMITS})
    described = limits.describe(measured).roofline
    assert described is not None
    assert described.fraction == 0.5
    failed = replace(measured, outcome="failed", latency={})
    assert limits.describe(failed).roofline is None
    assert roofline.Limits().describe(measured) is measured
    unknown = roofline.Limits(reasons={measured.key: "no graph"}).describe(measured).roofline
    assert unknown == Roofline(unavailable="no graph")


def test_a_cell_is_counted_in_a_graph_that_takes_its_batch() -> None:
    any_batch, one, eight = (making.artifact(Path(str(n)), (n, 3, 4, 4)) for n in ("batch", 1, 8))
    snapshot = replace(one, format="timm")

    def chosen(*artifacts: Artifact) -> list[Artifact]:
        batches = {"b1": 1, "b8": 8, "b4": 4}
        cells = {key: replace(making.FAST, batch=batch) for key, batch in batches.items()}
        ready = dict(zip(batches, (Ready(a, a, (), (), 0.0, steps=(a,)) for a in artifacts), strict=True))
        return list(roofline._countable(cells, Prepared(ready)).values())

    assert chosen(one, eight, any_batch) == [any_batch] * 3, "what all are counted in alike is preferred"
    assert chosen(one, eight, one) == [one, eight, one], "for a batch that none takes, the reason is said of the first"
    assert chosen(one, snapshot, one) == [one, snapshot, snapshot]


def _measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool) -> tuple[list[str], tuple[Record, ...]]:
    def answer(kind: str, *_: object, **__: object) -> object:
        return codec.encode(Rate(1e12, "test")) if kind == "gemm" else codec.encode(Bandwidth(Rate(1e12, "test")))

    monkeypatch.setattr(ceilings, "_ask", answer)
    model = making.identity_onnx(tmp_path / "identity.onnx")
    data = {
        "name": "limits", "backbones": [str(model)], "runtimes": ["ort_cpu", "openvino"], "threads": 1,
        "rules": {"budget": 0.2, "min_rounds": 3, "burst": 0.01, "target": 0},
    }  # fmt: skip
    made = plan.resolve(spec.check(data), plan.Sources(test_run._no_catalog, test_run._inspect))
    kept = store.Store.create(tmp_path / "run", run.new_run(made, ("backbench", "run")))
    watcher = test_run.Quiet()
    campaign = run.Campaign(kept, cache.Cache(tmp_path / "cache"), 1, watcher, roofline=wanted)
    return watcher.notes, run.carry_out(campaign)


def test_a_run_tells_how_far_its_cells_are_from_the_roofline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes, records = _measure(tmp_path, monkeypatch, wanted=True)
    for record in records:
        found = record.roofline
        assert found is not None
        assert (found.flops, found.compulsory_bytes) == (0, 2 * 4 * 48), "the identity on (1, 3, 4, 4)"
        assert found.methods["flops"].startswith("ONNX graph"), "IR is counted in the ONNX that it was made from"
        assert found.bound == "memory" or not found.attainable_ns
    assert sum("measuring the machine" in note for note in notes) == 2
    assert store.read_records(tmp_path / "run") == records


def test_a_run_that_is_not_asked_measures_no_ceilings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes, records = _measure(tmp_path, monkeypatch, wanted=False)
    assert all(record.roofline is None for record in records)
    assert not any("measuring the machine" in note for note in notes)


# ── shown ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _reported() -> content.Reported:
    measured = making.record(median_ms=30.0)
    return content.Reported(making.run(), (replace(measured, roofline=roofline.of(COST, LIMITS, 30e6)),))


def test_the_report_shows_it_where_it_is_asked_for() -> None:
    from rich.console import Console

    console = Console(record=True, width=160)
    report.show(console, [_reported()])
    shown = console.export_text()
    for word in ("133%", "compute", "100 MB", "product", "stream"):
        assert word in shown
    assert (
        "| resnet50 | ort_cpu | fp32 | 1 | 4 | 100 MB | 40 | 133 | 3.33 | 30 | 40 | 133% | compute |"
        in report.markdown([_reported()])
    )


def test_a_ceiling_that_is_too_low_is_a_remark_of_every_report() -> None:
    from rich.console import Console

    console = Console(record=True, width=200)
    text.show(console, [_reported()])
    for shown in (console.export_text(), forms.markdown([_reported()])):
        assert "ceiling is too low" in shown


def test_an_older_run_says_that_it_has_none() -> None:
    older = content.Reported(making.run(), (making.record(),))
    assert "measure again without --no-roofline" in report.markdown([older])


def _called(*arguments: str, folder: Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli, arguments, env={"BACKBENCH_CACHE": str(folder)})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return getattr(result.exception, "exit_code", -1), str(result.exception)
    return result.exit_code, result.stdout


def test_cost_counts_an_onnx_file(tmp_path: Path) -> None:
    model = making.identity_onnx(tmp_path / "identity.onnx")
    code, shown = _called("cost", "-m", str(model), "--batch", "2", "--json", folder=tmp_path / "cache")
    (row,) = json.loads(shown)
    assert (code, row["model"], row["cost"]["batch"], row["cost"]["io_bytes"]) == (0, "identity", 2, 2 * 2 * 4 * 48)
    code, shown = _called("cost", "-m", str(model), folder=tmp_path / "cache")
    assert code == 0
    assert "384 B: weights, inputs and outputs" in shown


@pytest.mark.parametrize("content_", [b"", b"nonsense"])
def test_cost_refuses_what_is_no_model(content_: bytes, tmp_path: Path) -> None:
    model = tmp_path / "broken.onnx"
    model.write_bytes(content_)
    code, said = _called("cost", "-m", str(model), folder=tmp_path / "cache")
    assert code == 2
    assert "broken.onnx" in said


def test_ceilings_refuses_more_threads_than_processors(tmp_path: Path) -> None:
    code, said = _called("ceilings", "--threads", "100000", folder=tmp_path)
    assert (code, "would wait for each other" in said) == (2, True)
    for cpus, why in (("abc", "give processors as 0-3"), ("60000", "may not run on processor 60000")):
        code, said = _called("ceilings", "--cpus", cpus, folder=tmp_path)
        assert (code, why in said) == (2, True), said


def test_ceilings_says_what_could_not_be_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(kind: str, *_: object, **__: object) -> object:
        return (
            codec.encode(Rate(1e12, "test")) if kind == "gemm" else codec.encode(Bandwidth(failed={"memory": "full"}))
        )

    monkeypatch.setattr(ceilings, "_ask", answer)
    code, shown = _called("ceilings", "--threads", "1", folder=tmp_path)
    assert code == 1
    assert "1 TFLOP/s  test" in shown
    assert "memory: full" in shown
