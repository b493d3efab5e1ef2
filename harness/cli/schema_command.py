"""`backbench schema`: the JSON Schema of a file or of a command's `--json`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("schema", short_help="Print the JSON Schema of a file or of a command's --json.")
@click.argument("name", required=False, metavar="[NAME]")
@click.option(
    "--write", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write all of them into this folder."
)  # fmt: skip
def command(name: str | None, write: Path | None) -> None:
    """Print the schema NAME, or without one the names there are.

    The schemas of the current version lie in results/schema.

    \b
      backbench schema compare
      backbench schema --write results/schema
    """
    from harness import schemas

    if write is not None:
        if name:
            raise click.UsageError("--write writes all of them: give no NAME")
        _write(write)
    elif name:
        click.echo(schemas.text(name), nl=False)
    else:
        width = max(map(len, schemas.SCHEMAS))
        for known, described in schemas.SCHEMAS.items():
            click.echo(f"{known:<{width}}  {described.where}")


def _write(folder: Path) -> None:
    from harness import schemas
    from harness.errors import StoreFailed

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for known in schemas.SCHEMAS:
            (folder / f"{known}.schema.json").write_text(schemas.text(known), encoding="utf-8")
    except OSError as error:
        raise StoreFailed(
            f"{folder} cannot be written: {error.strerror}", "give another folder with --write"
        ) from error
