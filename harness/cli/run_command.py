"""`backbench run`: the main job."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.matrix import matrix_options, resolve
from harness.errors import BackbenchError, PlanInvalid

if TYPE_CHECKING:
    from rich.console import Console

    from harness.record import Plan, Record
    from harness.store import Store

ASK_OVER_CELLS = 100


@click.command("run", short_help="Measure backbones: export, verify, measure in turn, report.")
@click.argument("plan", required=False, metavar="[PLAN.yaml|quickstart]")
@matrix_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Results folder. Default: results/<run-id>.",
)
@click.option("--resume", is_flag=True, help="Finish the run in --out (or the newest unfinished one of this plan).")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Exports side by side, before measuring. Default: by cores and memory.",
)
@click.option("--dry-run", is_flag=True, help="Print the matrix and the expected time; start nothing.")
@click.option(
    "--roofline/--no-roofline",
    default=True,
    help="Compare with the machine's ceilings (measured once, about half a minute, and kept). Default: yes.",
)
@click.option("-y", "--yes", is_flag=True, help=f"Do not ask before a plan of over {ASK_OVER_CELLS} cells.")
def command(
    plan: str | None,
    out: Path | None,
    resume: bool,
    jobs: int | None,
    dry_run: bool,
    roofline: bool,
    yes: bool,
    **matrix: Any,
) -> None:
    """Measure backbones as they will be deployed.

    Each backbone is exported, every artifact is verified against PyTorch, and all cells of a group are measured in turn
    with the framework baseline. Ctrl-C keeps what is finished.

    \b
      backbench run quickstart
      backbench run -m resnet50 -m 'mobilenetv3*' -r ort_cpu -r openvino --budget 30s
      backbench run -m model.onnx

    \b
    Exit codes: 0 every planned cell was measured and verified · 1 one was not (it crashed, failed, gave wrong output or
                is unsupported by what was opened), or the run could not go on · 2 a mistake in what was asked, or nothing
                can be measured here · 130 interrupted. A cell that is refused before anything starts does not count.
    """
    from rich.console import Console

    console, screen = Console(stderr=True), Console()
    resolved = resolve(plan, matrix)
    refuse_if_empty(resolved)
    if dry_run:
        show_plan(screen, resolved)
        return
    confirm(console, resolved, yes)
    store = open_store(resolved, out, resume)
    records = carry_out(store, jobs, console, roofline=roofline)
    _finish(screen, store, records)
    raise click.exceptions.Exit(0 if _all_measured(resolved, records) else 1)


def _all_measured(plan: Plan, records: Sequence[Record]) -> bool:
    """Whether every cell that was planned went well; what was refused in advance was told before anything started."""
    from harness import codec

    outcomes = {record.key: record.outcome for record in records}
    return all(outcomes.get(codec.key(cell)) == "ok" for group in plan.groups for cell in group.cells)


def refuse_if_empty(plan: Plan) -> None:
    """Raise `PlanInvalid`, with the reasons, where no cell of the plan can be measured."""
    if not plan.groups:
        reasons = dict.fromkeys(
            f"{r.cell.title}: {r.reason}" + (f" ({r.hint})" if r.hint else "") for r in plan.refused
        )
        raise PlanInvalid("nothing of this plan can be measured here", "see: backbench list runtimes", tuple(reasons))


def show_size(console: Console, plan: Plan) -> None:
    """How many cells, and how long they take at most."""
    from harness.group import expected_s
    from harness.units import counted, show_seconds

    cells = sum(len(group.cells) for group in plan.groups)
    left = sum(expected_s(group, plan.rules) for group in plan.groups)
    console.print(
        f"{counted(cells, 'cell')} in {counted(len(plan.groups), 'group')}; at most {show_seconds(left)} of measuring, "
        "and up to half a minute per backbone that has not been exported yet",
        highlight=False,
    )


def show_plan(screen: Console, plan: Plan) -> None:
    """The matrix, and the expected time."""
    from rich import box
    from rich.table import Table

    from harness.report import naming
    from harness.report.content import refusals

    table = Table(title=f"plan {plan.name}", box=box.SIMPLE_HEAD)
    for header in ("backbone", "weights", "cell", "threads", ""):
        table.add_column(header, overflow="fold", no_wrap=header in ("threads", ""))
    names = naming.names(group.cells[0].backbone for group in plan.groups)
    for group in plan.groups:
        for i, cell in enumerate(group.cells):
            name = names[cell.backbone] if i == 0 else ""
            mark = "baseline" if _is_baseline(cell, group.baseline) else ""
            table.add_row(name, cell.backbone.weights if i == 0 else "", cell.title, str(cell.threads), mark)
    screen.print(table)
    for line in refusals(plan.refused):
        screen.print(line, style="dim", highlight=False)
    show_size(screen, plan)


def _is_baseline(cell: Any, key: str) -> bool:
    from harness import codec

    return codec.key(cell) == key


def confirm(console: Console, plan: Plan, yes: bool) -> None:
    """Ask before a large plan."""
    cells = sum(len(group.cells) for group in plan.groups)
    if cells > ASK_OVER_CELLS and not yes:
        show_size(console, plan)
        click.confirm(f"Measure {cells} cells?", abort=True, err=True)


def open_store(plan: Plan, out: Path | None, resume: bool) -> Store:
    """The results folder of a new run, or of one to be finished."""
    from harness import run, store

    head = run.new_run(plan, ("backbench", *sys.argv[1:]))
    if not resume:
        return store.Store.create(out or Path("results") / head.id, head)
    folder = out or _newest_unfinished(plan)
    return store.Store.resume(folder, head)


def _newest_unfinished(plan: Plan) -> Path:
    from harness import codec, store

    for folder in sorted(Path("results").glob("run-*"), reverse=True):
        try:
            kept = store.read_run(folder)
        except BackbenchError:
            continue  # half-written by a full disk; another may be whole
        if not kept.finished and codec.digest(kept.plan) == codec.digest(plan):
            return folder
    raise PlanInvalid("no unfinished run of this plan lies in results/", "name its folder: --out DIR --resume")


def carry_out(store: Store, jobs: int | None, console: Console, *, roofline: bool = False) -> tuple[Record, ...]:
    """Measure what has no record yet, with progress on `console`."""
    from harness import cache, machine, run
    from harness.cli.progress import Progress

    campaign_cache = cache.Cache(cache.root())
    # An export holds the model about four times; a second one beside it must fit too.
    number = jobs or max(1, min(machine.usable_cpus() // 2 or 1, machine.available_bytes() // (6 << 30)))
    have = len(store.records())
    try:
        with Progress(console, store.run.plan, have) as progress:
            return run.carry_out(run.Campaign(store, campaign_cache, number, progress, roofline))
    except (KeyboardInterrupt, BackbenchError):
        kept = len(store.records())
        click.echo(f"{kept} finished cells are kept in {store.folder}; to go on:\n  {resume_line(store)}", err=True)
        raise


def resume_line(store: Store) -> str:
    """The command that finishes the run in `store`."""
    words = [word for word in store.run.command if word != "--resume"]
    if "--out" not in words and not any(word.startswith("--out=") for word in words):
        words += ["--out", str(store.folder)]
    return shlex.join([*words, "--resume"])


def _finish(screen: Console, store: Store, records: tuple[Record, ...]) -> None:
    from harness.report import content, forms, text

    reported = [content.Reported(store.run, records)]
    text.show(screen, reported)
    report = store.folder / "report.md"
    try:
        report.write_text(forms.markdown(reported), encoding="utf-8")
    except OSError as error:
        raise BackbenchError(f"the report cannot be written: {error}", f"backbench report {store.folder}") from error
    screen.print(f"results: {store.folder}\nreport:  {report}", highlight=False, markup=False, soft_wrap=True)
