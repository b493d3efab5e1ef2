"""The artifact cache: one folder per recipe, made beside and renamed into place, checked by sha256 when it is read."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from harness import codec
from harness.errors import BackbenchError, ExportFailed, StoreFailed, Unsupported, from_wire, of_memory
from harness.model import SCHEMA, Artifact, Attempt, Export, Format, Recipe

_MANIFEST, _FAILURE = "manifest.json", "failure.json"
_ALMOST_FULL_BYTES = 64 << 20
log = logging.getLogger("backbench")


def root() -> Path:
    """`$BACKBENCH_CACHE`, else the user's cache folder."""
    import platformdirs

    given = os.environ.get("BACKBENCH_CACHE")
    return Path(given).expanduser().absolute() if given else Path(platformdirs.user_cache_dir("backbench"))


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what stops a write into the cache in `folder` into `StoreFailed`."""
    try:
        yield
    except OSError as error:
        raise StoreFailed(
            f"the cache in {folder} cannot be written: {error.strerror or error}",
            "set BACKBENCH_CACHE to a folder that can be written",
        ) from error


@dataclass(frozen=True)
class Cache:
    """The cache under `folder`. Several processes may use it at once: a file lock guards every recipe."""

    folder: Path

    def entry(self, recipe: Recipe) -> Path:
        """Where the artifact of a recipe lies."""
        digest = codec.digest(recipe)
        return self.folder / "artifacts" / digest[:2] / digest

    def holds(self, recipe: Recipe) -> bool:
        """Whether there is an entry (or a kept failure), without checking its content."""
        entry = self.entry(recipe)
        return (entry / _MANIFEST).exists() or (entry / _FAILURE).exists()

    def get_or_make(
        self,
        recipe: Recipe,
        format_: Format,
        make: Callable[[Path], Export],
        attempts: tuple[Attempt, ...] = (),
    ) -> Artifact:
        """The artifact of `recipe`, from the cache or by calling `make` with an empty folder.

        A failure to export is kept too and raised again without another try, but for memory that ran out. Raises what
        `make` raises, and `StoreFailed` where the cache cannot be written.
        """
        from filelock import FileLock

        entry = self.entry(recipe)
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{entry}.lock")
            with lock:
                found = self._read(entry)
                return replace(found or self._make(entry, recipe, format_, make), attempts=attempts)
        except OSError as error:
            raise self._unwritable(error) from error

    def _read(self, entry: Path) -> Artifact | None:
        if not entry.exists():
            return None
        failure: BackbenchError | None = None
        try:
            if not (entry / _FAILURE).exists():
                return unseal(entry)
            kept = json.loads((entry / _FAILURE).read_text())
            failure = from_wire(kept["kind"], kept["message"], kept["hint"])
        except (OSError, ValueError, KeyError, BackbenchError) as error:
            aside = self.folder / "damaged" / f"{entry.name[:16]}-{time.time_ns()}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            entry.rename(aside)
            log.warning("a cache entry was damaged (%s); it lies in %s now and is made again", error, aside)
            return None
        raise failure

    def _make(self, entry: Path, recipe: Recipe, format_: Format, make: Callable[[Path], Export]) -> Artifact:
        begun = f"{entry.name[:16]}."
        for left in entry.parent.glob(f"{begun}*.part"):  # by one that was killed: the lock of this recipe is ours
            shutil.rmtree(left, ignore_errors=True)
        beside = entry.with_name(f"{begun}{uuid.uuid4().hex[:8]}.part")
        beside.mkdir()
        begin = time.perf_counter()
        try:
            artifact = seal(make(beside), beside, format_, recipe, time.perf_counter() - begin)
            _sync_and_rename(beside, entry)
            return _moved(artifact, beside, entry)
        except (ExportFailed, Unsupported) as error:
            self._refuse_if_full(error)
            if not of_memory(error.message):
                self.keep_failure(entry, error)
            raise
        except BackbenchError as error:
            self._refuse_if_full(error)
            raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def keep_failure(self, entry: Path, error: BackbenchError) -> None:
        """Raise this error whenever the entry is asked for again."""
        entry.mkdir(exist_ok=True)
        text = json.dumps({"kind": type(error).__name__, "message": error.message, "hint": error.hint})
        beside = entry / f"{_FAILURE}.part"
        beside.write_text(text)
        beside.replace(entry / _FAILURE)

    def _refuse_if_full(self, error: BackbenchError) -> None:
        if "No space left" in str(error) or shutil.disk_usage(self.folder).free < _ALMOST_FULL_BYTES:
            raise self._unwritable(OSError(errno.ENOSPC, "No space left on device")) from error

    def _unwritable(self, error: OSError) -> StoreFailed:
        hint = "set BACKBENCH_CACHE to a folder on a disk with room, or empty the cache: " + str(self.folder)
        return StoreFailed(f"the artifact cache cannot be written: {error.strerror or error}", hint)


def seal(
    export: Export,
    folder: Path,
    format_: Format,
    recipe: Recipe,
    seconds: float,
    attempts: tuple[Attempt, ...] = (),
) -> Artifact:
    """Digest what an exporter wrote into `folder`, write the manifest beside it, and give the artifact."""
    files = {name: sha256(folder / name) for name in _files(folder)}
    if not files or not (folder / export.file).exists():
        raise ExportFailed(f"the exporter wrote no {export.file!r} into its folder", "this is a fault of the exporter")
    artifact = Artifact(
        format=format_,
        path=str((folder / export.file).resolve()),
        precision=export.precision,
        inputs=export.inputs,
        outputs=export.outputs,
        digest=codec.digest(files),
        size_bytes=sum((folder / name).stat().st_size for name in files),
        recipe=recipe,
        seconds=seconds,
        details=export.details,
        attempts=attempts,
    )
    manifest = {
        "schema": SCHEMA,
        "file": export.file,
        "files": files,
        "artifact": codec.encode(replace(artifact, path="")),
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    return artifact


def unseal(folder: Path) -> Artifact:
    """The artifact in `folder`, checked against its manifest. Raises `StoreFailed` where a file differs."""
    manifest = json.loads((folder / _MANIFEST).read_text())
    for name, digest in manifest["files"].items():
        if sha256(folder / name) != digest:
            raise StoreFailed(f"{name} is not the file that was written")
    artifact = codec.decode(Artifact, manifest["artifact"])
    return replace(artifact, path=str((folder / manifest["file"]).resolve()))


def _files(folder: Path) -> list[str]:
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in names if name != _MANIFEST)


def sha256(path: Path) -> str:
    """sha256 (hex) of a file. Raises OSError."""
    with path.open("rb") as file:
        if hasattr(hashlib, "file_digest"):
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()  # Python 3.10
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _sync_and_rename(beside: Path, entry: Path) -> None:
    for path in beside.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    beside.rename(entry)


def _moved(artifact: Artifact, old: Path, new: Path) -> Artifact:
    return replace(artifact, path=str(new.resolve() / Path(artifact.path).relative_to(old.resolve())))
