"""Where a command's answer goes, and in which form: the screen, or the file of `--output`."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 160
"""Columns of a table in a file."""
_SUFFIXES = {
    "": "text", ".txt": "text", ".md": "markdown", ".markdown": "markdown", ".json": "json", ".csv": "csv", ".xml": "junit",
    ".html": "html", ".htm": "html", ".parquet": "parquet", ".png": "png", ".svg": "svg", ".pdf": "pdf",
}  # fmt: skip


def form_of(asked: str | None, output: Path | None, forms: Sequence[str]) -> str:
    """The form that was asked for, else the one of `forms` that the file's suffix means; text on the screen.

    Raises `click.UsageError` for a suffix that means none of them: a table in x.json would be found out by its reader.
    """
    if asked or output is None:
        return asked or "text"
    suffix = output.suffix.lower()
    if (meant := _SUFFIXES.get(suffix)) in forms:
        return str(meant)
    known = ", ".join(one for one, form in _SUFFIXES.items() if one and form in forms)
    raise click.UsageError(
        f"{output}: no form of this command is a {suffix} file. Take one of {known}, or say the form with --format."
    )


def put(made: str | Callable[[Console], None], output: Path | None) -> None:
    """Print text, or what is shown on a console; into `output` whole or not at all. Raises `StoreFailed`."""
    from rich.console import Console

    from harness import whole_file

    if callable(made):
        if output is None:
            made(Console())
            return
        file = io.StringIO()
        made(Console(file=file, width=WIDTH))
        made = file.getvalue()
    if output is None:
        click.echo(made, nl=False)
    else:
        whole_file.write(output, made, "--output")
