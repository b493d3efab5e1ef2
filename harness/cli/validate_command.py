"""`backbench validate`: whether targets are met, from a finished run or from one that is measured for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.exits import FAILED, PASSED, UNDECIDED, VerdictCommand, warn_unfinished
from harness.cli.matrix import Quantity
from harness.cli.output import form_of

if TYPE_CHECKING:
    from rich.console import Console

    from harness.deciding.evidence import Evidence
    from harness.deciding.targets_file import Targets
    from harness.record import Plan
    from harness.report.verdicts import Judged

FORMATS = ("text", "junit", "markdown", "json", "github")
_CODES = {"PASS": PASSED, "FAIL": FAILED, "INCONCLUSIVE": UNDECIDED}


@click.command("validate", cls=VerdictCommand, short_help="Judge targets: PASS, FAIL or INCONCLUSIVE.")
@click.argument("targets_file", metavar="TARGETS.yaml")
@click.argument("runs", nargs=-1, metavar="[RUN]…", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="text, unless the name of the output file says another (.xml is junit, .md markdown).",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file, not to the screen."
)
@click.option(
    "--budget", type=Quantity("TIME", "seconds"), help="Measuring time per cell. Default: the file's, or 10s."
)
@click.option("--processes", type=click.IntRange(1, 100), help="Fresh processes per cell, sharing the budget.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where what is measured is kept.")
@click.option("--resume", is_flag=True, help="Finish the run in --out (or the newest unfinished one of these targets).")
@click.option("--jobs", type=click.IntRange(1), help="Exports side by side, before measuring.")
@click.option("--dry-run", is_flag=True, help="Print the cells and the expected time; start nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before a large plan.")
def command(
    targets_file: str,
    runs: tuple[Path, ...],
    form: str | None,
    as_json: bool,
    output: Path | None,
    dry_run: bool,
    **how: Any,
) -> None:
    """Judge every limit of TARGETS.yaml on the results folders RUN…, or measure exactly the cells it names.

    A limit is kept (PASS) or not (FAIL) where the figure's whole 95 % interval lies on one side of it. It is INCONCLUSIVE
    where the interval contains it, where the samples do not support the percentile, or where the record is untrusted; the
    budget that would decide it is printed.

    \b
      backbench validate targets.yaml results/run-…            judge a finished run
      backbench validate targets.yaml --budget 30s             measure and judge
      backbench validate targets.yaml RUN -o validate.xml      JUnit XML, by the suffix

    \b
    Exit codes: 0 all PASS · 1 a FAIL · 2 no FAIL, but something INCONCLUSIVE
                64 the command, a file or a folder cannot be used · 70 measuring failed · 130 interrupted
    """
    from rich.console import Console

    from harness.deciding import evidence, targets
    from harness.deciding import targets_file as files
    from harness.report.verdicts import Judged

    form = form_of("json" if as_json else form, output, FORMATS)
    wanted = files.read(targets_file)
    if runs:
        _refuse_measuring_options(how | {"dry_run": dry_run})
        found = evidence.read(runs)
    else:
        console = Console(stderr=True)
        made = _plan(wanted, how)
        if dry_run:
            from harness.cli.run_command import show_plan

            show_plan(Console(), made)
            return
        found = _measured(made, how, console)
    warn_unfinished(found)
    started = found[0].run.started if found else ""
    judged = Judged(wanted.name, targets_file, targets.check(wanted, found), started)
    _print(judged, form, output)
    raise click.exceptions.Exit(_CODES[targets.overall(judged.checks)])


def _refuse_measuring_options(how: Mapping[str, Any]) -> None:
    given = [name for name, value in how.items() if value]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"{options}: nothing is measured where a RUN is given; leave one of them out")


def _plan(wanted: Targets, how: Mapping[str, Any]) -> Plan:
    from harness import cache
    from harness.cli.matrix import cache_sources
    from harness.deciding import targets

    rules = {name: how[name] for name in ("budget", "processes") if how[name] is not None}
    return targets.planned(wanted, cache_sources(cache.root()), rules)


def _measured(made: Plan, how: Mapping[str, Any], console: Console) -> tuple[Evidence, ...]:
    from harness.cli.run_command import carry_out, confirm, open_store
    from harness.deciding import evidence

    if made.groups:
        confirm(console, made, how["yes"])
    kept = open_store(made, how["out"], how["resume"])
    carry_out(kept, how["jobs"], console)
    console.print(f"results: {kept.folder}", highlight=False, markup=False, soft_wrap=True)
    return evidence.read([kept.folder])


def _print(judged: Judged, form: str, output: Path | None) -> None:
    from harness.cli.output import put
    from harness.report import verdicts

    if form == "text":
        put(lambda console: verdicts.show(console, judged), output)
    else:
        put(verdicts.FORMS[form](judged), output)
