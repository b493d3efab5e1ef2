"""`backbench report`: what finished runs say, in the form that is asked for."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from harness.cli.output import form_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.report.content import Reported

FORMATS = ("text", "markdown", "csv", "json", "html", "parquet", "png", "svg", "pdf")
_BINARY = frozenset({"parquet", "png", "pdf"})
_PICTURES = frozenset({"png", "svg", "pdf"})
CHARTS = ("front", "speedup", "tails", "cold", "memory")

_EPILOG = """\b
Examples:
  backbench report results/quickstart
  backbench report results/quickstart --format html -o report.html
  backbench report results/quickstart -o speedup.svg --chart speedup

Exit codes: 0 written; 1 a folder cannot be read or a file not written; 2 an option that cannot be used."""


@click.command("report", short_help="Show finished runs as text, HTML, Markdown, CSV, JSON, …", epilog=_EPILOG)
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="text, unless the name of the output file says another. html is one file for the browser, offline; "
    "png, svg and pdf are its charts; csv and parquet have the columns of harness.results.",
)
@click.option(
    "--chart",
    "names",
    multiple=True,
    type=click.Choice(CHARTS),
    help="With png, svg or pdf: only this chart; repeatable.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file instead of the screen.",
)
@click.option(
    "--roofline", is_flag=True, help="With text or markdown: how far each cell is from the machine's ceilings."
)
def command(
    runs: tuple[Path, ...], form: str | None, names: tuple[str, ...], output: Path | None, roofline: bool
) -> None:
    """Show the results folders RUN… in one report."""
    from harness import store, whole_file
    from harness.accuracy import join
    from harness.report import content
    from harness.report import roofline as limits

    chosen = form_of(form, output, FORMATS)
    if names and chosen not in _PICTURES:
        raise click.UsageError(f"--chart goes with --format png, svg or pdf, and not with {chosen}.")
    if roofline and chosen not in ("text", "markdown"):
        raise click.UsageError(f"--roofline goes with text and markdown, and not with {chosen}.")
    if chosen in _BINARY and output is None and sys.stdout.isatty():
        raise click.UsageError(f"A terminal cannot show {chosen}: give a file with --output.")
    gc.disable()  # records hold no cycles, and looking for some takes four times as long as reading 100,000 of them
    folders, accuracies = join.split(runs)
    reported = [
        content.Reported(store.read_run(folder), join.joined(store.read_records(folder), accuracies))
        for folder in folders
    ]
    if chosen == "text" and output is None:
        from rich.console import Console

        from harness.report import text

        text.show(Console(), reported)
        if roofline:
            limits.show(Console(), reported)
        return
    made = _made(chosen, reported, folders, names or CHARTS)
    if roofline:
        made += f"\n{limits.markdown(reported)}".encode() if chosen == "markdown" else limits.plain(reported).encode()
    if output is None:
        click.echo(made, nl=False)
    else:
        whole_file.write(output, made, "--output")


def _made(form: str, reported: Sequence[Reported], folders: Sequence[Path], names: Sequence[str]) -> bytes:
    from harness.report import forms

    if form in _PICTURES:
        from harness.report import pictures

        return pictures.picture(reported, folders, cast("pictures.Kind", form), names)
    if form == "html":
        from harness.report import html

        return html.page(reported, folders).encode()
    if form == "text":
        return _text(reported)
    if form == "parquet":
        return forms.parquet(reported)
    return str(forms.FORMS[form](reported)).encode()


def _text(reported: Sequence[Reported]) -> bytes:
    import io

    from rich.console import Console

    from harness.report import text

    file = io.StringIO()
    text.show(Console(file=file, width=160), reported)
    return file.getvalue().encode()
