"""Verdicts on targets as text for a terminal, JUnit XML, Markdown, JSON or GitHub annotations."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.deciding import targets
from harness.deciding.figures import METRICS, Decide
from harness.deciding.limits import Result
from harness.deciding.targets import Check
from harness.report.forms import escape

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

SCHEMA = 1
_STYLES: Mapping[Result, str] = {"PASS": "green", "FAIL": "bold red", "INCONCLUSIVE": "yellow"}
_GAP = 2
"""Blanks between two columns on a screen."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Judged:
    """All checks of a targets file."""

    name: str
    source: str
    checks: tuple[Check, ...]
    started: str = ""
    """When the (first) run began, ISO 8601."""

    @property
    def counts(self) -> str:
        """`3 PASS, 1 FAIL`."""
        counted = Counter(check.verdict.result for check in self.checks)
        return ", ".join(f"{counted[result]} {result}" for result in _STYLES if counted[result])

    @property
    def by_cell(self) -> Mapping[str, list[Check]]:
        """Checks by the cell's title."""
        found: dict[str, list[Check]] = {}
        for check in self.checks:
            found.setdefault(check.target, []).append(check)
        return found


def show(console: Console, judged: Judged) -> None:
    """A table for a terminal, and what would decide the rest."""
    from rich.text import Text

    widths = _widths(console.width, judged.checks)
    console.print(Text(judged.name, style="bold"))
    console.print(_grid(widths, [("limit", "measured", Text("verdict"))], "bold"))
    for cell, checks in judged.by_cell.items():
        trust = f" ({checks[0].trust})" if checks[0].trust else ""
        console.print(
            Text.assemble("\n", (cell, "bold"), (trust, "dim"))
        )  # above its rows: it may be wider than a column
        rows = [(f"  {c.limit.title}", said(c), Text(c.verdict.result, _STYLES[c.verdict.result])) for c in checks]
        console.print(_grid(widths, rows))
    console.print(f"\n{targets.overall(judged.checks)}: {judged.counts}", style="bold", markup=False, highlight=False)
    if line := deciding_line(judged):
        console.print(f"to decide what is inconclusive:\n  {line}", markup=False, highlight=False, soft_wrap=True)


def _widths(width: int, checks: Sequence[Check]) -> tuple[int, int, int]:
    """Of the three columns: limits and verdicts whole, and what is left for what was measured, which folds."""
    limits = max((len(check.limit.title) + 2 for check in checks), default=5)
    verdicts = max((len(check.verdict.result) for check in checks), default=0)
    longest = max((len(said(check)) for check in checks), default=0)
    verdicts = max(verdicts, len("verdict"))
    return limits, max(min(longest, width - limits - verdicts - 2 * _GAP), len("measured")), verdicts


def _grid(widths: Sequence[int], rows: Sequence[tuple[str, str, Text]], style: str = "") -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    for width in widths:
        grid.add_column(width=width, overflow="fold", style=style)
    for limit, measured, verdict in rows:
        grid.add_row(Text(limit), Text(measured), verdict)
    return grid


def said(check: Check) -> str:
    """The figure in words, and what would decide it where it is not decided."""
    verdict = check.verdict
    decide = str(verdict.decide) if verdict.result != "PASS" else ""
    return f"{verdict.said} → {decide}" if decide else verdict.said


def deciding_line(judged: Judged) -> str:
    """The one command that measures long enough for every inconclusive check that measuring can decide; or empty."""
    wanted = [check.verdict.decide for check in judged.checks if check.verdict.result == "INCONCLUSIVE"]
    longest = Decide(max((d.budget_s for d in wanted), default=0), max((d.processes for d in wanted), default=0))
    return f"backbench validate {judged.source} {longest}" if longest != Decide() else ""


def markdown(judged: Judged) -> str:
    """A table for a pull request or a job's summary."""
    lines = [
        f"### {escape(judged.name)}: {targets.overall(judged.checks)} ({judged.counts})", "",
        "| cell | limit | measured | verdict |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    for check in judged.checks:
        words = (check.target, check.limit.title, said(check), check.verdict.result)
        lines.append("| " + " | ".join(map(escape, words)) + " |")
    if line := deciding_line(judged):
        lines += ["", f"To decide what is inconclusive: `{line}`"]
    return "\n".join(lines) + "\n"


def as_json(judged: Judged) -> str:
    """Every check with its figure in base units (ns, s, bytes, images/s, J, share) and its interval."""
    data = {
        "schema": SCHEMA, "targets": judged.name, "file": judged.source, "result": targets.overall(judged.checks),
        "decide": deciding_line(judged), "checks": [_check(check) for check in judged.checks],
    }  # fmt: skip
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _check(check: Check) -> dict[str, Any]:
    limit, verdict = check.limit, check.verdict
    figure = verdict.figure
    return {
        "cell": check.target, "run": check.run, "trust": check.trust or None, "metric": limit.metric,
        "percentile": limit.percentile or None, "limit": limit.value,
        "direction": "at_least" if METRICS[limit.metric].at_least else "at_most", "line": limit.line,
        "result": verdict.result, "value": figure.value if figure else None, "low": figure.low if figure else None,
        "high": figure.high if figure else None, "said": verdict.said,
        "decide": {
            "budget_s": math.ceil(verdict.decide.budget_s), "processes": verdict.decide.processes,
            "advice": verdict.decide.advice,
        },
    }  # fmt: skip


def junit(judged: Judged) -> str:
    """JUnit XML as Jenkins, GitLab and GitHub's readers take it: a suite per cell, a case per limit.

    FAIL is a failure; INCONCLUSIVE is an error (nothing was shown), never skipped, which readers count as success.
    """
    from xml.etree import ElementTree

    root = ElementTree.Element("testsuites", _counted(judged.checks) | {"name": _xml(judged.name)})
    for cell, checks in judged.by_cell.items():
        stamp = {"timestamp": judged.started[:19]} if judged.started else {}
        suite = ElementTree.SubElement(root, "testsuite", {"name": _xml(cell)} | _counted(checks) | stamp)
        for check in checks:
            case = ElementTree.SubElement(
                suite, "testcase",
                {"classname": _xml(f"{judged.name}.{cell}"), "name": _xml(check.limit.title), "time": "0",
                 "file": _xml(judged.source), "line": str(check.limit.line)},
            )  # fmt: skip
            words = _xml(said(check))
            if check.verdict.result == "PASS":
                ElementTree.SubElement(case, "system-out").text = words
            else:
                kind = "failure" if check.verdict.result == "FAIL" else "error"
                told = {"message": words, "type": check.verdict.result}
                ElementTree.SubElement(case, kind, told).text = f"{_xml(check.limit.title)}: {words}"
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _counted(checks: Sequence[Check]) -> dict[str, str]:
    counted = Counter(check.verdict.result for check in checks)
    return {
        "tests": str(len(checks)), "failures": str(counted["FAIL"]), "errors": str(counted["INCONCLUSIVE"]), "time": "0",
    }  # fmt: skip


def _xml(words: str) -> str:
    """Without the characters that XML cannot hold, even escaped."""
    return _NOT_XML.sub("?", words)


def github(judged: Judged) -> str:
    """Workflow commands: an error or a warning on the line of each limit that is not kept, and a line for the rest."""
    lines = []
    for check in judged.checks:
        words = f"{check.target}: {check.limit.title}: {said(check)}"
        if check.verdict.result == "PASS":
            lines.append(f"PASS {words}".replace("\n", " ").replace("::", ": :"))
            continue
        kind = "error" if check.verdict.result == "FAIL" else "warning"
        title = _property(f"{check.verdict.result} {check.target}")
        place = f"file={_property(judged.source)},line={max(check.limit.line, 1)},title={title}"
        lines.append(f"::{kind} {place}::{_message(words)}")
    return "\n".join([*lines, f"{targets.overall(judged.checks)}: {judged.counts}"]) + "\n"


def _message(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _message(words).replace(":", "%3A").replace(",", "%2C")


FORMS: Mapping[str, Callable[[Judged], str]] = {
    "junit": junit, "markdown": markdown, "json": as_json, "github": github,
}  # fmt: skip
