"""`backbench accuracy`: how often each deployed artifact is right, and what it loses against the framework."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from harness.cli.matrix import matrix_options, resolve
from harness.errors import BackbenchError, PlanInvalid

if TYPE_CHECKING:
    from rich.console import Console

    from harness.accuracy.campaign import Campaign
    from harness.accuracy.record import Accuracy
    from harness.accuracy.store import AccuracyStore

_MEASURING = ("budget", "target", "processes", "control", "seed", "wait")
"""Options of the matrix that only mean something where latency is measured."""


def _numbers(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not numbers such as 0.5 or 0.485,0.456,0.406") from None


@click.group("accuracy", invoke_without_command=True, short_help="Measure top-1 and top-5 of what is deployed.")
@matrix_options
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FOLDER|FILE.csv",
    help="Labelled images: FOLDER/CLASS/IMAGE, or a CSV of path,label.",
)
@click.option(
    "--classes",
    metavar="FILE|imagenet",
    help="Names of the outputs in their order, one a line. Default: labels that are indices, WordNet ids with 1000 outputs, "
    "else the class names in alphabetical order.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many images, spread evenly over the set.")
@click.option(
    "--skip-unreadable", is_flag=True, help="Leave images out that cannot be read; they are named in the record."
)
@click.option("--mean", callback=_numbers, metavar="R,G,B", help="Normalisation in place of the backbone's own (0..1).")
@click.option("--std", callback=_numbers, metavar="R,G,B", help="Normalisation in place of the backbone's own (0..1).")
@click.option("--interpolation", metavar="NAME", help="bilinear, bicubic, … in place of the backbone's own.")
@click.option(
    "--crop-pct", type=float, help="Side of the crop over side of the resized image, in place of the backbone's own."
)
@click.option("--crop-mode", metavar="NAME", help="center, border or squash, in place of the backbone's own.")
@click.option("--jobs", type=click.IntRange(1), help="Exports side by side. Default: by cores and memory.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Results folder; a run's own folder joins the two. Cells that it holds already are kept. "
    "Default: results/accuracy-<time>.",
)
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Measure the accuracy of every artifact on labelled images, against PyTorch in fp32.

    Images are preprocessed once, as timm's data config of the backbone says. Each artifact has a process of its own.
    Intervals: Wilson's for a share, Tango's for the paired difference; p values: McNemar's mid-p. Ctrl-C keeps finished
    cells. Exit codes: 0, all cells have an accuracy; 1, some have none; 2, a mistake in what was asked.

    \b
      backbench accuracy -m resnet50.a1_in1k --weights pretrained -r ort_cpu --data imagenet/val --batch 16
      backbench accuracy -m resnet18 --weights best.pth -r ort_cpu -r openvino --precision fp32 --precision int8 --data val
      backbench accuracy -m model.onnx --data val.csv --mean 0.5 --std 0.5 --out results/run-…
      backbench accuracy import results-imagenet.csv
    """  # fmt: skip
    if ctx.invoked_subcommand is not None:
        return
    records = _measure(options)
    ctx.exit(0 if all(record.outcome == "ok" for record in records) else 1)


command.params = [param for param in command.params if param.name not in _MEASURING]


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.csv")
def import_command(file: Path) -> None:
    """Keep published accuracies of timm's results-imagenet.csv; they are shown as published, never as measured.

    \b
      backbench accuracy import results-imagenet.csv
    """
    from harness import published

    number, kept = published.import_file(file)
    click.echo(f"{number} published accuracies are kept in {kept}")


def _measure(options: dict[str, Any]) -> tuple[Accuracy, ...]:
    from rich.console import Console

    console, screen = Console(stderr=True), Console()
    store = None
    try:
        with _Progress(console) as progress:
            campaign = _campaign(options, progress)
            store = campaign.store
            from harness.accuracy import evaluate

            records = evaluate.carry_out(campaign)
    except (KeyboardInterrupt, BackbenchError):
        if store is not None:
            _say_what_is_kept(store)
        raise
    if options["as_json"]:
        import json

        from harness import codec

        click.echo(json.dumps([codec.encode(record) for record in records], indent=1, ensure_ascii=False))
    else:
        from harness.report import accuracy

        accuracy.show(screen, records)
    console.print(f"accuracy: {store.folder}", highlight=False, markup=False, soft_wrap=True)
    return records


def _campaign(options: Mapping[str, Any], progress: _Progress) -> Campaign:
    from harness import cache, machine
    from harness.accuracy import dataset
    from harness.accuracy.campaign import Campaign, Settings
    from harness.accuracy.evaluate import refuse_random
    from harness.accuracy.store import AccuracyStore

    if options["data"] is None:
        raise PlanInvalid(
            "there is nothing to measure accuracy on", "give labelled images: --data FOLDER (or FILE.csv)"
        )
    if len(options["batches"]) > 1:
        raise PlanInvalid("accuracy does not depend on the batch", "give one --batch")
    data = dataset.read(options["data"])
    plan = resolve(None, {**dict.fromkeys(_MEASURING), **options})
    refuse_random(plan)
    names = ("mean", "std", "interpolation", "crop_pct", "crop_mode")
    settings = Settings(
        data.limited(options["limit"]) if options["limit"] else data,
        options["classes"],
        {name: options[name] for name in names if options[name] is not None},
        options["skip_unreadable"],
    )
    jobs = options["jobs"] or max(1, min(machine.usable_cpus() // 2, machine.available_bytes() // (6 << 30)))
    store = AccuracyStore.open(options["out"] or _new_folder())
    return Campaign(plan, settings, cache.Cache(cache.root()), store, jobs, progress)


def _new_folder() -> Path:
    from datetime import datetime, timezone

    return Path("results") / f"accuracy-{datetime.now(timezone.utc).astimezone():%Y%m%d-%H%M%S}"


def _say_what_is_kept(store: AccuracyStore) -> None:
    from harness.accuracy.store import read

    words = ["backbench", *sys.argv[1:]]
    if "--out" not in words and not any(word.startswith("--out=") for word in words):
        words += ["--out", str(store.folder)]
    click.echo(
        f"{len(read(store.folder))} finished cells are kept in {store.folder}; to go on:\n  {shlex.join(words)}",
        err=True,
    )


class _Progress:
    """A bar on a terminal; in a log, a line per cell."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(24), MofNCompleteColumn(), TextColumn("images"),
            TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self._task: Any = None
        self._what = ""

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def step(self, what: str, done: int, total: int) -> None:
        """Images that are done."""
        if what != self._what:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._what, self._task = what, self._bar.add_task(what, total=total)
        self._bar.update(self._task, completed=done)

    def done(self, record: Accuracy) -> None:
        """A cell has its record."""
        from harness.report import accuracy

        self.note(f"  {accuracy.line(record)}")
