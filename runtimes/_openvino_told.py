"""What OpenVINO tells, as plain data: its errors and the properties of a compiled model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.api import first_line

LOADED = "LOADED_FROM_CACHE"


def said(error: BaseException) -> str:
    """What an exception of OpenVINO says, without the places in its sources that come before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return telling[0][:300] if telling else first_line(error)


def loaded_from_cache(compiled: Any) -> bool | None:
    """Whether the model came from the model cache; None where it is not told. The CPU plug-in tells, and does not list it."""
    try:
        return bool(compiled.get_property(LOADED))
    except RuntimeError:
        return None


def readable(compiled: Any) -> list[str]:
    """Names of the properties that the compiled model tells."""
    return [name for name in compiled.get_property("SUPPORTED_PROPERTIES") if name != "SUPPORTED_PROPERTIES"]


def plain(value: Any) -> Any:
    """A property as JSON data."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items() if k != "SUPPORTED_PROPERTIES"}
    return str(value)


def of_chosen(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of the device that AUTO or HETERO chose, where it chose one."""
    each = settings.get("DEVICE_PROPERTIES")
    return next(iter(each.values())) if isinstance(each, Mapping) and len(each) == 1 else {}
