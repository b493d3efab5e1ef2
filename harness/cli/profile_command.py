"""`backbench profile`: per-layer times from the runtimes themselves, and what makes one faster than another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.matrix import matrix_options, resolve
from harness.errors import PlanInvalid, StoreFailed

if TYPE_CHECKING:
    from rich.console import Console

    from harness.explaining.profiling import Pass, Profiled
    from harness.record import Record

BUDGET_S = 3.0


@click.command("profile", short_help="Per-layer times, and what makes one runtime faster than another.")
@click.argument("run", required=False, type=click.Path(path_type=Path, file_okay=False), metavar="[RUN]")
@click.argument("cells", nargs=-1, metavar="[CELL]…")
@matrix_options
@click.option("--inferences", type=click.IntRange(1, 1000), default=20, show_default=True, help="Profiled per cell.")
@click.option(
    "--top", type=click.IntRange(1), default=8, show_default=True, help="Operators and layers shown per cell."
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write Chrome trace events, for ui.perfetto.dev.",
)
@click.option(
    "--chart", type=click.Path(path_type=Path, dir_okay=False), help="Draw a chart: .png, .svg, .pdf, .html or .json."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(
    run: Path | None,
    cells: tuple[str, ...],
    inferences: int,
    top: int,
    trace: Path | None,
    chart: Path | None,
    as_json: bool,
    **matrix: Any,
) -> None:
    """Show where the time goes, layer by layer, and explain the gap between two runtimes.

    Measures the cells in turn (3 s each unless --budget says otherwise), then profiles each in a process of its own.
    The first runtime is what the others are compared with. With RUN and the keys of some of its cells, what was
    measured there is explained. Exit code 1 where no cell gave a profile.

    \b
      backbench profile -m resnet18 -r torch_eager -r ort_cpu -r openvino
      backbench profile -m resnet50 -r ort_cpu --trace resnet50.json --chart resnet50.png
      backbench profile results/quickstart 9a86a41a2339 08834a48c850
    """
    from rich.console import Console

    if chart is not None:
        from harness.report import profile_chart

        profile_chart.check(chart)
    for path in (trace, chart):
        _refuse_unwritable(path)
    console = Console(stderr=True)
    done = _of_run(run, cells, matrix, inferences, console) if run else _of_matrix(matrix, inferences, console)
    if trace is not None:
        _write_trace(done, trace)
    if chart is not None and done.profiles:
        profile_chart.write(done, chart)
    _print(done, top, as_json)
    if not done.profiles:
        raise click.exceptions.Exit(1)


def _refuse_unwritable(path: Path | None) -> None:
    """Before minutes are spent on it."""
    if path is not None and not path.absolute().parent.is_dir():
        raise StoreFailed(f"{path} cannot be written: its folder does not exist", f"mkdir -p {path.absolute().parent}")


def _of_matrix(matrix: Mapping[str, Any], inferences: int, console: Console) -> Profiled:
    from harness.cli.progress import Progress
    from harness.explaining import profiling

    runtimes = matrix["runtimes"]
    chosen = dict(matrix) | ({"budget": BUDGET_S} if matrix["budget"] is None else {})
    if runtimes and matrix["baseline"] is None:
        chosen["baseline"] = runtimes[0]
    plan = resolve(None, chosen)
    with Progress(console, plan, 0) as progress:
        return profiling.measure_and_profile(plan, _pass(inferences, progress))


def _of_run(
    folder: Path, cells: Sequence[str], matrix: Mapping[str, Any], inferences: int, console: Console
) -> Profiled:
    from harness import store
    from harness.cli.progress import Progress
    from harness.explaining import profiling

    if given := [name for name, value in matrix.items() if value not in (None, (), {})]:
        raise PlanInvalid(
            f"a finished run is profiled as it was measured; given as well: {', '.join(given)}",
            "leave the run out, or the options",
        )
    run = store.read_run(folder)
    chosen = _chosen(store.read_records(folder), cells, folder)
    with Progress(console, run.plan, 0) as progress:
        return profiling.profile_records(chosen, run.plan.rules, _pass(inferences, progress), f"measured in {folder}")


def _chosen(records: Sequence[Record], cells: Sequence[str], folder: Path) -> list[Record]:
    """The records whose keys begin so. Raises `PlanInvalid` that lists the keys there are."""
    known = [
        f"{r.key}  {r.cell.backbone.name} {r.cell.title}" + ("" if r.latency else f" ({r.outcome})") for r in records
    ]
    if not cells:
        raise PlanInvalid(f"which cells of {folder}? Give one key or more:", faults=tuple(known))
    chosen: list[Record] = []
    for key in cells:
        found = [record for record in records if record.key.startswith(key)]
        if len(found) != 1:
            raise PlanInvalid(
                f"{key!r} is the key of {'no cell' if not found else f'{len(found)} cells'} of {folder}:",
                faults=tuple(known),
            )
        chosen += found
    return chosen


def _pass(inferences: int, progress: Any) -> Pass:
    from harness import cache
    from harness.explaining.profiling import Pass

    kept = cache.Cache(cache.root())
    return Pass(kept, kept.folder / "logs" / "profile", inferences, progress)


def _write_trace(done: Profiled, path: Path) -> None:
    from harness import whole_file
    from harness.explaining import trace

    whole_file.write(path, json.dumps(trace.events(done.profiles)), "--trace")


def _print(done: Profiled, top: int, as_json: bool) -> None:
    from rich.console import Console

    from harness import codec
    from harness.report import profile_text

    if as_json:
        click.echo(json.dumps(codec.encode(done), indent=1, ensure_ascii=False))
        return
    profile_text.show(Console(), done, top)
