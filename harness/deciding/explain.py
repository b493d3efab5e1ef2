"""Why a backbone was not recommended: its cells against every constraint, and against the pick."""

from __future__ import annotations

import fnmatch

from harness.deciding import pareto
from harness.deciding.recommend import Candidate, Recommendation, show


def explain(answer: Recommendation, model: str) -> list[str]:
    """Why a backbone (or `BACKBONE RUNTIME`, wildcards allowed) was left out, cell by cell; empty where none is so called."""
    lines = []
    for c in answer.candidates:
        if not (fnmatch.fnmatchcase(c.evidence.record.cell.backbone.name, model) or _called(c, model)):
            continue
        lines.append(f"{c.title}: {_fate(c, answer)}")
        for constraint, verdict in zip(answer.question.constraints, c.verdicts, strict=True):
            lines.append(f"  {constraint.title}: {verdict.result}: {verdict.said}")
    return lines


def _called(candidate: Candidate, model: str) -> bool:
    return fnmatch.fnmatchcase(candidate.title, f"{model}*") and " " in model


def _fate(c: Candidate, answer: Recommendation) -> str:
    pick, question = answer.pick, answer.question
    if c is pick:
        return "the pick: " + "; ".join(answer.reasons)
    if c.unjudged:
        return f"could not be judged: {c.unjudged}"
    if c.failing:
        return "left out by " + " and ".join(question.constraints[i].title for i in c.failing)
    if not c.fits():
        return "could not be judged: " + next(v.said for v in c.verdicts if v.result == "INCONCLUSIVE")
    axis = question.prefer
    if pick is None:
        return f"fits, but {'; '.join(answer.reasons)}"
    if "accuracy" in pick.figures and "accuracy" not in c.figures:
        why = f"of {c.other_images}, and others' is not" if c.other_images else "unknown while others' is known"
        return f"fits, but its accuracy is {why}"
    if answer.accuracy_known and axis != "accuracy":
        top = max(x.figures["accuracy"].value for x in answer.candidates if x.fits() and "accuracy" in x.figures)
        below = top - c.figures["accuracy"].value
        if below > question.margin:
            return f"fits, but is {100 * below:.1f} points below the most accurate that fits"
    place = "on the front" if c in answer.front else f"not on the front{_beaten_by(c, answer)}"
    against = f"{question.words(axis)} {show(c, axis, question)} against {show(pick, axis, question)} of {pick.title}"
    return f"fits, {place}; {against}"


def _beaten_by(c: Candidate, answer: Recommendation) -> str:
    directions: dict[str, pareto.Direction] = {a: "max" if a == "accuracy" else "min" for a in answer.front_axes}

    def point(x: Candidate) -> dict[str, float | None]:
        return {axis: figure.value for axis, figure in x.figures.items()}

    better = next((x for x in answer.front if pareto.dominates(point(x), point(c), directions)), None)
    return f" ({better.title} is at least as good on {', '.join(answer.front_axes)})" if better else ""
