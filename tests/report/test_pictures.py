"""Charts as files that other programs open."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from harness import results
from harness.errors import PlanInvalid
from harness.report import content, forms, pictures
from tests import making, reporting

ALL = [content.Reported(making.run(), tuple(reporting.records()))]


@pytest.mark.parametrize(("kind", "begins"), [("png", b"\x89PNG\r\n"), ("svg", b"<svg"), ("pdf", b"%PDF-")])
def test_charts_are_a_picture_of_the_kind_asked_for(kind: pictures.Kind, begins: bytes) -> None:
    assert pictures.picture(ALL, [], kind, ["speedup"]).startswith(begins)


def test_a_picture_has_all_charts_and_names_as_they_are_spelt(tmp_path: Path) -> None:
    folder = reporting.write(tmp_path / "run", list(reporting.records()), bursts=3)
    drawn = ElementTree.fromstring(pictures.picture(ALL, [folder], "svg"))
    text = " ".join(node.text or "" for node in drawn.iter() if node.text)
    for title in (
        "against latency",
        "Speed-up over",
        "Cold start",
        "Memory and artifact size",
        "画像認識_小",
        "</script>",
    ):
        assert title in text


def test_only_the_charts_that_are_named_are_drawn() -> None:
    text = pictures.picture(ALL, [], "svg", ["memory"]).decode()
    assert "Memory and artifact size" in text
    assert "Cold start" not in text


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(PlanInvalid, match="nothing to draw for tails"):
        pictures.picture(ALL, [], "svg", ["tails"])


def test_parquet_has_the_documented_columns_and_keeps_types() -> None:
    table = pd.read_parquet(io.BytesIO(forms.parquet(ALL)))
    assert list(table.columns) == list(results.COLUMNS)
    assert table.latency_ms.dtype == float
    assert table.options[0] == "{}"
    assert len(table) == len(ALL[0].records)
