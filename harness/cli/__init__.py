"""The command line: each command is a module of this package, imported when it is called."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any, NoReturn

import click

from harness import __version__
from harness.errors import BackbenchError

COMMANDS = (
    "run",
    "accuracy",
    "list",
    "report",
    "profile",
    "diff",
    "compare",
    "validate",
    "recommend",
    "cost",
    "ceilings",
    "coverage",
    "selftest",
    "schema",
    "doctor",
)
_INTERRUPTED = 130


class Commands(click.Group):
    """Finds a command by its module's name; a mistyped one gets the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from the attribute `command` of its module."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"harness.cli.{cmd_name}_command").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does, with a hint for a mistyped name."""
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Commands: {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)


_EPILOG = """Shell completion: eval "$(_BACKBENCH_COMPLETE=bash_source backbench)" (or zsh_source, fish_source)."""


@click.group(
    cls=Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="backbench")
def cli() -> None:
    """Measure an image backbone the way it will be deployed, and know how far to trust the number."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)


def main() -> NoReturn:
    """Entry point of `backbench`: the only place that turns an error into an exit code."""
    if sys.platform == "win32":
        _end(2, "Backbench does not run on Windows: it relies on process groups and /proc. Use WSL 2.")
    try:
        code = cli(prog_name="backbench", standalone_mode=False)
    except click.exceptions.Exit as request:
        code = request.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt:
        _end(_INTERRUPTED, "interrupted")
    except click.Abort as abort:  # click makes one of Ctrl-C too, and of a question that was not answered with yes
        if isinstance(abort.__cause__, KeyboardInterrupt):
            _end(_INTERRUPTED, "interrupted")
        _end(1, "aborted: nothing was started (--yes answers the question beforehand)")
    except BackbenchError as error:
        _end(error.exit_code, f"error: {error}")
    except BrokenPipeError:  # the reader (`| head`) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    raise SystemExit(code if isinstance(code, int) else 0)


def _end(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    raise SystemExit(code)
