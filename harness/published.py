"""Published ImageNet-1k accuracy of timm's pretrained tags: figures that were not measured here, and say so."""

from __future__ import annotations

import csv
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from harness.errors import DataInvalid, StoreFailed
from harness.record import Record

_TABLE, _IMPORTED = "imagenet_top1.csv", "published.csv"
_COLUMNS = ("model", "img_size", "top1", "top5", "crop_pct", "source")
UNKNOWN_SIZE = 0


@dataclass(frozen=True)
class Published:
    """Accuracy of one pretrained tag at one input size, on ImageNet-1k's validation set."""

    model: str
    """timm name with its tag."""
    input_size: int
    """Height and width in pixels."""
    top1: float
    """0..1"""
    top5: float | None
    source: str
    crop_pct: float | None = None
    """Of the images it was measured on; None where the table does not tell."""

    def comparable(self, crop_pct: float) -> bool:
        """Whether images cropped so are those that it was measured on, as far as it tells; tables round to 0.001."""
        return self.crop_pct is None or abs(self.crop_pct - crop_pct) < 0.001


def find(model: str, input_size: int = UNKNOWN_SIZE) -> Published | None:
    """The figure of exactly this tag at this size; None where none is known, and for names without a tag.

    Size 0 is one that nobody knows: the smallest that is published, which is the tag's own wherever timm published figures,
    but need not be elsewhere. It says nothing of other weights of the same architecture: who calls it knows whether the
    weights are the tag's.
    """
    sizes = _known(data_folder()).get(model, {}) if "." in model else {}
    return sizes.get(input_size or min(sizes, default=0))


def of_size(record: Record) -> Published | None:
    """The figure of a record's tag at the size of its images, whatever its weights."""
    backbone, note = record.cell.backbone, record.artifact
    own = note.input_size if note is not None and note.input_size is not None else UNKNOWN_SIZE
    return find(backbone.name, backbone.input_size or own)


def data_folder() -> Path:
    """`$BACKBENCH_DATA`, else the user's data folder."""
    import platformdirs

    given = os.environ.get("BACKBENCH_DATA")
    return Path(given).expanduser().absolute() if given else Path(platformdirs.user_data_dir("backbench"))


@functools.cache
def _known(folder: Path) -> Mapping[str, Mapping[int, Published]]:
    """The project's own table, and what was imported in place of its rows."""
    known: dict[str, dict[int, Published]] = {}
    texts = [(resources.files("harness") / "data" / _TABLE).read_text(encoding="utf-8")]
    imported = folder / _IMPORTED
    if imported.is_file():
        texts.append(imported.read_text(encoding="utf-8"))
    for text in texts:
        for row in csv.DictReader(text.splitlines()):
            one = _row(row, row["source"])
            known.setdefault(one.model, {})[one.input_size] = one
    return known


def _row(row: Mapping[str, str], source: str) -> Published:
    """A row whose accuracies are in percent. Raises `ValueError` or `KeyError` where it is none."""
    top1, top5 = float(row["top1"]), float(row["top5"]) if row.get("top5") else None
    if not 0 <= top1 <= 100 or (top5 is not None and not top1 <= top5 <= 100):
        raise ValueError(f"top1 {top1} and top5 {top5} are no percentages")
    if not row["model"] or int(row["img_size"]) < 1:
        raise ValueError("no model or image size")
    crop = float(row["crop_pct"]) if row.get("crop_pct") else None
    # Divided as decimals: 80.372 % is 0.80372, not 0.8037199999999999.
    top1, top5 = round(top1 / 100, 7), None if top5 is None else round(top5 / 100, 7)
    return Published(row["model"], int(row["img_size"]), top1, top5, source, crop)


def import_file(file: Path) -> tuple[int, Path]:
    """Keep the figures of timm's results file (`results-imagenet.csv`); how many, and where.

    Raises `DataInvalid` naming the line that is none, and `StoreFailed` where the data folder cannot be written.
    """
    rows = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            for number, row in enumerate(csv.DictReader(opened), 2):
                try:
                    rows.append(_row(row, f"imported from {file.name}"))
                except (ValueError, KeyError, TypeError) as error:
                    raise DataInvalid(f"{file}:{number} is no accuracy: {error!r}", _HINT) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataInvalid(f"{file} cannot be read: {why}", _HINT) from error
    if not rows:
        raise DataInvalid(f"{file} holds no accuracies", _HINT)
    return len(rows), _keep(rows)


_HINT = "it has the columns model, img_size, top1 and top5 (and crop_pct), as timm's results/results-imagenet.csv"


def _keep(rows: list[Published]) -> Path:
    kept = data_folder() / _IMPORTED
    beside = kept.with_suffix(f".{os.getpid()}.part")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened)
            writer.writerow(_COLUMNS)
            for row in rows:
                top5 = "" if row.top5 is None else f"{row.top5 * 100:.3f}"
                crop = "" if row.crop_pct is None else row.crop_pct
                writer.writerow((row.model, row.input_size, f"{row.top1 * 100:.3f}", top5, crop, row.source))
        beside.replace(kept)
    except OSError as error:
        raise StoreFailed(
            f"{kept} cannot be written: {error.strerror}", "set BACKBENCH_DATA to a folder that can"
        ) from error
    _known.cache_clear()
    return kept
