"""A file of preprocessed images that many workers read: resized and cropped once, as bytes, normalised by whoever reads.

A row is one image, uint8 (channels, height, width); rows follow each other without a header. The file is written with
plain writes, because a full disk ends a process that writes through a memory map; it is read through one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import codec, preprocess
from harness.errors import DataInvalid, RunFailed, StoreFailed
from harness.preprocess import DataConfig

if TYPE_CHECKING:
    from harness.api import Session
    from harness.arrays import Array

TOP = 5


@dataclass(frozen=True)
class Unreadable:
    """A row that was not written, and why."""

    row: int
    reason: str


@dataclass(frozen=True)
class Predictions:
    """What a session says of rows: the five largest outputs of each, the largest first; empty where one is not finite."""

    top: tuple[tuple[int, ...], ...]


def row_bytes(config: DataConfig) -> int:
    """Size of one image in the file."""
    channels, height, width = config.input_size
    return channels * height * width


def write(file: Path, first: int, images: Sequence[str], config: Any, threads: int) -> tuple[Unreadable, ...]:
    """Preprocess `images` into the rows from `first` on; a row whose image cannot be read stays as it is.

    `config` is an encoded `DataConfig`. Raises `StoreFailed` where the file cannot be written.
    """
    wanted = codec.decode(DataConfig, config)
    unreadable = []
    try:
        with ThreadPoolExecutor(threads) as pool, file.open("r+b") as opened:
            for row, made in enumerate(pool.map(lambda image: _try(Path(image), wanted), images), first):
                if isinstance(made, DataInvalid):
                    unreadable.append(Unreadable(row, made.message))
                    continue
                opened.seek(row * row_bytes(wanted))
                opened.write(made.tobytes())
            opened.flush()
            os.fsync(opened.fileno())  # a disk that is full says so now
    except OSError as error:
        raise StoreFailed(
            f"{file} cannot be written: {error.strerror}", "make room there, or set BACKBENCH_CACHE"
        ) from error
    return tuple(unreadable)


def _try(image: Path, config: DataConfig) -> Array | DataInvalid:
    try:
        return preprocess.pixels(image, config)
    except DataInvalid as error:
        return error


def predict(session: Session, like: Mapping[str, Array], file: Path, rows: Sequence[int], config: Any) -> Predictions:
    """Run the `rows` of a file through an open session, as many at once as the feed `like` holds.

    `config` is an encoded `DataConfig`. The last batch is filled with its last image. Raises `RunFailed` where the first
    output is not (images, classes).
    """
    import numpy as np

    if len(like) != 1:
        raise RunFailed(
            f"it has {len(like)} inputs ({', '.join(like)}): an image classifier has one", "see the artifact"
        )
    ((name, example),) = like.items()
    batch, wanted = len(example), codec.decode(DataConfig, config)
    kept = np.memmap(file, np.uint8, "r").reshape(-1, *wanted.input_size)
    top: list[tuple[int, ...]] = []
    for start in range(0, len(rows), batch):
        mine = list(rows[start : start + batch])
        filled = mine + mine[-1:] * (batch - len(mine))
        session.bind({name: preprocess.normalise(kept[filled], wanted).astype(example.dtype, copy=False)})
        session.run()
        session.sync()
        top += _top(next(iter(session.fetch().values())), batch)[: len(mine)]
    return Predictions(tuple(top))


def _top(scores: Any, batch: int) -> list[tuple[int, ...]]:
    """The classes of the largest scores of each row; of equal ones the first, as `argmax` has it."""
    import numpy as np

    scores = np.asarray(scores)
    if scores.ndim != 2 or len(scores) != batch:
        raise RunFailed(
            f"its output has the shape {scores.shape}, not ({batch}, classes): it is not a classifier's",
            "give a classifier (without features_only)",
        )
    finite = np.isfinite(scores).all(axis=1)
    order = np.argsort(-scores.astype(np.float32), axis=1, kind="stable")[:, :TOP]
    return [tuple(map(int, row)) if ok else () for row, ok in zip(order, finite, strict=True)]
