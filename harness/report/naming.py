"""What backbones are called in a report: two of a run that differ never have the same name."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from harness.model import Backbone, Cell


def of(backbone: Backbone) -> str:
    """The name, with what else of its plan makes a group of its own: its size and its outputs."""
    size = f"{backbone.input_size} px" if backbone.input_size else ""
    return " ".join(filter(None, (backbone.name, size, "features" if backbone.features_only else "")))


def of_runtime(cell: Cell, alike: Container[tuple[str, str]] = ()) -> str:
    """The runtime with its options, interpreter and device, and those options of its exporters that are not in `alike`."""
    words = [cell.runtime, *(f"{name}={value}" for name, value in sorted(cell.options.items()))]
    words += [
        f"{exporter}.{name}={value}"
        for exporter, given in sorted(cell.exports.items())
        for name, value in sorted(given.items())
        if (exporter, name) not in alike
    ]
    words += [f"python={cell.python}"] if cell.python else []
    words += [f"({cell.device})"] if cell.device != "cpu" else []
    return " ".join([*words, f"[{cell.label}]"] if cell.label else words)


def names(backbones: Iterable[Backbone]) -> Mapping[Backbone, str]:
    """A name for each; those that would share one have their files, weights or seeds in it, as far as these differ."""
    alike: dict[str, list[Backbone]] = {}
    for backbone in dict.fromkeys(backbones):
        alike.setdefault(of(backbone), []).append(backbone)
    told = {one: _told(one, same) for same in alike.values() for one in same}
    return {one: f"{name} ({told[one]})" if told[one] else name for name, same in alike.items() for one in same}


def _told(one: Backbone, same: Sequence[Backbone]) -> str:
    """What distinguishes a backbone from others of its name."""
    words = []
    if len({other.path for other in same}) > 1:
        words.append(_below(one.path, [other.path for other in same]) or "timm")
    if len({other.weights for other in same if not other.path}) > 1 and not one.path:
        words.append(_below(one.weights, [other.weights for other in same]))
    if len({other.seed for other in same}) > 1:
        words.append(f"seed {one.seed}")
    return ", ".join(words)


def _below(value: str, all_: Iterable[str]) -> str:
    """A path without the folders that all paths have in common; anything else as it is."""
    paths = {other for other in all_ if Path(other).is_absolute()}
    return os.path.relpath(value, os.path.commonpath(paths)) if value in paths and len(paths) > 1 else value
