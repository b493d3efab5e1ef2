"""Where a command's answer goes: the screen, or the file of `--output`."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 160
"""Columns of a table in a file."""


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
