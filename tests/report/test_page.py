"""The page is one file below its limit, says everything in words, and lets no name break it."""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from harness import store
from harness.errors import MissingLibrary, StoreFailed
from harness.record import AccuracyNote, Finding, Record
from harness.report import content, html, listing, points, roofs, thinning
from tests import making, reporting


def _page(folder: Path, records: Sequence[Record]) -> str:
    reporting.write(folder, records, bursts=3)
    return html.page([content.Reported(store.read_run(folder), store.read_records(folder))], [folder])


def _data(page: str) -> Any:
    packed = re.search(r'id="data">([^<]*)<', page)
    assert packed
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _page(tmp_path_factory.mktemp("page") / "run", list(reporting.records()))


def test_it_is_one_file_below_the_limit_that_fetches_nothing(page: str) -> None:
    assert len(page.encode()) < html.LIMIT
    assert not re.search(r'(?:src|href)="(?!#|data:,)', page)
    assert "@import" not in page and "url(" not in page


def test_a_name_that_looks_like_markup_stays_a_name(page: str) -> None:
    assert "</script><b>x" not in page
    assert page.count("</script>") == page.count("<script")
    text = unescape(page)
    for name in reporting.NAMES:
        assert name in text


def test_every_cell_is_in_the_table_with_its_verdict(page: str) -> None:
    body = page[page.index('id="listing"') :]
    assert body.count('<th scope="row">') == len(list(reporting.records()))
    assert 'class="badge good"' in body
    assert "crashed" in body


def test_a_failure_stands_with_its_reason(page: str) -> None:
    failed = next(record for record in reporting.records() if record.outcome == "crashed")
    assert failed.reason in unescape(page[page.index('id="doubts"') :])


def test_the_recommendation_comes_first_and_says_that_accuracy_is_unknown(page: str) -> None:
    answer = page[page.index('id="answer"') : page.index('id="front"')]
    assert "First choice:" in answer
    assert "accuracy unknown" in answer
    assert "No accuracy was measured" in page


def test_the_end_says_where_it_comes_from(page: str) -> None:
    origin = page[page.index('id="origin"') :]
    assert "Test CPU" in origin
    assert "timm 1.0" in origin
    assert "backbench run test" in origin


def test_every_chart_is_also_told_in_words(page: str) -> None:
    specs = _data(page)["specs"]
    assert len(specs) == page.count('role="img"') == page.count("The same in words<")
    assert all(spec["width"] == "container" for spec in specs)


def test_names_keep_their_letters_in_the_charts(page: str) -> None:
    shown = json.dumps(_data(page), ensure_ascii=False)
    assert "Größe_für_Fußgänger" in shown
    assert "画像認識_小" in shown


def test_measured_accuracy_is_the_upward_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.deciding import evidence

    known = {record.key: 0.6 + 0.01 * i for i, record in enumerate(reporting.records())}

    def accuracy(record: Record, *_: object) -> evidence.Accuracy:
        return evidence.Accuracy("measured", known[record.key], known[record.key] - 0.01, known[record.key] + 0.01)

    monkeypatch.setattr(evidence, "accuracy_of", accuracy)
    made = _page(tmp_path / "run", list(reporting.records()))
    assert "Top-1 accuracy against latency" in made
    assert "No accuracy was measured" not in made
    assert "60.0% [59.0%, 61.0%]" in unescape(made)


def test_a_published_accuracy_is_marked_so_in_the_chart_the_caption_and_the_table(tmp_path: Path) -> None:
    note = AccuracyNote("published", "timm", 0.81, top1_drop=-0.012, top1_drop_low=-0.02, top1_drop_high=-0.004)
    records = list(reporting.records())
    reported = content.Reported(making.run(), (replace(records[0], accuracy=note), *records[1:]))
    made = html.page([reported])
    assert "Hollow marks: published of exactly these weights" in made
    assert "81.0% (published)" in made
    assert "81.0% (published)" in made[made.index('id="answer"') : made.index('id="front"')]
    assert "-1.20 [-2.00, -0.40]" in made
    marks = [layer["mark"] for layer in _data(made)["specs"][0]["layer"]]
    assert any(mark["type"] == "point" and mark.get("filled") is False for mark in marks)


# ── roofline ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_roofline_has_a_chart_on_log_axes_with_its_ceilings(page: str) -> None:
    (spec,) = [spec for spec in _data(page)["specs"] if any(name.startswith("roofline/") for name in spec["datasets"])]
    lines, points, *names = (spec["datasets"][layer["data"]["name"]] for layer in spec["layer"])
    for layer in spec["layer"]:
        assert {layer["encoding"][axis]["scale"]["type"] for axis in "xy"} == {"log"}
    assert len(points) == sum(record.roofline is not None for record in reporting.records())
    assert {mark["precision"] for mark in points} == {"fp32", "bf16"}
    for mark in points:
        flat = 180 if mark["precision"] == "bf16" else 90
        roofs = [min(flat, slope * mark["flop_per_byte"]) for slope in (12, 80)]
        assert any(
            float(mark["fraction"].rstrip("%")) / 100 == pytest.approx(mark["gflops"] / r, abs=0.006) for r in roofs
        )
    ends = {tuple(round(end[k], 3) for k in ("flop_per_byte", "gflops")) for end in lines}
    assert {(15.0, 180.0), (2.25, 180.0), (1.125, 90.0)} <= ends, (
        "slopes end at the highest flat, flats begin at a slope"
    )
    said = {name["words"] for layer in names for name in layer}
    assert said == {"memory 12 GB/s", "cache 80 GB/s", "bf16 180 GFLOP/s", "fp32 90 GFLOP/s"}


def test_the_roofline_has_a_table_with_every_cell(page: str) -> None:
    section = unescape(page[page.index('<section id="roofline"') : page.index('id="doubts"')])
    assert section.count('<th scope="row">') == sum(record.roofline is not None for record in reporting.records())
    assert '<th scope="col" class="number">of roofline</th>' in section
    assert "attainable is the longer of" in section
    assert "a product" in section, "how the ceiling was measured"


def test_a_run_without_a_roofline_has_no_such_section(tmp_path: Path) -> None:
    bare = [replace(record, roofline=None) for record in reporting.records(("resnet50",))]
    made = _page(tmp_path / "run", bare)
    assert 'id="roofline"' not in made and "#roofline" not in made


def test_a_machine_whose_ceilings_were_not_measured_has_the_rates_and_the_reason(tmp_path: Path) -> None:
    without = [
        replace(r, roofline=replace(r.roofline, peak_flops_per_s=None, peak_bytes_per_s=None, attainable_ns=None,
                                    fraction=None, bound="", unavailable="no measured ceiling (it crashed)"))
        for r in reporting.records(("resnet50",)) if r.roofline
    ]  # fmt: skip
    made = unescape(_page(tmp_path / "run", without))
    assert "No ceilings are drawn: no measured ceiling (it crashed)." in made


def test_ceilings_that_were_measured_twice_are_one_line() -> None:
    def below(peak: float) -> points.Point:
        record = next(iter(reporting.records()))
        assert record.roofline is not None
        again = replace(record, roofline=replace(record.roofline, peak_flops_per_s=peak))
        return points.of([content.Reported(making.run(), (again,))])[0]

    frame = roofs._frame([below(90e9), below(92e9), below(140e9)])
    assert [flat.per_s for flat in frame.flats] == [140e9, 92e9]


def test_many_cells_are_few_marks_and_a_short_table_that_says_so(tmp_path: Path) -> None:
    records = tuple(reporting.records([f"backbone_{i:04d}" for i in range(300)]))
    made = html.page([content.Reported(making.run(), records)])
    (spec,) = [s for s in _data(made)["specs"] if any(name.startswith("roofline/") for name in s["datasets"])]
    assert max(map(len, spec["datasets"].values())) < 900
    placed = sum(record.roofline is not None for record in records)
    assert f"{roofs.ROWS} of {placed:,} cells are listed" in made
    assert f"{placed:,} cells are drawn as" in made


def test_a_run_without_any_latency_still_makes_a_page(tmp_path: Path) -> None:
    failed = replace(
        making.record(), outcome="failed", reason="no such operator", latency={}, speedup={}, cold=None, memory=None,
        trust=None,
    )  # fmt: skip
    made = _page(tmp_path / "run", [failed])
    assert "Nothing to choose from" in made
    assert "no such operator" in made
    assert _data(made)["specs"] == []


def test_an_empty_run_makes_a_page_that_says_so(tmp_path: Path) -> None:
    assert "No cells: nothing has finished yet." in _page(tmp_path / "run", [])


def test_a_lost_sample_file_costs_the_distributions_alone(tmp_path: Path) -> None:
    folder = reporting.write(tmp_path / "run", list(reporting.records()), bursts=1)
    (folder / store.SAMPLES).unlink()
    made = html.page([content.Reported(store.read_run(folder), store.read_records(folder))], [folder])
    assert 'id="tails"' not in made
    assert 'id="speedup"' in made


def test_two_runs_are_one_page_and_equal_cells_are_told_apart(tmp_path: Path) -> None:
    folders = [reporting.write(tmp_path / name, list(reporting.records(("resnet50",))), bursts=1) for name in "ab"]
    made = html.page([content.Reported(store.read_run(f), store.read_records(f)) for f in folders], folders)
    assert "(run 1)" in made and "(run 2)" in made
    assert "were not measured in turn" in made


def test_too_many_cells_are_put_together_and_the_page_says_so(tmp_path: Path) -> None:
    names = [f"backbone_{i:04d}" for i in range(700)]
    records = list(reporting.records(names))
    made = html.page([content.Reported(making.run(), tuple(records))])
    assert len(made.encode()) < html.LIMIT
    assert "2,800 cells are too many for one page: 2,000 are listed" in made
    assert "cells are too many to draw one by one" in made
    assert "are drawn as" in made
    front = _data(made)["specs"][0]["datasets"]
    assert max(map(len, front.values())) < 2800


def test_long_reasons_shorten_the_table_until_the_page_fits(tmp_path: Path) -> None:
    failed = [replace(record, reason=f"{i} " + "ä" * 5000) for i, record in enumerate(_failures(3000))]
    made = html.page([content.Reported(making.run(), tuple(failed))])
    assert len(made.encode()) < html.LIMIT
    assert "the whole reason: --format json" in made


def test_a_page_that_cannot_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "LIMIT", 1000)
    with pytest.raises(StoreFailed, match="report fewer runs"):
        html.page([content.Reported(making.run(), (making.record(),))])


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    html._vega.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(MissingLibrary, match="vl-convert-python") as caught:
        html.page([content.Reported(making.run(), (making.record(),))])
    assert "backbench[report]" in caught.value.hint


def test_without_altair_nothing_but_the_error_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingLibrary, match="altair"):
        html.page([content.Reported(making.run(), (making.record(),))])


def test_columns_that_say_nothing_are_left_out() -> None:
    cells = points.of([content.Reported(making.run(), (making.record(),))])
    titles = [column.title for column in listing.of(cells, cells, 10).columns]
    assert "accuracy" not in titles
    assert "batch" not in titles
    assert "latency ms" in titles


@pytest.mark.parametrize(
    "check, on_front",
    [("wide_interval", True), ("latency_moved", True), ("throttled", False), ("control_failed", False)],
)
def test_a_doubt_keeps_a_cell_from_the_front_where_it_is_of_its_latency(check: str, on_front: bool) -> None:
    doubt = Finding(check, "untrusted", "seen", "advice")
    cell = points.of(
        [content.Reported(making.run(), (replace(making.record(), trust="untrusted", findings=(doubt,)),))]
    )
    assert bool(points.best(cell)) is on_front


def test_cells_that_lie_together_become_one_mark_and_none_is_lost() -> None:
    names = [f"backbone_{i:04d}" for i in range(400)]
    cells = [p for p in points.of([content.Reported(making.run(), tuple(reporting.records(names)))]) if p.measured]
    leading = points.best(cells)
    marks = thinning.scatter(cells, leading, "params")
    told = [re.match(r"([\d,]+) cells", mark["title"]) for mark in marks]
    assert sum(int(match[1].replace(",", "")) if match else 1 for match in told) == len(cells)
    assert sum(mark["front"] for mark in marks) == len(leading)


def _failures(count: int) -> list[Record]:
    bare = replace(making.record(), outcome="failed", latency={}, speedup={}, cold=None, memory=None, trust=None)
    return [replace(bare, key=f"{i:012x}") for i in range(count)]
