"""Verdicts in the forms that CI systems read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from harness.deciding import targets
from harness.deciding.limits import Limit, judge
from harness.deciding.targets import Check
from harness.report import verdicts
from harness.report.verdicts import Judged
from tests import deciding

MS = 1e6
NASTY = 'ネット </script> & "x" | ::error::%0A \x07'


@pytest.fixture
def judged() -> Judged:
    """One of each verdict, of a cell with a nasty name."""
    one = deciding.evidence(NASTY)
    limits = (
        Limit("latency", 11 * MS, "median", 4), Limit("memory", 1e6, line=5), Limit("latency", 10.05 * MS, "median", 6),
        Limit("energy", 1.0, line=7),
    )  # fmt: skip
    checks = tuple(Check(one.title, limit, judge(limit, one), "trusted", "run-test") for limit in limits)
    return Judged("camera", "ci/targets, a.yaml", checks, "2026-11-24T10:00:00+00:00")


def test_junit_is_xml_with_counts_that_agree(judged: Judged) -> None:
    """As Jenkins' schema has it: testsuites > testsuite > testcase > one of failure, error, system-out."""
    root = ElementTree.fromstring(verdicts.junit(judged))
    (suite,) = root
    cases = list(suite)
    for counted in (root, suite):
        assert (counted.tag, counted.get("tests"), counted.get("failures"), counted.get("errors")) in {
            ("testsuites", "4", "1", "2"), ("testsuite", "4", "1", "2"),
        }  # fmt: skip
    assert [[child.tag for child in case] for case in cases] == [["system-out"], ["failure"], ["error"], ["error"]]
    assert [case.get("line") for case in cases] == ["4", "5", "6", "7"]
    assert all(case.get("name") and case.get("classname") and case.get("time") for case in cases)
    assert suite.get("timestamp") == "2026-11-24T10:00:00"
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.get("type") == "FAIL"
    assert "250 MB" in str(failure.get("message"))
    assert len(root.findall(".//skipped")) == 0, "readers count skipped as success"


def test_a_reader_of_junit_finds_every_verdict(judged: Judged, tmp_path: Path) -> None:
    """By junitparser, which CI systems' tools are built on: what it counts itself, and what the file says it holds."""
    from junitparser import Error, Failure, JUnitXml, TestSuite

    file = tmp_path / "validate.xml"
    file.write_text(verdicts.junit(judged), encoding="utf-8")
    found = JUnitXml.fromfile(str(file))
    assert (found.tests, found.failures, found.errors, found.skipped, found.name) == (4, 1, 2, 0, "camera")
    (suite,) = found
    assert isinstance(suite, TestSuite)
    cases = list(suite)
    assert [[type(result) for result in case.result] for case in cases] == [[], [Failure], [Error], [Error]]
    assert [case.is_passed for case in cases] == [True, False, False, False]
    assert "ネット </script>" in cases[0].classname and cases[0].name == "latency median ≤ 11 ms"
    assert cases[1].result[0].type == "FAIL" and "250 MB" in cases[1].result[0].message
    counted = [suite.tests, suite.failures, suite.errors]
    suite.update_statistics()
    assert counted == [suite.tests, suite.failures, suite.errors]


def test_github_annotations_are_one_line_each_and_escaped(judged: Judged) -> None:
    lines = verdicts.github(judged).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["PASS", "::error", "::warning", "::warning", "FAIL:"]
    assert "::" not in lines[0], "a name cannot give a command to the runner"
    for line, number in zip(lines[1:4], (5, 6, 7), strict=True):
        head, message = line[2:].split("::", 1)
        assert head.split(" ", 1)[1].startswith(f"file=ci/targets%2C a.yaml,line={number},title=")
        assert "%250A" in message, "what looks like an escape in a name stays what it is"


def test_json_holds_figures_in_base_units(judged: Judged) -> None:
    data = json.loads(verdicts.as_json(judged))
    assert (data["schema"], data["result"], len(data["checks"])) == (1, "FAIL", 4)
    first = data["checks"][0]
    assert (first["value"], first["limit"], first["direction"], first["percentile"]) == (
        10e6,
        11e6,
        "at_most",
        "median",
    )
    assert data["checks"][2]["decide"]["budget_s"] > 0
    assert data["checks"][3]["value"] is None
    assert data["decide"].startswith("backbench validate")


def test_markdown_and_text_say_the_same(judged: Judged) -> None:
    made = verdicts.markdown(judged)
    rows = [line for line in made.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) == 5
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
    assert "</script>" not in made
    screen = io.StringIO()
    verdicts.show(Console(file=screen, width=200), judged)
    for word in ("FAIL: 1 PASS, 1 FAIL, 2 INCONCLUSIVE", "memory ≤ 1 MB", "--budget", "energy unavailable"):
        assert word in screen.getvalue()


def test_a_narrow_screen_keeps_what_was_measured_and_the_whole_verdict() -> None:
    """However long the cell's name is: it stands above its rows."""
    one = deciding.evidence(cell={"options": {"hint": "THROUGHPUT", "streams": 2, "model_cache": "warm"}})
    limits = [Limit("latency", 11e6, "median"), Limit("device_memory", 1e9), Limit("memory", 1e6)]
    judged = Judged("camera", "t.yaml", tuple(Check(one.title, limit, judge(limit, one)) for limit in limits))
    screen = io.StringIO()
    verdicts.show(Console(file=screen, width=80), judged)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in screen.getvalue()
    assert "hint=THROUGHPUT" in " ".join(screen.getvalue().split())
    for verdict, figure in (("PASS", "10 ms ["), ("INCONCLUSIVE", "device"), ("FAIL", "250 MB")):
        assert any(line.rstrip().endswith(verdict) and figure in line for line in lines), lines


def test_nothing_to_decide_prints_no_command() -> None:
    one = deciding.evidence()
    limit = Limit("memory", 1e12)
    assert verdicts.deciding_line(Judged("x", "t.yaml", (Check(one.title, limit, judge(limit, one)),))) == ""
    assert targets.overall(()) == "INCONCLUSIVE", "nothing was judged"
