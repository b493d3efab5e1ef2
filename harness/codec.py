"""Frozen data to JSON and back, checked on the way in: what a pipe or a file hands over is not trusted to fit."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from harness.errors import BackbenchError

T = TypeVar("T")


class Malformed(BackbenchError):
    """JSON that does not describe the class it should; every misfit is named with its place."""


@functools.cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


def encode(value: object) -> Any:
    """`value` (a frozen dataclass of `harness.model` or `harness.record`, or plain data) as plain JSON data."""
    kind: Any = type(value) if dataclasses.is_dataclass(value) else Any
    return _adapter(kind).dump_python(value, mode="json")


def decode(kind: type[T], data: object) -> T:
    """Plain JSON data as an instance of `kind`. Raises `Malformed`, which lists every misfit."""
    try:
        return cast(T, _adapter(cast(Hashable, kind)).validate_python(data))
    except ValidationError as error:
        misfits = "; ".join(f"{'.'.join(map(str, e['loc'])) or '.'}: {e['msg']}" for e in error.errors())
        raise Malformed(f"not a {kind.__name__}: {misfits}") from error


def loads(kind: type[T], text: str) -> T | None:
    """One line of JSON as an instance of `kind`; None where it does not fit: `decode` then says why."""
    try:
        return cast(T, _adapter(cast(Hashable, kind)).validate_json(text))
    except ValidationError:
        return None


def dumps(value: object) -> str:
    """One line of JSON with sorted keys: equal data gives equal text."""
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()


def key(value: object) -> str:
    """Short stable hash that names a cell or a group: the first 12 hex digits of `digest`.

    Fields marked `harness.model.LATER` are left out while they have their default.
    """
    return digest(_keyed(value))[:12]


def _default(field: dataclasses.Field[Any]) -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _keyed(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: _keyed(held)
            for f in dataclasses.fields(value)
            if (held := getattr(value, f.name)) != _default(f) or not f.metadata.get("later")
        }
    if isinstance(value, Mapping):
        return {name: _keyed(held) for name, held in value.items()}
    return [_keyed(held) for held in value] if isinstance(value, (list, tuple)) else value
