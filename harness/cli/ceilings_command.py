"""`backbench ceilings`: what this machine reaches at most, measured once and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from harness.model import PRECISIONS, Precision

if TYPE_CHECKING:
    from harness.roofline.ceilings import Ceilings, Rate


@click.command("ceilings", short_help="Measure the machine's ceilings: arithmetic and memory bandwidth.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="May be repeated. Default: fp32.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads. Default: one per physical core.")
@click.option("--cpus", default="", metavar="LIST", help="Pin to these processors (0-3).")
@click.option("--refresh", is_flag=True, help="Measure again, in place of what the cache holds.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: one object per precision.")
def command(precisions: tuple[Precision, ...], threads: int | None, cpus: str, refresh: bool, as_json: bool) -> None:
    """Say what this machine reaches at most: a large matrix product in each precision, and memory bandwidth.

    `backbench run` compares every cell with these. They are measured when they are first needed, and kept for the same
    machine, library versions, threads and processors. What is measured beside other busy
    processes is too low: it says so, and is not kept.

    \b
      backbench ceilings
      backbench ceilings --precision fp32 --precision bf16 --precision int8 --refresh

    Exit codes: 0 all were measured, 1 one could not be, 2 an option is wrong.
    """
    from harness import cache, codec, machine, plan, run
    from harness.memo import Memo
    from harness.roofline import ceilings

    number, folder = plan.threads(threads or 0, cpus), cache.root()
    places = [ceilings.Place("cpu", precision, number, cpus) for precision in precisions or ("fp32",)]
    with run.alone(folder, _say):
        found = ceilings.measured(places, Memo(folder), folder / "logs", _say, refresh=refresh)
    if as_json:
        import json

        click.echo(json.dumps([codec.encode(one) for one in found.values()], indent=1))
    else:
        click.secho(f"{machine.cpu_name()}, {number} threads" + (f" on {cpus}" if cpus else ""), bold=True)
        for line in _lines(list(found.values())):
            click.echo(f"  {line}")
    if any(one.arithmetic.best is None or one.bandwidth.memory is None for one in found.values()):
        raise click.exceptions.Exit(1)


def _lines(found: Sequence[Ceilings]) -> Iterator[str]:
    """A line per rate, and one per method that could not be used."""
    for one in found:
        yield _line(one.place.precision, one.arithmetic.best, "FLOP/s")
        yield from (f"         {method}: {reason}" for method, reason in one.arithmetic.failed.items())
    bandwidth = found[0].bandwidth
    yield _line("memory", bandwidth.memory, "B/s")
    yield _line("cache", bandwidth.cache, "B/s")
    yield from (f"         {name}: {reason}" for name, reason in bandwidth.failed.items())


def _line(name: str, rate: Rate | None, unit: str) -> str:
    from harness.units import show_count

    return f"{name:<8} unavailable" if rate is None else f"{name:<8} {show_count(rate.per_s)}{unit}  {rate.told}"


def _say(text: str) -> None:
    click.echo(text, err=True)
