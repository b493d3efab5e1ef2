"""Writes a file that was asked for whole, or not at all: what lay there stays until the new one is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import StoreFailed


@contextmanager
def whole(path: Path, option: str) -> Iterator[Path]:
    """Where to write, beside `path` and of its suffix; it is moved there at the end, and removed on an error or Ctrl-C.

    A device or a pipe is written to directly. Raises `StoreFailed`, with `option` as what to give otherwise.
    """
    special = path.exists() and not path.is_file()
    beside = path if special else path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        try:
            yield beside
            if not special:
                beside.replace(path)
        except BaseException:
            if not special:
                beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        why = error.strerror or str(error)
        raise StoreFailed(f"{path} cannot be written: {why}", f"give another file with {option}") from error


def write(path: Path, made: bytes | str, option: str) -> None:
    """Write bytes, or text in UTF-8. Raises as `whole` does."""
    with whole(path, option) as file:
        file.write_bytes(made.encode("utf-8") if isinstance(made, str) else made)
