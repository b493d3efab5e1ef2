"""The names that timm knows, asked once of a worker per timm version, so that the parent never imports timm."""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.cache import writing
from harness.errors import MissingLibrary, UnknownName, did_you_mean
from harness.launch import Worker

_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Catalog:
    """Architectures (`resnet50`) and pretrained names (`resnet50.a1_in1k`) of the installed timm."""

    timm: str
    models: tuple[str, ...]
    pretrained: tuple[str, ...]

    def expand(self, pattern: str) -> tuple[str, ...]:
        """The names that a name or wildcard means. Raises `UnknownName` with the nearest names."""
        if any(c in pattern for c in "*?["):
            if hits := fnmatch.filter(self.models, pattern) or fnmatch.filter(self.pretrained, pattern):
                return tuple(hits)
            raise UnknownName(f"no timm {self.timm} model matches {pattern!r}", "see: backbench list models 'resnet*'")
        if pattern in self.models or pattern in self.pretrained:
            return (pattern,)
        names = self.pretrained if "." in pattern else self.models
        hint = did_you_mean(pattern, names, "see: backbench list models 'resnet*'")
        raise UnknownName(f"timm {self.timm} has no model {pattern!r}", hint)


def load(cache: Path) -> Catalog:
    """The catalog of the installed timm. Raises `MissingLibrary` where there is none, `StoreFailed`."""
    try:
        version = importlib.metadata.version("timm")
    except importlib.metadata.PackageNotFoundError:
        hint = registry.install_line(("backbench[export]",)) + " (or give an ONNX file: -m model.onnx)"
        raise MissingLibrary("a backbone by name needs timm, which is not installed", hint) from None
    kept = cache / f"timm-{version}.json"
    try:
        data = json.loads(kept.read_text())
        return Catalog(version, tuple(data["models"]), tuple(data["pretrained"]))
    except (OSError, ValueError, KeyError):
        return _ask(cache, kept, version)


def _ask(cache: Path, kept: Path, version: str) -> Catalog:
    with Worker(cache / "logs" / "catalog.log", name="catalog") as worker:
        data = worker.ask("models", _TIMEOUT_S)
    beside = kept.with_suffix(f".{os.getpid()}.part")
    with writing(cache):
        beside.write_text(json.dumps(data))
        beside.replace(kept)
    return Catalog(version, _names(data["models"]), _names(data["pretrained"]))


def _names(data: Sequence[str]) -> tuple[str, ...]:
    return tuple(data)
