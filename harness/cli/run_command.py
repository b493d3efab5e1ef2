"""`backbench run`: the main job."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import BackbenchError, PlanInvalid
from harness.model import PRECISIONS

if TYPE_CHECKING:
    from rich.console import Console

    from harness.record import Plan, Record
    from harness.store import Store

ASK_OVER_CELLS = 100


class Quantity(click.ParamType[float]):
    """A parameter that people type with a unit."""

    def __init__(self, name: str, read: str) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value in the base unit."""
        from harness import units

        if not isinstance(value, str):
            return value
        try:
            return getattr(units, self._read)(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _option_pair(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Mapping[str, dict[str, Any]]:
    """`openvino.hint=THROUGHPUT` pairs as runtime -> option -> value (JSON where it parses as JSON, else text)."""
    import json

    options: dict[str, dict[str, Any]] = {}
    for text in values:
        left, equals, right = text.partition("=")
        runtime, dot, name = left.partition(".")
        if not (equals and dot and runtime and name):
            raise click.BadParameter(f"{text!r} is not RUNTIME.OPTION=VALUE, such as torch_eager.channels_last=true")
        try:
            options.setdefault(runtime, {})[name] = json.loads(right)
        except ValueError:
            options.setdefault(runtime, {})[name] = right
    return options


def matrix_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is measured; commands that measure share them."""
    for option in reversed(_MATRIX):
        function = option(function)
    return function


_MATRIX = (
    click.option(
        "-m",
        "--model",
        "models",
        multiple=True,
        metavar="NAME_OR_PATH",
        help="timm name, wildcard ('resnet*') or ONNX file; may be repeated.",
    ),
    click.option(
        "-r",
        "--runtime",
        "runtimes",
        multiple=True,
        metavar="RUNTIME",
        help="Runtime; may be repeated. Default: the common ones that are installed.",
    ),
    click.option(
        "--precision",
        "precisions",
        multiple=True,
        type=click.Choice(PRECISIONS),
        help="May be repeated. Default: fp32.",
    ),
    click.option(
        "--batch",
        "batches",
        multiple=True,
        type=click.IntRange(1, 65536),
        help="Images per inference; may be repeated. Default: 1.",
    ),
    click.option(
        "--device",
        "devices",
        multiple=True,
        metavar="D",
        help="cpu, cuda:0, intel-gpu:0, intel-npu, …; may be repeated.",
    ),
    click.option(
        "-o",
        "--option",
        "options",
        multiple=True,
        callback=_option_pair,
        metavar="RUNTIME.OPTION=VALUE",
        help="An option of a runtime (see: backbench list runtimes).",
    ),
    click.option("--threads", type=click.IntRange(1), help="Threads per inference. Default: one per physical core."),
    click.option("--cpus", metavar="LIST", help="Pin every worker to these processors (0-3)."),
    click.option("--weights", metavar="random|pretrained|PATH", help="Default: random (seeded)."),
    click.option(
        "--input-size", type=click.IntRange(8, 8192), help="Height and width in pixels. Default: the backbone's own."
    ),
    click.option(
        "--baseline",
        metavar="RUNTIME",
        help="What speed-ups are relative to. Default: torch_eager (ort_cpu for ONNX files).",
    ),
    click.option(
        "--budget", type=Quantity("TIME", "seconds"), help="Measuring time per cell (10s, 1min). Default: 10s."
    ),
    click.option(
        "--target",
        type=Quantity("PCT", "fraction"),
        help="Stop a group once every speed-up is known this well. Default: 2%.",
    ),
    click.option(
        "--processes", type=click.IntRange(1, 100), help="Fresh processes per cell, sharing the budget. Default: 1."
    ),
    click.option(
        "--control", is_flag=True, default=None, help="Measure the baseline twice (A/A): the ratio must be 1."
    ),
    click.option("--seed", type=int, help="Seed of the order of bursts."),
    click.option(
        "--patience",
        type=Quantity("TIME", "seconds"),
        help="How long a worker may be silent beyond what is expected. Default: 60s.",
    ),
)


@click.command("run", short_help="Measure backbones: export, verify, measure in turn, report.")
@click.argument("plan", required=False, metavar="[PLAN.yaml|quickstart]")
@matrix_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Results folder. Default: results/<run-id>.",
)
@click.option("--resume", is_flag=True, help="Finish the run in --out (or the newest unfinished one of this plan).")
@click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Exports side by side, before measuring. Default: by cores and memory.",
)
@click.option("--dry-run", is_flag=True, help="Print the matrix and the expected time; start nothing.")
@click.option("-y", "--yes", is_flag=True, help=f"Do not ask before a plan of over {ASK_OVER_CELLS} cells.")
def command(
    plan: str | None,
    out: Path | None,
    resume: bool,
    jobs: int | None,
    dry_run: bool,
    yes: bool,
    **matrix: Any,
) -> None:
    """Measure backbones as they will be deployed.

    Each backbone is exported, every artifact is verified against PyTorch, and all cells of a group are measured in turn
    with the framework baseline. Ctrl-C keeps what is finished.

    \b
      backbench run quickstart
      backbench run -m resnet50 -m 'mobilenetv3*' -r ort_cpu -r openvino --budget 30s
      backbench run -m model.onnx
    """
    from rich.console import Console

    console, screen = Console(stderr=True), Console()
    resolved = resolve(plan, matrix)
    if dry_run:
        _show_plan(screen, resolved)
        return
    _refuse_if_empty(resolved)
    cells = sum(len(group.cells) for group in resolved.groups)
    if cells > ASK_OVER_CELLS and not yes:
        _show_size(console, resolved)
        click.confirm(f"Measure {cells} cells?", abort=True, err=True)
    store = _open(resolved, out, resume)
    records = _carry_out(store, jobs, console)
    _finish(screen, store, records)


def resolve(source: str | None, matrix: Mapping[str, Any]) -> Plan:
    """The plan of a file (or built-in name) with what the command line adds or replaces."""
    from harness import cache, plan, spec

    content = spec.text(source) if source else ""
    data = spec.read(source) if source else {"name": "run"}
    checked = spec.check(_override(data, matrix), source or "", content) if source or matrix["models"] else None
    if checked is None:
        raise PlanInvalid("nothing to measure", "give a plan (backbench run quickstart) or a model (-m resnet50)")
    return plan.resolve(checked, cache_sources(cache.root()))


def cache_sources(folder: Path) -> Any:
    """Where names are looked up: timm's catalog, kept in the cache, and ONNX files, looked into by a worker."""
    import functools

    from harness import catalog, plan
    from harness.launch import Worker

    def inspect(path: Path) -> Mapping[str, Any]:
        with Worker(folder / "logs" / "inspect.log", name="inspect") as worker:
            return dict(worker.ask("inspect", 300.0, path=str(path)))

    return plan.Sources(functools.cache(lambda: catalog.load(folder)), inspect)


def _override(data: Mapping[str, Any], matrix: Mapping[str, Any]) -> dict[str, Any]:
    """The plan's data with the command line's choices in place of the file's."""
    merged = dict(data)
    for key, option in {
        "backbones": "models",
        "precisions": "precisions",
        "batches": "batches",
        "devices": "devices",
    }.items():
        if matrix[option]:
            merged[key] = list(matrix[option])
    for key in ("threads", "cpus", "weights", "input_size", "baseline"):
        if matrix[key] is not None:
            merged[key] = matrix[key]
    rules = {
        key: matrix[key]
        for key in ("budget", "target", "processes", "control", "seed", "patience")
        if matrix[key] is not None
    }
    if rules:
        given = merged.get("rules")
        merged["rules"] = {**(given if isinstance(given, dict) else {}), **rules}
    _override_runtimes(merged, matrix)
    return merged


def _override_runtimes(merged: dict[str, Any], matrix: Mapping[str, Any]) -> None:
    if matrix["runtimes"]:
        merged["runtimes"] = list(matrix["runtimes"])
    if not matrix["options"]:
        return
    listed = merged.get("runtimes", [])
    entries: list[dict[str, Any]] = [{"name": entry} if isinstance(entry, str) else dict(entry) for entry in listed]
    names = [entry.get("name") for entry in entries]
    for runtime, options in matrix["options"].items():
        if runtime not in names:
            raise PlanInvalid(
                f"an option is given for {runtime!r}, which the plan does not measure", f"add -r {runtime}"
            )
        for entry in entries:
            if entry.get("name") == runtime:
                entry["options"] = {**entry.get("options", {}), **options}
    merged["runtimes"] = entries


def _refuse_if_empty(plan: Plan) -> None:
    if not plan.groups:
        reasons = dict.fromkeys(
            f"{r.cell.title}: {r.reason}" + (f" ({r.hint})" if r.hint else "") for r in plan.refused
        )
        raise PlanInvalid("nothing of this plan can be measured here", "see: backbench list runtimes", tuple(reasons))


def _show_size(console: Console, plan: Plan) -> None:
    from harness.group import expected_s
    from harness.units import show_seconds

    cells = sum(len(group.cells) for group in plan.groups)
    left = sum(expected_s(group, plan.rules) for group in plan.groups)
    console.print(
        f"{cells} cells in {len(plan.groups)} groups; at most {show_seconds(left)} of measuring, "
        "and up to half a minute per backbone that has not been exported yet",
        highlight=False,
    )


def _show_plan(screen: Console, plan: Plan) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=f"plan {plan.name}", box=box.SIMPLE_HEAD)
    for header in ("backbone", "weights", "cell", "threads", ""):
        table.add_column(header)
    for group in plan.groups:
        for i, cell in enumerate(group.cells):
            name = cell.backbone.name if i == 0 else ""
            mark = "baseline" if _is_baseline(cell, group.baseline) else ""
            table.add_row(name, cell.backbone.weights if i == 0 else "", cell.title, str(cell.threads), mark)
    for record in plan.refused:
        table.add_row(
            record.cell.backbone.name,
            "",
            record.cell.title,
            "",
            f"{record.outcome}: {record.reason}",
            style="dim",
        )
    screen.print(table)
    _show_size(screen, plan)


def _is_baseline(cell: Any, key: str) -> bool:
    from harness import codec

    return codec.key(cell) == key


def _open(plan: Plan, out: Path | None, resume: bool) -> Store:
    from harness import run, store

    head = run.new_run(plan, ("backbench", *sys.argv[1:]))
    if not resume:
        return store.Store.create(out or Path("results") / head.id, head)
    folder = out or _newest_unfinished(plan)
    return store.Store.resume(folder, head)


def _newest_unfinished(plan: Plan) -> Path:
    from harness import codec, store

    for folder in sorted(Path("results").glob("run-*"), reverse=True):
        try:
            kept = store.read_run(folder)
        except BackbenchError:
            continue  # half-written by a full disk; another may be whole
        if not kept.finished and codec.digest(kept.plan) == codec.digest(plan):
            return folder
    raise PlanInvalid("no unfinished run of this plan lies in results/", "name its folder: --out DIR --resume")


def _carry_out(store: Store, jobs: int | None, console: Console) -> tuple[Record, ...]:
    from harness import cache, machine, run
    from harness.cli.progress import Progress

    campaign_cache = cache.Cache(cache.root())
    # An export holds the model about four times; a second one beside it must fit too.
    number = jobs or max(1, min(machine.usable_cpus() // 2 or 1, machine.available_bytes() // (6 << 30)))
    have = len(store.records())
    try:
        with Progress(console, store.run.plan, have) as progress:
            return run.carry_out(run.Campaign(store, campaign_cache, number, progress))
    except (KeyboardInterrupt, BackbenchError):
        kept = len(store.records())
        click.echo(f"{kept} finished cells are kept in {store.folder}; to go on:\n  {resume_line(store)}", err=True)
        raise


def resume_line(store: Store) -> str:
    """The command that finishes the run in `store`."""
    words = [word for word in store.run.command if word != "--resume"]
    if "--out" not in words and not any(word.startswith("--out=") for word in words):
        words += ["--out", str(store.folder)]
    return shlex.join([*words, "--resume"])


def _finish(screen: Console, store: Store, records: tuple[Record, ...]) -> None:
    from harness.report import content, forms, text

    reported = [content.Reported(store.run, records)]
    text.show(screen, reported)
    report = store.folder / "report.md"
    try:
        report.write_text(forms.markdown(reported), encoding="utf-8")
    except OSError as error:
        raise BackbenchError(f"the report cannot be written: {error}", f"backbench report {store.folder}") from error
    screen.print(f"results: {store.folder}\nreport:  {report}", highlight=False, markup=False, soft_wrap=True)
