"""`backbench selftest`: how far this machine's numbers can be trusted, by measuring a cell against itself."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.matrix import Quantity
from harness.errors import BackbenchError

if TYPE_CHECKING:
    from harness.selftest import Job, Selftest


@click.command("selftest", short_help="Calibrate: A/A experiments, the clock, the machine's noise.")
@click.option("-m", "--model", default="mobilenetv3_large_100", show_default=True, metavar="NAME_OR_PATH")
@click.option("-r", "--runtime", metavar="RUNTIME", help="What is measured against itself. Default: the baseline.")
@click.option("--repeats", type=click.IntRange(2, 10_000), default=20, show_default=True, help="A/A experiments.")
@click.option("--budget", type=Quantity("TIME", "seconds"), default="2s", show_default=True, help="Time per cell.")
@click.option("--processes", type=click.IntRange(1, 100), default=1, show_default=True, help="Processes per cell.")
@click.option("--threads", type=click.IntRange(1), help="Threads per inference. Default: one per physical core.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw it: FILE.html, .png or .svg.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Keep traces, logs and selftest.json here."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: str,
    runtime: str | None,
    repeats: int,
    plot: Path | None,
    out: Path | None,
    as_json: bool,
    **rules: Any,
) -> None:
    """Measure a cell against itself, many times in fresh processes: its 95 % interval should contain 1.00 95 times in 100.

    Exit status: 0 calibrated, 1 not calibrated.

    \b
      backbench selftest
      backbench selftest --repeats 100 --plot selftest.html
      backbench selftest -m resnet50 -r ort_cpu --budget 10s --processes 3
    """
    from harness import codec, selftest

    _check_plot(plot)
    with tempfile.TemporaryDirectory(prefix="backbench-selftest-") as temporary:
        found = selftest.carry_out(_job(model, runtime, repeats, rules, out or Path(temporary)))
    if out is not None:
        _write(out / "selftest.json", json.dumps(codec.encode(found), indent=1) + "\n")
    if as_json:
        click.echo(json.dumps(codec.encode(found)))
    else:
        _show(found)
    if plot is not None:
        from harness.report import calibration_chart

        calibration_chart.write(found, plot)
        click.echo(f"drawn: {plot}", err=True)
    raise click.exceptions.Exit(0 if found.calibration.calibrated else 1)


def _check_plot(plot: Path | None) -> None:
    if plot is not None and plot.suffix not in (".html", ".png", ".svg"):
        raise click.BadParameter(f"{plot.name}: give FILE.html, FILE.png or FILE.svg", param_hint="--plot")
    if plot is not None and not plot.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {plot.parent}", param_hint="--plot")


def _job(model: str, runtime: str | None, repeats: int, rules: dict[str, Any], folder: Path) -> Job:
    from harness import cache, plan, registry, selftest, spec
    from harness.cli.matrix import cache_sources

    threads = rules.pop("threads")
    data: dict[str, Any] = {
        "name": "selftest",
        "backbones": [model],
        "rules": {**rules, "control": True, "target": 0.0},
    }
    if threads:
        data["threads"] = threads
    kept = cache.Cache(cache.root())
    if runtime is None:
        usable = not registry.missing(registry.runtime_class(plan.FRAMEWORK).needs)
        runtime = plan.FRAMEWORK if usable and not model.endswith(".onnx") else plan.ONNX_BASELINE
    data |= {"runtimes": [runtime], "baseline": runtime}
    resolved = plan.resolve(spec.check(data), cache_sources(kept.folder))
    if len(resolved.groups) != 1:
        why = next((f": {record.reason}" for record in resolved.refused), "")
        raise BackbenchError(
            f"the self-test takes one backbone that can be measured here{why}", "give -m NAME -r RUNTIME"
        )
    return selftest.Job(
        resolved.groups[0], repeats, resolved.rules, kept, folder, lambda text: click.echo(text, err=True)
    )


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BackbenchError(f"{file} cannot be written: {error.strerror}", "give another --out DIR") from error


def _show(found: Selftest) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from harness.units import show_seconds

    screen, calibration, noise = Console(), found.calibration, found.noise
    low, high = calibration.coverage_interval
    table = Table(box=box.SIMPLE_HEAD, title=f"{found.cell} against itself, {calibration.whole.experiments} times")
    for header in ("time per cell", "interval", "contains 1.00", "spread (1 sd)"):
        table.add_column(header, justify="right")
    for p in calibration.points:
        table.add_row(
            f"{p.seconds:.1f} s", f"±{p.half_width:.2%}", f"{p.covered} of {p.experiments}", f"{p.spread:.2%}"
        )
    screen.print(table)
    verdict = "calibrated" if calibration.calibrated else "NOT calibrated"
    say = [
        f"{verdict}: the 95 % interval contained 1.00 in {calibration.whole.coverage:.0%} of the experiments "
        f"(true share {low:.0%} to {high:.0%})",
        *(
            f"±{b.target:.0%} takes about {show_seconds(b.seconds)} per cell"
            + (f" in {b.processes} processes (--processes {b.processes})" if b.processes > 1 else "")
            for b in calibration.budgets
        ),
        f"clock: steps of {found.resolution_ns} ns; harness: {found.overhead_ns:.0f} ns per inference",
        "a fixed loop took, relative to its best: "
        + ", ".join(f"{name} {value:.2f}" for name, value in noise.quantiles.items()),
    ]
    if found.core_to_core_ns:
        near, far = min(found.core_to_core_ns), max(found.core_to_core_ns)
        say.append(
            f"between processors: {near} to {far} ns; {calibration.disturbed:.0%} of the bursts began or ended far apart"
        )
    say += [f"lost: {reason}" for reason in dict.fromkeys(found.lost)]
    for line in say:
        screen.print(line, highlight=False, markup=False, soft_wrap=True)
