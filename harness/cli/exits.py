"""Exit codes of commands whose answer is a verdict: 0, 1 and 2 belong to the verdict, so that faults get others."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from harness.errors import BackbenchError, DataInvalid, PlanInvalid, SourceInvalid, StoreFailed

if TYPE_CHECKING:
    from harness.deciding.evidence import Evidence

PASSED, FAILED, UNDECIDED = 0, 1, 2
USAGE = 64
"""EX_USAGE of sysexits.h: the command, a file or a folder it names cannot be used."""
FAULT = 70
"""EX_SOFTWARE: measuring could not be carried out."""


class VerdictCommand(click.Command):
    """A command that leaves 0, 1 and 2 to its verdict."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click does; what is wrong with the command line exits with `USAGE`."""
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as error:
            error.show()
            raise click.exceptions.Exit(USAGE) from None

    def invoke(self, ctx: click.Context) -> Any:
        """As click does; errors on purpose exit with `USAGE` or `FAULT`, and so does an unforeseen one."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            error.show()
            raise click.exceptions.Exit(USAGE) from None
        except click.Abort as abort:
            if isinstance(abort.__cause__, KeyboardInterrupt):
                raise
            _end(USAGE, "aborted: nothing was started (--yes answers the question beforehand)")
        except BackbenchError as error:
            asked = isinstance(error, (PlanInvalid, SourceInvalid, DataInvalid, StoreFailed))
            _end(USAGE if asked else FAULT, f"error: {error}")
        except (click.exceptions.Exit, click.ClickException, BrokenPipeError):
            raise
        except Exception:  # noqa: BLE001 - the interpreter would exit with 1, which is the verdict FAIL
            sys.excepthook(*sys.exc_info())
            _end(FAULT, "this is a fault of Backbench, and no verdict")


def warn_unfinished(found: Sequence[Evidence]) -> None:
    """Say on stderr which of the runs lack cells that were planned."""
    for folder in dict.fromkeys(one.folder for one in found if not one.run.finished):
        click.echo(f"note: the run in {folder} is unfinished, so cells that it planned are missing", err=True)


def _end(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    raise click.exceptions.Exit(code)
