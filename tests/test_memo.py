"""Values are found out once; a bad file or a full disk costs only time."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from harness.errors import Unsupported
from harness.memo import Memo, source_digest
from harness.roofline.ceilings import Rate


class _Made:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Rate:
        self.times += 1
        return Rate(float(self.times), "test")


def test_a_value_is_made_once_per_key(tmp_path: Path) -> None:
    memo, make = Memo(tmp_path), _Made()
    assert memo.value(Rate, "rates", {"a": 1}, make) == memo.value(Rate, "rates", {"a": 1}, make)
    assert make.times == 1
    assert memo.value(Rate, "rates", {"a": 2}, make).per_s == 2.0
    assert memo.value(Rate, "rates", {"a": 1}, make, refresh=True).per_s == 3.0
    assert memo.value(Rate, "rates", {"a": 1}, make).per_s == 3.0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"value": 3}', '{"value": {"per_s": "fast"}}'])
def test_a_damaged_file_is_made_again(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memo, make = Memo(tmp_path), _Made()
    memo.value(Rate, "rates", 1, make)
    memo.path("rates", 1).write_text(text)
    assert memo.value(Rate, "rates", 1, make).per_s == 2.0
    assert "cannot be read" in caplog.text
    assert memo.value(Rate, "rates", 1, make).per_s == 2.0


def test_a_disk_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with caplog.at_level(logging.WARNING):
        assert Memo(tmp_path).value(Rate, "rates", 1, _Made()).per_s == 1.0
    assert "No space left" in caplog.text
    assert list(tmp_path.rglob("*.json")) == []


def test_what_fails_is_not_kept(tmp_path: Path) -> None:
    def fail() -> Rate:
        raise Unsupported("no")

    with pytest.raises(Unsupported):
        Memo(tmp_path).value(Rate, "rates", 1, fail)
    assert Memo(tmp_path).value(Rate, "rates", 1, _Made()).per_s == 1.0


def test_a_value_that_shall_not_be_kept_is_made_again(tmp_path: Path) -> None:
    memo, make = Memo(tmp_path), _Made()
    assert memo.value(Rate, "rates", 1, make, keep=lambda rate: rate.per_s > 1).per_s == 1.0
    assert memo.value(Rate, "rates", 1, make, keep=lambda rate: rate.per_s > 1).per_s == 2.0
    assert memo.value(Rate, "rates", 1, make).per_s == 2.0


def test_changed_code_is_another_key() -> None:
    assert source_digest("harness.memo") != source_digest("harness.roofline.cost")
    assert source_digest("harness.memo") == source_digest("harness.memo")
