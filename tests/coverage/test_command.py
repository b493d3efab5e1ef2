"""`backbench coverage` as a person meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness import run, schemas
from harness.cli import cli
from harness.coverage.cover import installed
from harness.coverage.store import FILE, Store
from harness.errors import PlanInvalid, UnknownName
from tests.coverage import making


def runs(*words: str, fails_with: type[Exception] | None = None) -> Result:
    done = CliRunner().invoke(cli, ["coverage", *words])
    if fails_with is None:
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    else:
        assert isinstance(done.exception, fails_with), done.output
    return done


def test_a_small_one_end_to_end(tmp_path: Path) -> None:
    out, table = tmp_path / "run", tmp_path / "table"
    words = ("-m", "test_vit", "--out", str(out), "--jobs", "1", "--part", "classifier")
    done = runs(*words, "--table", str(table))
    assert done.exit_code == 0, done.output
    assert "ort_cpu      1 of 1 verified" in done.output
    assert (table / "coverage.csv").read_text().splitlines()[1].startswith("test_vit,")
    again = runs(*words, "--resume", "--json")
    records = json.loads(again.stdout)
    assert [one["architecture"]["name"] for one in records] == ["test_vit"]
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(records[0], schemas.schema("coverage"))
    assert len((out / FILE).read_text().splitlines()) == 1, "what has its record is not covered again"
    other = runs(*words[:2], *words[4:], "--out", str(tmp_path / "other"), "--resume", "--table", str(table))
    assert other.exit_code == 0 and "1 more are in" in other.stderr
    assert not (tmp_path / "other" / FILE).read_text(), "nor what the table has of the same versions"


def test_records_of_other_versions_are_not_what_is_known(tmp_path: Path) -> None:
    known = installed(("ort_cpu", "openvino"))
    architecture = replace(making.RESNET, name="test_resnet")
    for torch, done in (("0.9", "0"), (known["torch"], "1")):
        folder = Store.open(tmp_path / torch, resume=False)
        folder.add(making.covered(architecture, versions={**known, "torch": torch}))
        words = ("-m", "test_resnet", "--part", "classifier", "--out", str(folder.folder), "--resume")
        dry = runs(*words, "--dry-run")
        assert f"{1 - int(done)} of 1 would be covered" in dry.stderr
        shown = runs(*words, "--limit", "0")
        assert shown.exit_code == 1 - int(done)
        assert ("1 of these records are of other versions" in shown.stderr) is (done == "0")


@pytest.mark.parametrize("words", [("-r", "ort_cpu"), ("--device", "intel-gpu:0")])
def test_the_table_is_refused_what_fills_no_row_before_anything_starts(words: tuple[str, ...], tmp_path: Path) -> None:
    table = str(tmp_path / "table")
    done = runs("-m", "test_vit", *words, "--out", str(tmp_path / "run"), "--table", table, fails_with=PlanInvalid)
    assert "ort_cpu and openvino on the CPU" in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_what_another_run_covered_meanwhile_is_not_covered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    @contextmanager
    def after_another(folder: Path, note: object) -> Iterator[None]:
        Store(out).add(
            making.covered(replace(making.RESNET, name="test_vit"), versions=installed(("ort_cpu", "openvino")))
        )
        yield

    monkeypatch.setattr(run, "alone", after_another)
    done = runs("-m", "test_vit", "--part", "classifier", "--out", str(out), "--jobs", "1")
    assert done.exit_code == 0, done.output
    assert len((out / FILE).read_text().splitlines()) == 1


def test_a_dry_run_leaves_nothing(tmp_path: Path) -> None:
    done = runs("-m", "test_resnet", "--out", str(tmp_path / "run"), "--dry-run")
    assert "test_resnet  classifier  test_models" in done.stdout or "test_resnet  classifier" in done.stdout
    assert not (tmp_path / "run").exists()


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    done = runs("-m", "resnet18x", "--out", str(tmp_path), fails_with=UnknownName)
    assert "resnet18" in str(done.exception)


def test_weights_are_not_what_is_covered(tmp_path: Path) -> None:
    done = runs("-m", "resnet18.a1_in1k", "--out", str(tmp_path), fails_with=PlanInvalid)
    assert "-m resnet18" in str(done.exception)


def test_an_unknown_runtime_is_named_before_anything_starts(tmp_path: Path) -> None:
    runs("-m", "test_vit", "-r", "ort_cpux", "--out", str(tmp_path), fails_with=UnknownName)
    assert not (tmp_path / FILE).exists()


def test_records_that_lie_there_are_not_mixed_with_others(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{}\n")
    runs("-m", "test_vit", "--out", str(tmp_path), fails_with=PlanInvalid)


def test_an_interrupt_prints_the_line_that_goes_on(tmp_path: Path) -> None:
    words = ["coverage", "-m", "resnet18", "-m", "resnet34", "--jobs", "1", "--out", str(tmp_path / "run")]
    command = subprocess.Popen(
        [sys.executable, "-m", "harness", *words], stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "BACKBENCH_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while not list((tmp_path / "run" / "work").glob("*/artifacts")) and time.monotonic() < end:
            time.sleep(0.1)
        os.killpg(command.pid, signal.SIGINT)
        _, said = command.communicate(timeout=60)
    finally:
        command.kill()
    assert command.returncode == 130, said
    assert any(
        line.startswith("  backbench coverage -m resnet18") and line.endswith("--resume") for line in said.splitlines()
    )
    assert "0 records are kept" in said
