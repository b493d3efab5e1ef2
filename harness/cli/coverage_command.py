"""`backbench coverage`: which architectures of timm export, run and match."""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.matrix import Quantity
from harness.errors import BackbenchError, PlanInvalid

if TYPE_CHECKING:
    from harness.catalog import Catalog
    from harness.coverage.campaign import Sitting, Task
    from harness.coverage.cover import Settings
    from harness.coverage.record import Architecture, Covered, Key, Known, Part
    from harness.coverage.store import Store

_DEFAULT_RUNTIMES = ("ort_cpu", "openvino")
_SHARE_OF_MEMORY = 0.8


@click.command("coverage", short_help="Which architectures of timm export, run and match.")
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="PATTERN",
    help="timm architecture or wildcard; may be repeated. Default: all.",
)
@click.option(
    "-r", "--runtime", "runtimes", multiple=True, metavar="NAME", help="May be repeated. Default: ort_cpu and openvino."
)
@click.option("--device", default="cpu", show_default=True, help="Where the runtimes run.")
@click.option("--max-params", type=Quantity("number", "count"), help="Leave out larger architectures, e.g. 400M.")
@click.option(
    "--part",
    "parts",
    type=click.Choice(("classifier", "features")),
    multiple=True,
    help="Default: both. `features`: multi-scale feature maps, where timm makes them.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results/run-coverage"),
    show_default=True,
    help="Folder of the records.",
)
@click.option("--resume", is_flag=True, help="Go on with the records in --out.")
@click.option(
    "--again",
    multiple=True,
    metavar="CAUSE",
    help="Cover once more what has this reason class, or the begin of one, e.g. 'export'.",
)
@click.option("--jobs", type=click.IntRange(1, 256), help="Architectures side by side. Default: by cores and memory.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each. Default: processors divided by --jobs.")
@click.option("--limit", type=click.IntRange(0), help="End after so many; 0 covers nothing, and shows what is known.")
@click.option(
    "--time",
    "seconds",
    type=Quantity("time", "seconds"),
    help="Begin nothing after this time, e.g. 30min; what has begun is finished.",
)
@click.option(
    "--each-time", type=Quantity("time", "seconds"), default="20min", show_default=True, help="What one may take."
)
@click.option(
    "--each-memory",
    type=Quantity("size", "size"),
    help="What one may allocate. Default: 80 % of what is free, divided by --jobs.",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also put the records into the table in this folder; with --resume, what it has of the same versions is done.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be covered; start nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def command(
    models: tuple[str, ...], runtimes: tuple[str, ...], device: str, max_params: float | None, parts: tuple[Part, ...],
    out: Path, resume: bool, again: tuple[str, ...], jobs: int | None, threads: int | None, limit: int | None,
    seconds: float | None, each_time: float, each_memory: float | None, table: Path | None, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Create each architecture (random weights), export it once, run it in every runtime and compare with PyTorch.

    Nothing is timed. Each architecture has a process of its own with limits on time and memory: a crash costs only that
    one. Its files are removed when it is done with. One of each family comes first, then the others by size.
    A classifier is compared on one image and, where its export takes any batch, on a batch of 4.

    \b
      backbench coverage -m 'resnet*' -m 'vit_tiny*'
      backbench coverage --max-params 400M --jobs 2 --time 2h
      backbench coverage --resume --again export --again time --each-time 1h
      backbench coverage --resume --limit 0 --table results/coverage

    Ctrl-C keeps what is done. Exit codes: 0 all that were asked for are verified, 1 some are not, 2 a name or an option
    is wrong, 130 interrupted.
    """
    from harness import cache, catalog, device_names
    from harness.coverage import campaign, cover, store
    from harness.coverage import table as tables

    device_names.check(device)
    chosen = _runtimes(runtimes or _DEFAULT_RUNTIMES)
    if table is not None and not tables.takes(chosen, device):
        raise PlanInvalid(
            f"a row of the table has the outcomes in {' and '.join(tables.RUNTIMES)} on the CPU, not those in "
            f"{', '.join(chosen)} on {device}", "leave --table out, or ask for those",
        )  # fmt: skip
    known = catalog.load(cache.root())
    tasks = campaign.wanted(
        _architectures(known, models), parts or ("classifier", "features"), int(max_params) if max_params else None
    )
    versions = cover.installed(chosen)
    asked = _Asked(tasks, chosen, again, versions, _tabled(table, versions) if resume else {})
    if dry_run:
        _show_plan(asked.left(store.read(out)), len(tasks))
        return
    opened = store.Store.open(out, resume, device)
    if limit != 0:
        sitting = campaign.Sitting(jobs or _jobs(), limit, seconds)
        _carry_out(
            opened, asked, lambda: _settings(asked, device, sitting.jobs, threads, each_time, each_memory, out), sitting
        )
    found = opened.records()
    records = [found[key] for key in asked.keys if key in found]
    if table is not None:
        tables.write(table, records, len(known.models))
    _show(records, len(tasks), len(known.models), as_json)
    outcomes = asked.outcomes(found)
    if more := [asked.tabled[key] for key in asked.keys if key in asked.tabled and key not in found]:
        verified = sum(one.verified for one in more)
        _say(f"{len(more)} more are in {table}, made with the same versions: {verified} of them verified")
    if older := sum(not one.made_with(versions) for one in records):
        _say(f"{older} of these records are of other versions of the libraries; --resume covers them again")
    raise click.exceptions.Exit(0 if all(key in outcomes and outcomes[key].verified for key in asked.keys) else 1)


@dataclass(frozen=True)
class _Asked:
    """What is to be covered, and with what."""

    tasks: Sequence[Task]
    runtimes: tuple[str, ...]
    again: Sequence[str]
    versions: dict[str, str]
    tabled: Mapping[Key, Known]

    @property
    def keys(self) -> list[Key]:
        return [(architecture.name, part) for architecture, part in self.tasks]

    def outcomes(self, records: Mapping[Key, Covered]) -> Mapping[Key, Known]:
        """By the table and by the records of these versions of the libraries."""
        return {**self.tabled, **{key: one.known for key, one in records.items() if one.made_with(self.versions)}}

    def left(self, records: Mapping[Key, Covered]) -> tuple[Task, ...]:
        from harness.coverage import campaign

        return campaign.left(self.tasks, self.outcomes(records), self.runtimes, self.again)


def _runtimes(names: Sequence[str]) -> tuple[str, ...]:
    from harness import registry

    for name in names:
        registry.check_installed(name, registry.runtime_class(name).needs)
    return tuple(dict.fromkeys(names))


def _tabled(folder: Path | None, versions: Mapping[str, str]) -> Mapping[Key, Known]:
    """What the table has that these versions of the libraries made."""
    from harness.coverage import table as tables

    if folder is None or not (folder / tables.TABLE).exists():
        return {}
    return tables.read(folder).known(versions)


def _architectures(known: Catalog, patterns: Sequence[str]) -> tuple[Architecture, ...]:
    """Those that the patterns mean, in the order in which they are covered."""
    from harness import cache
    from harness.coverage import census

    names = dict.fromkeys(name for pattern in patterns or ("*",) for name in known.expand(pattern))
    if tagged := [name for name in names if "." in name]:
        raise PlanInvalid(
            f"coverage is of architectures, not of their weights: {', '.join(tagged[:3])}",
            f"leave the tag out: -m {tagged[0].partition('.')[0]}",
        )
    return census.in_order(census.find(tuple(names), cache.root(), known.timm, _say))


def _settings(
    asked: _Asked, device: str, jobs: int, threads: int | None, each_time: float, each_memory: float | None, out: Path
) -> Settings:
    from harness import machine
    from harness.coverage import cover

    memory = int(each_memory or machine.available_bytes() * _SHARE_OF_MEMORY / jobs)
    each = threads or max(1, machine.usable_cpus() // jobs)
    limits = cover.Limits(each_time, memory)
    return cover.Settings(asked.runtimes, device, each, limits, out.absolute(), asked.versions)


def _jobs() -> int:
    from harness import machine

    # An export holds the model about four times; a second one beside it must fit too.
    return max(1, min(machine.usable_cpus() // 2 or 1, machine.available_bytes() // (6 << 30)))


def _carry_out(opened: Store, asked: _Asked, settings: Callable[[], Settings], sitting: Sitting) -> None:
    """Cover what is left. Whatever interrupts it, what is done is kept, and the line that goes on is printed.

    What is left, and how much memory is free, is asked when no other run is at work: it may have been this one's.
    """
    from harness import cache, run
    from harness.coverage import campaign

    if not asked.left(opened.records()):
        return
    try:
        with run.alone(cache.root(), _say):
            opened.mend()
            todo, of = asked.left(opened.records()), len(asked.tasks)
            _say(f"{of - len(todo)} of {of} are done; {sitting.jobs} at a time")
            campaign.carry_out(todo, settings(), opened, sitting, _Told(of - len(todo), of))
    except (KeyboardInterrupt, BackbenchError):
        _say(f"{len(opened.records())} records are kept in {opened.folder}; to go on:\n  {_resume_line(opened.folder)}")
        raise


class _Told:
    """Says on stderr how each came out."""

    def __init__(self, done: int, of: int) -> None:
        self._done, self._of = done, of
        self._lock = threading.Lock()

    def begins(self, architecture: Architecture, part: Part) -> None:
        """Nothing is said before there is something to say."""

    def done(self, covered: Covered) -> None:
        """One line."""
        with self._lock:
            self._done += 1
            _say(f"[{self._done}/{self._of}] {line_of(covered)}")


def line_of(covered: Covered) -> str:
    """How an architecture came out, in one line."""
    export = covered.export
    how = f"{export.exporter} {export.batch or 'dynamic'}" if export else ""
    ran = [f"{one.runtime} {one.cause or f'{one.rel_l2:.0e}'}" for one in covered.ran]
    said = ", ".join(filter(None, [covered.cause, how, *ran]))
    return f"{covered.architecture.name} {covered.part} ({covered.seconds:.0f} s): {said}"


def _resume_line(folder: Path) -> str:
    words = [word for word in ("backbench", *sys.argv[1:]) if word != "--resume"]
    if "--out" not in words and not any(word.startswith("--out=") for word in words):
        words += ["--out", str(folder)]
    return shlex.join([*words, "--resume"])


def _show_plan(todo: Sequence[Task], of: int) -> None:
    from harness.units import show_count

    for architecture, part in todo:
        size = "x".join(map(str, architecture.input_size))
        click.echo(f"{architecture.name}  {part}  {architecture.family}  {show_count(architecture.params)}  {size}")
    _say(f"{len(todo)} of {of} would be covered")


def _show(records: Sequence[Covered], wanted: int, total: int, as_json: bool) -> None:
    """Counts, reason classes and the slowest."""
    if as_json:
        import json

        from harness import codec

        click.echo(json.dumps([codec.encode(one) for one in records], indent=1))
        return
    from harness.coverage import summary

    click.echo("\n".join(summary.lines(records, wanted, total)))


def _say(text: str) -> None:
    click.echo(text, err=True)
