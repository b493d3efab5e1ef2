"""`backbench recommend`: which backbone first, under constraints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from harness import again
from harness.cli.exits import FAILED, UNDECIDED, VerdictCommand, warn_unfinished
from harness.cli.matrix import Quantity, python_option
from harness.cli.output import form_of
from harness.model import PRECISIONS

if TYPE_CHECKING:
    from rich.console import Console

    from harness.deciding.constraints import Constraint
    from harness.deciding.evidence import Evidence
    from harness.deciding.recommend import Question, Recommendation
    from harness.report.advice import Advice

FORMATS = ("text", "markdown", "json")
_PERCENTILES = ("median", "p90", "p95", "p99", "p99.9")
_AXES = ("latency", "accuracy", "memory", "size", "params")

_CONSTRAINTS = (
    click.option("--max-latency", type=Quantity("TIME", "limit_seconds"), help="At --percentile of --scope: 10ms."),
    click.option("--percentile", type=click.Choice(_PERCENTILES), default="median", show_default=True),
    click.option("--scope", type=click.Choice(("compute", "end_to_end")), default="compute", show_default=True),
    click.option("--max-memory", type=Quantity("SIZE", "limit_size"), help="Most resident memory of the process: 300MB."),
    click.option("--max-size", type=Quantity("SIZE", "limit_size"), help="Of the artifact's files: 50MB."),
    click.option("--max-params", type=Quantity("COUNT", "count"), help="Parameters of the backbone: 25M."),
    click.option("--min-accuracy", type=Quantity("PCT", "fraction"), help="Top-1: 76%."),
    click.option("--accuracy-margin", type=Quantity("PCT", "fraction"), default=0.01, show_default="1%",
                 help="How far below the most accurate that fits the pick may be."),
    click.option("--prefer", type=click.Choice(_AXES), default="latency", show_default=True,
                 help="The axis that the pick is best on."),
    click.option("--device", "devices", multiple=True, metavar="D", help="Only on this device (cpu, cuda:0); repeatable."),
    click.option("-r", "--runtime", "runtimes", multiple=True, metavar="RUNTIME", help="Only in this runtime; repeatable."),
    click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS), help="Repeatable."),
    click.option("--batch", type=click.IntRange(1), help="Images per inference. Default: 1, or the only one there is."),
)  # fmt: skip


def _constraints(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_CONSTRAINTS):
        function = option(function)
    return function


@click.command("recommend", cls=VerdictCommand, short_help="Say which backbone to take first, and why.")
@click.argument("runs", nargs=-1, metavar="[RUN]…", type=click.Path(path_type=Path))
@_constraints
@click.option("--explain", metavar="MODEL", help="Say why this backbone (or 'BACKBONE RUNTIME') was left out.")
@click.option(
    "--models",
    multiple=True,
    metavar="PLAN|NAME",
    help="Measure these first: first-choice (20 backbones), a plan file, or a timm name or wildcard; repeatable.",
)
@python_option
@click.option("--budget", type=Quantity("TIME", "seconds"), help="With --models: measuring time per cell.")
@click.option("--processes", type=click.IntRange(1, 100), help="With --models: fresh processes per cell.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="With --models: results folder.")
@click.option("--resume", is_flag=True, help="With --models: finish the run in --out.")
@click.option("--jobs", type=click.IntRange(1), help="With --models: exports side by side.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before a large plan.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="text, unless the name of the output file (.md, .json) says another.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")  # fmt: skip
def command(
    runs: tuple[Path, ...], models: tuple[str, ...], explain: str | None, form: str | None, as_json: bool,
    output: Path | None, **asked: Any,
) -> None:  # fmt: skip
    """Recommend one backbone from the results folders RUN…, or from what --models measures.

    Constraints leave cells out; within --accuracy-margin of the most accurate that fits, the pick is the best on --prefer.
    There is no score. What each constraint cost, and what could not be judged and why, is part of the answer.

    \b
      backbench recommend results/quickstart --max-latency 10ms --percentile p90 --max-memory 200MB
      backbench recommend results/quickstart --max-latency 10ms --explain resnet50
      backbench recommend --models first-choice --max-latency 20ms

    \b
    Exit codes: 0 a recommendation · 1 no cell keeps every constraint · 2 none known to, but some could not be judged,
                or a constraint could not be applied · 64 the command or a folder cannot be used · 70 measuring failed
    """
    from rich.console import Console

    from harness.deciding import evidence
    from harness.deciding.recommend import recommend
    from harness.report.advice import Advice

    form = form_of("json" if as_json else form, output, FORMATS)
    if bool(runs) == bool(models):
        said = "give one of them, not both" if runs else "nothing to choose from: give one of them"
        raise click.UsageError(f"{said}: results folders (backbench recommend RUN…) or --models (first-choice)")
    folders = (_measured(models, asked, Console(stderr=True)),) if models else runs
    if runs:
        _refuse_measuring_options(asked)
    read = evidence.read(folders)
    _check_names(asked, read)
    found = _comparable(read, asked["batch"])
    warn_unfinished(found)
    answer = recommend(found, _question(asked))
    _print(Advice(answer, _explained(answer, explain), _deciding(answer)), form, output)
    raise click.exceptions.Exit(_code(answer))


def _code(answer: Recommendation) -> int:
    if answer.not_applied:
        return UNDECIDED
    if answer.pick is not None:
        return 0
    # A cell that breaks one constraint for certain is out, whatever else of it could not be judged.
    undecided = any(c.fits() for c in answer.candidates) or any(not one.candidate.failing for one in answer.unjudged)
    return UNDECIDED if undecided else FAILED


def _refuse_measuring_options(asked: Mapping[str, Any]) -> None:
    given = [f"--{name}" for name in ("budget", "processes", "out", "resume", "jobs") if asked[name]]
    given += ["--python"] if asked["pythons"] else []
    if given:
        raise click.UsageError(f"{', '.join(given)}: nothing is measured where a RUN is given; leave one of them out")


def _question(asked: Mapping[str, Any]) -> Question:
    from harness.deciding.constraints import Only, Within
    from harness.deciding.limits import Limit
    from harness.deciding.recommend import Question

    latency = "latency" if asked["scope"] == "compute" else "end_to_end"
    constraints: list[Constraint] = []
    if asked["max_latency"] is not None:
        constraints.append(Within(Limit(latency, asked["max_latency"] * 1e9, asked["percentile"])))
    for option, metric in (
        ("max_memory", "memory"), ("max_size", "artifact_size"), ("max_params", "params"), ("min_accuracy", "accuracy"),
    ):  # fmt: skip
        if asked[option] is not None:
            constraints.append(Within(Limit(metric, float(asked[option]))))
    if asked["devices"]:
        constraints.append(Only("device", asked["devices"]))
    if asked["runtimes"]:
        constraints.append(Only("runtime", asked["runtimes"]))
    if asked["precisions"]:
        constraints.append(Only("precision", asked["precisions"]))
    return Question(
        tuple(constraints), asked["percentile"], asked["scope"], cast(Any, asked["prefer"]), asked["accuracy_margin"]
    )


def _check_names(asked: Mapping[str, Any], found: Sequence[Evidence]) -> None:
    """Raise `UnknownName` for a runtime or device that nothing was measured with, and that is none: else it would be a no."""
    from harness import device_names, registry
    from harness.errors import UnknownName, did_you_mean

    cells = [one.record.cell for one in found]
    runtimes = sorted({*registry.found("runtimes"), *(cell.runtime for cell in cells)})
    for name in asked["runtimes"]:
        if name not in runtimes:
            hint = did_you_mean(name, runtimes, f"runtimes: {', '.join(runtimes)}")
            raise UnknownName(f"unknown runtime {name!r}", hint)
    for name in set(asked["devices"]) - {cell.device for cell in cells}:
        device_names.check(name)


def _comparable(found: Sequence[Evidence], batch: int | None) -> list[Evidence]:
    """Cells of one batch, measured on one machine in one power mode. Raises `PlanInvalid` where that cannot be."""
    from harness.comparing import comparable
    from harness.errors import PlanInvalid

    for one in found[1:]:
        for _, change in comparable.runs_differ(found[0].run, one.run):
            said = f"{comparable.said(change)} ({found[0].folder}, {one.folder})"
            raise PlanInvalid(f"these runs are of different machines: {said}", "recommend from the runs of one machine")
    batches = sorted({one.record.cell.batch for one in found})
    taken = batch or (1 if 1 in batches else batches[0] if batches else 1)
    kept = [one for one in found if one.record.cell.batch == taken]
    if not kept:
        known = ", ".join(map(str, batches)) or "none: the run has no records"
        raise PlanInvalid(f"no cell has batch {taken}", f"batches there are: {known}")
    return kept


def _explained(answer: Recommendation, model: str | None) -> tuple[str, ...]:
    import difflib

    from harness.deciding.explain import explain
    from harness.errors import UnknownName

    if model is None:
        return ()
    if lines := explain(answer, model):
        return tuple(lines)
    names = list(dict.fromkeys(c.evidence.record.cell.backbone.name for c in answer.candidates))
    near = difflib.get_close_matches(model, names, n=1)
    raise UnknownName(
        f"no cell is called {model!r}", f"did you mean {near[0]!r}?" if near else f"backbones: {', '.join(names)}"
    )


def _deciding(answer: Recommendation) -> str:
    """A run of the cells that more measuring would decide."""
    import shlex

    open_ = [
        (c, v.decide) for c in answer.candidates if not c.failing
        for v in c.verdicts if v.result == "INCONCLUSIVE" and (v.decide.budget_s or v.decide.processes)
    ]  # fmt: skip
    if not open_:
        return ""
    words = ["backbench", "run", *again.options([c.evidence.record.cell for c, _ in open_])]
    words += ["--budget", f"{max(decide.budget_s for _, decide in open_) or 10:.0f}s", "--target", "0"]
    if processes := max(decide.processes for _, decide in open_):
        words += ["--processes", str(processes)]
    return shlex.join(words)


def _measured(models: Sequence[str], asked: Mapping[str, Any], console: Console) -> Path:
    from harness.cli import matrix
    from harness.cli.run_command import carry_out, confirm, open_store, refuse_if_empty
    from harness.errors import PlanInvalid
    from harness.plan_file import BUILT_IN

    plans = [name for name in models if name in BUILT_IN or name.endswith((".yaml", ".yml"))]
    if plans and len(models) > 1:
        raise PlanInvalid(f"{plans[0]} is a whole plan: give it alone", "or list its backbones with --models NAME")
    options = matrix.blank() | {
        "models": () if plans else models, "devices": asked["devices"], "runtimes": asked["runtimes"],
        "precisions": asked["precisions"], "batches": (asked["batch"],) if asked["batch"] else (),
        "budget": asked["budget"], "processes": asked["processes"], "pythons": asked["pythons"],
    }  # fmt: skip
    made = matrix.resolve(plans[0] if plans else None, options)
    refuse_if_empty(made)
    confirm(console, made, asked["yes"])
    kept = open_store(made, asked["out"], asked["resume"])
    carry_out(kept, asked["jobs"], console)
    console.print(f"results: {kept.folder}", highlight=False, markup=False, soft_wrap=True)
    return kept.folder


def _print(advice: Advice, form: str, output: Path | None) -> None:
    from harness.cli.output import put
    from harness.report import advice as forms

    if form == "text":
        put(lambda console: forms.show_text(console, advice), output)
    else:
        put(forms.FORMS[form](advice), output)
