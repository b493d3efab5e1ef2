"""How far apart the processors are: the time that a word takes from one core to another and back.

A hypervisor may place two virtual processors on cores that share a cache, or far apart, and move them while a run lasts.
Nothing in the guest shows it: the clock rate, the steal time and a single core's speed stay as they were. But every
barrier between the threads of an inference pays for it, and runtimes pay differently: on a shared 2-core machine, resnet50
went from 57 to 69 ms in PyTorch and from 38.2 to 42.2 ms in ONNX Runtime, in phases of 10 to 60 s, always together with
this latency (300 -> 480 ns). A speed-up taken over both states is a mixture that no repetition finds again, so that every
burst is tagged with what was read just before it, and speed-ups are computed from the calm state (`harness.schedule`).

`python -m harness.core_to_core CPU CPU…` is the process that reads it: one line in, one line with nanoseconds out.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import mmap
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

BOUNCES = 2000
_ENOUGH_NS = 20_000_000
"""Longest reading: on a busy machine a bounce can take a whole time slice."""
_SPINS = 1_000_000
_ANSWER_S = 2.0
_START_S = 10.0
"""For the first answer: on a busy machine an interpreter takes seconds to start."""
_MOST = 16
_LOOK_S = 0.5
FILE = "core-to-core.json"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


# ── the reading process ──────────────────────────────────────────────────────────────────────────────────────────


def _answer(word: memoryview, mine: int, wake: int) -> None:
    os.sched_setaffinity(0, {mine})
    while os.read(wake, 1):
        for _ in range(BOUNCES):
            for _ in itertools.repeat(None, _SPINS):
                if word[0]:
                    break
            if word[0] != 1:
                break
            word[0] = 0
        word[0] = 0


def _bounce(word: memoryview, wake: int) -> int:
    """The first quartile of many round trips in nanoseconds."""
    times: list[int] = []
    clock = time.perf_counter_ns
    begin = clock()
    os.write(wake, b"x")
    for _ in range(BOUNCES):
        start = clock()
        word[0] = 1
        for _ in itertools.repeat(None, _SPINS):
            if not word[0]:
                break
        end = clock()
        times.append(end - start)
        if end - begin > _ENOUGH_NS:
            break
    if len(times) < BOUNCES:
        word[0] = 2
        for _ in itertools.repeat(None, _SPINS):
            if not word[0]:
                break
    return sorted(times)[len(times) // 4]


def serve(cpus: Sequence[int]) -> None:
    """Answer every line on stdin with the longest round trip from the first processor to one of the others."""
    partners: list[tuple[memoryview, int]] = []
    for cpu in cpus[1:]:
        os.sched_setaffinity(0, {cpu})  # raises here, and not in the partner, where there is no such processor
        word = memoryview(mmap.mmap(-1, mmap.PAGESIZE))
        sleep, wake = os.pipe()
        if os.fork() == 0:
            os.close(wake)
            for _, other in partners:
                os.close(other)
            with contextlib.suppress(KeyboardInterrupt):
                _answer(word, cpu, sleep)
            os._exit(0)
        os.close(sleep)
        partners.append((word, wake))
    os.sched_setaffinity(0, {cpus[0]})
    for _ in sys.stdin:
        sys.stdout.write(f"{max(_bounce(word, wake) for word, wake in partners)}\n")
        sys.stdout.flush()


# ── for the parent ───────────────────────────────────────────────────────────────────────────────────────────────


def read_between(cpus: Iterable[int]) -> tuple[int, ...]:
    """The processors that a reading is of, in order: the lowest sixteen, of which the first talks to each of the others."""
    return tuple(sorted(cpus)[:_MOST])


class Meter:
    """The reading process, asleep unless asked. Where it cannot be, `why` says so and readings are None."""

    def __init__(self, cpus: Iterable[int]) -> None:
        """`cpus`: the processors that inferences run on."""
        self.why = ""
        self.cpus = read_between(cpus)
        self._patience_s = _START_S
        self._process: subprocess.Popen[str] | None = None
        if len(self.cpus) < 2:
            self.why = "one processor has no other to talk to"
        elif not hasattr(os, "sched_setaffinity"):
            self.why = "this system cannot pin a process to a processor"
        else:
            command = [sys.executable, "-m", "harness.core_to_core", *map(str, self.cpus)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )

    def read(self) -> int | None:
        """Nanoseconds of a round trip now; None where it cannot be read."""
        process = self._process
        if process is None:
            return None
        assert process.stdin and process.stdout
        try:
            process.stdin.write("\n")
            process.stdin.flush()
            if select.select([process.stdout], [], [], self._patience_s)[0] and (
                line := process.stdout.readline().strip()
            ):
                self._patience_s = _ANSWER_S
                return int(line)
        except (OSError, ValueError) as error:
            self._stop(f"the reading process failed: {error}")
            return None
        self._stop("the reading process ended, or gave no answer")
        return None

    def _stop(self, why: str) -> None:
        self.why = why
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was not flushed to a dead process is of no use
                        pipe.close()

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop("closed")


def best_known(file: Path, cpus: Iterable[int]) -> int | None:
    """The best reading between these processors since the machine was started, as `remember` left it; None for none.

    Two threads of one core lie nearer than cores ever do: what was read between others says nothing of these.
    """
    return _known(file).get(_key(cpus))


def remember(file: Path, cpus: Iterable[int], best_ns: int) -> None:
    """Keep a reading that is the best so far until the machine is started again; a full disk is a warning."""
    from harness import memo  # not at the top: the reading process needs the standard library alone, and starts sooner

    known, key = _known(file), _key(cpus)
    if best_ns < known.get(key, best_ns + 1):
        memo.write(file, {"boot": _boot(), "best_ns": {**known, key: best_ns}})


def _known(file: Path) -> Mapping[str, int]:
    """Best readings since the machine was started, by the processors they were read between."""
    try:
        kept = json.loads(file.read_text())
        return {key: int(best_ns) for key, best_ns in kept["best_ns"].items()} if kept["boot"] == _boot() else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a damaged file, or an older one of one number for all, says as little as none


def _key(cpus: Iterable[int]) -> str:
    return ",".join(map(str, read_between(cpus)))


@contextlib.contextmanager
def learning(file: Path, cpus: Iterable[int]) -> Iterator[None]:
    """Read now and then while nothing is timed (artifacts are made), and keep the best reading in `file`.

    Whoever begins to measure while the processors are apart, and has never seen them together, would take that for
    their best. Work on the same processors only makes readings longer.
    """
    cpus = read_between(cpus)
    readings: list[int] = []
    enough = threading.Event()

    def look() -> None:
        with Meter(cpus) as meter:
            while not enough.wait(_LOOK_S) and (reading := meter.read()) is not None:
                readings.append(reading)

    looking = threading.Thread(target=look, name="core-to-core", daemon=True)
    looking.start()
    try:
        yield
    finally:
        enough.set()
        looking.join()
        if readings:
            remember(file, cpus, min(readings))


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve([int(word) for word in sys.argv[1:]])
