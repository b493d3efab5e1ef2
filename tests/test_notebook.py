"""The notebook-style example of the documents runs, block by block, and finds what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def session() -> dict[str, Any]:
    """The names that the blocks leave, run as one session from the project's root."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "notebook.md").read_text(), re.DOTALL)
    assert len(blocks) >= 8
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"notebook block {number}", "exec"), names)
    return names


def test_every_block_answers_its_question(session: dict[str, Any]) -> None:
    assert len(session["ok"]) == 12
    assert set(session["gain"].index) == {"ort_cpu", "openvino"}
    assert (session["gain"] > 0).all()
    assert (session["faster"].speedup_low > 1).all()
    assert set(session["best"].index) == set(session["ok"].backbone)
    assert (session["fits"].latency_p90_ms <= 10).all()
    assert (session["cold"].cold_s > 0).all()
    assert (session["tail"] >= 1).all()
    assert len(session["drift"]) == len(session["rounds"]) > 5
    assert "median" in session["fastest"].record.latency["compute"].intervals_ns


def test_the_columns_it_uses_are_documented(session: dict[str, Any]) -> None:
    from harness import results

    assert list(session["cells"].columns) == list(results.COLUMNS)
