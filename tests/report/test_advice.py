"""A recommendation in every form says the same."""

from __future__ import annotations

import io
import json

from rich.console import Console

from harness.deciding.constraints import Within
from harness.deciding.explain import explain
from harness.deciding.limits import Limit
from harness.deciding.recommend import Question, recommend
from harness.report import advice
from harness.report.advice import Advice
from tests.deciding import evidence

NASTY = "ネット</script>|x"


def _advice(*names: str) -> Advice:
    found = [evidence(name, median_ms=5 + i) for i, name in enumerate(names)] + [evidence("bad", outcome="failed")]
    answer = recommend(found, Question((Within(Limit("latency", 8e6, "median")),)))
    return Advice(answer, tuple(explain(answer, names[0])), "backbench run -m x")


def test_text_has_the_pick_the_front_and_the_rest() -> None:
    screen = io.StringIO()
    advice.show_text(Console(file=screen, width=160), _advice(NASTY, "b"))
    said = screen.getvalue()
    for word in (
        f"First choice: {NASTY} ort_cpu fp32 b1 (accuracy unknown)", "Pareto front", "Runners-up",
        "What each constraint cost", "costs nothing", "Could not be judged",
        "bad ort_cpu fp32 b1: failed: it broke → mend it",
        "Explained", "backbench run -m x",
    ):  # fmt: skip
        assert word in said, said


def test_a_narrow_terminal_gets_whole_words() -> None:
    screen = io.StringIO()
    advice.show_text(Console(file=screen, width=80), _advice("mobilenetv3_large_100", "b"))
    table = screen.getvalue().split("Pareto front")[1].split("Runners-up")[0]
    assert "…" not in table and max(map(len, table.splitlines())) <= 80
    assert "→ mobilenetv3_large_100" in table and "\n     ort_cpu fp32 b1" in table, table


def test_markdown_holds_no_markup_of_a_name() -> None:
    made = advice.markdown(_advice(NASTY, "b"))
    assert "</script>" not in made
    assert "| **ネット&lt;/script>\\|x ort_cpu fp32 b1** |" in made


def test_json_is_whole() -> None:
    data = json.loads(advice.as_json(_advice("a", "b")))
    assert data["pick"] == "a ort_cpu fp32 b1"
    assert [c["fits"] for c in data["candidates"]] == [True, True, False]
    assert data["candidates"][0]["figures"]["latency"]["value"] == 5e6
    assert data["unjudged"][0]["advice"] == "mend it"


def test_no_pick_is_said() -> None:
    answer = recommend([evidence()], Question((Within(Limit("memory", 1.0)),)))
    both = recommend([evidence()], Question((Within(Limit("memory", 1.0)), Within(Limit("params", 1.0)))))
    assert "without it, none is known to fit either" in advice.markdown(Advice(both))
    assert advice.headline(answer) == "No cell is known to keep every constraint."
    assert "memory ≤ 1 B: without it, resnet50 ort_cpu fp32 b1" in advice.markdown(Advice(answer))


def test_a_long_list_is_counted_in_the_text_and_whole_in_the_other_forms() -> None:
    answer = recommend([evidence(f"net{i}", outcome="crashed") for i in range(40)], Question())
    assert advice.unjudged(answer)[-1] == "and 28 more: --format json lists them all"
    assert advice.markdown(Advice(answer)).count("it broke") == 40
