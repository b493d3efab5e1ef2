"""A recommendation as text for a terminal, Markdown or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.deciding.recommend import AXES, Axis, Candidate, Cost, Recommendation, RunnerUp, show
from harness.report.forms import escape

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SCHEMA = 1
_MOST = 12
"""Cells that could not be judged, shown before the rest is only counted."""
_WIDE = 120
"""Columns from which a row of the front takes one line."""


@dataclass(frozen=True)
class Advice:
    """A recommendation and the lines that explain one model, where that was asked for."""

    answer: Recommendation
    explained: tuple[str, ...] = ()
    command: str = ""
    """What measures every cell that more measuring would decide; `RUN` stands for nothing that was run."""


def headline(answer: Recommendation) -> str:
    """The pick in a line."""
    if answer.pick is None:
        fits = any(c.fits() for c in answer.candidates)
        return "No first choice." if fits else "No cell is known to keep every constraint."
    label = "" if answer.accuracy_known else " (accuracy unknown)"
    return f"First choice: {answer.pick.title}{label}"


def told(answer: Recommendation) -> list[str]:
    """The reasons, and what of the question nothing is known about."""
    idle = [
        f"{constraint.title} could not be applied: no cell's accuracy is known, measured or published"
        for constraint in answer.not_applied
    ]
    what = "the constraints that could be applied" if idle else "every constraint"
    counts = f"{sum(c.fits() for c in answer.candidates)} of {len(answer.candidates)} cells keep {what}"
    return [*answer.reasons, *idle, counts]


def runner_up(answer: Recommendation, runner: RunnerUp) -> str:
    """`memory: vit_tiny_patch16_224 ort_cpu fp32 b1, 137 MB (pick: 144 MB)`."""
    pick, question = answer.pick, answer.question
    assert pick is not None
    mine, other = show(pick, runner.axis, question), show(runner.candidate, runner.axis, question)
    return f"{question.words(runner.axis)}: {runner.candidate.title}, {other} (pick: {mine})"


def cost(answer: Recommendation, item: Cost) -> str:
    """What the constraint cost: the pick without it."""
    question = answer.question
    alone = f"; it alone leaves out {item.alone} cell{'s' * (item.alone != 1)}" if item.alone else ""
    if item.instead is None:
        same = (
            "costs nothing, the answer is the same without it"
            if answer.pick
            else "without it, none is known to fit either"
        )
        return f"{item.constraint.title}: {same}{alone}"
    figures = ", ".join(
        f"{question.words(axis)} {show(item.instead, axis, question)}" for axis in AXES if axis in item.instead.figures
    )
    return f"{item.constraint.title}: without it, {item.instead.title} ({figures}){alone}"


def unjudged(answer: Recommendation, most: int | None = _MOST) -> list[str]:
    """Cells that could not be judged, and why."""
    lines = [
        f"{one.candidate.title}: {one.reason}" + (f" → {one.advice}" if one.advice else "")
        for one in answer.unjudged[:most]
    ]
    left = len(answer.unjudged) - len(lines)
    return [*lines, f"and {left} more: --format json lists them all"] if left else lines


def sections(advice: Advice, most: int | None = _MOST) -> Iterable[tuple[str, Sequence[str]]]:
    """Headed lists, the empty ones left out."""
    answer = advice.answer
    listed = (
        ("Runners-up, the best on one axis beside it", [runner_up(answer, runner) for runner in answer.runners_up]),
        ("What each constraint cost", [cost(answer, item) for item in answer.costs]),
        ("Could not be judged", unjudged(answer, most)),
        ("Explained", list(advice.explained)),
        ("To decide what measuring can decide", [advice.command] if advice.command else []),
    )
    return [(title, lines) for title, lines in listed if lines]


def show_text(console: Console, advice: Advice) -> None:
    """For a terminal."""
    answer = advice.answer
    console.print(headline(answer), style="bold green" if answer.pick else "bold red", markup=False, highlight=False)
    _print(console, told(answer))
    if answer.front:
        console.print()
        console.print(_table(answer, console.width))
    for title, lines in sections(advice):
        console.print(title, style="bold")
        _print(console, lines)


def _print(console: Console, lines: Iterable[str]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    for line in lines:
        indent = 2 if line.startswith("  ") else 0
        console.print(Padding(Text(f"· {line.strip()}"), (0, 0, 0, 2 + indent)))


def _table(answer: Recommendation, width: int) -> Table:
    """The front; on a narrow terminal, runtimes and intervals stand below what they belong to."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = _shown_axes(answer)
    narrow = width < _WIDE
    axes = ", ".join(answer.question.words(axis) for axis in answer.front_axes)
    table = Table(
        title=f"Pareto front of {axes}", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 0 if narrow else 1),
        pad_edge=False,
    )  # fmt: skip
    table.add_column("")
    table.add_column("cell", no_wrap=not narrow, overflow="fold")
    for axis in shown:
        table.add_column(answer.question.words(axis), justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for c in _front(answer):
        title = c.title
        words = [show(c, axis, answer.question) for axis in shown]
        if narrow:
            title = title.replace(" ", "\n  ", 1)
            words = [word.replace(" [", "\n[", 1) for word in words]
        style = "bold" if c is answer.pick else ""
        verdict = Text(c.evidence.record.trust or "–")
        table.add_row("→" if c is answer.pick else "", Text(title), *map(Text, words), verdict, style=style)
    return table


def _front(answer: Recommendation) -> list[Candidate]:
    """The front by the preferred axis; the pick is among it even where a cell that cannot be told from it beats it."""
    shown = list(answer.front)
    if answer.pick is not None and answer.pick not in shown:
        shown.append(answer.pick)
    axis = answer.question.prefer
    sign = -1 if axis == "accuracy" else 1
    return sorted(shown, key=lambda c: sign * c.figures[axis].value if axis in c.figures else float("inf"))


def _shown_axes(answer: Recommendation) -> list[Axis]:
    return [axis for axis in AXES if any(axis in c.figures for c in answer.front)]


def markdown(advice: Advice) -> str:
    """For a pull request or a wiki."""
    answer = advice.answer
    lines = [f"### {escape(headline(answer))}", "", *(f"- {escape(line)}" for line in told(answer)), ""]
    if answer.front:
        axes = _shown_axes(answer)
        lines += [_row(["front", *(answer.question.words(axis) for axis in axes), "verdict"])]
        lines += [_row(["---", *["--:"] * len(axes), "---"])]
        for c in _front(answer):
            name = f"**{escape(c.title)}**" if c is answer.pick else escape(c.title)
            words = [escape(show(c, axis, answer.question)) for axis in axes]
            lines.append(_row([name, *words, c.evidence.record.trust or "–"]))
    for title, told_lines in sections(advice, None):
        lines += ["", f"**{title}**", "", *(_item(line) for line in told_lines)]
    return "\n".join(lines) + "\n"


def _row(words: Sequence[str]) -> str:
    return "| " + " | ".join(words) + " |"


def _item(line: str) -> str:
    indent = "  " if line.startswith("  ") else ""
    return f"{indent}- {escape(line.strip())}"


def as_json(advice: Advice) -> str:
    """The whole answer; figures in base units (ns, bytes, share) with their ranges."""
    answer = advice.answer
    data = {
        "schema": SCHEMA,
        "pick": answer.pick.title if answer.pick else None,
        "accuracy_known": answer.accuracy_known,
        "reasons": list(answer.reasons),
        "constraints": [c.title for c in answer.question.constraints],
        "not_applied": [c.title for c in answer.not_applied],
        "front_axes": list(answer.front_axes),
        "front": [c.title for c in answer.front],
        "runners_up": {runner.axis: runner.candidate.title for runner in answer.runners_up},
        "costs": [
            {
                "constraint": item.constraint.title, "instead": item.instead.title if item.instead else None,
                "alone_leaves_out": item.alone,
            }
            for item in answer.costs
        ],
        "unjudged": [
            {"cell": one.candidate.title, "reason": one.reason, "advice": one.advice} for one in answer.unjudged
        ],
        "candidates": [_candidate(c, answer) for c in answer.candidates],
        "explained": list(advice.explained),
        "decide": advice.command,
    }  # fmt: skip
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _candidate(c: Candidate, answer: Recommendation) -> dict[str, Any]:
    figures = {axis: {"value": f.value, "low": f.low, "high": f.high} for axis, f in c.figures.items()}
    verdicts = zip(answer.question.constraints, c.verdicts, strict=True)
    return {
        "cell": c.title, "run": c.evidence.run.id, "key": c.evidence.record.key, "fits": c.fits(),
        "trust": c.evidence.record.trust, "accuracy_kind": c.evidence.accuracy.kind, "figures": figures,
        "verdicts": [{"constraint": k.title, "result": v.result, "said": v.said} for k, v in verdicts],
        "unjudged": c.unjudged,
    }  # fmt: skip


FORMS: Mapping[str, Callable[[Advice], str]] = {"markdown": markdown, "json": as_json}
