"""`validate` and `recommend` as a person or a CI system calls them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
from click.testing import CliRunner, Result

from harness import cache, store
from harness.cli.recommend_command import command as recommend
from harness.cli.validate_command import command as validate
from tests import making

RUN = "results/quickstart"
MEASURED = """\
name: tiny
defaults: {runtime: fake, threads: 1}
targets:
  - backbone: model.onnx
    options: {latency_ns: 1000000}
    limits: {latency: {median: %s}, memory: 4GB, load: 20s}
rules: {budget: 300ms, patience: 20s, min_rounds: 4, burst: 10ms}
"""


def _call(command: click.Command, *words: str) -> Result:
    return CliRunner().invoke(command, list(words), env={"COLUMNS": "160"})


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, with a tiny model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BACKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.probes.panel.ALL", ())  # what else runs beside the tests is not what they are about
    making.identity_onnx(tmp_path / "model.onnx")
    assert cache.root() == tmp_path / "cache"
    yield tmp_path


def _targets(folder: Path, limits: str, backbone: str = "resnet50") -> str:
    file = folder / "t.yaml"
    file.write_text(f"targets: [{{backbone: {backbone}, runtime: ort_cpu, limits: {limits}}}]\n")
    return str(file)


@pytest.mark.parametrize(
    ("limits", "code", "result"),
    [
        ("{latency: 60ms}", 0, "PASS"),
        ("{latency: 60ms, memory: 1MB}", 1, "FAIL"),
        ("{latency: {median: 60ms, p99: 80ms}}", 2, "INCONCLUSIVE"),
        ("{memory: 1MB, energy: 1J}", 1, "FAIL"),
    ],
)
def test_the_exit_code_is_the_verdict(tmp_path: Path, limits: str, code: int, result: str) -> None:
    said = _call(validate, _targets(tmp_path, limits), RUN)
    assert (said.exit_code, said.output.count(f"{result}: ")) == (code, 1), said.output


def test_every_form_comes_from_the_run_of_the_repository(tmp_path: Path) -> None:
    file = tmp_path / "out"
    for form in ("junit", "markdown", "json", "github", "text"):
        assert _call(validate, "docs/targets.yaml", RUN, "--format", form, "-o", str(file)).exit_code == 0
        made = file.read_text()
        assert made.count("PASS") >= 11 or form == "junit"
        if form == "junit":
            assert ElementTree.fromstring(made).get("tests") == "11"
    assert json.loads(_call(validate, "docs/targets.yaml", RUN, "--json").output)["result"] == "PASS"


def test_the_name_of_the_file_says_the_form_and_a_form_that_is_asked_for_wins(tmp_path: Path) -> None:
    begins = {"a.json": "{", "a.MD": "#", "a.xml": "<?xml", "a.txt": "camera", "a": "camera"}
    for name, begin in begins.items():
        assert _call(validate, "docs/targets.yaml", RUN, "-o", str(tmp_path / name)).exit_code == 0
        assert (tmp_path / name).read_text().startswith(begin), name
    assert _call(validate, "docs/targets.yaml", RUN, "--format", "text", "-o", str(tmp_path / "b.json")).exit_code == 0
    assert (tmp_path / "b.json").read_text().startswith("camera")
    assert _call(recommend, RUN, "-o", str(tmp_path / "r.json")).exit_code == 0
    assert json.loads((tmp_path / "r.json").read_text())["pick"]
    for command, words, known in (
        (validate, ("docs/targets.yaml", RUN), ".txt, .md, .markdown, .json, .xml"),
        (recommend, (RUN,), ".txt, .md, .markdown, .json"),
    ):  # fmt: skip
        said = _call(command, *words, "-o", str(tmp_path / "x.html"))
        assert (said.exit_code, f"Take one of {known}, or" in said.output) == (64, True), said.output
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.yaml", RUN), "cannot be read"),
        (("docs/targets.yaml", "nowhere"), "holds no run"),
        (("docs/targets.yaml", RUN, "--format", "pdf"), "'pdf' is not one of"),
        (("docs/targets.yaml", RUN, "--budget", "3s", "--dry-run"), "nothing is measured where a RUN is given"),
        ((), "Missing argument"),
        (("docs/targets.yaml", RUN, "--json", "-o", "/proc/nowhere/x"), "cannot be written"),
    ],
)
def test_what_is_no_verdict_exits_with_64(words: Sequence[str], said: str) -> None:
    """0, 1 and 2 are verdicts."""
    done = _call(validate, *words)
    assert (done.exit_code, said in done.output) == (64, True), done.output


def test_a_damaged_folder_is_no_fault_of_backbench(tmp_path: Path) -> None:
    shutil.copytree(RUN, tmp_path / "run")
    (tmp_path / "run" / store.RECORDS).write_bytes(b"\xff\n")
    for command, words in ((validate, ("docs/targets.yaml",)), (recommend, ())):
        said = _call(command, *words, str(tmp_path / "run"))
        assert (said.exit_code, "records.jsonl:1: not UTF-8" in said.output) == (64, True), said.output


def test_a_fault_of_backbench_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.deciding import targets_file

    def broken(source: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(targets_file, "read", broken)
    assert _call(validate, "docs/targets.yaml", RUN).exit_code == 70


def test_targets_are_measured_on_the_spot(desk: Path) -> None:
    """Exactly the named cell; its record is kept, and the same folder can be judged again."""
    (desk / "t.yaml").write_text(MEASURED % "2ms")
    said = _call(validate, "t.yaml", "--out", "run", "--processes", "2")
    assert said.exit_code == 0, said.output
    records = store.read_records(desk / "run")
    assert [(r.cell.runtime, len(r.colds)) for r in records] == [("fake", 2)]
    assert records[0].artifact is not None
    assert records[0].artifact.params == 0, "an identity has no weights"
    again = _call(validate, "t.yaml", "run")
    assert again.exit_code == 0
    (desk / "t.yaml").write_text(MEASURED % "500us")
    assert _call(validate, "t.yaml", "run").exit_code == 1
    refused = _call(validate, "t.yaml", "--out", "run")
    assert (refused.exit_code, "holds a run already" in refused.output) == (64, True)


def test_a_dry_run_shows_the_cells(desk: Path) -> None:
    (desk / "t.yaml").write_text(MEASURED % "2ms")
    said = _call(validate, "t.yaml", "--dry-run")
    assert (said.exit_code, "fake fp32 b1" in said.output) == (0, True)
    assert not (desk / "results").exists()


def test_an_older_run_without_raw_samples_is_inconclusive(tmp_path: Path) -> None:
    shutil.copytree(RUN, tmp_path / "run")
    (tmp_path / "run" / store.SAMPLES).unlink()
    file = tmp_path / "run" / store.RECORDS
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for latency in (latency for record in records for latency in record["latency"].values()):
        latency["intervals_ns"] = {}  # as records of before they were kept
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    said = _call(validate, _targets(tmp_path, "{latency: 60ms}"), str(tmp_path / "run"))
    assert (said.exit_code, "keeps no raw samples" in said.output) == (2, True)


# ── recommend ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "said"),
    [(("-r", "ort_cp"), "did you mean 'ort_cpu'"), (("--device", "cuda0"), "unknown device 'cuda0'")],
)
def test_a_mistyped_runtime_or_device_is_no_answer(words: tuple[str, ...], said: str) -> None:
    done = _call(recommend, RUN, *words)
    assert done.exit_code == 64
    assert said in done.output
    assert _call(recommend, RUN, "-r", "tensorrt").exit_code == 1, "which there is, and nothing was measured with"


def test_a_constraint_that_could_not_be_applied_is_kept_by_none() -> None:
    said = _call(recommend, RUN, "--min-accuracy", "76%").output
    assert "12 of 12 cells keep the constraints that could be applied" in said


def test_a_recommendation_from_the_run_of_the_repository() -> None:
    said = _call(
        recommend, RUN, "--max-latency", "10ms", "--percentile", "p90", "--max-memory", "160MB", "--explain", "vit*"
    )
    assert said.exit_code == 0, said.output
    assert "First choice: mobilenetv3_large_100 ort_cpu fp32 b1 (accuracy unknown)" in said.output
    assert "vit_tiny_patch16_224 ort_cpu fp32 b1: left out by latency p90 ≤ 10 ms" in said.output
    data = json.loads(_call(recommend, RUN, "--max-params", "5M", "--json").output)
    assert data["pick"] is None
    assert all(c["figures"]["params"]["value"] > 5e6 for c in data["candidates"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((RUN,), 0), ((RUN, "--max-latency", "1ms"), 1), ((RUN, "--min-accuracy", "70%"), 2),
        ((RUN, "--max-latency", "20ms", "--percentile", "p99.9"), 2),
        ((), 64), ((RUN, "--models", "first-choice"), 64), (("nowhere",), 64), ((RUN, "--explain", "resnt50"), 64),
        ((RUN, "--batch", "8"), 64), ((RUN, "--max-latency", "soon"), 64),
        ((RUN, "--max-latency", "10"), 64), ((RUN, "--max-memory", "200"), 64), ((RUN, "--max-size", "50"), 64),
        ((RUN, "--budget", "3s"), 64),
    ],
)  # fmt: skip
def test_the_exit_code_says_whether_there_is_an_answer(words: Sequence[str], code: int) -> None:
    said = _call(recommend, *words)
    assert said.exit_code == code, said.output


def test_runs_of_different_machines_are_refused(tmp_path: Path) -> None:
    shutil.copytree(RUN, tmp_path / "other")
    head = tmp_path / "other" / store.RUN
    head.write_text(head.read_text().replace("AMD EPYC", "Jetson Orin"))
    said = _call(recommend, RUN, str(tmp_path / "other"))
    assert (said.exit_code, "different machines" in said.output) == (64, True)


def test_an_unfinished_run_is_told(tmp_path: Path) -> None:
    shutil.copytree(RUN, tmp_path / "run")
    head = tmp_path / "run" / store.RUN
    data = json.loads(head.read_text())
    head.write_text(json.dumps(data | {"finished": ""}))
    assert "is unfinished" in _call(recommend, str(tmp_path / "run")).output
    assert "is unfinished" not in _call(recommend, RUN).output


def test_models_are_planned_measured_and_answered_in_one_go(desk: Path) -> None:
    (desk / "plan.yaml").write_text(
        "backbones: [model.onnx]\nthreads: 1\nbaseline: ort_cpu\n"
        "runtimes: [ort_cpu, {name: fake, options: {latency_ns: 500000000}}]\n"
        "rules: {budget: 300ms, patience: 20s, min_rounds: 4, burst: 10ms, target: 0}\n"
    )
    said = _call(recommend, "--models", "plan.yaml", "--out", "run", "--max-latency", "100ms", "--format", "markdown")
    assert said.exit_code == 0, said.output
    assert "First choice: model ort_cpu fp32 b1 (accuracy unknown)" in said.output
    assert "latency median ≤ 100 ms: costs nothing" in said.output
    assert len(store.read_records(desk / "run")) == 2


def test_the_built_in_list_is_about_twenty_backbones_that_timm_knows() -> None:
    from harness import backbone, plan_file, spec

    names = [entry.name for entry in spec.check(plan_file.read("first-choice")).backbones]
    assert len(names) == len(set(names)) == 20
    assert set(names) <= set(backbone.names()["models"])
