"""A desk to type commands at: a folder with a tiny model, a cache, and `python -m harness` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests import making

RUNTIMES = ("-r", "ort_cpu", "-r", "fake", "-o", "fake.latency_ns=1000000")
SHORT = ("--threads", "1", "--budget", "0.3s", "--patience", "5s", "--no-roofline")
DEADLINE_S = 120.0


@dataclass(frozen=True)
class Said:
    """What a command that has ended left on the screen."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Its output without line breaks, which depend on the width."""
        return " ".join(self.out.split())


@dataclass(frozen=True)
class Desk:
    """A folder to work in, with a tiny model in it, and the cache that the commands use."""

    folder: Path
    cache: Path
    packages: Path | None = None
    """Where `harness` and the plug-ins are imported from, if not from where the tests are."""

    def starts(self, *words: str) -> subprocess.Popen[str]:
        """Start `backbench` with those words, in a session of its own, as a terminal would."""
        kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "COLUMNS")}
        kept |= {"PYTHONPATH": str(self.packages)} if self.packages else {}
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *words],
            cwd=self.folder,
            env={**kept, "BACKBENCH_CACHE": str(self.cache), "COLUMNS": "200", "NO_COLOR": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def runs(self, *words: str, answer: str = "") -> Said:
        """Run `backbench` with those words to its end."""
        return end_of(self.starts(*words), answer)

    def measures(self, *words: str) -> Said:
        """Run it on the tiny model, shortly."""
        return self.runs("run", "-m", "model.onnx", *RUNTIMES, *SHORT, *words)

    def workers(self) -> list[psutil.Process]:
        """The workers that use this desk's cache, whoever their parent is."""
        return [process for process in psutil.process_iter() if _is_worker(process, str(self.cache))]

    def written(self) -> set[str]:
        """Names of what lies in the folder."""
        return {path.name for path in self.folder.iterdir()}


def end_of(process: subprocess.Popen[str], answer: str = "") -> Said:
    """What it leaves, once it has ended."""
    try:
        out, err = process.communicate(answer, timeout=DEADLINE_S)
    finally:
        process.kill()
    return Said(process.returncode, out, err)


def _is_worker(process: psutil.Process, cache: str) -> bool:
    try:
        mine = "harness.worker" in process.cmdline() and process.environ().get("BACKBENCH_CACHE") == cache
        return mine and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def comes_true(condition: Any, seconds: float = DEADLINE_S) -> bool:
    """Whether the condition holds before the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def laid(folder: Path, cache: Path) -> Desk:
    """A desk in `folder`, with the model."""
    making.identity_onnx(folder / "model.onnx")
    return Desk(folder, cache)
