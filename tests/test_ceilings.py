"""Ceilings are measured with what is installed, in the precision that is asked for, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import codec, machine, registry
from harness.errors import OpenFailed, Unsupported, WorkerCrashed
from harness.memo import Memo
from harness.roofline import ceilings, rates
from harness.roofline.ceilings import Bandwidth, Ceilings, Place, Rate

FP32, INT8 = Place("cpu", "fp32", 1), Place("cpu", "int8", 1)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products and streams: that they are measured is tested, not how fast they are."""
    monkeypatch.setattr(rates, "_SIZES", (64, 96))
    monkeypatch.setattr(rates, "_SECONDS", 0.01)
    monkeypatch.setattr(rates, "_LEAST_STREAM_BYTES", 1 << 20)


@pytest.mark.parametrize(
    ("method", "place"),
    [("ort_cpu", FP32), ("ort_cpu", INT8), ("openvino", INT8), ("torch", Place("cpu", "bf16", 1)), ("numpy", FP32)],
)
@pytest.mark.usefixtures("quick")
def test_a_product_runs_in_its_precision(method: str, place: Place, tmp_path: Path) -> None:
    found = rates.gemm(place, method, tmp_path)
    assert found.per_s > 0
    assert found.method.startswith(f"{method} {place.precision}")


@pytest.mark.usefixtures("quick")
def test_a_runtime_that_runs_another_precision_is_no_ceiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = registry.runtime_class("fake")
    monkeypatch.setattr(fake, "options", {**fake.options, "claims": "bf16"})
    with pytest.raises(OpenFailed, match="labelled fp32, but bf16 runs"):
        rates.gemm(FP32, "fake", tmp_path)


@pytest.mark.usefixtures("quick")
def test_a_precision_that_no_graph_is_made_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no matrix product is made in fp16"):
        rates.gemm(Place("cpu", "fp16", 1), "ort_cpu", tmp_path)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("threads", [1, 2])
def test_streams_are_measured_outside_and_inside_the_cache(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "cache_bytes", lambda: 1 << 20)
    found = rates.bandwidth(Place("cpu", "fp32", threads))
    assert found.memory is not None
    assert found.cache is not None
    assert f"4 MiB in {threads} threads" in found.memory.method
    assert (found.cache_bytes, found.failed) == (1 << 20, {})


@pytest.mark.usefixtures("quick")
def test_without_room_or_knowledge_of_the_cache_the_reason_stands_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_bytes", lambda: 1 << 10)
    monkeypatch.setattr(rates, "cache_bytes", lambda: 0)
    found = rates.bandwidth(FP32)
    assert (found.memory, found.cache) == (None, None)
    assert "do not fit" in found.failed["memory"]
    assert "does not tell" in found.failed["cache"]


def _cache(root: Path, cpu: int, index: int, level: int, size: str, shared: str, kind: str = "Unified") -> None:
    folder = root / f"cpu{cpu}" / "cache" / f"index{index}"
    folder.mkdir(parents=True)
    for name, text in {"type": kind, "level": str(level), "size": size, "shared_cpu_list": shared}.items():
        (folder / name).write_text(f"{text}\n")


def test_last_level_caches_in_use_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processors share one cache of level 3, a third has another, a fourth is not used."""
    for cpu, shared in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")):
        _cache(tmp_path, cpu, 0, 1, "32K", str(cpu), "Data")
        _cache(tmp_path, cpu, 1, 1, "32K", str(cpu), "Instruction")
        _cache(tmp_path, cpu, 3, 3, "16M" if cpu < 2 else "8192K", shared)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    assert rates.cache_bytes(tmp_path) == 24 << 20
    assert rates.cache_bytes(tmp_path / "nowhere") == 0


class _Asked:
    """Answers in place of workers, and keeps what it was asked."""

    def __init__(self, answers: dict[str, float]) -> None:
        self.answers = answers
        self.available = 1.0
        self.log: list[str] = []

    def __call__(self, kind: str, place: Place, threads: int, logs: Path, method: str = "") -> Any:
        self.log.append(method or kind)
        if kind == "bandwidth":
            return codec.encode(Bandwidth(Rate(1e10, "stream"), Rate(1e11, "cached"), 1 << 20))
        if method not in self.answers:
            raise WorkerCrashed(f"{method} crashed")
        return codec.encode(Rate(self.answers[method], method, self.available))


def _measured(folder: Path, *places: Place, refresh: bool = False) -> list[Ceilings]:
    told: list[str] = []
    found = ceilings.measured(places, Memo(folder), folder, told.append, refresh=refresh)
    assert all("measuring the machine" in line for line in told)
    return list(found.values())


def test_the_best_method_is_the_ceiling_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _Asked({"ort_cpu": 1e9, "openvino": 3e9})
    monkeypatch.setattr(ceilings, "_ask", asked)
    fp32, int8 = _measured(tmp_path, FP32, INT8)
    assert fp32.arithmetic.best == Rate(3e9, "openvino")
    assert fp32.arithmetic.failed == {"torch": "torch crashed"}
    assert int8.arithmetic.failed == {}
    assert asked.log.count("bandwidth") == 1, "bandwidth does not depend on the precision"
    assert "numpy" not in asked.log, "the last resort"
    before = list(asked.log)
    assert _measured(tmp_path, FP32, INT8) == [fp32, int8]
    assert asked.log == before, "both were kept"
    _measured(tmp_path, FP32, refresh=True)
    assert len(asked.log) > len(before)
    _measured(tmp_path, Place("cpu", "fp32", 2))
    assert asked.log.count("bandwidth") == 3, "other threads, other ceilings"


def test_a_rate_of_a_busy_machine_is_told_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _Asked({"ort_cpu": 1e9})
    monkeypatch.setattr(ceilings, "_ask", asked)
    asked.available = 0.5
    (busy,) = _measured(tmp_path, FP32)
    assert busy.arithmetic.best is not None
    assert "other processes left 50% of the processors" in busy.arithmetic.best.told
    asked.available = 0.9
    (quiet,) = _measured(tmp_path, FP32)
    assert quiet.arithmetic.best is not None
    assert quiet.arithmetic.best.told == "ort_cpu"
    before = len(asked.log)
    assert _measured(tmp_path, FP32) == [quiet]
    assert len(asked.log) == before


def test_the_share_of_the_processors_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that sleeps gets little of a processor, one that computes gets it whole unless others are busy."""
    import time

    monkeypatch.setattr(rates, "_SECONDS", 0.02)
    seconds, share = rates.best(lambda: time.sleep(0.005), 1)
    assert seconds >= 0.005
    assert share < 0.5


def test_what_nothing_can_measure_has_its_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_ask", _Asked({}))
    (fp32,) = _measured(tmp_path, FP32)
    assert fp32.arithmetic.best is None
    assert fp32.arithmetic.failed["numpy"] == "numpy crashed"
    (cuda,) = _measured(tmp_path, Place("cuda:0", "fp16", 1))
    assert (cuda.arithmetic.best, cuda.bandwidth.memory) == (None, None)
    assert "no ceiling of cuda:0" in cuda.arithmetic.failed["cuda:0"]


def test_what_fits_in_the_cache_is_bound_by_the_cache() -> None:
    found = Ceilings(FP32, ceilings.Arithmetic(), Bandwidth(Rate(1.0, "m"), Rate(2.0, "c"), 100))
    assert found.to_load(100) == Rate(2.0, "c")
    assert found.to_load(101) == Rate(1.0, "m")


def test_a_worker_measures(tmp_path: Path) -> None:
    """The real way: its own process, through the mailbox; numpy, because it takes least to start."""
    reply = ceilings._ask("gemm", FP32, 1, tmp_path, "numpy")
    assert codec.decode(Rate, reply).per_s > 1e6
