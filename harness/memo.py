"""Small values that are costly to find out, kept as JSON beside the artifacts: one file per key."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness import codec
from harness.errors import BackbenchError

T = TypeVar("T")
log = logging.getLogger("backbench")


@dataclass(frozen=True)
class Memo:
    """Values under `folder`. A file that cannot be read is made again; a disk that cannot be written costs only time."""

    folder: Path

    def path(self, topic: str, key: object) -> Path:
        """Where the value of a key lies."""
        return self.folder / topic / f"{codec.digest(key)}.json"

    def value(
        self,
        kind: type[T],
        topic: str,
        key: object,
        make: Callable[[], T],
        *,
        refresh: bool = False,
        keep: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """The value of `key`, read, or made, and kept where `keep` says so. Raises what `make` raises."""
        path = self.path(topic, key)
        if not refresh and (kept := _read(kind, path)) is not None:
            return kept
        made = make()
        if keep(made):
            write(path, {"key": codec.encode(key), "value": codec.encode(made)})
        return made


def _read(kind: type[T], path: Path) -> T | None:
    try:
        return codec.decode(kind, json.loads(path.read_text())["value"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, BackbenchError) as error:
        log.warning("%s cannot be read (%s); it is made again", path, error)
        return None


def write(path: Path, data: object) -> None:
    """Keep JSON data in a file, whole or not at all; a disk that cannot be written is a warning."""
    beside = path.with_name(f"{path.name[:16]}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(data, indent=1, sort_keys=True))
        beside.replace(path)
    except OSError as error:
        log.warning("%s cannot be kept (%s): it will be found out again next time", path, error.strerror or error)
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def source_digest(*modules: str) -> str:
    """Digest of the modules' own source, so that a value is found out again when the code that did has changed."""
    digest = hashlib.sha256()
    for module in modules:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()[:16]
