"""A whole run, from plan to records, with cells that do what cells do: work, lie, crash, hang."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import cache, codec, core_to_core, group, plan, prepare, run, schedule, spec, station, store
from harness.catalog import Catalog
from harness.errors import BackbenchError, StoreFailed
from harness.launch import Worker
from harness.model import CONTROL, Cell, Group
from harness.probes.panel import ALL
from harness.record import Plan, Record
from harness.schedule import Trace
from tests import making
from tests.runtimes.opening import conv_onnx


class Quiet:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.records: list[Record] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)

    def doing(self, what: str, cell: Cell) -> None:
        """Nothing."""

    def burst(self, cell: Cell, number: int, trace: Trace, cells: int) -> None:
        """Nothing."""

    def group(self, members: Group) -> None:
        """Nothing."""

    def done(self, record: Record) -> None:
        """Keep it."""
        self.records.append(record)


def _inspect(path: Path) -> dict[str, Any]:
    from harness import onnx_file

    found: dict[str, Any] = codec.encode(onnx_file.inspect(path))
    return found


def _no_catalog() -> Catalog:
    raise AssertionError("no timm name is in these plans")


def _plan(tmp_path: Path, runtimes: Sequence[Any], baseline: str = "ort_cpu", **rules: Any) -> Plan:
    model = making.identity_onnx(tmp_path / "identity.onnx")
    data = {
        "name": "faults", "backbones": [str(model)], "runtimes": runtimes, "threads": 1, "baseline": baseline,
        "rules": {"budget": 0.5, "min_rounds": 4, "burst": 0.01, "target": 0, "patience": 5, **rules},
    }  # fmt: skip
    return plan.resolve(spec.check(data), plan.Sources(_no_catalog, _inspect))


def _fake(**options: Any) -> dict[str, Any]:
    return {"name": "fake", "options": {"latency_ns": 1_000_000, **options}}


def _carry_out(tmp_path: Path, made: Plan, watcher: Quiet | None = None) -> dict[str, Record]:
    """Records by the `fault` (or pattern) of the cell, `base` for the baseline."""
    kept = store.Store.create(tmp_path / "run", run.new_run(made, ("backbench", "run")))
    campaign = run.Campaign(kept, cache.Cache(tmp_path / "cache"), 1, watcher or Quiet())
    records = run.carry_out(campaign)
    assert records == store.read_records(tmp_path / "run")
    return {_name(record): record for record in records}


def _name(record: Record) -> str:
    options = record.cell.options
    name = options.get("fault") or options.get("claims") or options.get("pattern") or "works"
    return "base" if record.is_baseline else str(name)


def test_a_quantiser_that_fails_costs_its_own_cell_alone(tmp_path: Path) -> None:
    """For real: a percentile that there is none of, which ONNX Runtime's quantiser finds when it has watched the images."""
    model = tmp_path / "conv.onnx"
    conv_onnx(model)
    data = {
        "backbones": [str(model)], "runtimes": ["ort_cpu", "openvino"], "precisions": ["fp32", "int8"], "threads": 1,
        "baseline": "ort_cpu", "calibration": {"images": 16},
        "exporters": {"onnx_int8": {"method": "percentile", "percentile": 250.0}},
        "rules": {"budget": 0.3, "min_rounds": 2, "burst": 0.01, "patience": 20},
    }  # fmt: skip
    made = plan.resolve(spec.check(data), plan.Sources(_no_catalog, _inspect))
    kept = store.Store.create(tmp_path / "run", run.new_run(made, ("backbench", "run")))
    records = {
        (record.cell.runtime, record.cell.precision): record
        for record in run.carry_out(run.Campaign(kept, cache.Cache(tmp_path / "cache"), 1, Quiet()))
    }
    failed = records["ort_cpu", "int8"]
    assert failed.outcome == "failed"
    assert "onnxruntime's quantiser failed" in failed.reason and "ercentile" in failed.reason
    assert {records[name, "fp32"].outcome for name in ("ort_cpu", "openvino")} == {"ok"}
    assert "quantiser failed" not in records["openvino", "int8"].reason


def test_every_kind_of_cell_becomes_a_record(tmp_path: Path) -> None:
    """One plan with a cell for every fault: each gets its outcome, and the sound ones are measured all the same."""
    faults = [
        _fake(fault="crash", fault_at=30), _fake(fault="exit", fault_at=30), _fake(fault="raise", fault_at=30),
        _fake(fault="wrong"), _fake(fault="nan"), _fake(fault="refuse"), _fake(fault="unsupported"),
        _fake(fault="chatty"), _fake(claims="bf16"), _fake(pattern="noisy"), "torch_eager",
    ]  # fmt: skip
    records = _carry_out(tmp_path, _plan(tmp_path, ["ort_cpu", _fake(), *faults]))
    outcomes = {name: record.outcome for name, record in records.items() if name != "works"}
    assert outcomes == {
        "base": "ok", "crash": "crashed", "exit": "crashed", "raise": "failed", "wrong": "wrong_output",
        "nan": "wrong_output",
        "refuse": "failed", "unsupported": "unsupported", "chatty": "ok", "bf16": "failed", "noisy": "ok",
    }  # fmt: skip
    assert "labelled fp32, but bf16 runs" in records["bf16"].reason
    assert "SIGKILL" in records["crash"].reason
    assert "relative L2 error" in records["wrong"].reason
    assert "NaN" in records["nan"].reason
    for record in records.values():
        assert bool(record.latency) == (record.outcome == "ok"), "a latency is published exactly where all went well"
        assert record.outcome == "ok" or record.reason


def test_a_cell_that_is_lost_at_the_start_holds_no_memory_while_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers: dict[str, Worker] = {}
    worker_for, measure = station.worker_for, schedule.measure
    alive: list[set[str]] = []

    def kept(cell: Cell, log: Path) -> Worker:
        name = str(cell.options.get("fault") or cell.options.get("claims") or cell.runtime)
        workers[name] = worker_for(cell, log)
        return workers[name]

    def seen(*arguments: Any) -> None:
        alive.append({name for name, worker in workers.items() if Path(f"/proc/{worker.pid}").exists()})
        measure(*arguments)

    monkeypatch.setattr(group, "worker_for", kept)
    monkeypatch.setattr(schedule, "measure", seen)
    lost = [_fake(fault="wrong"), _fake(fault="refuse"), _fake(claims="bf16")]
    records = _carry_out(tmp_path, _plan(tmp_path, ["ort_cpu", *lost, _fake()]))
    assert {name: record.outcome for name, record in records.items()} == {
        "base": "ok", "wrong": "wrong_output", "refuse": "failed", "bf16": "failed", "works": "ok",
    }  # fmt: skip
    assert alive == [{"ort_cpu", "fake"}]


def test_records_say_how_the_machine_was_and_what_loading_took(tmp_path: Path) -> None:
    records = _carry_out(tmp_path, _plan(tmp_path, ["ort_cpu", _fake(load_s=0.3, virtual=False)], burst=0.15))
    for record in records.values():
        assert {kind.name for kind in ALL} <= set(record.conditions)
        assert isinstance(record.conditions["cpu_time"], dict)
        memory, cold = record.memory, record.cold
        assert memory is not None and cold is not None
        assert memory.artifact_bytes > 0
        assert 0 < max(memory.rss_before_bytes, memory.rss_loaded_bytes) <= memory.rss_peak_bytes
    slow = records["works"].cold
    assert slow is not None and slow.load_s >= 0.3, "what a runtime does while it opens is load"
    read = [sample for sample in store.read_samples(tmp_path / "run") if sample.machine]
    assert {sample.key for sample in read} == {record.key for record in records.values()}


def test_the_machine_is_not_read_for_a_clock_it_has_no_part_in(tmp_path: Path) -> None:
    """A busy machine says nothing against scripted latencies."""
    (record,) = _carry_out(tmp_path, _plan(tmp_path, [_fake()], baseline="fake")).values()
    assert str(record.conditions["cpu_time"]).startswith("unavailable: not read: timed by a clock of its own")


def test_a_hanging_cell_is_timed_out_and_the_rest_is_measured(tmp_path: Path) -> None:
    records = _carry_out(tmp_path, _plan(tmp_path, ["ort_cpu", _fake(fault="hang", fault_at=40), _fake()], patience=3))
    assert records["hang"].outcome == "timed_out"
    assert records["works"].outcome == "ok"
    assert records["works"].latency["compute"].median_ns == 1_000_000


def test_an_unsupported_precision_is_refused_and_the_plan_goes_on(tmp_path: Path) -> None:
    made = _plan(tmp_path, [{"name": "ort_cpu", "precisions": ["fp32", "fp16"]}, _fake()])
    _carry_out(tmp_path, made)
    records = store.read_records(tmp_path / "run")
    assert {r.outcome for r in records} == {"ok", "unsupported"}
    refused = next(r for r in records if r.outcome == "unsupported")
    assert "does not execute fp16" in refused.reason
    assert "fp32" in refused.hint


def test_the_ratio_of_scripted_latencies_is_exact(tmp_path: Path) -> None:
    made = _plan(tmp_path, [_fake(latency_ns=2_000_000), _fake(latency_ns=500_000)], baseline="fake")
    _carry_out(tmp_path, made)
    other = next(r for r in store.read_records(tmp_path / "run") if not r.is_baseline)
    assert other.latency["compute"].median_ns == 500_000
    assert other.speedup["compute"].ratio.value == pytest.approx(4.0)


def test_the_control_is_a_second_baseline(tmp_path: Path) -> None:
    kept = store.Store.create(
        tmp_path / "run", run.new_run(_plan(tmp_path, ["ort_cpu"], control=True, min_rounds=10), ("x",))
    )
    records = run.carry_out(run.Campaign(kept, cache.Cache(tmp_path / "cache"), 1, Quiet()))
    control = next(r for r in records if r.cell.label == CONTROL)
    assert control.speedup["compute"].ratio.value == pytest.approx(1.0, rel=0.5)


def test_a_resumed_run_measures_only_what_is_missing(tmp_path: Path) -> None:
    made = _plan(tmp_path, ["ort_cpu", _fake()])
    _carry_out(tmp_path, made)
    again = store.Store.resume(tmp_path / "run", run.new_run(made, ("x",)))
    watcher = Quiet()
    records = run.carry_out(run.Campaign(again, cache.Cache(tmp_path / "cache"), 1, watcher))
    assert watcher.records == []
    assert len(records) == 2


def test_what_another_process_measured_meanwhile_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry that resumes the folder while the first run goes on waits for it, and then has nothing to do."""
    made = _plan(tmp_path, ["ort_cpu", _fake()])
    waiting = store.Store.create(tmp_path / "run", run.new_run(made, ("x",)))
    first = store.Store.resume(tmp_path / "run", run.new_run(made, ("x",)))
    alone = run.alone

    @contextmanager
    def after_the_first(folder: Path, note: Callable[[str], None]) -> Iterator[None]:
        monkeypatch.setattr(run, "alone", alone)
        run.carry_out(run.Campaign(first, cache.Cache(tmp_path / "cache"), 1, Quiet()))
        with alone(folder, note):
            yield

    monkeypatch.setattr(run, "alone", after_the_first)
    watcher = Quiet()
    records = run.carry_out(run.Campaign(waiting, cache.Cache(tmp_path / "cache"), 1, watcher))
    assert watcher.records == []
    assert len(records) == 2


def test_a_worker_may_be_silent_for_as_long_as_its_burst_lasts(tmp_path: Path) -> None:
    """Longer than the patience of the plan: it is told to."""
    records = _carry_out(tmp_path, _plan(tmp_path, [_fake(virtual=False)], baseline="fake", burst=4, patience=2))
    assert records["base"].outcome == "ok"


def test_a_second_run_exports_nothing(tmp_path: Path) -> None:
    made = _plan(tmp_path, ["ort_cpu", "openvino"])
    first, second = Quiet(), Quiet()
    _carry_out(tmp_path, made, first)
    (tmp_path / "run").rename(tmp_path / "first")
    _carry_out(tmp_path, made, second)
    assert any("openvino_ir" in note for note in first.notes)
    assert second.notes == []


def test_the_worker_of_a_deployed_runtime_is_free_of_torch(tmp_path: Path) -> None:
    """Its memory figure is the runtime's own."""
    made = _plan(tmp_path, ["ort_cpu", "openvino"])
    cells = {codec.key(cell): cell for g in made.groups for cell in g.cells}
    ready = prepare.prepare(cells, cache.Cache(tmp_path / "cache"), tmp_path, 1, lambda _: None).ready
    for key, cell in cells.items():
        with Worker(tmp_path / "w.log") as worker:
            mine = station.Station(cell, ready[key], worker, made.rules)
            assert "torch" not in mine.open(tmp_path).modules
            mine.verify()
            mine.warm()
            memory = mine.memory()
            assert not {"torch", "timm", "onnx", "pandas"} & set(memory["modules"])
            assert memory["rss_peak_bytes"] > 20_000_000


def test_a_worker_whose_burst_failed_holds_nothing_while_the_others_are_measured(tmp_path: Path) -> None:
    made = _plan(tmp_path, [_fake(fault="raise", fault_at=30)])
    cells = {codec.key(cell): cell for g in made.groups for cell in g.cells if cell.options}
    ready = prepare.prepare(cells, cache.Cache(tmp_path / "cache"), tmp_path, 1, lambda _: None).ready
    ((key, cell),) = cells.items()
    with Worker(tmp_path / "w.log") as worker:
        failing = station.Station(cell, ready[key], worker, made.rules)
        failing.open(tmp_path)
        with pytest.raises(BackbenchError):
            for _ in range(30):
                failing.burst(schedule.pace_of(made.rules))
        assert not psutil.pid_exists(worker.pid)


def test_processes_are_fresh_and_their_samples_told_apart(tmp_path: Path) -> None:
    _carry_out(tmp_path, _plan(tmp_path, ["ort_cpu", _fake()], processes=3))
    samples = list(store.read_samples(tmp_path / "run"))
    assert {s.process for s in samples} == {0, 1, 2}


def test_what_was_opened_first_is_opened_last_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    worker_for = station.worker_for

    def noted(cell: Cell, log: Path) -> Worker:
        opened.append(cell.runtime)
        return worker_for(cell, log)

    monkeypatch.setattr(group, "worker_for", noted)
    _carry_out(tmp_path, _plan(tmp_path, ["ort_cpu", _fake()], processes=3))
    assert opened == ["ort_cpu", "fake", "fake", "ort_cpu", "ort_cpu", "fake"]


def test_a_group_that_does_not_fit_in_memory_is_split_and_each_part_has_the_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness import machine

    monkeypatch.setattr(machine, "available_bytes", lambda: 0)
    made = _plan(tmp_path, [_fake(), _fake(latency_ns=500_000), _fake(latency_ns=250_000)], baseline="fake")
    _carry_out(tmp_path, made)
    records = store.read_records(tmp_path / "run")
    assert sorted(r.speedup["compute"].ratio.value for r in records if not r.is_baseline) == pytest.approx([2.0, 4.0])
    base = {s.process for s in store.read_samples(tmp_path / "run") if s.key == records[0].baseline}
    assert base == {0, 1}, "the baseline is measured with each part, and its samples are kept"


def test_statistics_can_be_computed_again_from_the_samples(tmp_path: Path) -> None:
    from harness import summary

    records = _carry_out(tmp_path, _plan(tmp_path, ["ort_cpu", _fake(pattern="noisy")]))
    trace = summary.trace_of(list(records.values()), list(store.read_samples(tmp_path / "run")))
    noisy = records["noisy"]
    assert summary.latencies(trace, noisy.key) == noisy.latency
    rules = store.read_run(tmp_path / "run").plan.rules
    assert summary.speedups(trace, noisy.baseline, noisy.key, rules) == noisy.speedup


def test_groups_are_judged_again_when_a_later_one_shows_that_the_processors_can_be_nearer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first run that begins with the processors apart takes that for their best."""
    monkeypatch.setattr(core_to_core, "learning", lambda file, cpus: nullcontext())
    monkeypatch.setattr(core_to_core.Meter, "read", lambda self: 450)
    monkeypatch.setattr(group, "_processors", lambda stations: [0, 1])
    before = _carry_out(tmp_path, _plan(tmp_path, ["ort_cpu", _fake(), _fake(fault="crash", fault_at=30)]))
    kept, notes = store.Store(tmp_path / "run", store.read_run(tmp_path / "run")), Quiet()
    known = tmp_path / core_to_core.FILE
    core_to_core.remember(known, [0, 1], 440)
    core_to_core.remember(known, [0, 2], 210)
    run._judge_again(kept, known, notes.note)
    assert kept.records() == store.read_records(tmp_path / "run")
    assert not notes.notes, "450 is as near as 440, and 210 is the way between others"

    core_to_core.remember(known, [0, 1], 210)
    run._judge_again(kept, known, notes.note)
    run._judge_again(kept, known, notes.note)
    assert len(notes.notes) == 1
    for after in kept.records():
        was = before[_name(after)]
        assert (after.outcome, after.latency, after.artifact) == (was.outcome, was.latency, was.artifact)
        if after.latency and not after.is_baseline:
            assert (was.speedup["compute"].mixed, after.speedup["compute"].mixed) == (False, True)
            assert "processors_apart" in {finding.check for finding in after.findings}
            assert after.trust != "trusted"


def test_what_is_near_on_some_processors_makes_others_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with `--cpus 0,1`, two threads of one core; the next run is over all cores, and waited in vain for 60 ns."""
    monkeypatch.setattr(core_to_core, "learning", lambda file, cpus: nullcontext())
    made = _plan(tmp_path, ["ort_cpu", _fake()])
    for cpus, ns in (([0, 1], 60), ([0, 1, 2, 3], 150)):
        monkeypatch.setattr(core_to_core.Meter, "read", lambda self, ns=ns: ns)
        monkeypatch.setattr(group, "_processors", lambda stations, cpus=cpus: cpus)
        works = _carry_out(tmp_path, made)["works"]
        (tmp_path / "run").rename(tmp_path / f"run-{ns}")
        said = works.conditions["core_to_core"]
        assert isinstance(said, dict)
        assert (said["best_ns"], said["far_share"], said["waited_s"]) == (ns, 0, 0)
        assert said["cpus"] == cpus
        assert not works.speedup["compute"].mixed


def test_the_best_reading_of_a_process_is_known_to_the_next_though_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meters: list[core_to_core.Meter] = []

    def read(self: core_to_core.Meter) -> int:
        if self not in meters:
            meters.append(self)
        return (210, 450)[meters.index(self)]

    monkeypatch.setattr(core_to_core, "learning", lambda file, cpus: nullcontext())
    monkeypatch.setattr(core_to_core, "remember", lambda file, cpus, best_ns: None)
    monkeypatch.setattr(core_to_core.Meter, "read", read)
    monkeypatch.setattr(group, "_processors", lambda stations: [0, 1])
    works = _carry_out(tmp_path, _plan(tmp_path, ["ort_cpu", _fake()], processes=2, wait=0))["works"]
    said = works.conditions["core_to_core"]
    assert isinstance(said, dict)
    assert said["best_ns"] == 210
    assert 0 < float(str(said["far_share"])) < 1


def test_a_corrupt_file_costs_only_its_own_cells(tmp_path: Path) -> None:
    """The file is damaged after the plan was made: its cells fail, with what to do."""
    made = _plan(tmp_path, ["ort_cpu", _fake()])
    (tmp_path / "identity.onnx").write_bytes(b"\x08\x07")
    records = list(_carry_out(tmp_path, made).values())
    assert {r.outcome for r in records} == {"failed"}
    assert all("not an ONNX model" in r.reason and r.hint for r in records)


def test_a_results_folder_that_vanishes_is_reported(tmp_path: Path) -> None:
    made = _plan(tmp_path, [_fake()])
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreFailed, match="cannot write the results folder"):
        store.Store.create(blocked / "run", run.new_run(made, ("x",)))


def test_two_runs_do_not_measure_at_once(tmp_path: Path) -> None:
    from filelock import FileLock

    notes: list[str] = []
    lock = FileLock(tmp_path / "measuring.lock")
    lock.acquire()

    def note(text: str) -> None:
        notes.append(text)
        lock.release()

    with run.alone(tmp_path, note):
        pass
    assert "waiting" in notes[0]


def test_run_json_tells_the_machine_and_the_overhead(tmp_path: Path) -> None:
    _carry_out(tmp_path, _plan(tmp_path, [_fake()]))
    data = json.loads((tmp_path / "run" / store.RUN).read_text())
    assert data["machine"]["cpus_usable"] >= 1
    assert data["overhead_ns"] > 0
    assert data["finished"]
