"""`backbench report` as it is typed, in the forms that are files."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from harness import results
from tests import reporting

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results folder `done`."""
    made = tmp_path_factory.mktemp("report")
    reporting.write(made / "done", list(reporting.records()), bursts=3)
    return made


@pytest.fixture
def report(folder: Path) -> Run:
    """Runs `backbench report` with words in the folder."""

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "harness", "report", *words], cwd=folder, capture_output=True, check=False
        )

    return run


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a.html", b"<!doctype html>"),
        ("a.png", b"\x89PNG"),
        ("a.svg", b"<svg"),
        ("a.pdf", b"%PDF"),
        ("a.md", b"### test"),
    ],
)
def test_the_name_of_the_file_says_the_form(report: Run, folder: Path, name: str, begins: bytes) -> None:
    said = report("done", "-o", name)
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
    assert (folder / name).read_bytes().startswith(begins)


def test_a_form_that_is_asked_for_wins_over_the_name(report: Run, folder: Path) -> None:
    assert report("done", "--format", "csv", "-o", "table.html").returncode == 0
    assert list(pd.read_csv(folder / "table.html").columns) == list(results.COLUMNS)


def test_a_name_that_says_no_form_is_refused(report: Run, folder: Path) -> None:
    said = report("done", "-o", "table.xlsx")
    assert said.returncode == 2
    assert b"no form of this command is a .xlsx file" in said.stderr and b".csv" in said.stderr
    assert not (folder / "table.xlsx").exists()


def test_without_a_file_a_page_goes_down_the_pipe(report: Run) -> None:
    said = report("done", "--format", "html")
    assert said.returncode == 0
    assert said.stdout.startswith(b"<!doctype html>") and said.stdout.endswith(b"</html>\n")


def test_a_chart_can_be_chosen_for_a_picture_alone(report: Run, folder: Path) -> None:
    assert report("done", "-o", "memory.svg", "--chart", "memory").returncode == 0
    assert "Cold start" not in (folder / "memory.svg").read_text("utf-8")
    said = report("done", "-o", "page.html", "--chart", "memory")
    assert said.returncode == 2
    assert b"--chart goes with --format png, svg or pdf" in said.stderr


def test_a_terminal_is_not_given_bytes(folder: Path) -> None:
    outer, inner = pty.openpty()
    command = [sys.executable, "-m", "harness", "report", "done", "--format", "png"]
    said = subprocess.run(command, cwd=folder, stdout=inner, stderr=subprocess.PIPE, check=False)
    os.close(inner)
    os.close(outer)
    assert said.returncode == 2
    assert b"give a file with --output" in said.stderr


def test_a_folder_that_is_not_there_leaves_the_last_page_as_it_was(report: Run, folder: Path) -> None:
    (folder / "old.html").write_text("old")
    said = report("gone", "-o", "old.html")
    assert said.returncode == 1
    assert b"gone holds no run" in said.stderr
    assert (folder / "old.html").read_text() == "old"


@pytest.mark.parametrize(
    ("output", "why"), [("/dev/full", b"No space left"), ("no/such/folder/a.html", b"No such file")]
)
def test_a_file_that_cannot_be_written_is_named_with_the_cause(report: Run, output: str, why: bytes) -> None:
    said = report("done", "--format", "html", "-o", output)
    assert said.returncode == 1
    assert why in said.stderr and output.encode() in said.stderr
    assert b"Traceback" not in said.stderr


def test_help_has_every_form_an_example_and_the_exit_codes(report: Run) -> None:
    said = report("--help").stdout.decode()
    for word in ("html", "parquet", "png", "svg", "pdf", "report.html", "Exit codes"):
        assert word in said
