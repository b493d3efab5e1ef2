"""`backbench selftest` measures a cell against itself, keeps the traces, and says whether the intervals hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import codec, selftest
from harness.cli import cli
from harness.record import Record, Samples
from tests import making


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a self-test of a tiny ONNX model, with its output beside it."""
    folder = tmp_path_factory.mktemp("selftest")
    model = making.identity_onnx(folder / "identity.onnx")
    arguments = ["selftest", "-m", str(model), "-r", "ort_cpu", "--repeats", "3", "--budget", "0.3s", "--json"]
    arguments += ["--out", str(folder / "out"), "--plot", str(folder / "plot.html")]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code in (0, 1), done.output
    (folder / "printed.json").write_text(done.stdout)
    return folder


def test_it_prints_what_it_found(kept: Path) -> None:
    found = codec.decode(selftest.Selftest, json.loads((kept / "printed.json").read_text()))
    assert found.calibration.whole.experiments == 3
    assert found.resolution_ns > 0 and found.overhead_ns > 0
    assert found.noise.samples > 10
    assert json.loads((kept / "out" / "selftest.json").read_text()) == json.loads((kept / "printed.json").read_text())


def test_every_experiment_has_fresh_processes_and_a_trace(kept: Path) -> None:
    traces = sorted((kept / "out" / selftest.TRACES).iterdir())
    assert len(traces) == 3
    lines = [json.loads(line) for line in traces[0].read_text().splitlines()]
    records = [codec.decode(Record, line) for line in lines[:2]]
    samples = [codec.decode(Samples, line) for line in lines[2:]]
    assert [r.cell.label for r in records] == ["", "control"]
    assert {s.key for s in samples} == {r.key for r in records}


def test_the_chart_is_one_page_that_needs_no_network(kept: Path) -> None:
    page = (kept / "plot.html").read_text()
    assert "vega" in page
    assert 'src="http' not in page


def test_a_chart_in_a_form_that_cannot_be_drawn_is_refused_before_measuring() -> None:
    done = CliRunner().invoke(cli, ["selftest", "--plot", "chart.gif"])
    assert done.exit_code == 2
    assert "FILE.html" in done.output


def test_a_table_is_what_a_person_sees(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli import selftest_command

    found = codec.decode(selftest.Selftest, json.loads((kept / "printed.json").read_text()))
    selftest_command._show(found)
    shown = capsys.readouterr().out
    assert "against itself, 3 times" in shown
    assert "contained 1.00 in" in shown
