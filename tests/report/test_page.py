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
from harness.record import AccuracyNote, Record
from harness.report import content, html, listing, points, thinning
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
