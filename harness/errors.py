"""Every error that Backbench raises on purpose.

    BackbenchError
    ├── PlanInvalid          a plan, an option or a name that cannot be used; all faults at once
    │   └── UnknownName      a name that nothing is registered under
    ├── PluginConflict       two plug-ins of one name, or a plug-in file without a plug-in
    ├── MissingLibrary       a library that a plug-in needs is not installed, or does not load
    ├── Unsupported          the request is sound, but this runtime, exporter or device cannot do it
    ├── SourceInvalid        a backbone, checkpoint or ONNX file that cannot be used
    ├── DataInvalid          images, labels or classes that cannot be used
    ├── Offline              something has to be fetched, and there is no network
    ├── NotComparable        two runs or cells whose difference would say nothing
    ├── ExportFailed         an exporter did not produce an artifact
    ├── OpenFailed           a runtime did not open an artifact
    ├── RunFailed            an open session failed while it ran
    ├── Unreadable           a file or counter of the machine that is not there, or may not be read
    ├── ReferenceUseless     the reference outputs barely differ between inputs: they verify nothing
    ├── WorkerFailed         a worker process ended or answered nonsense
    │   ├── WorkerCrashed    killed by a signal, or exited without a reply
    │   └── WorkerTimedOut   no reply in time; its process group was killed
    └── StoreFailed          a results folder or the cache cannot be read or written

Each carries a message (what failed, and why) and a hint (what to type next). Only `harness.cli` turns one into an exit
code; a worker turns one into a reply, and `from_wire` turns that reply back into the same class in the parent.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import ClassVar


class BackbenchError(Exception):
    """Base of all errors raised on purpose: `message` says what failed and why, `hint` what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def at(self, place: str) -> BackbenchError:
        """The same error, its message begun with the place (`plan.yaml:4`) that it is about."""
        if place:
            self.message = f"{place}: {self.message}"
        return self

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class PlanInvalid(BackbenchError):
    """A plan, an option or a name that cannot be used; `faults` lists every one that was found."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "", faults: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join((message, *(f"  - {fault}" for fault in faults))), hint)
        self.faults = faults


class UnknownName(PlanInvalid):
    """A name that nothing is registered under; the hint holds the nearest names."""


class PluginConflict(BackbenchError):
    """Two plug-ins of one name, or a plug-in file that does not define exactly one plug-in."""


class MissingLibrary(BackbenchError):
    """A library that a plug-in needs is not installed, or does not load; the hint is the line that installs it."""


class Unsupported(BackbenchError):
    """The request is sound, but this runtime, exporter or device cannot do it."""


class SourceInvalid(BackbenchError):
    """A backbone, checkpoint or ONNX file that cannot be used."""

    exit_code = 2


class DataInvalid(BackbenchError):
    """Images, labels or classes that cannot be used; each is named."""

    exit_code = 2


class Offline(BackbenchError):
    """Something has to be fetched, and there is no network."""


class NotComparable(BackbenchError):
    """Two runs, or all their cells, differ in something that a comparison would then be of."""

    exit_code = 2


class ExportFailed(BackbenchError):
    """An exporter did not produce an artifact."""


class OpenFailed(BackbenchError):
    """A runtime did not open an artifact."""


class RunFailed(BackbenchError):
    """An open session failed while it ran."""


class Unreadable(BackbenchError):
    """A file or counter of the machine that is not there, or may not be read; the message is the reason."""


class ReferenceUseless(BackbenchError):
    """The reference outputs barely differ between inputs, so that comparing with them would verify nothing."""


class WorkerFailed(BackbenchError):
    """A worker process ended, or answered something that is not a reply."""


class WorkerCrashed(WorkerFailed):
    """A worker was killed by a signal, or exited without a reply."""


class WorkerTimedOut(WorkerFailed):
    """A worker gave no reply in time; its process group was killed."""


class StoreFailed(BackbenchError):
    """A results folder or the artifact cache cannot be read or written."""


class SelftestFailed(BackbenchError):
    """The self-test could not be carried out; a machine that is not calibrated is a result, and no error."""


def from_wire(kind: str, message: str, hint: str) -> BackbenchError:
    """The error that a worker reported, as the class it was raised as (`WorkerFailed` where the name is not ours)."""
    found = _named(BackbenchError, kind)
    return WorkerFailed(f"{kind}: {message}", hint) if found is None else found(message, hint)


def _named(base: type[BackbenchError], name: str) -> type[BackbenchError] | None:
    if base.__name__ == name:
        return base
    return next((hit for sub in base.__subclasses__() if (hit := _named(sub, name))), None)


def of_memory(message: str) -> bool:
    """Whether a library's message says that memory ran out: it says nothing of the next try."""
    return _MEMORY.search(message) is not None


_MEMORY = re.compile(
    r"MemoryError|bad_alloc|can't allocate memory|cannot allocate memory|out of memory|std::length_error|"
    r"Failed to allocate (\d+ bytes of )?memory|unable to allocate|not enough memory|bad allocation",
    re.IGNORECASE,
)


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """`did you mean 'resnet50'?` where something known is near, else `otherwise`."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(repr(n) for n in near)}?" if near else otherwise
