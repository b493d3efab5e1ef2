"""The set's images, preprocessed once by a worker, in a scratch file that all workers read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from harness import codec, machine
from harness.accuracy import pixels
from harness.accuracy.pixels import Unreadable
from harness.errors import DataInvalid, StoreFailed
from harness.launch import Worker
from harness.preprocess import DataConfig

_IMAGES_AT_ONCE = 64
"""Per request of preprocessing: what is held in memory, and how often progress moves."""
_LEFT_FREE_BYTES = 256 << 20
_TIMEOUT_S = 600.0


class Watcher(Protocol):
    """Who is told how far preprocessing is."""

    def note(self, text: str) -> None:
        """One line."""

    def step(self, what: str, done: int, total: int) -> None:
        """So many images of so many are done."""


def geometry_of(config: DataConfig) -> str:
    """What the bytes in the file depend on: all of the config but the normalisation, which is applied by the reader."""
    border = config.mean if config.crop_mode == "border" else ()
    return codec.dumps([config.input_size, config.interpolation, config.crop_pct, config.crop_mode, border])


@contextmanager
def scratch(cache: Path) -> Iterator[Path]:
    """A folder for preprocessed images, gone afterwards; one that a killed process left is removed."""
    folder = cache / "images"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise StoreFailed(f"{folder} cannot be made: {error.strerror}", "set BACKBENCH_CACHE") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class ImageFile:
    """The set's images, preprocessed by a worker into a file; made again only where the next backbone wants others."""

    def __init__(self, images: Sequence[Path], skip: bool, folder: Path, logs: Path, watcher: Watcher) -> None:
        """`skip`: leave images out that cannot be read, instead of raising."""
        self.file = folder / "images.u8"
        self.skipped: dict[int, str] = {}
        self._images = images
        self._skip = skip
        self._log = logs / "preprocess.log"
        self._watcher = watcher
        self._geometry = ""

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.unlink(missing_ok=True)

    def make(self, config: DataConfig) -> None:
        """Have the images as `config` wants them. Raises `DataInvalid` naming what cannot be read, `StoreFailed`."""
        if self._geometry == geometry_of(config):
            return
        self._geometry = ""
        images, watcher = self._images, self._watcher
        self._reserve(len(images) * pixels.row_bytes(config))
        bad: dict[int, str] = {}
        with Worker(self._log, name="preprocessing") as worker:
            for first in range(0, len(images), _IMAGES_AT_ONCE):
                some = [str(image) for image in images[first : first + _IMAGES_AT_ONCE]]
                reply = worker.ask(
                    "preprocess", _TIMEOUT_S, file=str(self.file), first=first, images=some,
                    config=codec.encode(config), threads=machine.usable_cpus(),
                )  # fmt: skip
                bad |= {u.row: u.reason for u in (codec.decode(Unreadable, entry) for entry in reply)}
                watcher.step("preprocessing images", first + len(some), len(images))
        self.skipped = bad
        self._judge_unreadable(len(images))
        self._geometry = geometry_of(config)

    def _reserve(self, size: int) -> None:
        self.file.unlink(missing_ok=True)
        free = shutil.disk_usage(self.file.parent).free
        if size + _LEFT_FREE_BYTES > free:
            raise StoreFailed(
                f"the preprocessed images take {size / 1e9:.1f} GB, and {self.file.parent} has {free / 1e9:.1f} GB free",
                "take fewer images (--limit N), or set BACKBENCH_CACHE to a folder with room",
            )
        self.file.touch()

    def _judge_unreadable(self, total: int) -> None:
        if not self.skipped:
            return
        said = "; ".join(list(self.skipped.values())[:3]) + ("; …" if len(self.skipped) > 3 else "")
        counted = f"{len(self.skipped)} of {total} images cannot be read: {said}"
        if len(self.skipped) == total:
            raise DataInvalid(counted, "are these images? see --data")
        if not self._skip:
            raise DataInvalid(counted, "mend or remove them, or leave them out with --skip-unreadable")
        self._watcher.note(f"{counted} (left out)")
