"""Targets: the cells of a run that a targets file names, judged; and a plan of exactly these cells."""

from __future__ import annotations

import difflib
import fnmatch
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import again, device_names, interpreter, plan, registry, spec
from harness.deciding.evidence import Evidence
from harness.deciding.figures import Decide
from harness.deciding.limits import Limit, Result, Verdict, judge
from harness.deciding.targets_file import Target, Targets, TargetSpec
from harness.model import Backbone, Cell
from harness.record import Plan

_NEEDS_BASELINE = ("speedup", "accuracy_drop")


@dataclass(frozen=True)
class Check:
    """One limit on one cell, with its verdict."""

    target: str
    """Backbone and cell."""
    limit: Limit
    verdict: Verdict
    trust: str = ""
    run: str = ""


# ── against a run ─────────────────────────────────────────────────────────────────────────────────────────────────


def check(targets: Targets, evidence: Sequence[Evidence]) -> tuple[Check, ...]:
    """Every limit on every cell that a target names; a target that no cell matches is inconclusive as a whole."""
    checks: list[Check] = []
    for target in targets.targets:
        mine = [one for one in evidence if matches(target.asked, one.record.cell)]
        for limit in target.limits:
            for one in mine:
                trust = one.record.trust or ""
                checks.append(Check(one.title, limit, judge(limit, one), trust, one.run.id))
            if not mine:
                said = f"no cell of the run is {target.title}{_near(target, evidence)}"
                verdict = Verdict("INCONCLUSIVE", said, decide=_measure(target))
                checks.append(Check(target.title, limit, verdict))
    return tuple(checks)


def matches(asked: TargetSpec, cell: Cell) -> bool:
    """Whether the target names this cell: what the target leaves open (threads, weights, input size) may be anything."""
    name = Path(asked.backbone).stem if asked.backbone.endswith(".onnx") else asked.backbone
    exact = (
        cell.runtime == asked.runtime
        and cell.precision == asked.precision
        and cell.batch == asked.batch
        and asked.device in (cell.device, cell.device.partition(":")[0])
        and dict(cell.options) == _differing(asked)
    )
    left_open = (
        asked.threads in (None, cell.threads)
        and asked.input_size in (None, cell.backbone.input_size)
        and asked.weights in (None, cell.backbone.weights, Path(cell.backbone.weights).name)
        and (asked.python is None or cell.python == interpreter.path_of(asked.python))
    )
    return exact and left_open and fnmatch.fnmatchcase(cell.backbone.name, name)


def _differing(asked: TargetSpec) -> dict[str, Any]:
    known = registry.runtime_class(asked.runtime).options
    return {name: value for name, value in asked.options.items() if value != known[name]}


def _near(target: Target, evidence: Sequence[Evidence]) -> str:
    titles = list(dict.fromkeys(one.title for one in evidence))
    near = difflib.get_close_matches(target.title, titles, n=2, cutoff=0.75)
    return f"; near: {', '.join(near)}" if near else ""


def _measure(target: Target) -> Decide:
    asked = target.asked
    backbone = Backbone(asked.backbone, weights=asked.weights or "random", input_size=asked.input_size or 0)
    cell = Cell(
        backbone, asked.runtime, asked.precision, asked.batch, device_names.numbered(asked.device), asked.threads or 0,
        _differing(asked), python=interpreter.path_of(asked.python or ""),
    )  # fmt: skip
    return Decide(advice=shlex.join(["backbench", "run", *again.options([cell])]))


def overall(checks: Sequence[Check]) -> Result:
    """FAIL where any limit fails, else INCONCLUSIVE where any is or none was judged, else PASS."""
    results = {check.verdict.result for check in checks}
    return "FAIL" if "FAIL" in results else "PASS" if results == {"PASS"} else "INCONCLUSIVE"


# ── as a plan ─────────────────────────────────────────────────────────────────────────────────────────────────────


def planned(targets: Targets, sources: plan.Sources, rules: Mapping[str, Any]) -> Plan:
    """A plan of exactly the cells that the targets name, and of baselines where a limit needs one.

    `rules` replace those of the file. Raises `PlanInvalid`.
    """
    merged = targets.rules.model_dump() | dict(rules)
    return plan.merge(targets.name, [_resolved(target, merged, sources) for target in targets.targets])


def _resolved(target: Target, rules: Mapping[str, Any], sources: plan.Sources) -> Plan:
    asked = target.asked
    data = {
        "backbones": [asked.backbone],
        "runtimes": [{"name": asked.runtime, "options": asked.options, "python": asked.python or ""}],
        "precisions": [asked.precision], "batches": [asked.batch],
        "devices": [device_names.numbered(asked.device)], "rules": rules,
    }  # fmt: skip
    for name in ("threads", "weights", "input_size"):
        if (value := getattr(asked, name)) is not None:
            data[name] = value
    made = plan.resolve(spec.check(data), sources)
    if any(limit.metric in _NEEDS_BASELINE for limit in target.limits):
        return made
    return plan.only(made, lambda cell: cell.runtime == asked.runtime and cell.precision == asked.precision)
