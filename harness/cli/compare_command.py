"""`backbench compare`: what became faster and what slower between two runs, or between two ways measured in turn now."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.matrix import Quantity, matrix_options
from harness.cli.output import form_of
from harness.comparing.comparable import FIELDS
from harness.errors import PlanInvalid
from harness.model import SCOPES

if TYPE_CHECKING:
    from harness.comparing.comparison import Compared
    from harness.comparing.judge import How
    from harness.comparing.pairing import Measured
    from harness.record import Plan

FORMATS = ("text", "markdown", "json")
FAIL_ON: Mapping[str, tuple[str, ...]] = {
    "slower": ("slower", "broken"),
    "faster": ("faster", "mended"),
    "cant-tell": ("can't tell",),
    "missing": ("only in base", "not comparable"),
}
"""Choice of `--fail-on` -> the words of `report.comparison.word` it means."""
FAILED = 3
"""Exit code where `--fail-on` found what it was to find."""
_LIVE_PROCESSES = 3


@click.command("compare", short_help="Say what became faster or slower between two runs, or measure both in turn now.")
@click.argument("base", required=False, metavar="BASE")
@click.argument("new", required=False, metavar="[NEW]")
@click.option("--scope", type=click.Choice(SCOPES), default="compute", show_default=True, help="Which latency.")
@click.option(
    "--effect", type=Quantity("PCT", "fraction"), default="3%", show_default=True, help="Least change that counts."
)
@click.option("--level", type=Quantity("PCT", "fraction"), default="95%", show_default=True, help="Of the intervals.")
@click.option(
    "--force-compare", "force", multiple=True, type=click.Choice(FIELDS), metavar="FIELD",
    help="Compare although this differs; may be repeated. Fields: " + ", ".join(FIELDS) + ".",
)  # fmt: skip
@click.option(
    "--fail-on", multiple=True, type=click.Choice(tuple(FAIL_ON)),
    help=f"Exit with {FAILED} where a cell is that; may be repeated. `slower` includes cells that fail in NEW.",
)  # fmt: skip
@click.option("--base-repeat", multiple=True, metavar="RUN", help="Another run of what BASE is; may be repeated.")
@click.option("--new-repeat", multiple=True, metavar="RUN", help="Another run of what NEW is; may be repeated.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="text, unless the name of the output file (.md, .json) says another.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file, not the screen.")
@click.option("--live", is_flag=True, help="Measure in turn now: BASE and NEW are models, or BASE in two environments.")
@click.option("--python-a", metavar="PATH", default="", help="With --live: the interpreter of BASE. Default: this one.")
@click.option("--python-b", metavar="PATH", default="", help="With --live: the interpreter of NEW.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="With --live: the results folder.")
@click.option("--resume", is_flag=True, help="With --live: finish the run in --out.")
@matrix_options
def command(
    base: str | None, new: str | None, scope: Any, effect: float, level: float, force: tuple[str, ...],
    fail_on: tuple[str, ...], form: str | None, as_json: bool, output: Path | None, **more: Any,
) -> None:  # fmt: skip
    """Compare two runs cell by cell: faster, slower, same, or can't tell.

    BASE and NEW are results folders. Where both measured the same baseline, speed-ups over it are compared, because what
    the machine did between the runs cancels; else latencies, and then less can be told. What is not comparable (machine,
    power mode, batch, precision, …) is refused, naming the field.

    With --live, two models, or one in two Python environments, are measured in turn now. The options below --resume
    say what is measured, as for `backbench run`. A run of --live can be shown again: give it as BASE alone.

    \b
      backbench compare results/before results/after --fail-on slower
      backbench compare --live old.onnx new.onnx -r ort_cpu
      backbench compare --live resnet50 -r ort_cpu --python-b other/bin/python

    Exit codes: 0 compared; 1 a run cannot be read or measured; 2 wrong usage, or nothing is comparable; 3 --fail-on met.
    """
    from harness.comparing.judge import How

    if not 0 < level < 1 or not effect > 0:
        raise click.UsageError("--effect and --level must be over 0")
    form = form_of("json" if as_json else form, output, FORMATS)
    how = How(scope, effect, level, frozenset(force))
    found = _live(base, new, how, more) if more["live"] else _kept(base, new, how, more)
    _tell(found, form, output)
    from harness.report.comparison import word

    wanted = {meant for choice in fail_on for meant in FAIL_ON[choice]}
    if any(word(cell) in wanted for cell in found.cells):
        raise click.exceptions.Exit(FAILED)


def _tell(found: Compared, form: str, output: Path | None) -> None:
    from harness.cli.output import put
    from harness.report import comparison

    if form == "text":
        put(lambda console: comparison.show(console, found), output)
    else:
        put(comparison.markdown(found) if form == "markdown" else comparison.as_json(found), output)


def _read(folder: str, scope: Any) -> Measured:
    from harness import store
    from harness.comparing import pairing

    path = Path(folder)
    return pairing.measured(folder, store.read_run(path), store.read_records(path), store.read_samples(path), scope)


# ── runs that are there ──────────────────────────────────────────────────────────────────────────────────────────


def _kept(base: str | None, new: str | None, how: How, more: Mapping[str, Any]) -> Compared:
    from harness.comparing import compare, live

    told = [
        name for name, value in more.items() if value not in (None, False, "", (), {}) and not name.endswith("_repeat")
    ]
    if told:
        options = ", ".join(f"--{name.removesuffix('s').replace('_', '-')}" for name in told)
        raise click.UsageError(f"only --live measures: {options} cannot be given for runs that are there")
    if base is None:
        raise click.UsageError("give two results folders: backbench compare BASE NEW")
    if new is None:
        if more["base_repeat"] or more["new_repeat"]:
            raise click.UsageError("repeats need BASE and NEW")
        return live.compare(_read(base, how.scope), how)
    before = [_read(folder, how.scope) for folder in (base, *more["base_repeat"])]
    return compare.compare(before, [_read(folder, how.scope) for folder in (new, *more["new_repeat"])], how)


# ── measured now ─────────────────────────────────────────────────────────────────────────────────────────────────


def _live(base: str | None, new: str | None, how: How, more: Mapping[str, Any]) -> Compared:
    from rich.console import Console

    from harness import interpreter
    from harness.cli import run_command
    from harness.comparing import live

    if more["base_repeat"] or more["new_repeat"] or how.force:
        raise click.UsageError("--live measures both sides alike: it takes no repeats and no --force-compare")
    python_a, python_b = more["python_a"], more["python_b"]
    environments = None
    if (python_a or python_b) and more["pythons"]:
        raise click.UsageError("give either --python, for both sides, or --python-a and --python-b")
    if python_a or python_b:
        environments = (interpreter.probe(python_a or sys.executable), interpreter.probe(python_b or sys.executable))
        # Not this interpreter's own path where none was given: it is then the worker that `backbench run` starts.
        python_a, python_b = (
            python and found.python for python, found in zip((python_a, python_b), environments, strict=True)
        )
    plan = _plan(base, new, how, more, (python_a, python_b))
    run_command.refuse_if_empty(plan)
    opened = run_command.open_store(plan, more["out"], more["resume"])
    if environments:
        opened.note(machine=live.noted(opened.run, environments).machine)
    console = Console(stderr=True)
    run_command.carry_out(opened, None, console)
    console.print(f"results: {opened.folder}", highlight=False, markup=False, soft_wrap=True)
    return live.compare(_read(str(opened.folder), how.scope), how)


def _plan(base: str | None, new: str | None, how: How, more: Mapping[str, Any], pythons: tuple[str, str]) -> Plan:
    """The cells of both sides: as `backbench run` would plan them, opposed."""
    from harness.cli.matrix import resolve
    from harness.comparing import live

    given = {
        name: value for name, value in more.items() if name not in ("python_a", "python_b", "out", "resume", "live")
    }
    given["processes"] = given["processes"] or _LIVE_PROCESSES
    given["target"] = how.effect / 2 if given["target"] is None else given["target"]
    models = (*given.pop("models"), *([base] if base else []))
    if not models:
        raise click.UsageError("give a model: backbench compare --live resnet50 -r ort_cpu --python-b PATH")
    if new is None:
        if not any(pythons):
            raise click.UsageError("give a second model, or the interpreter of NEW with --python-b")
        plan = resolve(None, {**given, "models": models})
        return live.oppose(plan, plan, given["runtimes"], pythons)
    if len(models) > 1:
        raise click.UsageError("give either two models, or several (-m) with --python-b")
    sides = [resolve(None, {**given, "models": (name,)}) for name in (models[0], new)]
    for name, side in zip((models[0], new), sides, strict=True):
        if len({cell.backbone for group in side.groups for cell in group.cells}) > 1:
            raise PlanInvalid(f"{name} is more than one model", "give one, or compare environments with --python-b")
    plan = live.oppose(sides[0], sides[1], given["runtimes"], pythons)
    return replace(plan, refused=(*plan.refused, *sides[1].refused))
