"""Ctrl-C, wherever it comes: exit code 130, no worker left, no file half-written, and what was finished is kept."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import codec, store
from tests import making
from tests.cli.desk import DEADLINE_S, Desk, Said, comes_true, end_of, laid

ROOT = Path(__file__).parents[2]
FAKE = ("-r", "fake", "-o", "fake.latency_ns=1000000", "--threads", "1", "--budget", "0.3s")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A fresh folder with two models, and a cache of its own, by which its workers are known."""
    (tmp_path / "desk").mkdir()
    made = laid(tmp_path / "desk", tmp_path / "cache")
    making.identity_onnx(made.folder / "other.onnx")
    yield made
    for worker in made.workers():
        worker.kill()


def _interrupt(desk: Desk, words: tuple[str, ...], there: Callable[[], object]) -> Said:
    process = desk.starts(*words)
    assert comes_true(lambda: there() or process.poll() is not None, 2 * DEADLINE_S), end_of(process)
    assert process.poll() is None, end_of(process)
    process.send_signal(signal.SIGINT)
    said = end_of(process)
    # CPython ends by the signal itself where it came while a library was imported; a shell calls both 130.
    assert said.code in (130, -signal.SIGINT), said.err
    assert "Traceback" not in said.err
    assert comes_true(lambda: not desk.workers(), 10), "no worker outlives the command"
    return said


def _printed(said: Said) -> list[str]:
    """The words of the command that is printed to go on, without its own name."""
    line = next(line.strip() for line in said.err.splitlines() if line.strip().startswith("backbench "))
    return shlex.split(line)[1:]


# ── profile ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stage", ["measure", "profile"])
def test_an_interrupted_profile_writes_neither_trace_nor_chart(desk: Desk, stage: str) -> None:
    """While the cells are measured in turn, and while one is profiled: opening lasts, so that there is time for it."""
    (desk.folder / "t.json").write_text("old")
    begun = "profile-model-fake-*.log" if stage == "profile" else "model-fake-*.log"
    words = (
        "profile",
        "-m",
        "model.onnx",
        *FAKE,
        "-o",
        "fake.load_s=3",
        "--trace",
        "t.json",
        "--chart",
        "c.svg",
        "--json",
    )
    said = _interrupt(desk, words, lambda: any((desk.cache / "logs" / "profile").glob(begun)))
    assert said.out == "", "no half of an answer"
    assert said.err.splitlines()[-1] == "interrupted"
    assert (desk.folder / "t.json").read_text() == "old"
    assert desk.written() == {"model.onnx", "other.onnx", "t.json"}
    again = desk.runs(
        "profile", "-m", "model.onnx", "-r", "ort_cpu", "--threads", "1", "--budget", "0.3s", "--trace", "t.json"
    )
    assert again.code == 0, again.err
    assert json.loads((desk.folder / "t.json").read_text())["traceEvents"]


# ── compare --live ────────────────────────────────────────────────────────────────────────────────────────────────

LIVE = ("compare", "--live", "model.onnx", "other.onnx", *FAKE, "--processes", "1", "--batch", "1", "--batch", "2")


def test_an_interrupted_comparison_keeps_finished_cells_and_the_printed_command_does_the_rest(desk: Desk) -> None:
    (desk.folder / "answer.md").write_text("old")
    folder = desk.folder / "live"
    words = (*LIVE, "-o", "fake.load_s=2", "--out", "live", "--format", "markdown", "--output", "answer.md")

    def in_the_second() -> bool:
        return bool((folder / "run.json").exists() and store.read_records(folder) and desk.workers())

    said = _interrupt(desk, words, in_the_second)
    assert said.out == ""
    assert (desk.folder / "answer.md").read_text() == "old"
    kept = store.read_records(folder)
    assert len(kept) == 2, "both sides of the first batch"
    assert "2 finished cells are kept in live; to go on:" in said.err
    before = [codec.dumps(sample) for sample in store.read_samples(folder)]

    half = json.loads(desk.runs("compare", "live", "--json").out)
    assert [cell["base"]["batch"] for cell in half["cells"]] == [1], "what is finished can be compared"
    again = desk.runs(*_printed(said))
    assert again.code == 0, again.err
    assert (desk.folder / "answer.md").read_text().startswith("#")
    assert desk.written() == {"model.onnx", "other.onnx", "live", "answer.md"}
    records = store.read_records(folder)
    assert [record.outcome for record in records] == ["ok"] * 4
    after = [codec.dumps(sample) for sample in store.read_samples(folder)]
    assert after[: len(before)] == before and len(after) > len(before), "the first batch is not measured again"


def test_a_comparison_that_is_interrupted_before_a_cell_is_measured_says_so_when_it_is_read(desk: Desk) -> None:
    folder = desk.folder / "live"
    words = (*LIVE, "-o", "fake.load_s=5", "--out", "live")
    said = _interrupt(desk, words, lambda: (folder / "run.json").exists() and desk.workers())
    assert "0 finished cells are kept in live" in said.err
    read = desk.runs("compare", "live")
    assert read.code == 2
    assert "ended before a cell was measured" in read.err and "--resume" in read.err


# ── recommend --models first-choice ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages with a `first-choice` of two very small backbones, so that the built-in name itself is measured."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("harness", "exporters", "runtimes"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    plan = folder / "harness" / "plans" / "first-choice.yaml"
    names = [line for line in plan.read_text().splitlines() if line.startswith("  - ")]
    assert len(names) == 20
    plan.write_text(plan.read_text().replace("\n".join(names), "  - test_resnet\n  - test_vit"))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_first_choice_is_planned_measured_interrupted_finished_and_answered(desk: Desk, packages: Path) -> None:
    desk = Desk(desk.folder, desk.cache, packages)
    decided = (0, 2)  # 2 where the machine was so busy that no figure is trusted
    folder = desk.folder / "first"
    question = ("--max-latency", "1s", "--batch", "1", "--format", "markdown", "--output", "answer.md")
    words = (
        "recommend",
        "--models",
        "first-choice",
        "-r",
        "ort_cpu",
        "--budget",
        "1s",
        *question,
        "--out",
        "first",
        "--yes",
    )

    def first_backbone_done() -> bool:
        return (folder / "records.jsonl").exists() and len(store.read_records(folder)) >= 2

    said = _interrupt(desk, words, first_backbone_done)
    assert "2 finished cells are kept in first; to go on:" in said.err
    assert not (desk.folder / "answer.md").exists()
    assert not store.read_run(folder).finished
    before = [codec.dumps(sample) for sample in store.read_samples(folder)]

    refused = desk.runs(*words)
    assert refused.code == 64 and "--resume" in refused.err, "a run lies there"
    unfinished = desk.runs("recommend", "first", *question[:-2])
    assert unfinished.code in decided, unfinished.err
    assert "is unfinished" in unfinished.err
    assert "test_resnet" in unfinished.out and "test_vit" not in unfinished.out

    again = desk.runs(*_printed(said))
    assert again.code in decided, again.err
    answer = (desk.folder / "answer.md").read_text()
    assert again.code or "First choice: test_" in answer
    assert "test_resnet" in answer and "test_vit" in answer
    records = store.read_records(folder)
    assert {(r.cell.backbone.name, r.cell.runtime, r.outcome) for r in records} == {
        (name, runtime, "ok") for name in ("test_resnet", "test_vit") for runtime in ("torch_eager", "ort_cpu")
    }
    assert [codec.dumps(sample) for sample in store.read_samples(folder)][: len(before)] == before
    assert desk.written() == {"model.onnx", "other.onnx", "first", "answer.md"}
