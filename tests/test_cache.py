"""The artifact cache gives back what was made, and notices what was damaged."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import cache
from harness.errors import ExportFailed, StoreFailed
from harness.model import Export, Recipe, TensorSpec

SPEC = (TensorSpec("x", ("batch", 3), "float32"),)
RECIPE = Recipe("test", "source", {"batch": None}, {"library": "1.0"})


def _writer(text: str = "weights", calls: list[int] | None = None) -> Callable[[Path], Export]:
    def make(folder: Path) -> Export:
        if calls is not None:
            calls.append(1)
        (folder / "model.bin").write_text(text)
        return Export("model.bin", "fp32", SPEC, SPEC, {"opset": 20})

    return make


def test_an_artifact_is_made_once(tmp_path: Path) -> None:
    calls: list[int] = []
    kept = cache.Cache(tmp_path)
    first = kept.get_or_make(RECIPE, "bin", _writer(calls=calls))
    second = cache.Cache(tmp_path).get_or_make(RECIPE, "bin", _writer(calls=calls))
    assert first == second
    assert calls == [1]
    assert Path(first.path).read_text() == "weights"
    assert (first.size_bytes, first.details["opset"]) == (7, 20)


def test_another_recipe_is_another_artifact(tmp_path: Path) -> None:
    kept = cache.Cache(tmp_path)
    one = kept.get_or_make(RECIPE, "bin", _writer("a"))
    other = kept.get_or_make(Recipe("test", "source", {"batch": 4}), "bin", _writer("b"))
    assert one.path != other.path
    assert one.digest != other.digest


def test_a_damaged_entry_is_set_aside_and_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = cache.Cache(tmp_path)
    first = kept.get_or_make(RECIPE, "bin", _writer())
    Path(first.path).write_text("weightz")
    calls: list[int] = []
    again = kept.get_or_make(RECIPE, "bin", _writer(calls=calls))
    assert calls == [1]
    assert Path(again.path).read_text() == "weights"
    assert "was damaged" in caplog.text
    assert len(list((tmp_path / "damaged").iterdir())) == 1


def test_a_failed_export_is_kept_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    calls: list[int] = []

    def fail(folder: Path) -> Export:
        calls.append(1)
        (folder / "half").write_text("x")
        raise ExportFailed("op not supported", "try another")

    kept = cache.Cache(tmp_path)
    for _ in range(2):
        with pytest.raises(ExportFailed, match="op not supported"):
            kept.get_or_make(RECIPE, "bin", fail)
    assert calls == [1]
    assert not list(tmp_path.rglob("half"))
    assert not list(tmp_path.rglob("*.part"))


def _by_numpy() -> str:
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 50)
    return str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        "torch.onnx.export: DefaultCPUAllocator: can't allocate memory",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bad allocation",
        _by_numpy(),
    ],
)
def test_memory_that_ran_out_is_not_kept_as_the_exporters_failure(said: str, tmp_path: Path) -> None:
    """The next time there may be more of it, or fewer exports beside it."""

    def fail(folder: Path) -> Export:
        raise ExportFailed(said)

    kept = cache.Cache(tmp_path)
    with pytest.raises(ExportFailed, match=re.escape(said)):
        kept.get_or_make(RECIPE, "bin", fail)
    assert kept.get_or_make(RECIPE, "bin", _writer()).size_bytes == 7


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    make = (
        "import os, signal, sys; from pathlib import Path; from harness import cache; from tests.test_cache import RECIPE\n"
        "def make(folder):\n"
        "    (folder / 'model.bin').write_bytes(b'half'); os.kill(os.getpid(), signal.SIGTERM)\n"
        "cache.Cache(Path(sys.argv[1])).get_or_make(RECIPE, 'bin', make)"
    )
    subprocess.run([sys.executable, "-c", make, str(tmp_path)], check=False)
    kept = cache.Cache(tmp_path)
    folder = kept.entry(RECIPE).parent
    assert len(list(folder.glob("*.part"))) == 1
    kept.get_or_make(RECIPE, "bin", _writer())
    assert list(folder.glob("*.part")) == []


def test_a_failure_that_was_half_written_is_set_aside(tmp_path: Path) -> None:
    """The power went while it was written."""
    kept = cache.Cache(tmp_path)
    kept.keep_failure(_folder(kept), ExportFailed("op not supported"))
    (_folder(kept) / "failure.json").write_text("")
    assert kept.get_or_make(RECIPE, "bin", _writer()).size_bytes == 7
    assert len(list((tmp_path / "damaged").iterdir())) == 1


def _folder(kept: cache.Cache) -> Path:
    entry = kept.entry(RECIPE)
    entry.parent.mkdir(parents=True, exist_ok=True)
    return entry


def test_a_full_disk_is_not_kept_as_the_exporters_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> Export:
        raise ExportFailed("write failed: No space left on device")

    kept = cache.Cache(tmp_path)
    with pytest.raises(StoreFailed, match="cannot be written: No space left") as caught:
        kept.get_or_make(RECIPE, "bin", fail)
    assert "BACKBENCH_CACHE" in caught.value.hint
    assert kept.get_or_make(RECIPE, "bin", _writer()).size_bytes == 7


def test_a_cache_that_cannot_be_written_names_the_way_out(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreFailed, match="cannot be written") as caught:
        cache.Cache(blocked).get_or_make(RECIPE, "bin", _writer())
    assert "BACKBENCH_CACHE" in caught.value.hint


def test_an_exporter_that_writes_nothing_is_at_fault(tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match=r"wrote no 'model\.bin'"):
        cache.Cache(tmp_path).get_or_make(RECIPE, "bin", lambda _: Export("model.bin", "fp32", SPEC, SPEC))


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    calls: list[int] = []
    begun = threading.Event()

    def slow(folder: Path) -> Export:
        begun.set()
        threading.Event().wait(0.2)
        return _writer(calls=calls)(folder)

    threads = [threading.Thread(target=cache.Cache(tmp_path).get_or_make, args=(RECIPE, "bin", slow)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]
