"""The verdict follows from one table of checks, each with what it saw and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness import checks
from harness.model import Warmup
from harness.record import Record, Rules, Speedup
from tests import making

RULES = Rules()


def _judged(record: Record, rules: Rules = RULES) -> tuple[str, dict[str, str]]:
    trust, findings = checks.judge(record, rules)
    return trust, {finding.check: finding.level for finding in findings}


def test_a_clean_record_is_trusted() -> None:
    assert _judged(making.record()) == ("trusted", {})


@pytest.mark.parametrize(("half_width", "trust"), [(0.03, "caution"), (0.2, "untrusted")])
def test_an_interval_wider_than_the_target(half_width: float, trust: str) -> None:
    assert _judged(making.record(half_width=half_width)) == (trust, {"wide_interval": trust})


def test_a_warm_up_that_never_ended() -> None:
    record = replace(making.record(), warmup=Warmup(30, 5.0, steady=False))
    assert _judged(record) == ("caution", {"not_steady": "caution"})


def test_too_few_rounds() -> None:
    assert _judged(replace(making.record(), rounds=4)) == ("untrusted", {"few_rounds": "untrusted"})


def _disturbed(left_out: int, mixed: bool) -> Record:
    record = making.record()
    speedup: Speedup = replace(record.speedup["compute"], left_out=left_out, mixed=mixed)
    return replace(record, speedup={"compute": speedup})


def test_rounds_left_out_are_said_and_cost_no_trust() -> None:
    assert _judged(_disturbed(7, mixed=False)) == ("trusted", {"processors_apart": "trusted"})


def test_a_mixture_of_states_is_a_reason_for_caution() -> None:
    assert _judged(_disturbed(0, mixed=True)) == ("caution", {"processors_apart": "caution"})


@pytest.mark.parametrize(
    ("ratio", "half_width", "failed"), [(1.01, 0.02, False), (1.0125, 0.01, False), (1.03, 0.01, True)]
)
def test_a_control_that_is_not_one_fails(ratio: float, half_width: float, failed: bool) -> None:
    finding = checks.control_failed(making.record(ratio=ratio, half_width=half_width))
    assert (finding is not None) == failed


def test_a_failed_control_makes_a_record_untrusted() -> None:
    finding = checks.control_failed(making.record(ratio=1.2))
    assert finding is not None
    judged = checks.with_finding(making.record(), finding)
    assert judged.trust == "untrusted"
    assert "1.200" in judged.findings[0].seen


def test_every_finding_says_what_to_do() -> None:
    for record in (making.record(half_width=0.2), replace(making.record(), rounds=1), _disturbed(0, mixed=True)):
        assert all(finding.seen and finding.advice for finding in checks.judge(record, RULES)[1])
