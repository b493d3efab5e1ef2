"""Records of a coverage run survive whatever ends the command."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from harness.coverage.store import FILE, Store, read
from harness.errors import PlanInvalid, StoreFailed
from tests.coverage import making


def test_the_newest_record_of_a_part_counts(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "run", resume=False)
    store.add(making.covered(cause="time"))
    store.add(making.covered(part="features"))
    store.add(making.covered())
    records = store.records()
    assert records == {
        ("resnet18", "classifier"): making.covered(),
        ("resnet18", "features"): making.covered(part="features"),
    }


def test_a_folder_with_records_is_not_begun_anew(tmp_path: Path) -> None:
    Store.open(tmp_path, resume=False).add(making.covered())
    with pytest.raises(PlanInvalid, match="--resume"):
        Store.open(tmp_path, resume=False)
    assert len(Store.open(tmp_path, resume=True).records()) == 1


def test_a_folder_is_of_one_device(tmp_path: Path) -> None:
    Store.open(tmp_path, resume=False).add(making.covered())
    with pytest.raises(PlanInvalid, match="holds outcomes on cpu, not on intel-gpu:0"):
        Store.open(tmp_path, resume=True, device="intel-gpu:0")


def test_what_a_killed_writer_left_is_dropped(tmp_path: Path) -> None:
    store = Store.open(tmp_path, resume=False)
    store.add(making.covered())
    with (tmp_path / FILE).open("a") as file:
        file.write('{"architecture": {"na')
    again = Store.open(tmp_path, resume=True)
    assert len(again.records()) == 1, "it may be what another process is writing: only read"
    again.mend()
    again.add(making.covered(part="features"))
    assert len(again.records()) == 2


def test_a_line_of_another_schema_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path, resume=False).add(making.covered())
    line = json.loads((tmp_path / FILE).read_text()) | {"schema": 99}
    (tmp_path / FILE).write_text(json.dumps(line) + "\n")
    with pytest.raises(StoreFailed, match="schema 99"):
        read(tmp_path)


def test_no_folder_has_no_records(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == {}


def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(tmp_path, resume=False)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreFailed, match="--resume"):
        store.add(making.covered())
