"""Names of devices (`cpu`, `cuda:0`): one form everywhere, checked before anything is planned with one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness import registry
from harness.errors import BackbenchError, PlanInvalid, UnknownName, did_you_mean

_FORM = re.compile(r"([a-z][a-z0-9_-]*)(?::([0-9]+))?")
_ALONE = frozenset({"cpu", "auto", "hetero"})
"""Kinds that are never numbered."""
_NUMBERED = frozenset({"cuda", "dla", "intel-gpu"})
"""Kinds that always are: `cuda` and `cuda:0` would be two cells of one device."""
_MEANT = {"gpu": "cuda:0 or intel-gpu:0", "nvidia": "cuda:0", "npu": "intel-npu", "igpu": "intel-gpu:0"}


def kinds() -> tuple[str, ...]:
    """Kinds of devices that some runtime knows."""
    return tuple(
        dict.fromkeys(kind for name in registry.found("runtimes") for kind in registry.runtime_class(name).precisions)
    )


def numbered(name: str) -> str:
    """`cuda:0` for `cuda`: the first of a kind that is numbered."""
    return f"{name}:0" if name in _NUMBERED else name


def check(name: str) -> None:
    """Raise `PlanInvalid` for what is no device's name, with what was probably meant."""
    form, known = _FORM.fullmatch(name), kinds()
    kind = form[1] if form else name.partition(":")[0].strip().lower()
    if kind not in known:
        near = _MEANT.get(kind)
        names = [numbered(one) for one in known]
        hint = f"give {near}" if near else did_you_mean(kind, names, f"devices: {', '.join(names)}")
        raise UnknownName(f"unknown device {name!r}", hint)
    if kind in _ALONE and name != kind:
        raise PlanInvalid(f"unknown device {name!r}", f"give {kind}, which takes no number")
    if form is None or (kind in _NUMBERED and form[2] is None):
        raise PlanInvalid(f"unknown device {name!r}", f"give {numbered(kind)} (see: backbench list devices)")


def faults(names: Iterable[str]) -> list[BackbenchError]:
    """What `check` finds in any of them."""
    found: list[BackbenchError] = []
    for name in dict.fromkeys(names):
        try:
            check(name)
        except BackbenchError as error:
            found.append(error)
    return found
