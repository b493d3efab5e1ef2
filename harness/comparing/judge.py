"""The verdict on each pair of cells, in the light of the others: cells without a change show what runs differ by."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness import checks, registry, stats
from harness.comparing import difference, pairing, rank
from harness.comparing.comparable import said
from harness.comparing.comparison import By, Comparison, Estimate, Overall, Status, Verdict
from harness.comparing.difference import NONE, Difference, Part, Rounds
from harness.comparing.pairing import Measured, Pair
from harness.model import Scope
from harness.record import Interval, Record

ALPHA = 0.05
"""p-value of the rank test below which the rounds of two sides are apart."""


@dataclass(frozen=True)
class How:
    """What counts as a difference."""

    scope: Scope = "compute"
    effect: float = 0.03
    """Least change of latency that counts: 0.03 is 3 %."""
    level: float = 0.95
    force: frozenset[str] = frozenset()
    """Fields of `comparable.FIELDS` that may differ."""


def verdict(estimate: Estimate, effect: float) -> Verdict:
    """The rule of `harness.comparing.compare`'s head, applied to an estimate."""
    ratio, least = estimate.ratio, math.log1p(effect)
    low, centre, high = math.log(ratio.low), math.log(ratio.value), math.log(ratio.high)
    if -least < low and high < least:
        return "same"
    if (low > 0 or high < 0) and abs(centre) >= least and estimate.p < ALPHA:
        return "slower" if centre > 0 else "faster"
    return "cant_tell"


def untrusted(base: Record, new: Record, of: checks.Of) -> str:
    """Why a figure of either side is not to be trusted; empty where both are."""
    for side, record in (("BASE", base), ("NEW", new)):
        if doubts := pairing.doubts(record, of):
            return f"{side} is untrusted: {doubts[0].seen}"
    return ""


_WAYS: tuple[By, By] = ("latency", "speedup")


def _ran(pair: Pair) -> bool:
    """Whether both sides were measured to their end: one that was lost on the way has samples, and no latency."""
    return pair.base.outcome == pair.new.outcome == "ok"


class Judge:
    """Judges pairs; `rounds` and `differences` by what the ratio is taken of, then by the key in BASE."""

    def __init__(self, base: Sequence[Measured], new: Sequence[Measured], pairs: Sequence[Pair], how: How) -> None:
        self.base, self.new, self.how = base, new, how
        self.pairs = {pair.base.key: pair for pair in pairs}
        able = [pair for pair in pairs if not pair.differs and _ran(pair)]
        self.rounds = {by: {pair.base.key: self._rounds(pair, by) for pair in able} for by in _WAYS}
        self.differences: dict[By, Mapping[str, Difference]] = {}
        for by in _WAYS:  # latencies first: what a baseline's own shifted by says how well a speed-up cancels
            self.differences[by] = self._differences(by)

    def _rounds(self, pair: Pair, by: By) -> tuple[Rounds, Rounds]:
        if by == "latency":
            return pairing.latencies(self.base, pair.base), pairing.latencies(self.new, pair.new)
        reference = self.pairs.get(pair.base.baseline)
        if pair.base.is_baseline or pair.new.is_baseline or reference is None or not reference.unchanged:
            return (), ()
        if reference.new.key != pair.new.baseline or not _ran(reference):
            return (), ()
        return pairing.relative(self.base, pair.base), pairing.relative(self.new, pair.new)

    def _differences(self, by: By) -> Mapping[str, Difference]:
        alone = {
            key: difference.between(base, new, self._prior(by, key))
            for key, (base, new) in self.rounds[by].items()
            if base and new
        }
        if self.base[0].run.id == self.new[0].run.id:  # a run and itself: there is nothing that could differ
            return {key: replace(found, parts=dict.fromkeys(found.parts, NONE)) for key, found in alone.items()}
        shifts = {runtime: self._shifts(alone, runtime) for runtime in {self._runtime(key) for key in alone}}
        return {key: found.seeing(shifts[self._runtime(key)]) for key, found in alone.items()}

    def _prior(self, by: By, key: str) -> difference.Prior:
        if by == "latency":
            return difference.latency_prior(self._calm(key), self.rounds[by][key])
        baseline = self.differences["latency"][self.pairs[key].base.baseline]
        return difference.speedup_prior(self._calm(key), baseline.log)

    def _calm(self, key: str) -> bool:
        pair = self.pairs[key]
        sides = ((self.base, pair.base.key), (self.new, pair.new.key))
        return all(name in run.calm for runs, name in sides for run in runs if name in run.medians)

    def _runtime(self, key: str) -> str:
        return self.pairs[key].base.cell.runtime

    def _shifts(self, known: Mapping[str, Difference], runtime: str) -> list[float]:
        """What unchanged cells of other runtimes show, a figure per group: its cells were measured at one time."""
        groups: dict[str, list[float]] = {}
        for key, found in known.items():
            if self.pairs[key].unchanged and self._runtime(key) != runtime:
                groups.setdefault(self.pairs[key].base.group, []).append(found.shift)
        return [statistics.fmean(shown) for shown in groups.values()]

    def _estimate(self, pair: Pair, by: By) -> Estimate | None:
        if (found := self.differences[by].get(pair.base.key)) is None:
            return None
        base, new = self.rounds[by][pair.base.key]
        flat = [[value for run in side for process in run for value in process] for side in (base, new)]
        return Estimate(
            by,
            found.interval(self.how.level),
            rank.mann_whitney(flat[0], flat[1]),
            (len(flat[0]), len(flat[1])),
            (len(base), len(new)),
            {name: part.variance for name, part in found.parts.items()},
        )

    def comparison(self, pair: Pair) -> Comparison:
        """The verdict on a pair, with what it rests on."""
        latency, speedup = self._estimate(pair, "latency"), self._estimate(pair, "speedup")
        return conclude(pair, speedup or latency, latency if speedup else None, self.how)

    def overall(self) -> tuple[Overall, ...]:
        """Geometric means by what cells are judged by; where some are judged by a baseline, that one is left to `drift`."""
        relative = self.differences["speedup"]
        used = {self.pairs[key].base.baseline for key in relative}
        rest = [key for key in self.differences["latency"] if key not in relative and key not in used]
        return tuple(self._mean(by, keys) for by, keys in _both(list(relative), rest) if keys)

    def drift(self) -> Overall | None:
        """Geometric mean of unchanged baselines' latencies."""
        keys = [k for k in self.differences["latency"] if self.pairs[k].unchanged and self.pairs[k].base.is_baseline]
        return self._mean("latency", keys) if keys else None

    def _mean(self, by: By, keys: Sequence[str]) -> Overall:
        """Cells of a group share rounds and time, and all cells the runs: taken as wholly dependent."""
        found = {key: self.differences[by][key] for key in keys}
        groups: dict[str, list[float]] = {}
        for key, one in found.items():
            groups.setdefault(self.pairs[key].base.group, []).append(math.sqrt(one.own_variance))
        own = math.fsum(math.fsum(sds) ** 2 for sds in groups.values()) / len(keys) ** 2
        runs = statistics.fmean(math.sqrt(one.parts["runs"].variance) for one in found.values()) ** 2
        df = [min(one.parts[level].df for one in found.values()) for level in ("processes", "runs")]
        reach = difference.half_width((Part(own, df[0]), Part(runs, df[1])), self.how.level)
        return _overall(by, [one.log for one in found.values()], reach, self.how.level)


def _both(relative: list[str], rest: list[str]) -> tuple[tuple[By, list[str]], ...]:
    return ("speedup", relative), ("latency", rest)


def _overall(by: By, logs: Sequence[float], reach: float, level: float) -> Overall:
    centre = statistics.fmean(logs)
    ratio = Interval(math.exp(centre), math.exp(centre - reach), math.exp(centre + reach), level)
    return Overall(by, len(logs), ratio)


def conclude(pair: Pair, best: Estimate | None, latency: Estimate | None, how: How) -> Comparison:
    """What is said of a pair for which `best` is the estimate."""
    base, new = pair.base, pair.new
    status, reason = _status(pair, best)
    found: Verdict | None = None
    if best is not None and status == "compared":
        found = verdict(best, how.effect)
        if doubt := untrusted(base, new, "latency" if best.by == "latency" else "speedup"):
            found, reason = "cant_tell", doubt
        elif found == "cant_tell":
            reason = _why(best, how.effect)
        elif found != "same" and pair.unchanged and best.by != "in_turn" and min(best.runs) < 2:
            found, reason = "cant_tell", f"it moved, and nothing of it that is recorded changed → {_ADVICE['runs']}"
    return Comparison(
        base.cell.backbone.name, base.cell.title, status, found, reason, base.cell, new.cell, base.key, new.key,
        median_ns(base, how.scope), median_ns(new, how.scope), best, latency, pair.differs, pair.forced, pair.changes,
    )  # fmt: skip


def _status(pair: Pair, best: Estimate | None) -> tuple[Status, str]:
    base, new = pair.base, pair.new
    if pair.differs:
        return "not_comparable", "; ".join(map(said, pair.differs))
    ran = (base.outcome == "ok", new.outcome == "ok")
    if ran != (True, True):
        lost = base if ran == (False, True) else new
        status: Status = "broken" if ran[0] else "mended" if ran[1] else "failed"
        return status, f"{lost.outcome.replace('_', ' ')}: {lost.reason}"
    if best is None:
        return "not_comparable", "its raw samples are missing from one of the runs"
    return "compared", ""


_SOURCES: Mapping[str, str] = {
    "rounds": "its rounds scatter",
    "processes": "processes differ",
    "runs": "two runs of a machine may differ",
}
_ADVICE: Mapping[str, str] = {
    "rounds": "measure longer (--budget)",
    "processes": "measure in more processes (--processes)",
    "runs": "measure both in turn (backbench compare --live), or give repeats (--base-repeat, --new-repeat)",
}


def _why(estimate: Estimate, effect: float) -> str:
    ratio = estimate.ratio
    if not ratio.low <= 1 <= ratio.high:
        if abs(math.log(ratio.value)) < math.log1p(effect):
            return f"it moved, and whether by {effect:.1%} is not known → {_ADVICE['rounds']}"
        return f"the rounds overlap → {_ADVICE['rounds']}"
    part = max(estimate.variance, key=lambda name: estimate.variance[name])
    return f"{_SOURCES[part]} by more than the {effect:.1%} asked for → {_ADVICE[part]}"


# ── measured in turn ──────────────────────────────────────────────────────────────────────────────────────────────


def in_turn(pairs: Sequence[Pair], measured: Measured, how: How) -> tuple[tuple[Comparison, ...], tuple[Overall, ...]]:
    """The verdicts on cells that one run measured in turn, and the geometric mean of their ratios."""
    found: list[tuple[Pair, Estimate | None]] = []
    for pair in pairs:
        runs = pairing.relative((measured,), pair.new)
        found.append((pair, _paired(runs[0], how.level, _process_sd(pair)) if runs else None))
    known = [estimate.ratio for _, estimate in found if estimate is not None]
    reach = math.sqrt(math.fsum((math.log(ratio.high / ratio.low) / 2) ** 2 for ratio in known)) / max(1, len(known))
    overall = (_overall("in_turn", [math.log(ratio.value) for ratio in known], reach, how.level),) if known else ()
    return tuple(conclude(pair, estimate, None, how) for pair, estimate in found), overall


def _process_sd(pair: Pair) -> float:
    """How much the log of a pair's ratio differs from one process to the next, before anything is seen."""
    return math.hypot(*(registry.process_sd(record.cell.runtime) for record in (pair.base, pair.new)))


def _paired(logs: Sequence[Sequence[float]], level: float, process_sd: float) -> Estimate:
    ratio = stats.ratio_interval(logs, level=level, process_sd=process_sd)
    flat = [value for process in logs for value in process]
    total = (math.log(ratio.high / ratio.low) / 2 / statistics.NormalDist().inv_cdf((1 + level) / 2)) ** 2
    processes = min(stats.between_variance(logs, 0.0, process_sd) / len(logs), total)
    variance = {"rounds": total - processes, "processes": processes}
    return Estimate("in_turn", ratio, rank.sign_test(flat), (len(flat), len(flat)), (1, 1), variance)


def median_ns(record: Record, scope: Scope) -> float | None:
    """Median of all samples of a scope, in ns; None where it has none."""
    return record.latency[scope].median_ns if scope in record.latency else None
