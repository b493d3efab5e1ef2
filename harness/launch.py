"""The parent's end of a worker's mailbox: start it, ask it, wait asleep, and be sure that it is gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, ClassVar, Protocol

from harness import cache
from harness.code_path import code_path
from harness.errors import StoreFailed, WorkerCrashed, WorkerFailed, WorkerTimedOut, from_wire

# What a worker inherits. Everything else (a stray PYTHONWARNINGS, LD_PRELOAD, OMP_PLACES of somebody's shell) would
# change what is measured without being recorded.
_INHERITED = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "TEMP", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR",
    "LD_LIBRARY_PATH",
    "PYTHONPATH", "VIRTUAL_ENV", "COVERAGE_PROCESS_START", "BACKBENCH_CACHE", "HF_HOME", "HF_HUB_OFFLINE",
    "HF_ENDPOINT", "HF_HUB_CACHE", "HF_TOKEN", "TORCH_HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy",
    "https_proxy",
    "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_PATH",
    "CUDA_DEVICE_ORDER", "CUDA_MODULE_LOADING", "OCL_ICD_VENDORS", "ZE_AFFINITY_MASK", "TRTEXEC", "CC", "CXX",
)  # fmt: skip
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GRACE_S = 5.0


def environment(threads: int = 0, python: str = "", more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a worker: a whitelist, the thread count where one is given, `more`, and nothing else.

    For a worker in another interpreter (`python`), what leads to this one's libraries is replaced by Backbench's code alone.
    """
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    if python:
        env.pop("VIRTUAL_ENV", None)
        env["PYTHONPATH"] = str(code_path())
    env |= {"PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1", "TQDM_DISABLE": "1"}
    env["NNCF_CI"] = "1"  # nncf reports its use to its makers otherwise
    if threads:
        env |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return env | dict(more or {})


def pinned(cpus: str) -> tuple[str, ...]:
    """The prefix that pins a worker to `cpus` (`0-3,6`), from before its first thread is made."""
    return ("taskset", "-c", cpus) if cpus else ()


class Asked(Protocol):
    """Who carries out the steps: a worker process, or whatever answers as one does."""

    def ask(self, op: str, timeout_s: float, **fields: object) -> Any: ...
    def __enter__(self) -> Asked: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Start(Protocol):
    """Starts one; `log` is where it prints."""

    def __call__(self, log: Path, *, name: str) -> Asked: ...


class Worker:
    """A worker process and its mailbox. Use as a context manager: on any exception the process group is killed."""

    _alive: ClassVar[weakref.WeakSet[Worker]] = weakref.WeakSet()

    def __init__(
        self,
        log: Path,
        *,
        prefix: Sequence[str] = (),
        python: str = "",
        env: Mapping[str, str] | None = None,
        name: str = "worker",
    ) -> None:
        """Start it, in the interpreter `python` where that is not this one.

        `log` collects its stderr and all that native libraries print; `name` is for messages.

        Raises `StoreFailed` where the log cannot be written, `WorkerFailed` where the worker cannot be started.
        """
        self.name = name
        self.log = log
        self._python = python
        command = [*prefix, python or sys.executable, "-m", "harness.worker"]
        with _log_of(log, command) as stderr:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=dict(environment(0, python) if env is None else env),
                    start_new_session=True,
                )
            except OSError as error:
                raise WorkerFailed(
                    f"cannot start {command[0]}: {error.strerror}", f"is {command[0]} installed?"
                ) from error
        self._pending = b""
        Worker._alive.add(self)

    @classmethod
    def kill_all(cls) -> None:
        """Kill every worker of this process: threads that wait for one then see it crash, and end."""
        for worker in list(cls._alive):
            worker._signal()

    @property
    def pid(self) -> int:
        """Process id of the worker (and of its process group)."""
        return self._process.pid

    def ask(self, op: str, timeout_s: float, **fields: object) -> Any:
        """Send one request and sleep until its reply: the value of the reply.

        Raises the worker's own error, `WorkerCrashed`, or `WorkerTimedOut` after `timeout_s` (the group is then killed).
        """
        self._send({"op": op, **fields})
        return self._value(op, self._line(op, time.monotonic() + timeout_s, timeout_s))

    def _send(self, request: Mapping[str, object]) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps(request).encode() + b"\n")
            pipe.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._crash(str(request["op"])) from error

    def _line(self, op: str, deadline: float, timeout_s: float) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.kill()
                    raise WorkerTimedOut(
                        f"{self.name}: no reply to `{op}` within {timeout_s:.0f} s; it was killed",
                        f"its log: {self.log}",
                    )
                chunk = os.read(pipe.fileno(), 1 << 20)
                if not chunk:
                    raise self._crash(op)
                self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _value(self, op: str, line: bytes) -> Any:
        try:
            reply = json.loads(line)
            if "error" in reply:
                failure = reply["error"]
                hint = failure["hint"]
                if self._python and hint.startswith("pip "):
                    hint = f"{self._python} -m {hint}"
                raise from_wire(failure["kind"], failure["message"], hint)
            return reply["value"]
        except (ValueError, KeyError, TypeError) as error:
            self.kill()
            raise WorkerFailed(f"{self.name}: answered `{op}` with {line[:80]!r}", f"its log: {self.log}") from error

    def _crash(self, op: str) -> WorkerCrashed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        code = self._process.poll()
        self.kill()
        how = "closed its mailbox" if code is None else _how(code)
        last = tail(self.log)
        return WorkerCrashed(
            f"{self.name}: {how} during `{op}`" + (f"; its last words: {last}" if last else ""),
            f"its log: {self.log}",
        )

    def kill(self) -> None:
        """Kill the whole process group and reap the worker."""
        self._signal()
        self._process.wait()
        self._close_pipes()
        Worker._alive.discard(self)

    def _signal(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let it end by itself (its stdin closes), and kill what is left of its group."""
        pipe = self._process.stdin
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self.kill()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.kill()


def _log_of(log: Path, command: Sequence[str]) -> BinaryIO:
    """The log, begun with the command and open for what the worker prints."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as begun:
            begun.write(f"$ {shlex.join(command)}\n".encode())
        return log.open("ab")
    except OSError as error:
        cached = log.absolute().is_relative_to(cache.root().absolute())
        way = "set BACKBENCH_CACHE to a folder that can be written" if cached else "give one that can: --out DIR"
        raise StoreFailed(f"cannot write a log into {log.parent}: {error.strerror or error}", way) from error


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def tail(log: Path, limit: int = 200, begin: int = 0) -> str:
    """The last line of a log, from the byte `begin` on, that says something, for a message."""
    try:
        lines = log.read_bytes()[begin:].decode(errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip() and not line.startswith("$ ")]
    return said[-1][:limit] if said else ""
