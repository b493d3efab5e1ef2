"""Distributions keep their ends and their shape, and say what they leave out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import store
from harness.report import content, points, tails
from tests import reporting


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=3000), st.integers(4, 120))
def test_a_decimated_sample_holds_real_samples_in_order_and_both_ends(samples: list[float], ranks: int) -> None:
    steps = tails.decimated(samples, ranks)
    values, shares = [value for value, _ in steps], [share for _, share in steps]
    assert len(steps) <= max(ranks, 1)
    assert values[0] == min(samples) and values[-1] == max(samples)
    assert values == sorted(values) and set(values) <= set(samples)
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 1 and shares[-1] == pytest.approx(1 / len(samples))


def test_the_share_is_of_samples_at_least_as_slow() -> None:
    assert tails.decimated([1.0, 2.0, 3.0, 4.0]) == ((1.0, 1.0), (2.0, 0.75), (3.0, 0.5), (4.0, 0.25))


def test_the_slowest_ranks_of_many_are_all_kept() -> None:
    steps = tails.decimated(range(100_000))
    assert [value for value, _ in steps][-3:] == [99_997, 99_998, 99_999]


def test_a_group_is_a_panel_of_its_cells_in_the_order_of_the_run(tmp_path: Path) -> None:
    cells, folder = _cells(tmp_path, ("resnet50", "vit"))
    found = tails.read([folder], cells)
    assert {panel.title for panel in found.panels} == {"resnet50", "vit"}
    for panel in found.panels:
        assert [c.point.variant for c in panel.curves] == [
            p.variant for p in cells if p.backbone == panel.title and p.measured
        ]
        assert all(curve.samples == 36 for curve in panel.curves)


def test_more_groups_than_panels_are_said_to_be_left_out(tmp_path: Path) -> None:
    cells, folder = _cells(tmp_path, [f"b{i}" for i in range(tails.PANELS + 3)])
    found = tails.read([folder], cells)
    assert len(found.panels) == tails.PANELS
    assert f"{tails.PANELS} of {tails.PANELS + 3} groups are drawn" in found.remarks[0]


def test_cells_without_samples_are_counted(tmp_path: Path) -> None:
    cells, folder = _cells(tmp_path, ("resnet50",))
    (folder / store.SAMPLES).write_text("")
    found = tails.read([folder], cells)
    assert found.panels == ()
    assert "there are no raw samples" in found.remarks[-1]


def test_a_run_that_was_moved_apart_from_its_samples_has_no_panels(tmp_path: Path) -> None:
    cells, folder = _cells(tmp_path, ("resnet50",))
    (folder / store.SAMPLES).unlink()
    assert tails.read([folder], cells).panels == ()


def _cells(tmp_path: Path, names: list[str] | tuple[str, ...]) -> tuple[tuple[points.Point, ...], Path]:
    folder = reporting.write(tmp_path / "run", list(reporting.records(names)), bursts=3)
    reported = content.Reported(store.read_run(folder), store.read_records(folder))
    return points.of([replace(reported)]), folder
