"""Results are a table whose every column is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import results, store
from harness.errors import StoreFailed
from tests import making

ROOT = Path(__file__).parent.parent


def test_every_column_is_documented_with_its_unit() -> None:
    text = (ROOT / "results" / "README.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", text.partition("## Columns")[2], re.MULTILINE)
    assert documented == [(name, c.unit or "–", c.meaning) for name, c in results.COLUMNS.items()], (
        "results/README.md and harness.results.COLUMNS differ: copy the changed rows into the table"
    )


def test_a_run_is_loaded_as_one_row_per_cell(tmp_path: Path) -> None:
    kept = store.Store.create(tmp_path, making.run())
    kept.add([making.record(making.BASE, 20.0), making.record(median_ms=10.0)])
    table = results.load(tmp_path)
    assert list(table.columns) == list(results.COLUMNS)
    fast = table[table.runtime == "ort_cpu"].iloc[0]
    assert (fast.latency_ms, fast.speedup, fast.throughput_per_s) == (10.0, 2.0, 100.0)
    assert fast.latency_p99_ms == pytest.approx(15.0)
    assert table[table.is_baseline].speedup.isna().all()


def test_several_runs_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store.Store.create(tmp_path / name, making.run()).add([making.record()])
    assert len(results.load([tmp_path / "a", tmp_path / "b"])) == 2


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="holds no run"):
        results.load(tmp_path)


@pytest.mark.parametrize(
    "folder", sorted(p.parent for p in (ROOT / "results").glob("*/run.json")), ids=lambda p: p.name
)
def test_the_reference_runs_can_still_be_read(folder: Path) -> None:
    """Their schema may be older than the code's: that is what `harness.upgrade` is for."""
    table = results.load(folder)
    assert (table.outcome == "ok").all()
    assert table.latency_ms.notna().all()
    assert sum(1 for _ in store.read_samples(folder)) >= len(table)
