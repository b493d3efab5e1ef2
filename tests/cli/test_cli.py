"""The command line as a person meets it: every test starts `python -m harness` and reads what it prints and leaves."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from harness import codec, onnx_file, plan, registry, results, spec, store
from harness.catalog import Catalog
from harness.cli import list_command
from harness.cli.reach import Reached
from harness.cli.run_command import show_plan
from harness.errors import UnknownName
from harness.model import Backbone, Cell, Device, Group
from tests import making
from tests.cli.desk import DEADLINE_S, RUNTIMES, SHORT, Desk, Said, comes_true, end_of, laid


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all, so that timm's catalog is made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def desk(tmp_path: Path, shared_cache: Path) -> Desk:
    """A fresh folder with a model, and the shared cache."""
    return laid(tmp_path, shared_cache)


@pytest.fixture
def own_desk(tmp_path: Path) -> Iterator[Desk]:
    """A fresh folder with a model, and a cache of its own, by which its workers are known."""
    (tmp_path / "desk").mkdir()
    made = laid(tmp_path / "desk", tmp_path / "own-cache")
    yield made
    for worker in made.workers():
        worker.kill()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> tuple[Desk, Said]:
    """A run that went well, in the folder `done`."""
    made = laid(tmp_path_factory.mktemp("measured"), shared_cache)
    return made, made.measures("--out", "done")


# ── a run that goes well ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_of_a_file_prints_the_paths_of_its_results_last(measured: tuple[Desk, Said]) -> None:
    _, said = measured
    assert said.code == 0, said.err
    assert said.out.splitlines()[-2:] == ["results: done", "report:  done/report.md"]
    assert "ort_cpu" in said.out
    assert "fake" in said.out
    assert "Traceback" not in said.err


def test_a_run_leaves_its_head_records_samples_and_report(measured: tuple[Desk, Said]) -> None:
    desk, _ = measured
    folder = desk.folder / "done"
    assert {"run.json", "records.jsonl", "samples.jsonl", "report.md", "logs"} <= {p.name for p in folder.iterdir()}
    assert store.read_run(folder).finished
    records = store.read_records(folder)
    assert {(r.cell.runtime, r.outcome) for r in records} == {("ort_cpu", "ok"), ("fake", "ok")}
    assert {s.key for s in store.read_samples(folder)} == {r.key for r in records}
    assert "fake" in (folder / "report.md").read_text()


def test_the_matrix_is_printed_and_nothing_started(desk: Desk) -> None:
    said = desk.measures("--dry-run", "--batch", "1", "--batch", "2", "--precision", "fp32", "--precision", "fp16")
    assert said.code == 0, said.err
    assert "4 cells in 2 groups" not in said.out, "fake runs fp16 too"
    assert "6 cells in 2 groups" in said.words
    assert said.out.count("baseline") == 2
    assert "unsupported: ort_cpu does not execute fp16" in said.words
    assert desk.written() == {"model.onnx"}


@pytest.mark.parametrize("fault", ["crash", "unsupported"])
def test_a_planned_cell_that_is_not_measured_is_the_exit_code(desk: Desk, fault: str) -> None:
    said = desk.measures("-o", f"fake.fault={fault}", "--out", "r")
    assert said.code == 1, said.err
    assert said.out.splitlines()[-1] == "report:  r/report.md", "the rest is reported as ever"
    assert {r.cell.runtime: r.outcome == "ok" for r in store.read_records(desk.folder / "r")} == {
        "ort_cpu": True, "fake": False,
    }  # fmt: skip
    assert "does not count" in " ".join(desk.runs("run", "--help").out.split())


def test_what_is_refused_in_advance_is_not(desk: Desk) -> None:
    said = desk.runs("run", "-m", "model.onnx", "-r", "ort_cpu", *SHORT, "--precision", "fp32", "--precision", "fp16")
    assert said.code == 0, said.err
    assert "unsupported: ort_cpu does not execute fp16" in said.words


def test_a_long_name_folds_in_the_matrix_of_a_narrow_screen() -> None:
    name = "vit_base_patch14_reg4_dinov2_and_more.lvd142m"
    cell = Cell(Backbone(name), "openvino", options={"hint": "THROUGHPUT", "streams": 4})
    made = replace(making.plan(), groups=(Group("g", (cell,), codec.key(cell)),))
    screen = Console(file=io.StringIO(), width=80)
    show_plan(screen, made)
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "".join(
        line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2:3].strip()
    ).startswith(f"backbone{name}")
    assert "baseline" in shown and "…" not in shown


# ── what a person mistypes ────────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_model_gets_the_nearest_names(desk: Desk) -> None:
    said = desk.runs("run", "-m", "resnet51", "--dry-run")
    assert said.code == 2
    assert "did you mean" in said.err
    assert "'resnet50'" in said.err


def test_an_unknown_runtime_gets_the_nearest_name(desk: Desk) -> None:
    said = desk.runs("run", "-m", "model.onnx", "-r", "openvin")
    assert said.code == 2
    assert "unknown runtime 'openvin'" in said.err
    assert "did you mean 'openvino'" in said.err
    assert desk.written() == {"model.onnx"}


def test_an_unknown_option_of_a_runtime_gets_the_nearest_name(desk: Desk) -> None:
    said = desk.runs("run", "-m", "model.onnx", "-r", "fake", "-o", "fake.latency=3")
    assert said.code == 2
    assert "fake has no option 'latency'" in said.err
    assert "latency_ns" in said.err


def test_an_option_of_a_runtime_that_is_not_measured_is_refused(desk: Desk) -> None:
    said = desk.runs("run", "-m", "model.onnx", "-r", "fake", "-o", "ort_cpu.arena=false")
    assert said.code == 2
    assert "add -r ort_cpu" in said.err


def test_an_option_of_a_runtime_that_is_measured_without_being_asked_for_is_taken(desk: Desk) -> None:
    said = desk.runs("run", "-m", "model.onnx", "-o", "ort_cpu.arena=false", "--dry-run")
    assert said.code == 0, said.err
    assert "ort_cpu fp32 b1 arena=False" in said.out
    assert len([line for line in said.out.splitlines() if "fp32 b1" in line]) >= 2, "and the others with it"


@pytest.mark.parametrize(
    ("name", "near"),
    [("onnx_dynamoo", "'onnx_dynamo'"), ("ort_cpuu", "'ort_cpu'"), ("zzz", "backbench list exporters")],
)
def test_an_option_of_nothing_that_there_is_gets_the_nearest_name(desk: Desk, name: str, near: str) -> None:
    said = desk.runs("run", "-m", "model.onnx", "-o", f"{name}.opset=18", "--dry-run")
    assert said.code == 2
    assert f"{name!r}, which is neither a runtime nor an exporter" in said.err
    assert near in said.err and "add -r" not in said.err


def test_an_unknown_plan_gets_the_nearest_name(desk: Desk) -> None:
    said = desk.runs("run", "quickstat")
    assert said.code == 2
    assert "there is no plan file 'quickstat'" in said.err
    assert "did you mean 'quickstart'?" in said.err


def test_an_unknown_command_gets_the_nearest_name(desk: Desk) -> None:
    said = desk.runs("reprot")
    assert said.code == 2
    assert "Did you mean 'report'?" in said.err


def test_a_model_file_that_is_not_there_is_named(desk: Desk) -> None:
    said = desk.runs("run", "-m", "modle.onnx", "-r", "fake")
    assert said.code in (1, 2)
    assert "modle.onnx" in said.err
    assert "Traceback" not in said.err


def test_nothing_to_measure_says_what_to_type(desk: Desk) -> None:
    said = desk.runs("run")
    assert said.code == 2
    assert "backbench run quickstart" in said.err


def test_every_mistake_of_a_plan_is_reported_with_its_line(desk: Desk) -> None:
    text = "backbones: [model.onnx]\nbatches: [0]\nprecisions:\n  - fp32\n  - fp33\nrules:\n  budjet: 3s\nthreds: 2\n"
    (desk.folder / "plan.yaml").write_text(text)
    said = desk.runs("run", "plan.yaml")
    assert said.code == 2
    assert "plan.yaml has 4 mistakes" in said.err
    for line, what in ((2, "batches"), (5, "precisions"), (7, "rules.budjet"), (8, "threds")):
        assert re.search(rf"plan\.yaml:{line}: {what}", said.err), said.err
    assert "did you mean 'budget'?" in said.err
    assert "did you mean 'threads'?" in said.err


def test_mistakes_beside_options_on_the_command_line_are_reported_too(desk: Desk) -> None:
    for runtimes, place in (
        ("[fake, 7]", "runtimes.1"),
        ("5", "runtimes"),
        ("[{name: fake, options: 3}]", "runtimes.0.options"),
    ):
        (desk.folder / "plan.yaml").write_text(f"backbones: [model.onnx]\nruntimes: {runtimes}\nrules: 3\n")
        said = desk.runs("run", "plan.yaml", "-o", "fake.latency_ns=5")
        assert said.code == 2, said.err
        assert f"plan.yaml:2: {place}" in said.err
        assert "plan.yaml:3: rules" in said.err


def test_several_unknown_names_are_reported_at_once(desk: Desk) -> None:
    said = desk.runs("run", "-m", "resnet51", "-r", "openvin", "-r", "fakee")
    assert said.code == 2
    assert "the plan has 3 mistakes" in said.err
    assert all(name in said.err for name in ("resnet51", "openvin", "fakee"))


def test_a_plan_of_refused_cells_only_says_why(desk: Desk) -> None:
    words = ("run", "-m", "model.onnx", "-r", "ort_cpu", "--precision", "fp16", "--baseline", "torch_eager")
    for said in (desk.runs(*words), desk.runs(*words, "--dry-run")):
        assert said.code == 2
        assert "nothing of this plan can be measured here" in said.err
        assert "ort_cpu does not execute fp16" in said.err
    assert desk.written() == {"model.onnx"}


def test_a_dry_run_gives_the_reason_of_refused_cells_once_for_all_backbones(desk: Desk) -> None:
    for name in ("a.onnx", "b.onnx"):
        shutil.copy(desk.folder / "model.onnx", desk.folder / name)
    precisions = ("--precision", "fp32", "--precision", "fp16")
    said = desk.runs("run", "-m", "a.onnx", "-m", "b.onnx", "-r", "ort_cpu", *precisions, "--dry-run")
    assert said.code == 0, said.err
    assert "a, b ort_cpu fp16 b1: unsupported: ort_cpu does not execute fp16" in said.words
    assert said.words.count("unsupported") == 1


def test_a_runtime_that_is_not_installed_is_recorded_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(needs: dict[str, str]) -> tuple[str, ...]:
        return tuple(requirement for module, requirement in needs.items() if module == "openvino")

    def inspect(path: Path) -> dict[str, Any]:
        return dict(codec.encode(onnx_file.inspect(path)))

    def no_catalog() -> Catalog:
        raise AssertionError("no timm name is in this plan")

    monkeypatch.setattr(registry, "missing", missing)
    model = making.identity_onnx(tmp_path / "model.onnx")
    checked = spec.check({"backbones": [str(model)], "runtimes": ["ort_cpu", "openvino"], "threads": 1})
    made = plan.resolve(checked, plan.Sources(no_catalog, inspect))
    [refused] = made.refused
    assert (refused.cell.runtime, refused.outcome) == ("openvino", "unsupported")
    assert "not installed" in refused.reason
    assert refused.hint.startswith("pip install")
    assert "openvino" in refused.hint
    assert [cell.runtime for group in made.groups for cell in group.cells] == ["ort_cpu"]


# ── large plans ask ───────────────────────────────────────────────────────────────────────────────────────────────

_MANY = tuple(word for batch in range(1, 61) for word in ("--batch", str(batch)))


def test_a_plan_of_over_100_cells_asks_and_no_leaves_nothing(desk: Desk) -> None:
    said = desk.runs("run", "-m", "model.onnx", *RUNTIMES, *SHORT, *_MANY, answer="n\n")
    assert said.code not in (0, 2)
    assert "Measure 120 cells?" in said.err
    assert "120 cells in 60 groups" in said.err
    assert desk.written() == {"model.onnx"}


def test_a_plan_of_over_100_cells_does_not_ask_after_yes(own_desk: Desk) -> None:
    process = own_desk.starts("run", "-m", "model.onnx", *RUNTIMES, *SHORT, *_MANY, "--yes", "--out", "r")
    head = own_desk.folder / "r" / "run.json"
    try:
        assert comes_true(lambda: head.exists() and own_desk.workers()), "it begins without an answer"
    finally:
        process.send_signal(signal.SIGINT)
        said = end_of(process)
    assert "Measure 120 cells?" not in said.err
    # CPython ends by the signal itself where it came while a library was imported; a shell calls both 130.
    assert said.code in (130, -signal.SIGINT), said.err
    assert "Traceback" not in said.err
    assert comes_true(lambda: not own_desk.workers(), 10), "no worker outlives the run"


# ── interrupted and resumed ───────────────────────────────────────────────────────────────────────────────────────

_TWO_GROUPS = ("--batch", "1", "--batch", "2", "--budget", "1s")


def _begins_the_second_group(desk: Desk, *words: str) -> tuple[subprocess.Popen[str], Path]:
    """A run with one group measured, and the workers of the second open."""
    process = desk.starts("run", "-m", "model.onnx", *RUNTIMES, *SHORT, *_TWO_GROUPS, *words)

    def in_the_second() -> bool:
        folders = [path.parent for path in desk.folder.rglob("run.json")]
        return bool(folders and store.read_records(folders[0]) and len(desk.workers()) >= 2)

    assert comes_true(in_the_second), process.poll()
    time.sleep(1.0)  # into the second group's bursts; wherever it is, nothing below depends on it
    [head] = desk.folder.rglob("run.json")
    assert process.poll() is None
    assert not store.read_run(head.parent).finished
    return process, head.parent


def _samples_by_key(folder: Path) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for sample in store.read_samples(folder):
        lines.setdefault(sample.key, []).append(codec.dumps(sample))
    return lines


def _is_finished_from(folder: Path, before: dict[str, list[str]]) -> None:
    records = store.read_records(folder)
    assert store.read_run(folder).finished
    assert len(records) == len({record.key for record in records}) == 4
    assert {record.outcome for record in records} == {"ok"}
    after = _samples_by_key(folder)
    assert {key: after[key] for key in before} == before, "what was measured is not measured again"


def test_ctrl_c_keeps_what_is_finished_and_the_printed_command_does_the_rest(own_desk: Desk) -> None:
    process, folder = _begins_the_second_group(own_desk)
    process.send_signal(signal.SIGINT)
    said = end_of(process)
    assert said.code == 130
    assert "Traceback" not in said.err
    assert comes_true(lambda: not own_desk.workers(), 10), "no worker outlives the run"
    kept = store.read_records(folder)
    assert f"{len(kept)} finished cells are kept" in said.err
    before = _samples_by_key(folder)

    printed = next(line.strip() for line in said.err.splitlines() if line.strip().startswith("backbench run"))
    assert printed.endswith("--resume")
    again = own_desk.runs(*shlex.split(printed)[1:])
    assert again.code == 0, again.err
    assert again.err.count(": measuring ") == 1
    _is_finished_from(folder, {record.key: before[record.key] for record in kept})


def test_a_killed_run_is_finished_by_resume(own_desk: Desk) -> None:
    process, folder = _begins_the_second_group(own_desk, "--out", "killed")
    kept = {record.key for record in store.read_records(folder)}
    process.kill()
    end_of(process)
    assert comes_true(lambda: not own_desk.workers(), 30), "workers end when their parent has gone"
    before = {key: lines for key, lines in _samples_by_key(folder).items() if key in kept}
    with (folder / "records.jsonl").open("a") as file:
        file.write('{"torn')
    again = own_desk.measures(*_TWO_GROUPS, "--out", "killed", "--resume")
    assert again.code == 0, again.err
    _is_finished_from(folder, before)


def test_resume_without_a_folder_and_without_an_unfinished_run_is_refused(desk: Desk) -> None:
    said = desk.measures("--resume")
    assert said.code == 2
    assert "no unfinished run of this plan" in said.err


# ── results folders that cannot be used ───────────────────────────────────────────────────────────────────────────


def test_a_folder_that_holds_a_run_is_not_overwritten(measured: tuple[Desk, Said]) -> None:
    desk, _ = measured
    before = (desk.folder / "done" / "records.jsonl").read_bytes()
    said = desk.measures("--out", "done")
    assert said.code == 2
    assert "holds a run already" in said.err
    assert (desk.folder / "done" / "records.jsonl").read_bytes() == before


def test_a_run_of_another_plan_is_not_resumed(measured: tuple[Desk, Said]) -> None:
    desk, _ = measured
    said = desk.measures("--batch", "7", "--out", "done", "--resume")
    assert said.code == 2
    assert "holds a run of another plan" in said.err


def test_a_results_folder_that_cannot_be_written_ends_the_run_at_once(desk: Desk) -> None:
    """A file stands where its parent should be: that stops root, too."""
    (desk.folder / "blocked").write_text("")
    said = desk.measures("--out", "blocked/run")
    assert said.code == 1
    assert "cannot write the results folder blocked/run" in said.err
    assert "--out" in said.err
    assert "Traceback" not in said.err


def test_two_runs_at_once_share_a_cache_and_both_finish(desk: Desk) -> None:
    words = ("run", "-m", "model.onnx", *RUNTIMES, *SHORT, "--out")
    both = [desk.starts(*words, name) for name in ("one", "two")]
    for process, name in zip(both, ("one", "two"), strict=True):
        said = end_of(process)
        assert said.code == 0, said.err
        assert {record.outcome for record in store.read_records(desk.folder / name)} == {"ok"}


# ── report ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_a_report_for_people_names_every_cell(measured: tuple[Desk, Said], form: str) -> None:
    desk, _ = measured
    said = desk.runs("report", "done", "--format", form)
    assert said.code == 0, said.err
    assert "ort_cpu" in said.out
    assert "fake" in said.out


def test_the_csv_report_has_the_documented_columns(measured: tuple[Desk, Said]) -> None:
    desk, _ = measured
    said = desk.runs("report", "done", "--format", "csv")
    assert said.code == 0, said.err
    table = pd.read_csv(io.StringIO(said.out))
    assert list(table.columns) == list(results.COLUMNS)
    assert set(table["runtime"]) == {"ort_cpu", "fake"}
    assert table.set_index("runtime").loc["fake", "latency_ms"] == 1.0


def test_the_json_report_parses(measured: tuple[Desk, Said]) -> None:
    desk, _ = measured
    said = desk.runs("report", "done", "--format", "json")
    assert said.code == 0, said.err
    assert json.loads(said.out)


def test_a_report_is_written_to_a_file(measured: tuple[Desk, Said], tmp_path: Path) -> None:
    desk, _ = measured
    said = desk.runs("report", "done", "--format", "csv", "-o", str(tmp_path / "report.csv"))
    assert (said.code, said.out) == (0, "")
    assert len(pd.read_csv(tmp_path / "report.csv")) == 2


def test_a_report_of_a_folder_without_a_run_says_so(desk: Desk) -> None:
    said = desk.runs("report", ".")
    assert said.code == 1
    assert "holds no run" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("head", ["{}", "{", "[1]", '{"schema": 99}'])
def test_a_report_of_a_damaged_head_says_so(desk: Desk, head: str) -> None:
    (desk.folder / "run.json").write_text(head)
    said = desk.runs("report", ".")
    assert said.code == 1
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err


# ── list and doctor ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["runtimes", "exporters"])
def test_every_plugin_is_listed(desk: Desk, kind: str) -> None:
    names = set(registry.found("runtimes" if kind == "runtimes" else "exporters"))
    said = desk.runs("list", kind)
    assert said.code == 0, said.err
    assert names <= {line.split()[0] for line in said.out.splitlines()}
    rows = json.loads(desk.runs("list", kind, "--json").out)
    assert {row["name"] for row in rows} == names
    assert all(row["state"] for row in rows)


@pytest.mark.parametrize(
    ("kind", "pattern", "near"),
    [("runtimes", "ort_cpuu", "'ort_cpu'"), ("exporters", "onnx_dynam", "'onnx_dynamo'"),
     ("precisions", "openvin", "'openvino'"), ("runtimes", "zzz*", "there are: "), ("models", "test_vitt", "'test_vit'")],
)  # fmt: skip
def test_a_pattern_that_matches_nothing_gets_the_nearest_names(desk: Desk, kind: str, pattern: str, near: str) -> None:
    for words in ((), ("--json",)):
        said = desk.runs("list", kind, pattern, *words)
        assert (said.code, said.out) == (2, "")
        assert near in said.err


def test_a_device_that_is_not_here_is_told_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.cli.reach.reach", lambda _: iter((Reached("fake", (Device("cpu"),)),)))
    with pytest.raises(UnknownName, match="no device matches 'cuda:0'") as caught:
        list_command._devices("cuda:0")
    assert caught.value.hint == "there are: cpu"
    assert [row.name for row in list_command._devices("c*")] == ["cpu"]


def test_models_are_listed_by_pattern(desk: Desk) -> None:
    said = desk.runs("list", "models", "test_vit*")
    assert said.code == 0, said.err
    names = [line.split()[0] for line in said.out.splitlines()]
    assert "test_vit" in names
    assert all(name.startswith("test_vit") for name in names)
    assert [row["model"] for row in json.loads(desk.runs("list", "models", "test_vit*", "--json").out)] == names


def test_devices_are_listed_with_the_runtimes_that_reach_them(desk: Desk) -> None:
    said = desk.runs("list", "devices", "--json")
    assert said.code == 0, said.err
    rows = {row["name"]: row for row in json.loads(said.out)}
    assert {"fake", "ort_cpu"} <= set(rows["cpu"]["reached_by"])


def test_the_doctor_names_every_runtime(desk: Desk) -> None:
    said = desk.runs("doctor")
    assert said.code == 0, said.out
    findings = said.out.partition("Runtimes")[2]
    assert all(f"{name}: " in findings for name in registry.found("runtimes"))


_UNWRITABLE = "set BACKBENCH_CACHE to a folder that can be written"


@pytest.mark.parametrize(
    "words",
    ["run -m test_resnet --dry-run", "run -m model.onnx --dry-run", "list models", "list devices", "ceilings",
     "cost -m model.onnx"],
)  # fmt: skip
def test_a_cache_that_cannot_be_written_is_named(desk: Desk, words: str) -> None:
    """A file stands where its parent should be: that stops root, too."""
    (desk.folder / "blocked").write_text("")
    said = Desk(desk.folder, desk.folder / "blocked" / "cache").runs(*words.split())
    assert said.code == 1
    assert said.err.startswith("error: cannot write") or said.err.startswith("error: the cache in")
    assert str(desk.folder / "blocked") in said.err and _UNWRITABLE in said.err
    assert "Traceback" not in said.err


def test_the_doctor_goes_on_where_the_cache_cannot_be_written(desk: Desk) -> None:
    (desk.folder / "blocked").write_text("")
    said = Desk(desk.folder, desk.folder / "blocked" / "cache").runs("doctor")
    assert said.code == 1
    assert "no runtime could be tried: the cache in" in said.out
    assert said.out.count(_UNWRITABLE) == 2, "of the machine, and where the runtimes would stand"
    assert "Traceback" not in said.err


def test_the_shell_gets_a_completion_script() -> None:
    script = Path(sys.executable).with_name("backbench")
    if not script.exists():
        pytest.skip("the console script is not installed")
    environment = {**os.environ, "_BACKBENCH_COMPLETE": "bash_source"}
    said = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert said.returncode == 0, said.stderr
    assert "_BACKBENCH_COMPLETE=bash_complete" in said.stdout
