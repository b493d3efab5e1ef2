"""The scripted runtime does what its script says, in virtual time and with faults where they are asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness import codec, registry
from harness.api import OpenFailed, RunFailed, Session, Unsupported
from harness.errors import WorkerCrashed, WorkerTimedOut
from harness.launch import Worker
from harness.model import JSON, Device, Setup
from tests import making
from tests.runtimes.opening import infer, opened

ARTIFACT = making.artifact(Path("identity.onnx"))
INPUT = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)


def latencies(count: int, **options: JSON) -> Sequence[int]:
    """Latencies of so many inferences by the session's own clock, in nanoseconds."""
    session = opened("fake", ARTIFACT, **{"latency_ns": 1_000_000, **options})  # type: ignore[arg-type]
    timer = session.timer()
    assert timer is not None
    times = []
    for _ in range(count):
        start = timer()
        session.run()
        times.append(timer() - start)
    return times


def fetched(session: Session) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The output for `INPUT`."""
    return infer(session, INPUT, "input")


def test_without_latency_it_takes_no_time_and_has_no_clock() -> None:
    with opened("fake", ARTIFACT) as session:
        assert session.timer() is None
        assert (fetched(session) == INPUT).all()
        assert session.facts().precision == "fp32"


def test_virtual_hours_pass_in_no_time() -> None:
    begin = time.monotonic()
    assert sum(latencies(3, latency_ns=3_600_000_000_000)) == 3 * 3_600_000_000_000
    assert time.monotonic() - begin < 60


def test_binding_takes_its_scripted_time() -> None:
    with opened("fake", ARTIFACT, latency_ns=1000, bind_ns=250) as session:
        timer = session.timer()
        assert timer is not None
        session.bind({"input": INPUT})
        session.run()
        assert timer() == 1250


def test_real_time_passes_where_it_is_asked_for() -> None:
    with opened("fake", ARTIFACT, latency_ns=20_000_000, virtual=False) as session:
        assert session.timer() is None
        begin = time.monotonic()
        session.run()
        assert time.monotonic() - begin >= 0.02


def test_loading_takes_its_scripted_time() -> None:
    begin = time.monotonic()
    opened("fake", ARTIFACT, load_s=0.05)
    assert time.monotonic() - begin >= 0.05


def test_patterns_are_what_their_names_say() -> None:
    still: dict[str, JSON] = {"noise": 0.0, "factor": 3.0, "at": 10}
    assert set(latencies(5, pattern="constant", **still)) == {1_000_000}
    step = latencies(12, pattern="step", **still)
    assert step[:9] == [1_000_000] * 9 and step[9:] == [3_000_000] * 3
    drift = latencies(10, pattern="drifting", **still)
    assert drift == sorted(drift) and drift[-1] == 3_000_000
    spikes = latencies(30, pattern="spikes", **still)
    assert [n for n, value in enumerate(spikes, 1) if value == 3_000_000] == [10, 20, 30]
    waves = latencies(10, pattern="waves", **still)
    assert 1_000_000 <= min(waves) < max(waves) <= 3_000_000
    throttle = latencies(100, pattern="throttle", **still)
    assert set(throttle[:9]) == {1_000_000} and np.mean(np.array(throttle[9:]) == 3_000_000) > 0.8
    assert 1_000_000 in throttle[9:], "it recovers now and then"


def test_noise_is_seeded() -> None:
    noisy = latencies(50, pattern="noisy", noise=0.1, seed=1)
    assert noisy == latencies(50, pattern="noisy", noise=0.1, seed=1)
    assert noisy != latencies(50, pattern="noisy", noise=0.1, seed=2)
    assert 0.05 < np.std(np.log(noisy)) < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "square"}, "no pattern 'square'"),
        ({"fault": "explode"}, "no fault 'explode'"),
        ({"fault_in": "close"}, "neither open nor run"),
        ({"latency_ns": "fast"}, "not a number: 'fast'"),
        ({"at": 0}, "must be over 0"),
    ],
)
def test_an_option_that_means_nothing_is_refused(options: dict[str, JSON], message: str) -> None:
    with pytest.raises(OpenFailed, match=message):
        opened("fake", ARTIFACT, **options)  # type: ignore[arg-type]


def test_faults_come_at_their_inference() -> None:
    with opened("fake", ARTIFACT, fault="raise", fault_at=3) as session:
        session.run()
        session.run()
        with pytest.raises(RunFailed):
            session.run()


def test_outputs_can_be_wrong() -> None:
    with opened("fake", ARTIFACT, fault="wrong") as session:
        assert not np.allclose(fetched(session), INPUT, rtol=0.5)
    with opened("fake", ARTIFACT, fault="nan") as session:
        assert np.isnan(fetched(session)).all()


def test_a_label_can_be_false() -> None:
    assert opened("fake", ARTIFACT, claims="bf16").facts().precision == "bf16"


@pytest.mark.parametrize(
    ("fault", "error"), [("refuse", OpenFailed), ("unsupported", Unsupported), ("raise", RunFailed)]
)
def test_opening_can_fail(fault: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        opened("fake", ARTIFACT, fault=fault, fault_in="open")


@pytest.mark.parametrize(
    ("fault", "error"), [("crash", WorkerCrashed), ("exit", WorkerCrashed), ("hang", WorkerTimedOut), ("chatty", None)]
)
def test_a_worker_can_go_down_while_it_opens(tmp_path: Path, fault: str, error: type[Exception] | None) -> None:
    options = {**registry.runtime_class("fake").options, "fault": fault, "fault_in": "open"}
    np.savez(tmp_path / "inputs.npz", input=INPUT)
    np.savez(tmp_path / "outputs.npz", output=INPUT)
    with Worker(tmp_path / "log", name="fake") as worker:
        order = {
            "runtime": "fake",
            "artifact": codec.encode(ARTIFACT),
            "setup": codec.encode(Setup(Device("cpu"), "fp32", 1, 1, options, "")),
            "reference": str(tmp_path),
        }
        if error is None:
            assert worker.ask("open", 60, **order)["facts"]["precision"] == "fp32"
        else:
            with pytest.raises(error):
                worker.ask("open", 3 if fault == "hang" else 60, **order)
