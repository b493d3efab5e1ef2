"""Has one part of an architecture covered by processes: what kills one is remembered, and the next goes on without it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from harness import codec, registry
from harness.cache import Cache
from harness.coverage import causes, work
from harness.coverage.processes import Process
from harness.coverage.record import Architecture, Covered, Exported, News, Order, Part, Ran
from harness.errors import ExportFailed, StoreFailed, WorkerCrashed, WorkerFailed, WorkerTimedOut
from harness.installed import versions

_EXPORT_SHARE = 0.6
"""Of the time limit, for one exporter: another may be quicker."""
_DEATHS = 8
"""Processes of one architecture that may die before it is given up: exporters, each dynamic and static, and runtimes."""


@dataclass(frozen=True)
class Limits:
    """What one part of an architecture may take."""

    seconds: float
    bytes: int


@dataclass(frozen=True)
class Settings:
    """What every architecture of a coverage run is covered with."""

    runtimes: tuple[str, ...]
    device: str
    threads: int
    limits: Limits
    folder: Path
    """Where files are kept while an architecture is worked at, and the logs."""
    versions: dict[str, str]


@dataclass
class _Known:
    """What has been told so far."""

    step: str = "create"
    entry: str = ""
    entry_began: float = 0.0
    cause: str = ""
    reason: str = ""
    export: Exported | None = None
    ran: dict[str, Ran] = field(default_factory=dict)
    outputs: int = 0
    peak_bytes: int | None = None
    died_of: str = ""


def cover(architecture: Architecture, part: Part, settings: Settings, started: Callable[[Process], None]) -> Covered:
    """The record of one part. `started` is told of every process. Raises `StoreFailed` for a full disk."""
    begin = time.monotonic()
    scratch = settings.folder / "work" / f"{architecture.name}-{part}"
    log = settings.folder / "logs" / f"{architecture.name}-{part}.log"
    known = _Known()
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        for _ in range(_DEATHS):
            order = Order(
                architecture, part, settings.runtimes, settings.device, settings.threads, str(scratch),
                settings.limits.bytes, tuple(known.ran.values()),
            )  # fmt: skip
            if _live(order, log, known, begin + settings.limits.seconds, settings.limits.seconds, started):
                break
        else:
            known.cause, known.reason = causes.of(known.step, known.died_of), known.died_of
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    today = datetime.now(timezone.utc).date().isoformat()
    return Covered(
        architecture, part, today, settings.versions, settings.runtimes, known.cause, known.reason, known.export,
        tuple(known.ran[name] for name in settings.runtimes if name in known.ran), known.outputs,
        round(time.monotonic() - begin, 2), known.peak_bytes, settings.limits.seconds, settings.limits.bytes,
        settings.device,
    )  # fmt: skip


def _live(
    order: Order, log: Path, known: _Known, deadline: float, limit_s: float, started: Callable[[Process], None]
) -> bool:
    """One process; whether nothing is left to do for another."""
    known.entry, known.step = "", "create"

    def until() -> float:
        return min(deadline, known.entry_began + limit_s * _EXPORT_SHARE) if known.entry else deadline

    with Process(work.cover, codec.encode(order), log, order.limit_bytes) as process:
        started(process)
        try:
            for told in process.news(until):
                _learn(known, codec.decode(News, told))
        except WorkerFailed as error:
            return _survive(order, known, error, deadline)
    return True


def _learn(known: _Known, news: News) -> None:
    if news.full_disk:
        raise StoreFailed(news.reason, news.full_disk)
    if news.kind == "began":
        known.step, known.entry, known.entry_began = news.step, news.entry, time.monotonic()
    elif news.kind == "created":
        known.outputs = news.outputs
    elif news.kind == "exported" and news.export is not None:
        before = known.export
        known.export = news.export if before is None else replace(news.export, peak_bytes=before.peak_bytes)
        known.entry = ""
    elif news.kind == "ran" and news.ran is not None:
        known.ran[news.step] = news.ran
        known.entry = ""
    elif news.kind == "stopped":
        known.cause, known.reason = news.cause, news.reason
    elif news.kind == "ended":
        known.peak_bytes = news.peak_bytes


def _survive(order: Order, known: _Known, error: WorkerFailed, deadline: float) -> bool:
    """Remember what a process died of; whether the architecture is done with."""
    out_of_time = time.monotonic() >= deadline
    late = isinstance(error, WorkerTimedOut)
    reason = known.died_of = error.message
    killed = isinstance(error, WorkerCrashed) and "SIGKILL" in reason
    cause = causes.TIME if late else causes.MEMORY if killed else causes.of(known.step, reason)
    if known.step in ("create", "export") and (out_of_time or not known.entry or known.step == "create"):
        known.cause, known.reason = cause, reason
        return True
    if known.step == "export":
        Cache(Path(order.folder)).keep_failure(Path(known.entry), ExportFailed(f"it was tried, and {reason}"))
        return False
    known.ran[known.step] = Ran(known.step, cause, reason)
    if out_of_time:
        for name in order.runtimes:
            known.ran.setdefault(name, Ran(name, causes.TIME, "its turn did not come within the limit of time"))
    return set(known.ran) >= set(order.runtimes)


def installed(runtimes: tuple[str, ...]) -> dict[str, str]:
    """Versions of what decides an outcome: the libraries of the runtimes and of all exporters that lead to them."""
    needs: dict[str, str] = {"torch": "torch", "timm": "timm", "onnx": "onnx", "onnxscript": "onnxscript"}
    for name in runtimes:
        needs |= registry.runtime_class(name).needs
    return dict(versions(needs))
