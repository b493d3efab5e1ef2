"""The options of `backbench run` that measure cells again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from harness.model import JSON, Cell


def options(cells: Sequence[Cell]) -> list[str]:
    """Words such as `-m resnet50 -r ort_cpu --precision int8`: the smallest matrix with all of the cells.

    A run has one number of threads, one kind of weights, one interpreter of each runtime and one value of each option: those
    of the first cell that has any.
    """
    words = []
    for option, values in (
        ("-m", [cell.backbone.path or cell.backbone.name for cell in cells]),
        ("-r", [cell.runtime for cell in cells]),
        ("--precision", [cell.precision for cell in cells]),
        ("--batch", [cell.batch for cell in cells]),
        ("--device", [cell.device for cell in cells]),
    ):
        words += _each(option, values)
    for option, values in (
        ("--threads", [cell.threads for cell in cells]),
        ("--cpus", [cell.cpus for cell in cells]),
        ("--weights", [cell.backbone.weights for cell in cells if not cell.backbone.path]),  # a file has its own
        ("--input-size", [cell.backbone.input_size for cell in cells]),
        ("--calib", [cell.calibration.folder for cell in cells if cell.calibration is not None]),
    ):
        words += _each(option, [value for value in values if value][:1])
    pythons = {cell.runtime: cell.python for cell in reversed(cells) if cell.python}
    words += [word for pair in sorted(pythons.items()) for word in ("--python", "=".join(pair))]
    given: dict[str, JSON] = {}
    for cell in cells:
        for plugin, told in ({cell.runtime: cell.options} | dict(cell.exports)).items():
            for name, value in told.items():
                given.setdefault(f"{plugin}.{name}", value)
    return [*words, *(word for pair in given.items() for word in ("-o", _told(*pair)))]


_DEFAULTS: Mapping[str, str] = {"--precision": "fp32", "--batch": "1", "--device": "cpu", "--weights": "random"}


def _each(option: str, values: Iterable[str | int]) -> list[str]:
    distinct = list(dict.fromkeys(map(str, values)))
    return [] if distinct == [_DEFAULTS.get(option)] else [word for value in distinct for word in (option, value)]


def _told(name: str, value: JSON) -> str:
    return f"{name}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}"
