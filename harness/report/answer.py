"""What a page says first: the recommendation for each machine and batch size, with its reasons and the front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.deciding.recommend import Axis, Candidate, Question, Recommendation, recommend, show
from harness.report import advice, points
from harness.report.points import Point

_MOST, _CONTEXTS = 12, 6
_SHOWN: tuple[Axis, ...] = ("latency", "accuracy", "params", "size", "memory")


@dataclass(frozen=True)
class Answer:
    """One set of cells that may be compared: the pick, its reasons, the front, what else may be taken and what limits it."""

    title: str
    headline: str
    lines: tuple[str, ...] = ()
    caption: str = ""
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()


def of(cells: Sequence[Point]) -> tuple[Answer, ...]:
    """An answer for each machine and batch size; one that says so where nothing was measured."""
    found = list(points.contexts(cells).items())
    if not found:
        return (Answer("", "Nothing to choose from: no cell has a latency. The reasons are below."),)
    shown = [_answer(name, cells) for name, _ in found[:_CONTEXTS]]
    notes = ["Limits of your own (latency, memory, size, accuracy): backbench recommend RUN… --max-latency 10ms …"]
    if len(found) > len(shown):
        notes.insert(0, f"{len(found) - len(shown)} more machines or batch sizes are in the table of all cells.")
    return (*shown[:-1], replace(shown[-1], notes=(*shown[-1].notes, *notes)))


def _answer(context: str, cells: Sequence[Point]) -> Answer:
    members = [p for p in cells if p.context == context]
    found = recommend([p.evidence for p in members if p.evidence], Question())
    notes = []
    if len(found.front) > _MOST:
        notes.append(f"The {_MOST} first of {len(found.front)} cells on the front are shown.")
    if found.unjudged:
        often = Counter(one.reason for one in found.unjudged).most_common(3)
        reasons = "; ".join(f"{reason} ({count:,})" for reason, count in often)
        more = " and other reasons" if len({one.reason for one in found.unjudged}) > len(often) else ""
        notes.append(
            f"{len(found.unjudged):,} of {len(found.candidates):,} cells could not be judged: {reasons}{more}."
        )
    axes = [axis for axis in _SHOWN if any(axis in c.figures for c in found.front)]
    if "accuracy" in axes and "params" in axes:  # both do not fit on a page, and size says much the same
        axes.remove("params")
    return Answer(
        context, advice.headline(found) if found.pick else "No first choice: no cell could be judged.", found.reasons,
        f"Pareto front of {', '.join(found.question.words(axis) for axis in found.front_axes)}",
        ("cell", *(found.question.words(axis) for axis in axes), "speed-up [95 %]", "verdict", "best in"),
        tuple(_row(c, found, axes, members) for c in _front(found)), tuple(notes),
    )  # fmt: skip


def _front(found: Recommendation) -> list[Candidate]:
    """From fast to slow; the pick is among it even where a cell that cannot be told from it beats it."""
    chosen = [*found.front, *([found.pick] if found.pick and found.pick not in found.front else [])]
    return sorted(chosen, key=lambda c: c.figures["latency"].value)[:_MOST]


def _row(c: Candidate, found: Recommendation, axes: Sequence[Axis], members: Sequence[Point]) -> tuple[str, ...]:
    point = next(p for p in members if p.evidence is c.evidence)
    best = ["first choice"] if c is found.pick else []
    best += [found.question.words(axis) for axis in axes if _leads(c, axis, found.front)]
    figures = (point.accuracy_words if axis == "accuracy" else show(c, axis, found.question) for axis in axes)
    words = (_breaking_once(word) for word in (*figures, point.speedup_words))
    return (point.title, *words, point.verdict, ", ".join(best) or "–")


def _breaking_once(words: str) -> str:
    """A figure that breaks before its interval or its remark, and nowhere else."""
    kept = words.replace(" ", "\N{NO-BREAK SPACE}")
    return kept.replace("\N{NO-BREAK SPACE}[", " [").replace("\N{NO-BREAK SPACE}(", " (")


def _leads(c: Candidate, axis: Axis, front: Sequence[Candidate]) -> bool:
    sign = -1 if axis == "accuracy" else 1
    known = [sign * other.figures[axis].value for other in front if axis in other.figures]
    return axis in c.figures and c in front and sign * c.figures[axis].value == min(known)
