"""A worker answers, crashes, hangs and chatters without harm to the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from harness import codec, launch, registry
from harness.errors import OpenFailed, RunFailed, StoreFailed, WorkerCrashed, WorkerFailed, WorkerTimedOut
from harness.launch import Worker
from harness.model import Burst, Device, Opened, Pace, Setup
from tests import making

PACE = codec.encode(Pace(0.01, 0.01, 3))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A reference folder of an identity model: the outputs are the inputs."""
    images = np.random.default_rng(0).normal(size=(8, 3, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "inputs.npz", input=images)
    np.savez(tmp_path / "outputs.npz", output=images)
    return tmp_path


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with Worker(tmp_path / "logs" / "worker.log", name="resnet50 fake") as started:
        yield started


def _open(worker: Worker, reference: Path, **options: Any) -> Opened:
    known = registry.runtime_class("fake").options
    setup = Setup(Device("cpu"), "fp32", 1, 1, {**known, **options}, str(reference))
    artifact = codec.encode(making.artifact(reference / "model.onnx"))
    reply = worker.ask(
        "open", 30, runtime="fake", artifact=artifact, setup=codec.encode(setup), reference=str(reference)
    )
    return codec.decode(Opened, reply)


def test_a_session_is_opened_timed_and_closed(worker: Worker, reference: Path) -> None:
    opened = _open(worker, reference, latency_ns=1_000_000)
    assert opened.facts.precision == "fp32"
    assert "foreign" in opened.timer
    burst = codec.decode(Burst, worker.ask("burst", 10, pace=PACE))
    assert set(burst.compute_ns) == {1_000_000}
    assert burst.discarded >= 4
    assert worker.ask("memory", 10)["rss_peak_bytes"] > 0
    assert worker.ask("close", 10) is None


def test_what_a_library_prints_goes_to_the_log(worker: Worker, reference: Path) -> None:
    _open(worker, reference, latency_ns=1_000_000, fault="chatty")
    codec.decode(Burst, worker.ask("burst", 10, pace=PACE))
    assert worker.log.stat().st_size > 200


@pytest.mark.parametrize(("fault", "how"), [("crash", "killed by SIGKILL"), ("exit", "exited with status 3")])
def test_a_crash_is_named(worker: Worker, reference: Path, fault: str, how: str) -> None:
    _open(worker, reference, latency_ns=1_000_000, fault=fault, fault_at=5)
    with pytest.raises(WorkerCrashed, match=how) as caught:
        worker.ask("burst", 10, pace=PACE)
    assert str(worker.log) in caught.value.hint
    with pytest.raises(WorkerCrashed):  # and stays so
        worker.ask("burst", 10, pace=PACE)


def test_a_kill_from_outside_is_a_crash(worker: Worker, reference: Path) -> None:
    _open(worker, reference, latency_ns=10_000_000, virtual=False)
    threading.Timer(0.5, os.kill, (worker.pid, signal.SIGKILL)).start()
    with pytest.raises(WorkerCrashed, match="SIGKILL"):
        worker.ask("burst", 30, pace=codec.encode(Pace(20, 0, 3)))


def test_a_hang_is_ended_with_its_whole_group(worker: Worker, reference: Path) -> None:
    _open(worker, reference, latency_ns=1_000_000, fault="hang", fault_at=5)
    with pytest.raises(WorkerTimedOut, match="no reply to `burst` within 1 s"):
        worker.ask("burst", 1, pace=PACE)
    assert not psutil.pid_exists(worker.pid)


def test_an_error_comes_back_as_its_class(worker: Worker, reference: Path) -> None:
    with pytest.raises(OpenFailed):
        _open(worker, reference, fault="refuse")
    _open(worker, reference, latency_ns=1_000_000, fault="raise", fault_at=5)  # the worker lives on
    with pytest.raises(RunFailed):
        worker.ask("burst", 10, pace=PACE)


def test_an_unexpected_error_comes_back_with_its_trace_in_the_log(worker: Worker) -> None:
    with pytest.raises(WorkerFailed, match="RuntimeError: nothing is open"):
        worker.ask("burst", 10, pace=PACE)
    assert "Traceback" in worker.log.read_text()


def test_an_error_of_cuda_in_timed_code_says_what_it_comes_down_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """No context manager is around timed code, and cuda-core's error is a plain Exception."""
    from harness import worker as served
    from tests.tensorrt_double import CUDAError

    replies: list[Any] = []
    faults: list[Exception] = [CUDAError("CUDA_ERROR_OUT_OF_MEMORY: the API call failed"), KeyError("x")]
    requests: list[dict[str, Any]] = [{"op": "burst"}, {"op": "burst"}]

    def burst(self: object) -> None:
        raise faults.pop(0)

    monkeypatch.setattr(served.Worker, "burst", burst)
    mailbox: Any = SimpleNamespace(next=lambda: requests.pop() if requests else None, reply=replies.append)
    served.serve(mailbox)
    first, second = (reply["error"] for reply in replies)
    assert (first["kind"], second["kind"]) == ("RunFailed", "WorkerFailed")
    assert first["message"].startswith("the GPU failed in `burst`: the GPU's memory is full (CUDA_ERROR_OUT_OF_MEMORY")
    assert "nvidia-smi" in first["hint"]


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """`kill -9` of the parent in the middle of a request leaves nobody behind."""
    script = (
        "import sys, threading; from pathlib import Path; from harness.launch import Worker\n"
        f"w = Worker(Path({str(tmp_path / 'w.log')!r}))\n"
        "print(w.pid, flush=True)\n"
        "threading.Event().wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.1)


def test_the_environment_is_a_whitelist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMP_BLOCKTIME", "infinite")
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    env = launch.environment(threads=2)
    assert not {"KMP_BLOCKTIME", "LD_PRELOAD"} & env.keys()
    assert env["OMP_NUM_THREADS"] == "2"


def test_a_prefix_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match="cannot start numactl-not-here"):
        Worker(tmp_path / "log", prefix=("numactl-not-here",))


def test_pinning_is_in_force_before_anything_runs(tmp_path: Path) -> None:
    with Worker(tmp_path / "log", prefix=launch.pinned("0")) as worker:
        worker.ask("overhead", 30)
        assert psutil.Process(worker.pid).cpu_affinity() == [0]


def test_a_log_that_cannot_be_written_says_which_folder_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").write_text("")
    (tmp_path / "results").write_text("")
    for folder, way in (("cache", "set BACKBENCH_CACHE"), ("results", "--out DIR")):
        with pytest.raises(StoreFailed, match="cannot write a log into") as caught:
            Worker(tmp_path / folder / "logs" / "worker.log")
        assert way in caught.value.hint
