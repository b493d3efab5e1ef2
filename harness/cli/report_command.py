"""`backbench report`: what finished runs say, in the form that is asked for."""

from __future__ import annotations

from pathlib import Path

import click

FORMATS = ("text", "markdown", "csv", "json")


@click.command("report", short_help="Show finished runs as text, Markdown, CSV or JSON.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file instead of the screen.",
)
def command(runs: tuple[Path, ...], form: str, output: Path | None) -> None:
    """Show the results folders RUN… in one report."""
    from rich.console import Console

    from harness import store
    from harness.errors import StoreFailed
    from harness.report import content, forms, text

    reported = [content.Reported(store.read_run(folder), store.read_records(folder)) for folder in runs]
    try:
        if form != "text":
            made = forms.FORMS[form](reported)
            output.write_text(made, encoding="utf-8") if output else click.echo(made, nl=False)
        elif output:
            with output.open("w", encoding="utf-8") as file:
                text.show(Console(file=file, width=160), reported)
        else:
            text.show(Console(), reported)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise StoreFailed(f"{output} cannot be written: {error.strerror}", "give another file with --output") from error
