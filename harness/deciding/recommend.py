"""Which backbone first: the front after constraints, one pick with its reasons, and what every constraint cost. Pure.

There is no score. A constraint leaves cells out; what is left is compared on named axes: within `margin` of the most
accurate, the best on `prefer`; cells that the intervals do not tell apart are decided by accuracy, then size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness import checks
from harness.deciding import pareto
from harness.deciding.constraints import Constraint, Within
from harness.deciding.evidence import Evidence
from harness.deciding.figures import METRICS, Doubtful, Figure, Missing, in_words, read
from harness.deciding.limits import Verdict

Axis = Literal["latency", "accuracy", "memory", "size", "params"]
AXES: tuple[Axis, ...] = ("latency", "accuracy", "memory", "size", "params")
_FRONT: tuple[Axis, ...] = ("latency", "accuracy", "memory", "size")
_WORDS: Mapping[Axis, str] = {
    "latency": "fastest", "accuracy": "most accurate", "memory": "least memory", "size": "smallest artifact",
    "params": "fewest parameters",
}  # fmt: skip

_CAREFUL = {"caution": "with caution", "untrusted": "untrusted, though not in what decided"}
_RANGED = "untrusted, and judged by the range in which it moved"


@dataclass(frozen=True)
class Question:
    """What is asked for."""

    constraints: tuple[Constraint, ...] = ()
    percentile: str = "median"
    scope: Literal["compute", "end_to_end"] = "compute"
    prefer: Axis = "latency"
    margin: float = 0.01
    """How far below the most accurate that fits a pick may be (share: 0.01 is one point)."""

    def metric(self, axis: Axis) -> tuple[str, str]:
        """Name of the axis's metric in `harness.deciding.limits`, and its percentile."""
        if axis == "latency":
            return ("latency" if self.scope == "compute" else "end_to_end"), self.percentile
        return {"size": "artifact_size"}.get(axis, axis), ""

    def words(self, axis: Axis) -> str:
        """`latency p90`, `memory`."""
        metric, percentile = self.metric(axis)
        name = {"artifact_size": "size", "params": "parameters"}.get(metric, metric.replace("end_to_end", "end-to-end"))
        return f"{name} {percentile}".rstrip()


@dataclass(frozen=True)
class Candidate:
    """A cell with its figures on the axes and the verdict of every constraint."""

    evidence: Evidence
    figures: Mapping[Axis, Figure]
    verdicts: tuple[Verdict, ...]
    unjudged: str = ""
    """Why it cannot be judged at all; empty where it can."""
    advice: str = ""
    """What would make it possible."""
    other_images: str = ""
    """The images that its accuracy is of, where they are not those of the others: it is none of its figures then."""

    @property
    def title(self) -> str:
        """`resnet50 ort_cpu fp32 b1`."""
        return self.evidence.title

    @property
    def images(self) -> tuple[str, str]:
        """What its accuracy is of: accuracies of other images are not compared."""
        known = self.evidence.accuracy
        return known.kind, known.source if known.kind == "measured" else ""  # all published ones are of ImageNet-1k

    def fits(self, without: int | None = None) -> bool:
        """Whether it keeps every constraint (but number `without`)."""
        kept = all(v.result == "PASS" for i, v in enumerate(self.verdicts) if i != without)
        return kept and not self.unjudged

    @property
    def failing(self) -> tuple[int, ...]:
        """Numbers of the constraints that it does not keep."""
        return tuple(i for i, verdict in enumerate(self.verdicts) if verdict.result == "FAIL")


@dataclass(frozen=True)
class RunnerUp:
    """The best on one axis beside the pick."""

    axis: Axis
    candidate: Candidate


@dataclass(frozen=True)
class Cost:
    """What one constraint cost: the pick without it, where that is another."""

    constraint: Constraint
    instead: Candidate | None
    alone: int
    """Cells that it alone leaves out."""


@dataclass(frozen=True)
class Unjudged:
    """A cell that could be neither recommended nor left out, with the reason and what would decide it."""

    candidate: Candidate
    reason: str
    advice: str = ""


@dataclass(frozen=True)
class Recommendation:
    """The whole answer."""

    question: Question
    candidates: tuple[Candidate, ...]
    pick: Candidate | None
    reasons: tuple[str, ...] = ()
    front: tuple[Candidate, ...] = ()
    front_axes: tuple[Axis, ...] = ()
    runners_up: tuple[RunnerUp, ...] = ()
    costs: tuple[Cost, ...] = ()
    unjudged: tuple[Unjudged, ...] = ()
    not_applied: tuple[Constraint, ...] = field(default=())
    """Constraints that nothing is known about for any cell."""

    @property
    def accuracy_known(self) -> bool:
        """Whether accuracy took part."""
        return any("accuracy" in c.figures for c in self.candidates if c.fits())


def recommend(evidence: Sequence[Evidence], question: Question) -> Recommendation:
    """The answer to `question` from cells that are comparable (one machine, one batch)."""
    applied, idle = _applicable(evidence, question)
    asked = Question(applied, question.percentile, question.scope, question.prefer, question.margin)
    candidates = _of_one_set([_candidate(one, asked) for one in evidence])
    fits = [c for c in candidates if c.fits()]
    pick, reasons = choose(fits, asked)
    axes = _front_axes(fits)
    points: list[pareto.Point] = [{a: c.figures[a].value for a in axes if a in c.figures} for c in fits]
    directions: dict[str, pareto.Direction] = {axis: "max" if axis == "accuracy" else "min" for axis in axes}
    front = tuple(fits[i] for i in pareto.front(points, directions)) if fits else ()
    return Recommendation(
        asked, candidates, pick, reasons, front, axes, _runners_up(fits, pick), _costs(candidates, asked, pick),
        tuple(_unjudged(candidates)), idle,
    )  # fmt: skip


def _applicable(
    evidence: Sequence[Evidence], question: Question
) -> tuple[tuple[Constraint, ...], tuple[Constraint, ...]]:
    """Constraints that can be applied, and those on accuracy where it is unknown for every cell."""
    known = any(one.accuracy.kind != "unknown" for one in evidence)
    idle = [c for c in question.constraints if isinstance(c, Within) and c.limit.metric == "accuracy" and not known]
    return tuple(c for c in question.constraints if c not in idle), tuple(idle)


def _candidate(evidence: Evidence, question: Question) -> Candidate:
    record = evidence.record
    verdicts = tuple(constraint.verdict(evidence) for constraint in question.constraints)
    if record.outcome != "ok":
        return Candidate(evidence, {}, verdicts, f"{record.outcome.replace('_', ' ')}: {record.reason}")
    figures: dict[Axis, Figure] = {}
    for axis in AXES:
        metric, percentile = question.metric(axis)
        found = read(METRICS[metric], evidence, percentile)
        if isinstance(found, Figure):
            figures[axis] = found
        elif isinstance(found, Doubtful) and axis != "accuracy":
            return Candidate(evidence, figures, verdicts, f"untrusted: {found.seen}", found.advice)
        elif isinstance(found, Missing) and axis == "latency":
            return Candidate(evidence, figures, verdicts, found.reason)
    return Candidate(evidence, figures, verdicts)


def _of_one_set(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Accuracies of one set of images alone: of what was measured here, and of what most cells that fit are known on."""
    sets = Counter(c.images for c in candidates if c.fits() and "accuracy" in c.figures)
    if not sets:
        return tuple(candidates)
    chosen = max(sets, key=lambda of: (of[0] == "measured", sets[of]))

    def kept(c: Candidate) -> Candidate:
        if "accuracy" not in c.figures or c.images == chosen:
            return c
        figures: dict[Axis, Figure] = {axis: figure for axis, figure in c.figures.items() if axis != "accuracy"}
        return replace(c, figures=figures, other_images=c.evidence.accuracy.source)

    return tuple(map(kept, candidates))


# ── the pick ──────────────────────────────────────────────────────────────────────────────────────────────────────


def choose(fits: Sequence[Candidate], question: Question) -> tuple[Candidate | None, tuple[str, ...]]:
    """One of the cells that fit, with the reasons in plain words."""
    pool = [c for c in fits if "accuracy" in c.figures] or list(fits)
    if not pool:
        return None, ()
    reasons, among = [], "that fits"
    if any("accuracy" in c.figures for c in pool) and question.prefer != "accuracy":
        best = max(pool, key=lambda c: c.figures["accuracy"].value)
        top = best.figures["accuracy"].value
        pool = [c for c in pool if c.figures["accuracy"].value >= top - question.margin]
        kind = best.evidence.accuracy.kind
        among = (
            f"within {100 * question.margin:g} point{'s' * (question.margin != 0.01)} of the most accurate that fits "
            f"({best.title}, {top:.1%}, {kind})"
        )
    pool = [c for c in pool if question.prefer in c.figures]
    if not pool:
        return None, (f"{question.words(question.prefer)} is unknown for every cell that fits",)
    first = min(pool, key=lambda c: _key(c, question.prefer))
    alike = [c for c in pool if _overlap(c.figures[question.prefer], first.figures[question.prefer])]
    pick = min(alike, key=_tie_break)
    reasons.append(
        f"{_WORDS[question.prefer]} {among}: {question.words(question.prefer)} {show(pick, question.prefer, question)}"
    )
    if others := [c for c in alike if c is not pick]:
        reasons.append(_tie(pick, others, question))
    if not any("accuracy" in c.figures for c in fits):
        reasons.append(
            "accuracy unknown: nothing measured it, so this says which is cheapest, not which is good enough"
        )
    if (word := _care(pick, question)) is not None:
        seen = "; ".join(f.seen for f in pick.evidence.record.findings if f.level != "trusted")
        reasons.append(f"{word}: {seen}")
    return pick, tuple(reasons)


def _care(pick: Candidate, question: Question) -> str | None:
    """How far the pick's record is to be trusted, in words; None where it is."""
    record = pick.evidence.record
    if checks.doubts(record, METRICS[question.metric(question.prefer)[0]].of):
        return _RANGED  # whatever else is doubtful is no figure
    return _CAREFUL.get(record.trust or "")


def _tie(pick: Candidate, others: Sequence[Candidate], question: Question) -> str:
    names = ", ".join(f"{c.title} ({show(c, question.prefer, question)})" for c in others[:3])
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    deciding: tuple[Axis, ...] = ("accuracy", "size", "memory")
    by = next((axis for axis in deciding if _decides(pick, others, axis)), None)
    decided = f"; taken for its {question.words(by)} {show(pick, by, question)}" if by else ""
    return f"{question.words(question.prefer)} does not tell it from {names}{more}{decided}"


def _decides(pick: Candidate, others: Sequence[Candidate], axis: Axis) -> bool:
    return axis in pick.figures and any(
        axis in c.figures and c.figures[axis].value != pick.figures[axis].value for c in others
    )


def _key(candidate: Candidate, axis: Axis) -> float:
    """The figure, turned so that less is better."""
    value = candidate.figures[axis].value
    return -value if axis == "accuracy" else value


def _tie_break(candidate: Candidate) -> tuple[float, float, float, str]:
    def of(axis: Axis) -> float:
        return _key(candidate, axis) if axis in candidate.figures else float("inf")

    return of("accuracy"), of("size"), of("memory"), candidate.title


def _overlap(one: Figure, other: Figure) -> bool:
    return one.low <= other.high and other.low <= one.high


def show(candidate: Candidate, axis: Axis, question: Question) -> str:
    """A figure of a candidate in words, with its interval; `unknown` where there is none."""
    if axis not in candidate.figures:
        return "unknown"
    return in_words(METRICS[question.metric(axis)[0]], candidate.figures[axis])


# ── beside the pick ───────────────────────────────────────────────────────────────────────────────────────────────


def _front_axes(fits: Sequence[Candidate]) -> tuple[Axis, ...]:
    return tuple(axis for axis in _FRONT if any(axis in c.figures for c in fits)) or ("latency",)


def _runners_up(fits: Sequence[Candidate], pick: Candidate | None) -> tuple[RunnerUp, ...]:
    found = []
    for axis in AXES:
        others = [c for c in fits if c is not pick and axis in c.figures]
        if pick is not None and others:
            best = min(_key(c, axis) for c in others)
            found.append(RunnerUp(axis, min((c for c in others if _key(c, axis) == best), key=_tie_break)))
    return tuple(found)


def _costs(candidates: Sequence[Candidate], question: Question, pick: Candidate | None) -> tuple[Cost, ...]:
    costs = []
    for i, constraint in enumerate(question.constraints):
        instead, _ = choose([c for c in candidates if c.fits(without=i)], question)
        alone = sum(c.failing == (i,) and not c.unjudged for c in candidates)
        costs.append(Cost(constraint, instead if instead is not pick else None, alone))
    return tuple(costs)


def _unjudged(candidates: Sequence[Candidate]) -> list[Unjudged]:
    """Cells that no constraint rules out, and that could not be judged all the same."""
    known = any("accuracy" in c.figures for c in candidates if c.fits())
    found = []
    for c in candidates:
        record = c.evidence.record
        ruled_out = [i for i in c.failing if not c.unjudged]
        if c.unjudged:
            found.append(Unjudged(c, c.unjudged, record.hint or c.advice))
        elif not ruled_out and (open_ := [v for v in c.verdicts if v.result == "INCONCLUSIVE"]):
            found.append(Unjudged(c, open_[0].said, str(open_[0].decide)))
        elif c.fits() and known and "accuracy" not in c.figures:
            why = f"is of {c.other_images}, and others' is not" if c.other_images else "unknown, while others' is known"
            found.append(Unjudged(c, f"accuracy {why}"))
    return found
