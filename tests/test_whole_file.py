"""A file that was asked for is whole, or what lay there is still there."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import whole_file
from harness.errors import StoreFailed


def test_a_file_is_replaced_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "chart.png"
    path.write_text("old")
    with whole_file.whole(path, "--chart") as beside:
        assert beside.suffix == ".png" and beside.parent == tmp_path
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_what_ends_the_writing_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), whole_file.whole(path, "--output") as beside:
        beside.write_text("half of it")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_with_what_to_type_next(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(StoreFailed, match="/dev/full cannot be written: No space left") as caught:
        whole_file.write(full, "x" * 100_000, "--trace")
    assert caught.value.hint == "give another file with --trace"
    with pytest.raises(StoreFailed, match="No such file"):
        whole_file.write(tmp_path / "no" / "folder" / "a.json", b"x", "--output")


def test_a_device_is_written_to_directly() -> None:
    whole_file.write(Path("/dev/null"), "ü", "--output")
    assert Path("/dev/null").is_char_device()
