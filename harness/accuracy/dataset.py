"""Labelled images: a folder with a folder per class, or a CSV of path,label; and which output of a backbone each class is."""

from __future__ import annotations

import csv
import functools
import hashlib
import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataInvalid
from harness.preprocess import SUFFIXES

IMAGENET = "imagenet"
"""The name that `--classes` takes for ImageNet-1k's own order."""
_IMAGENET_CLASSES = 1000
_WNID = re.compile(r"n\d{8}")
_SHOWN = 3


@dataclass(frozen=True)
class Dataset:
    """Images with their labels, as they are named; `fit` makes class indices of the names."""

    source: Path
    images: tuple[Path, ...]
    labels: tuple[str, ...]
    whole: tuple[str, ...] = ()
    """Names of the classes of the whole set, where this is a part of it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The different labels of the whole set, sorted as numbers where all are, else by name."""
        found = set(self.labels)
        return self.whole or tuple(sorted(found, key=int) if all(n.isdecimal() for n in found) else sorted(found))

    @functools.cached_property
    def digest(self) -> str:
        """sha256 over name, size and label of every image: the same for the same data, wherever it lies."""
        base = self.source if self.source.is_dir() else self.source.parent
        digest = hashlib.sha256()
        for image, label in zip(self.images, self.labels, strict=True):
            size = image.stat().st_size if image.is_file() else -1
            digest.update(f"{os.path.relpath(image, base)}\0{size}\0{label}\n".encode())
        return digest.hexdigest()

    def limited(self, limit: int) -> Dataset:
        """At most `limit` images, spread evenly over the whole set (and so over its classes)."""
        total = len(self.images)
        if limit >= total:
            return self
        kept = [i * total // limit for i in range(limit)]
        # Where no image of a class is kept, its output must not become another's: the names are those of the whole set.
        return Dataset(
            self.source, tuple(self.images[i] for i in kept), tuple(self.labels[i] for i in kept), self.names
        )


@dataclass(frozen=True)
class Classes:
    """Names of a backbone's outputs, in order, where they are known; `kind` says how they were found, for messages."""

    names: tuple[str, ...]
    kind: str
    timm: tuple[str, ...] = ()
    """The same names in the order that timm's own training gives them, where they are in the alphabet's and that differs."""


def read(source: Path) -> Dataset:
    """The images of a folder or CSV. Raises `DataInvalid` where there are none, or a line of the CSV is none."""
    if source.is_dir():
        return _read_folder(source)
    if source.is_file():
        return _read_csv(source)
    raise DataInvalid(
        f"there is no folder or CSV file {source}", "give a folder with a folder per class, or a CSV of path,label"
    )


def _read_folder(folder: Path) -> Dataset:
    images: list[Path] = []
    labels: list[str] = []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        found = sorted(path for path in inner.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        images += found
        labels += [inner.name] * len(found)
    if not images:
        loose = sum(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
        why = f"its {loose} images lie in no class folder" if loose else "it holds no class folder with images"
        raise DataInvalid(
            f"{folder} cannot be used: {why}",
            f"lay the images out as {folder}/CLASS/IMAGE ({', '.join(sorted(SUFFIXES))}), or give a CSV of path,label",
        )
    return Dataset(folder, tuple(images), tuple(labels))


def _read_csv(file: Path) -> Dataset:
    images: list[Path] = []
    labels: list[str] = []
    faults: list[str] = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            rows = list(csv.reader(opened))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataInvalid(f"{file} cannot be read as CSV: {error}", "it has two columns: path,label") from error
    path_at, label_at, first = _columns(rows)
    if not first:
        _refuse_header(file, next((row for row in rows if row), []))
    for number, row in enumerate(rows[first:], first + 1):
        if not row:
            continue
        if len(row) <= max(path_at, label_at) or not row[path_at].strip() or not row[label_at].strip():
            faults.append(f"line {number} has no path and label: {','.join(row)!r}")
            continue
        images.append(file.parent / row[path_at].strip())
        labels.append(row[label_at].strip())
    if faults:
        raise DataInvalid(
            f"{file}: {_some(faults, '; ')}", "every line is path,label; the path is relative to the file"
        )
    if not images:
        raise DataInvalid(f"{file} names no image", "every line is path,label")
    return Dataset(file, tuple(images), tuple(labels))


def _columns(rows: Sequence[Sequence[str]]) -> tuple[int, int, int]:
    """Where path and label stand, and the first line of data: by the header, where there is one."""
    head = [word.strip().lower() for word in rows[0]] if rows else []
    if "path" in head and "label" in head:
        return head.index("path"), head.index("label"), 1
    return 0, 1, 0


def _refuse_header(file: Path, row: Sequence[str]) -> None:
    """Raise `DataInvalid` where a first line names other columns: neither a file that is there nor an image's suffix."""
    named = row[0].strip() if row else ""
    if named and Path(named).suffix.lower() not in SUFFIXES and not (file.parent / named).exists():
        raise DataInvalid(
            f"{file}: its first line {','.join(row)!r} names no image",
            "the header must be path,label; without one, every line is path,label",
        )


def classes_of(given: str | None, data: Dataset, outputs: int) -> Classes:
    """The classes that a backbone with `outputs` outputs has, as `--classes` says or the data imply.

    Raises `DataInvalid` where they do not fit.
    """
    names = data.names
    if given == IMAGENET or (given is None and outputs == _IMAGENET_CLASSES and all(map(_WNID.fullmatch, names))):
        return _checked(Classes(_imagenet(names), "ImageNet-1k's order"), outputs)
    if given is not None:
        return _checked(Classes(_from_file(Path(given)), given), outputs)
    if all(name.isdecimal() for name in names):
        return Classes(tuple(map(str, range(outputs))), "the labels are indices")
    if len(names) != outputs:
        raise DataInvalid(
            f"{data.source} has {len(names)} classes ({_some(names)}), but the backbone has {outputs} outputs",
            "give the names of the outputs in their order, one a line: --classes FILE (or --classes imagenet)",
        )
    timm = tuple(sorted(names, key=_timm_key))
    return Classes(names, "the class names in alphabetical order", timm if timm != names else ())


def _timm_key(name: str) -> list[str | int]:
    """`natural_key` of timm, by which its reader sorts folders: numbers in names as numbers, and small letters alone."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name.lower()))]


def _checked(classes: Classes, outputs: int) -> Classes:
    if len(classes.names) != outputs:
        raise DataInvalid(
            f"{classes.kind} has {len(classes.names)} classes, but the backbone has {outputs} outputs",
            "give the names of the outputs in their order, one a line: --classes FILE",
        )
    return classes


def _from_file(file: Path) -> tuple[str, ...]:
    """One name a line; of a line such as `n01440764 tench`, the first word also where names are WordNet ids."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataInvalid(
            f"the classes in {file} cannot be read: {why}", "one class name a line, or --classes imagenet"
        ) from error
    if lines and all(_WNID.match(line) for line in lines):
        lines = [line.split()[0] for line in lines]
    if double := sorted({line for line in lines if lines.count(line) > 1}):
        raise DataInvalid(f"{file} names classes twice: {_some(double)}", "one class name a line")
    return tuple(lines)


def _imagenet(names: Sequence[str]) -> tuple[str, ...]:
    """WordNet ids in ImageNet-1k's order, which is that of the ids; plain indices where the labels are indices."""
    if all(name.isdecimal() for name in names):
        return tuple(map(str, range(_IMAGENET_CLASSES)))
    if len(names) == _IMAGENET_CLASSES and all(map(_WNID.fullmatch, names)):
        return tuple(names)
    timm = importlib.util.find_spec("timm")
    kept = Path(timm.origin).parent / "data" / "_info" / "imagenet_synsets.txt" if timm and timm.origin else None
    if kept is None or not kept.is_file():
        raise DataInvalid(
            "the order of ImageNet's classes is known from timm, which is not installed, or from a set of all 1000",
            "give the 1000 WordNet ids in their order, one a line: --classes FILE",
        )
    return tuple(sorted(kept.read_text().split()))


def fit(data: Dataset, classes: Classes) -> tuple[int, ...]:
    """Index of every image's class. Raises `DataInvalid` naming labels that are none of the classes."""
    index = {name: i for i, name in enumerate(classes.names)}
    if all(name.isdecimal() for name in classes.names):  # 007 is 7
        index |= {name: index[plain] for name in data.names if name.isdecimal() and (plain := str(int(name))) in index}
    present = set(data.labels)
    if unknown := [name for name in data.names if name in present and name not in index]:
        counted = sum(label in set(unknown) for label in data.labels)
        raise DataInvalid(
            f"{len(unknown)} of the labels ({_some(unknown)}; {counted} images) are none of the {len(classes.names)} classes "
            f"({classes.kind}: {_some(classes.names)})",
            "rename the labels, or give the right order of classes: --classes FILE",
        )
    return tuple(index[label] for label in data.labels)


def _some(words: Sequence[str], between: str = ", ") -> str:
    return between.join(words[:_SHOWN]) + (f"{between}… ({len(words)} in all)" if len(words) > _SHOWN else "")
