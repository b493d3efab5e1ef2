"""`backbench compare` as it is typed: runs that are there, and two sides measured in turn now."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import store
from harness.model import Backbone
from tests import comparing, making
from tests.comparing import USUAL

Run = Callable[..., "subprocess.CompletedProcess[str]"]
FAKE = ("--live", "-r", "fake", "-o", "fake.latency_ns=1000000", "-o", "fake.pattern=noisy", "--threads", "1")
SHORT = ("--budget", "0.2s", "--processes", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results folders `before`, `again`, and `slower`, whose ORT is newer and 10 % slower; and two models."""
    made = tmp_path_factory.mktemp("compare")
    two = comparing.BACKBONES[:2]
    comparing.kept(made / "before", backbones=two)
    comparing.kept(made / "again", backbones=two)
    comparing.kept(made / "slower", {**USUAL, "ort_cpu": 11.0}, versions={"ort_cpu": "1.1"}, backbones=two)
    for name in ("a.onnx", "b.onnx"):
        making.identity_onnx(made / name)
    return made


@pytest.fixture
def backbench(folder: Path) -> Run:
    """Runs `backbench` with words in the folder."""

    def run(*words: str, columns: int = 140) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if k != "FORCE_COLOR"}
        env = {**kept, "BACKBENCH_CACHE": str(folder / "cache"), "COLUMNS": str(columns), "NO_COLOR": "1"}
        command = [sys.executable, "-m", "harness", *words]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)

    return run


# ── runs that are there ──────────────────────────────────────────────────────────────────────────────────────────


def test_what_became_slower_is_said_with_what_changed(backbench: Run) -> None:
    said = backbench("compare", "before", "slower", "--fail-on", "slower")
    assert said.returncode == 3, said.stderr
    words = " ".join(said.stdout.split())
    assert "2 slower" in words
    assert "geometric mean of 4 cells, by speed-up" in words
    assert "resnet18 ort_cpu fp32 b1: slower" in words
    assert "changed: versions.ort_cpu 1.0 → 1.1" in words
    assert "<0.001" in words


def test_a_narrow_screen_keeps_ratio_and_verdict(backbench: Run) -> None:
    said = backbench("compare", "before", "slower", columns=80)
    assert said.returncode == 0
    table = said.stdout.splitlines()[:14]
    assert max(map(len, said.stdout.splitlines())) <= 80
    assert any("ort_cpu fp32 b1" in line and line.rstrip().endswith("slower") for line in table)
    assert "…" not in "\n".join(table)


def test_a_long_name_folds_on_a_narrow_screen(backbench: Run, tmp_path: Path) -> None:
    name = "vit_base_patch14_reg4_dinov2_and_more.lvd142m"
    for folder in ("one", "two"):
        comparing.kept(tmp_path / folder, backbones=[Backbone(name)])
    said = backbench("compare", str(tmp_path / "one"), str(tmp_path / "two"), columns=80)
    assert said.returncode == 0, said.stderr
    table = said.stdout.partition("geometric")[0]
    assert name in "".join(table.split()), "every letter of it is there"
    assert "…" not in table


def test_json_and_markdown_say_the_same(backbench: Run, tmp_path: Path) -> None:
    data = json.loads(backbench("compare", "before", "slower", "--json").stdout)
    assert [c["verdict"] for c in data["cells"] if c["new"]["runtime"] == "ort_cpu"] == ["slower"] * 2
    target = tmp_path / "comment.md"
    said = backbench("compare", "before", "slower", "--format", "markdown", "--output", str(target))
    assert said.stdout == ""
    made = target.read_text()
    assert made.count("**slower**") == 2
    assert "| backbone | cell |" in made
    assert backbench("compare", "before", "slower", "--output", str(tmp_path / "by-name.md")).returncode == 0
    assert (tmp_path / "by-name.md").read_text() == made
    refused = backbench("compare", "before", "slower", "--output", str(tmp_path / "comment.csv"))
    assert refused.returncode == 2
    assert "Take one of .txt, .md, .markdown, .json, or" in refused.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("before", "nowhere"), 1, "holds no run"),
        ((), 2, "give two results folders"),
        (("before",), 2, "was not measured by `backbench compare --live`"),
        (("before", "again", "-r", "ort_cpu", "--budget", "3s"), 2, "only --live measures: --runtime, --budget"),
        (("before", "again", "--python-b", "x"), 2, "only --live measures: --python-b"),
        (("before", "again", "--force-compare", "colour"), 2, "'colour'"),
        (("before", "again", "--effect", "0%"), 2, "must be over 0"),
        (("before", "again", "--scope", "end_to_end"), 0, ""),
        (("before", "again", "--fail-on", "slower"), 0, ""),
        (("before", "again", "--fail-on", "cant-tell"), 3, ""),
        (("before", "again", "--output", "/dev/full"), 1, "cannot be written: No space left"),
        (("--live", "a.onnx", "-r", "fake"), 2, "--python-b"),
        (("--live", "-r", "fake"), 2, "give a model"),
        (("--live", "a.onnx", "b.onnx", "--base-repeat", "before"), 2, "takes no repeats"),
        (("--live", "a.onnx", "--python-b", "nowhere/python"), 2, "no interpreter that can be started"),
    ],
)
def test_exit_codes_and_what_is_said(backbench: Run, words: tuple[str, ...], code: int, said: str) -> None:
    done = backbench("compare", *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_records_file_has_nothing_in_common(backbench: Run, tmp_path: Path) -> None:
    comparing.kept(tmp_path / "empty", backbones=comparing.BACKBONES[:1])
    (tmp_path / "empty" / "records.jsonl").write_text("")
    done = backbench("compare", "before", str(tmp_path / "empty"))
    assert done.returncode == 2
    assert "no cell in common" in done.stderr


# ── measured now ─────────────────────────────────────────────────────────────────────────────────────────────────


def _twin(folder: Path) -> Path:
    """A second environment: a virtual environment that sees this one's libraries."""
    made = folder / "twin"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True, timeout=60)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        libraries = [path for path in sys.path if path.endswith("site-packages")]
        (made / "lib" / version / "site-packages" / "other.pth").write_text("\n".join(libraries))
    return made / "bin" / "python"


def _is_same(cell: dict[str, Any]) -> bool:
    """Found the same; or, beside a busy neighbour, whose figures are untrusted, at least measured so."""
    ratio = cell["estimate"]["ratio"]
    measured_so = 0.97 < ratio["low"] <= ratio["high"] < 1.03
    return measured_so and (cell["verdict"] == "same" or "is untrusted" in cell["reason"])


def test_two_environments_are_measured_in_turn_and_alike_they_are_the_same(backbench: Run, folder: Path) -> None:
    python = _twin(folder)
    done = backbench("compare", *FAKE, "a.onnx", "--python-b", str(python), *SHORT, "--out", "live", "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    [cell] = data["cells"]
    assert _is_same(cell)
    assert cell["estimate"]["by"] == "in_turn"
    assert (cell["base"]["python"], cell["new"]["python"]) == ("", str(python))
    assert "python" in [change["field"] for change in data["changes"]]
    assert {record.cell.python for record in store.read_records(folder / "live")} == {"", str(python)}
    again = backbench("compare", "live")
    assert again.returncode == 0
    assert "in turn" in again.stdout


def test_the_worker_of_the_other_side_runs_in_the_other_environment(backbench: Run, folder: Path) -> None:
    python = _twin(folder)
    backbench("compare", *FAKE, "a.onnx", "--python-b", str(python), *SHORT, "--out", "which")
    commands = [(folder / "which" / record.worker_log).read_text() for record in store.read_records(folder / "which")]
    assert sorted(f"$ {python} -m harness.worker" in log for log in commands) == [False, True]


def test_what_was_interrupted_is_finished_by_the_same_command(backbench: Run, folder: Path) -> None:
    words = ("compare", *FAKE, "a.onnx", "b.onnx", *SHORT, "--out", "cut")
    assert backbench(*words).returncode == 0
    (folder / "cut" / "records.jsonl").write_text("")
    unfinished = backbench("compare", "cut")
    assert unfinished.returncode == 2
    assert "--resume" in unfinished.stderr
    assert backbench(*words).returncode == 2, "a run lies there"
    assert backbench(*words, "--resume").returncode == 0
    [cell] = json.loads(backbench("compare", "cut", "--json").stdout)["cells"]
    assert _is_same(cell)


def test_two_artifacts_are_measured_in_turn(backbench: Run) -> None:
    done = backbench("compare", *FAKE, "a.onnx", "b.onnx", *SHORT, "--out", "artifacts", "--json")
    assert done.returncode == 0, done.stderr
    [cell] = json.loads(done.stdout)["cells"]
    assert (cell["base"]["backbone"]["name"], cell["new"]["backbone"]["name"]) == ("a", "b")
    assert _is_same(cell)


def test_a_side_that_cannot_run_is_a_failure_with_its_reason(backbench: Run) -> None:
    broken = (*FAKE, "a.onnx", "b.onnx", *SHORT, "-o", "fake.fault=refuse", "--out", "refused")
    done = backbench("compare", *broken)
    assert "scripted refusal" in done.stdout
    assert "Traceback" not in done.stderr
