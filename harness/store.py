"""A results folder: `run.json`, `records.jsonl`, `samples.jsonl`, `logs/`. What was written stays readable after a kill."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from harness import codec, upgrade
from harness.comparing import comparable
from harness.errors import BackbenchError, PlanInvalid, StoreFailed
from harness.model import SCHEMA
from harness.record import Record, Run, Samples

RUN, RECORDS, SAMPLES, LOGS = "run.json", "records.jsonl", "samples.jsonl", "logs"
T = TypeVar("T")
_KEY = re.compile(r'"key":\s*"([^"\\]+)"')
_DAMAGED = "restore it from a copy, or remove the line"
_CURRENT = re.compile(rf'"schema":\s*{SCHEMA}\b')


class Store:
    """An open results folder of one run. `records.jsonl` is the commit point: samples without a record do not count."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder = folder
        self.run = run

    @property
    def logs(self) -> Path:
        """Where the workers' logs go."""
        return self.folder / LOGS

    @classmethod
    def create(cls, folder: Path, run: Run) -> Store:
        """A new run in `folder`. Raises `PlanInvalid` where one lies there, `StoreFailed` where it cannot be written."""
        if (folder / RUN).exists():
            raise PlanInvalid(
                f"{folder} holds a run already",
                "add --resume to finish it, or give another folder with --out",
            )
        store = cls(folder, run)
        with writing(folder):
            store.logs.mkdir(parents=True, exist_ok=True)
            store._write_run()
            (folder / RECORDS).touch()
            (folder / SAMPLES).touch()
        return store

    @classmethod
    def resume(cls, folder: Path, run: Run) -> Store:
        """The unfinished run in `folder`, if it is a run of the same plan on the same machine with the same libraries."""
        kept = read_run(folder)
        if codec.digest(kept.plan) != codec.digest(run.plan):
            raise PlanInvalid(
                f"{folder} holds a run of another plan ({kept.plan.name}: {' '.join(kept.command)})",
                "repeat that command with --resume, or give another folder with --out",
            )
        if changed := list(_elsewhere(kept, run)):
            raise PlanInvalid(
                f"{folder} was begun where {'; '.join(changed)}",
                "what is measured now would stand beside it as if nothing had changed: give another folder with --out",
            )
        return cls(folder, kept)

    def mend(self) -> None:
        """Drop torn and orphaned lines. Only for who measures alone: what another process appends meanwhile would be lost."""
        with writing(self.folder):
            done = {record.key for record in self.records()}
            rewrite(self.folder / RECORDS, (codec.dumps(r) for r in self.records()))
            rewrite(self.folder / SAMPLES, (codec.dumps(s) for s in read_samples(self.folder) if s.key in done))

    def records(self) -> tuple[Record, ...]:
        """The records so far."""
        return read_records(self.folder)

    def add(self, records: Iterable[Record], samples: Iterable[Samples] = ()) -> None:
        """Append what became known of a group: the samples first, then the records, each on disk before the next."""
        with writing(self.folder):
            append(self.folder / SAMPLES, map(codec.dumps, samples))
            append(self.folder / RECORDS, map(codec.dumps, records))

    def replace(self, records: Iterable[Record]) -> None:
        """Put these in the place of the records with their keys, all at once."""
        fresh = {record.key: record for record in records}
        with writing(self.folder):
            rewrite(self.folder / RECORDS, (codec.dumps(fresh.get(r.key, r)) for r in self.records()))

    def note(self, **changes: Any) -> None:
        """Change fields of the run's head."""
        self.run = replace(self.run, **changes)
        with writing(self.folder):
            self._write_run()

    def _write_run(self) -> None:
        rewrite(
            self.folder / RUN,
            [json.dumps(codec.encode(self.run), indent=1, sort_keys=True, ensure_ascii=False)],
        )


def _elsewhere(kept: Run, now: Run) -> Iterator[str]:
    """What is another machine or another library than when the run was begun: its head speaks for all its records."""
    for field, change in comparable.runs_differ(kept, now):
        if field == "machine":
            yield comparable.said(change)
    for python in ("", *sorted({*kept.elsewhere} & {*now.elsewhere})):
        before, after = (run.elsewhere[python] if python else run.versions for run in (kept, now))
        for name in sorted({*before, *after}):
            if (was := before.get(name)) != (is_now := after.get(name)):
                yield f"{name}{python and f' of {python}'} was {was or 'absent'}, and is {is_now or 'absent'}"


def read_run(folder: Path) -> Run:
    """The head of the run in `folder`. Raises `StoreFailed` where there is none, or where it is damaged."""
    try:
        data = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except NotADirectoryError:
        raise StoreFailed(
            f"{folder} is a file, and no results folder", "give the folder that `backbench run` printed last"
        ) from None
    except FileNotFoundError:
        raise StoreFailed(
            f"{folder} holds no run (no {RUN})", "give the folder that `backbench run` printed last"
        ) from None
    except (OSError, ValueError) as error:
        raise StoreFailed(f"{folder / RUN} cannot be read: {error}", "restore it from a copy") from error
    with _placed(str(folder / RUN), "restore it from a copy"):
        return codec.decode(Run, upgrade.run(data))


def read_records(folder: Path) -> tuple[Record, ...]:
    """All records in `folder`; a torn last line (a killed writer) is left out."""
    return tuple(decoded(Record, upgrade.record, folder / RECORDS))


def read_samples(folder: Path, keys: Collection[str] | None = None) -> Iterator[Samples]:
    """Raw samples in `folder`, one by one; with `keys`, those of these cells alone: the other lines are not decoded."""
    return decoded(Samples, upgrade.samples, folder / SAMPLES, keys)


def decoded(
    kind: type[T], upgraded: Callable[[Any], Any], path: Path, keys: Collection[str] | None = None
) -> Iterator[T]:
    """The lines of a file as `kind`, older ones `upgraded`; a torn last line (a killed writer) is left out.

    Raises `StoreFailed` with file and line for what is no UTF-8, no JSON or not a `kind`.
    """
    for number, line in _lines(path):
        if keys is not None and (named := _KEY.search(line)) and named[1] not in keys:
            continue
        # Checking the text is three times as fast as checking what json.loads made of it.
        read = codec.loads(kind, line) if _CURRENT.search(line) else None
        if read is None or getattr(read, "schema", None) != SCHEMA:
            with _placed(f"{path}:{number}", _DAMAGED):
                read = codec.decode(kind, upgraded(_parsed(line)))
        yield read


@contextmanager
def _placed(place: str, hint: str) -> Iterator[None]:
    """Turn what is wrong with data that was read into `StoreFailed` that says where it stands."""
    try:
        yield
    except BackbenchError as error:
        raise StoreFailed(f"{place}: {error.message}", error.hint or hint) from error


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise StoreFailed(f"not JSON: {error}") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                yield number, line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StoreFailed(f"{path}:{number}: not UTF-8: {error.reason} at byte {error.start + 1}", _DAMAGED) from error
    except OSError as error:
        raise StoreFailed(f"{path} cannot be read: {error.strerror}") from error


def append(path: Path, lines: Iterable[str]) -> None:
    """Add lines, on disk when this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def rewrite(path: Path, lines: Iterable[str]) -> None:
    """Replace the file by these lines at once."""
    beside = path.with_name(f"{path.name}.part")
    with beside.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def drop_torn_line(path: Path) -> None:
    """Cut off what a killed writer left of a last line, so that the next line begins at a line's start."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def writing(folder: Path, repeat: str = "--resume") -> Iterator[None]:
    """Turn what stops a write into `StoreFailed`; `repeat` is what the same command takes to go on."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = (
            f"make room, then repeat the command with {repeat}"
            if full
            else "give a folder that can be written: --out DIR"
        )
        raise StoreFailed(f"cannot write the results folder {folder}: {error.strerror or error}", hint) from error
