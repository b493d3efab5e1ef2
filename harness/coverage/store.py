"""`coverage.jsonl`: a line per part of an architecture, each on disk before the next; the last line of a part counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness import codec, store
from harness.coverage.record import SCHEMA, Covered, Key
from harness.errors import PlanInvalid, StoreFailed

FILE = "coverage.jsonl"


class Store:
    """An open folder of a coverage run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE

    @classmethod
    def open(cls, folder: Path, resume: bool, device: str = "cpu") -> Store:
        """A new one, or one to go on with. Raises `PlanInvalid` for one that is in the way, `StoreFailed`."""
        made = cls(folder)
        with store.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if made.path.exists() and made.path.stat().st_size and not resume:
                raise PlanInvalid(
                    f"{folder} holds a coverage run already", "add --resume to go on with it, or give another --out"
                )
            made.path.touch()
        if other := {one.device for one in made.records().values()} - {device}:
            raise PlanInvalid(
                f"{folder} holds outcomes on {', '.join(sorted(other))}, not on {device}", "give another --out"
            )
        return made

    def mend(self) -> None:
        """Drop what a killed writer left of its last line. Only where no other process may be writing."""
        with store.writing(self.folder):
            store.drop_torn_line(self.path)

    def add(self, covered: Covered) -> None:
        """Append, on disk when this returns."""
        with store.writing(self.folder):
            store.append(self.path, [codec.dumps(covered)])

    def records(self) -> Mapping[Key, Covered]:
        """The newest record of each part."""
        return read(self.folder)


def read(folder: Path) -> Mapping[Key, Covered]:
    """The newest record of each part in a folder; none where there is no such file. Raises `StoreFailed`."""
    path = folder / FILE
    return {one.key: one for one in store.decoded(Covered, _current, path)} if path.exists() else {}


def _current(data: object) -> object:
    """A line of another schema is refused by name; there is no older one yet."""
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise StoreFailed(f"a line of {FILE} has schema {json.dumps(found)}, and this Backbench reads {SCHEMA}",
                          "use the version that wrote it, or begin another folder with --out")  # fmt: skip
    return data
