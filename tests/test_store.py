"""A results folder survives what happens to it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness import codec, store, upgrade
from harness.errors import PlanInvalid, StoreFailed
from harness.model import Burst
from harness.record import Samples
from tests import making


def _samples(key: str) -> Samples:
    return Samples(key, 0, 0, 0, Burst((10, 11, 12), (20, 21)))


def test_what_is_added_is_read_back(tmp_path: Path) -> None:
    kept = store.Store.create(tmp_path / "run", making.run())
    record = making.record()
    kept.add([record], [_samples(record.key)])
    assert store.read_records(tmp_path / "run") == (record,)
    assert list(store.read_samples(tmp_path / "run")) == [_samples(record.key)]
    assert store.read_run(tmp_path / "run") == making.run()


def test_samples_of_some_cells_alone_are_read(tmp_path: Path) -> None:
    kept = store.Store.create(tmp_path / "run", making.run())
    kept.add([], [_samples("one"), _samples("two"), _samples("one")])
    assert list(store.read_samples(tmp_path / "run", {"two"})) == [_samples("two")]


def test_a_line_of_a_later_schema_is_refused_even_if_it_could_be_read(tmp_path: Path) -> None:
    store.Store.create(tmp_path, making.run())
    later = codec.encode(making.record()) | {"schema": 99, "conditions": {"schema": 1}}
    (tmp_path / store.RECORDS).write_text(codec.dumps(later) + "\n")
    with pytest.raises(StoreFailed, match="schema 99"):
        store.read_records(tmp_path)


def test_a_line_that_does_not_fit_says_where(tmp_path: Path) -> None:
    store.Store.create(tmp_path, making.run())
    (tmp_path / store.RECORDS).write_text(codec.dumps(codec.encode(making.record()) | {"rounds": "many"}) + "\n")
    with pytest.raises(StoreFailed, match=r"records\.jsonl:1: .*rounds"):
        store.read_records(tmp_path)


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    store.Store.create(tmp_path, making.run())
    with pytest.raises(PlanInvalid, match="holds a run already"):
        store.Store.create(tmp_path, making.run())


def test_a_torn_last_line_is_left_out_and_mended_by_resume(tmp_path: Path) -> None:
    kept = store.Store.create(tmp_path, making.run())
    record = making.record()
    kept.add([record], [_samples(record.key)])
    with (tmp_path / store.RECORDS).open("a") as file:
        file.write('{"key": "torn')
    assert store.read_records(tmp_path) == (record,)
    again = store.Store.resume(tmp_path, making.run())
    again.mend()
    again.add([making.record(making.BASE)])
    assert len(store.read_records(tmp_path)) == 2


@pytest.mark.parametrize(
    ("cpu", "library", "said"),
    [("Other CPU", "1.1", "cpu Other CPU → This CPU"), ("This CPU", "1.0", "onnxruntime was 1.0, and is 1.1")],
)
def test_a_run_is_not_finished_on_another_machine_or_with_other_libraries(
    tmp_path: Path, cpu: str, library: str, said: str
) -> None:
    """Its head says of all its records where they were measured, and with what."""
    here = replace(making.run(), machine={"cpu": "This CPU"}, versions={"onnxruntime": "1.1"})
    there = replace(here, machine={"cpu": cpu}, versions={"onnxruntime": library})
    store.Store.create(tmp_path, there)
    with pytest.raises(PlanInvalid, match="was begun where") as refused:
        store.Store.resume(tmp_path, here)
    assert said in refused.value.message
    store.Store.resume(tmp_path, there)


def test_samples_without_a_record_do_not_count(tmp_path: Path) -> None:
    """The writer was killed between the two: the cell will be measured again."""
    kept = store.Store.create(tmp_path, making.run())
    kept.add([], [_samples("orphan")])
    store.Store.resume(tmp_path, making.run()).mend()
    assert list(store.read_samples(tmp_path)) == []


def test_a_folder_of_another_plan_is_refused(tmp_path: Path) -> None:
    store.Store.create(tmp_path, making.run())
    other = making.run(replace(making.plan(), name="other"))
    with pytest.raises(PlanInvalid, match="a run of another plan"):
        store.Store.resume(tmp_path, other)


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="holds no run"):
        store.read_run(tmp_path)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    store.Store.create(tmp_path, making.run())
    whole = codec.dumps(making.record()).encode() + b"\n"
    for damaged, said in (
        (b"not json\n", "not JSON"), (b"\xff\xa2\n", "not UTF-8"), (b"null\n", "not a record: null is no JSON object"),
        (b"{}\n", "not a record: its schema is null"), (b'{"schema":1}\n', "not a Record: key: Field required"),
    ):  # fmt: skip
        (tmp_path / store.RECORDS).write_bytes(whole + damaged)
        with pytest.raises(StoreFailed) as caught:
            store.read_records(tmp_path)
        assert caught.value.message.startswith(f"{tmp_path / store.RECORDS}:2: {said}"), caught.value.message
        assert caught.value.hint == "restore it from a copy, or remove the line"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"[]", "not a run: [] is no JSON object"), (b"{}", "not a run: its schema is null"),
        (b'{"schema": "x"}', 'not a run: its schema is "x"'), (b'{"schema": true}', "not a run: its schema is true"),
        (b"{", "cannot be read"), (b"\xff", "cannot be read"), (b'{"schema": 1}', "not a Run: id: Field required"),
    ],
)  # fmt: skip
def test_a_damaged_head_is_named_and_no_upgrade_is_advised(tmp_path: Path, head: bytes, said: str) -> None:
    (tmp_path / store.RUN).write_bytes(head)
    with pytest.raises(StoreFailed) as caught:
        store.read_run(tmp_path)
    assert str(tmp_path / store.RUN) in caught.value.message and said in caught.value.message
    assert caught.value.hint == "restore it from a copy"


def test_a_head_of_a_later_version_asks_for_an_upgrade(tmp_path: Path) -> None:
    (tmp_path / store.RUN).write_text('{"schema": 99}')
    with pytest.raises(StoreFailed, match=r"run\.json: a run of schema 99") as caught:
        store.read_run(tmp_path)
    assert caught.value.hint == "upgrade: pip install -U backbench"


def test_a_misfit_names_its_place(tmp_path: Path) -> None:
    store.Store.create(tmp_path, making.run())
    data = codec.encode(making.record())
    data["cell"]["batch"] = "many"
    (tmp_path / store.RECORDS).write_text(codec.dumps(data) + "\n")
    with pytest.raises(StoreFailed, match=r"records\.jsonl:1: not a Record: cell\.batch"):
        store.read_records(tmp_path)


@pytest.mark.parametrize(("number", "hint"), [(errno.ENOSPC, "make room"), (errno.EROFS, "--out DIR")])
def test_a_disk_that_takes_nothing_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    kept = store.Store.create(tmp_path, making.run())

    def fsync(_: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreFailed, match="cannot write the results folder") as caught:
        kept.add([making.record()])
    assert hint in caught.value.hint


def test_a_newer_schema_is_refused_and_an_older_is_upgraded() -> None:
    with pytest.raises(StoreFailed, match="schema 99"):
        upgrade.record({"schema": 99})
    steps = {("record", 1): lambda data: {**data, "new": True}, ("record", 2): lambda data: {**data, "newer": 3}}
    assert upgrade._current("record", {"schema": 1}, steps, 3) == {"schema": 3, "new": True, "newer": 3}  # type: ignore[arg-type]
