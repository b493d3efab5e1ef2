"""An architecture is covered step by step, and what kills a process costs only the step that it died in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import codec
from harness.coverage import cover
from harness.coverage.record import LIMIT, Architecture, Covered, News, Order, Part, Ran
from harness.errors import BackbenchError, StoreFailed, WorkerCrashed, WorkerTimedOut
from tests.coverage import making

TINY = Architecture("test_resnet", "test_models", 470_000, (3, 160, 160), True)


def settings(
    folder: Path, runtimes: tuple[str, ...] = ("ort_cpu", "openvino"), seconds: float = 240.0
) -> cover.Settings:
    return cover.Settings(runtimes, "cpu", 1, cover.Limits(seconds, 12 << 30), folder, {"timm": "1"})


# ── real ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("part", "batches"), [("classifier", (1, 4)), ("features", (1,))])
def test_a_small_network_is_verified_from_one_export(part: Part, batches: tuple[int, ...], tmp_path: Path) -> None:
    record = cover.cover(TINY, part, settings(tmp_path, ("torch_eager", "ort_cpu", "openvino")), lambda process: None)
    assert record.verified, record
    assert record.export is not None
    assert (record.export.exporter, record.export.batch, record.export.lost) == ("onnx_dynamo", 0, "")
    assert [ran.batches for ran in record.ran] == [batches] * 3
    assert all(ran.rel_l2 is not None and ran.rel_l2 <= LIMIT for ran in record.ran)
    assert record.outputs == (1 if part == "classifier" else 5)
    assert not list((tmp_path / "work").iterdir()), "its files are removed when it is done with"


def test_what_timm_does_not_make_is_said_so(tmp_path: Path) -> None:
    record = cover.cover(
        Architecture("no_such_net", "none", 1, (3, 8, 8)), "classifier", settings(tmp_path), lambda _: None
    )
    assert record.cause == "create: other"
    assert "no_such_net" in record.reason
    assert record.ran == ()


def test_memory_within_which_nothing_fits_is_a_reason(tmp_path: Path) -> None:
    little = cover.Settings(("ort_cpu",), "cpu", 1, cover.Limits(240, 64 << 20), tmp_path, {})
    record = cover.cover(TINY, "classifier", little, lambda process: None)
    assert not record.verified
    assert "memory" in record.causes or record.cause.startswith("create"), record


# ── scripted ─────────────────────────────────────────────────────────────────────────────────────────────────────

Life = Callable[[Order], Iterator[News]]


class Scripted:
    """Processes that tell what a test scripted, one life after another."""

    def __init__(self, lives: Sequence[Life]) -> None:
        self.lives = list(lives)
        self.orders: list[Order] = []

    def __call__(self, target: object, order: Any, log: Path, limit_bytes: int) -> Scripted:
        self.orders.append(codec.decode(Order, order))
        return self

    def news(self, deadline: Callable[[], float]) -> Iterator[Any]:
        for news in self.lives.pop(0)(self.orders[-1]):
            yield codec.encode(news)

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def lived(
    lives: Sequence[Life], folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float = 240.0
) -> tuple[Covered, Scripted]:
    scripted = Scripted(lives)
    monkeypatch.setattr(cover, "Process", scripted)
    return cover.cover(making.RESNET, "classifier", settings(folder, seconds=seconds), lambda process: None), scripted


def ran(order: Order) -> Iterator[News]:
    """The rest of a life without faults."""
    yield News("began", "create")
    yield News("created", outputs=1)
    yield News("began", "export")
    yield News("exported", "export", export=making.EXPORTED)
    for each in making.RAN:
        if each.runtime not in {one.runtime for one in order.done}:
            yield News("began", each.runtime)
            yield News("ran", each.runtime, ran=each)
    yield News("ended", peak_bytes=7)


def dies(step: str, error: BackbenchError, entry: str = "") -> Life:
    def life(order: Order) -> Iterator[News]:
        for news in ran(order):
            yield news
            if news.kind == "began" and news.step == step:
                if entry:
                    (Path(order.folder) / entry).parent.mkdir(parents=True, exist_ok=True)
                    yield News("began", step, str(Path(order.folder) / entry))
                raise error

    return life


def test_a_crash_of_a_runtime_costs_that_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, scripted = lived([dies("ort_cpu", WorkerCrashed("killed by SIGSEGV")), ran], tmp_path, monkeypatch)
    assert [(one.runtime, one.cause) for one in record.ran] == [("ort_cpu", "runtime: crash"), ("openvino", "")]
    assert [one.runtime for one in scripted.orders[1].done] == ["ort_cpu"]
    assert record.cause == ""


def test_a_crash_of_an_exporter_is_kept_as_its_failure_and_another_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []

    def second(order: Order) -> Iterator[News]:
        kept.append((Path(order.folder) / "artifacts/aa/bb/failure.json").read_text())
        yield from ran(order)

    record, _ = lived(
        [dies("export", WorkerCrashed("killed by SIGABRT"), "artifacts/aa/bb"), second], tmp_path, monkeypatch
    )
    assert record.verified
    assert "SIGABRT" in kept[0]


def test_without_a_known_step_of_the_export_a_crash_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, _ = lived([dies("export", WorkerCrashed("killed by SIGKILL (out of memory?)"))], tmp_path, monkeypatch)
    assert (record.cause, record.ran) == ("memory", ())


def test_time_that_is_up_leaves_no_runtime_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(order: Order) -> Iterator[News]:
        yield News("began", "ort_cpu")
        time.sleep(0.06)
        raise WorkerTimedOut("it was over its limit of time, and was killed")

    record, _ = lived([slow], tmp_path, monkeypatch, seconds=0.05)
    assert [(one.runtime, one.cause) for one in record.ran] == [("ort_cpu", "time"), ("openvino", "time")]


def test_what_dies_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    life = dies("export", WorkerCrashed("killed by SIGABRT"), "artifacts/aa/bb")
    record, scripted = lived([life] * 20, tmp_path, monkeypatch)
    assert len(scripted.orders) < 20
    assert record.cause == "export: crash"
    assert not record.verified


def test_a_full_disk_is_no_architectures_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(order: Order) -> Iterator[News]:
        yield News("stopped", "export", reason="the cache cannot be written: No space left", full_disk="make room")

    with pytest.raises(StoreFailed, match="No space left"):
        lived([full], tmp_path, monkeypatch)


def test_a_record_without_all_its_runtimes_is_not_verified() -> None:
    assert not making.covered(ran=(Ran("ort_cpu", batches=(1,), rel_l2=1e-7),)).verified
    assert making.covered().verified
