"""The verdict follows from one table of checks, each with what it saw and what to do."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness import checks, schedule, summary
from harness.model import JSON, Facts, OutputError, Precision, Warmup
from harness.record import ArtifactNote, Record, Rules, Speedup
from harness.schedule import Trace
from harness.verify import DEFAULTS, judge
from tests import making
from tests.scripted import Scripted, silent

RULES = Rules()


def _judged(record: Record, rules: Rules = RULES) -> tuple[str, dict[str, str]]:
    """Verdict and findings, without the remark that every record of random weights carries."""
    trust, findings = checks.judge(record, rules)
    return trust, {finding.check: finding.level for finding in findings if finding.check != "random_weights"}


def test_random_weights_are_said_and_cost_no_trust() -> None:
    trust, findings = checks.judge(making.record(), RULES)
    assert (trust, [finding.check for finding in findings]) == ("trusted", ["random_weights"])


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


def test_too_few_rounds_with_the_baseline_are_no_speed_up() -> None:
    """The baseline crashed after its first round: the cell's latency is known, and one ratio."""
    record = making.record()
    alone = replace(record, speedup={"compute": replace(record.speedup["compute"], rounds=1)})
    assert _judged(alone) == ("untrusted", {"few_shared_rounds": "untrusted"})
    judged = replace(alone, trust="untrusted", findings=checks.judge(alone, RULES)[1])
    assert [bool(checks.doubts(judged, of)) for of in ("speedup", "latency")] == [True, False]


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


@pytest.mark.parametrize(
    ("conditions", "check", "level"),
    [
        ({"cpu_time": {"steal_share": 0.02}}, "steal", "caution"),
        ({"cpu_time": {"steal_share": 0.2}}, "steal", "untrusted"),
        ({"cpu_time": {"other_cpus_busy": 0.2}}, "busy_neighbour", "caution"),
        ({"cpu_time": {"other_cpus_busy": 0.9}}, "busy_neighbour", "untrusted"),
        ({"cgroup": {"throttled_periods_share": 0.002}}, "throttled", "caution"),
        ({"cgroup": {"throttled_periods_share": 0.02}}, "throttled", "caution"),
        ({"cgroup": {"throttled_periods_share": 0.1}}, "throttled", "untrusted"),
        ({"cpu_throttle": {"core_throttle_events": 3}}, "throttled", "caution"),
        ({"nvml": {"thermal_limited_share": 0.5}}, "throttled", "untrusted"),
        ({"nvml": {"power_limited_share": 0.1}}, "throttled", "caution"),
        ({"cpu_frequency": {"cpu_mhz_min": 1800.0, "cpu_mhz_median": 3000.0}}, "clock_changed", "caution"),
        ({"nvml": {"gpu_mhz_min": 900.0, "gpu_mhz_median": 1700.0}}, "clock_changed", "caution"),
        ({"pressure": {"memory_full_share": 0.02}}, "memory_pressure", "caution"),
        ({"worker": {"major_faults": 7}}, "memory_pressure", "caution"),
        ({"shape": {"kind": "drift", "spread": 1.2, "change": 1.2, "spikes": 0.0}}, "latency_moved", "caution"),
        ({"shape": {"kind": "step", "spread": 1.7, "change": 1.6, "spikes": 0.0}}, "latency_moved", "untrusted"),
        ({"shape": {"kind": "step", "spread": 1.7, "change": 0.6, "spikes": 0.0}}, "latency_moved", "untrusted"),
        ({"shape": {"kind": "steady", "spread": 1.0, "change": 1.0, "spikes": 0.03}}, "spikes", "caution"),
        ({"jetson": {"overcurrent_oc1_events": 0, "overcurrent_oc3_events": 140}}, "throttled", "caution"),
        ({"thermal": {"zones": {"cpu": {"max_c": 99.0, "passive_trip_c": 95.0}}}}, "throttled", "caution"),
        ({"cpu_frequency": "unavailable: no cpufreq"}, "unknown", "trusted"),
    ],
)  # fmt: skip
def test_what_the_probes_read_is_judged(conditions: dict[str, JSON], check: str, level: str) -> None:
    assert _judged(replace(making.record(), conditions=conditions)) == (level, {check: level})


_CLOCKS: dict[str, JSON] = {"gpu_mhz_min": 306.0, "gpu_mhz_median": 1300.5, "gpu_mhz_max": 1300.5}


def _on_jetson(**told: JSON) -> tuple[str, dict[str, str]]:
    """The verdict on a cell of the GPU of a Jetson, which told its clocks and `told`."""
    record = making.record(replace(making.FAST, device="cuda:0"))
    jetson: dict[str, JSON] = {**_CLOCKS, "gpu_low_clock_slowdown": 1.0, "overcurrent_oc3_events": 0, **told}
    missing: dict[str, JSON] = dict.fromkeys(("nvml", "cpu_throttle"), "unavailable: not here")
    return _judged(replace(record, conditions={**missing, "jetson": jetson}))


def test_a_jetsons_gpu_that_slowed_down_is_told_from_one_that_fell_asleep() -> None:
    """It sleeps within milliseconds of a burst's end: a low clock counts where the burst was slow too."""
    assert _on_jetson() == ("trusted", {}), "and nothing is unknown: the Jetson told it all"
    assert _on_jetson(gpu_low_clock_slowdown=2.1) == ("caution", {"clock_changed": "caution"})
    assert _on_jetson(overcurrent_oc3_events=140) == ("caution", {"throttled": "caution"})


def test_what_a_jetson_does_not_tell_of_its_gpu_stays_unknown() -> None:
    assert _on_jetson(overcurrent_oc3_events="unavailable: no file") == ("trusted", {"unknown": "trusted"})
    assert _on_jetson(gpu_mhz_median="unavailable: no file") == ("trusted", {"unknown": "trusted"})


def test_a_zone_is_as_hot_as_its_own_trip_point() -> None:
    """A wireless card that lowers its own power from 60 °C on says nothing of a processor at 80 °C."""
    zones: dict[str, JSON] = {"wifi": {"max_c": 40.0, "passive_trip_c": 60.0}, "cpu": {"max_c": 80.0}}
    heat: dict[str, JSON] = {"temperature_c_max": 80.0, "passive_trip_c": 60.0, "zones": zones}
    assert _judged(replace(making.record(), conditions={"thermal": heat})) == ("trusted", {})


@pytest.mark.parametrize(
    ("rel_l2", "median", "level"), [(0.1, 0.2, "trusted"), (0.6, 0.2, "caution"), (0.1, 0.5, "caution")]
)
def test_an_artifact_that_only_just_passes_is_told(rel_l2: float, median: float, level: str) -> None:
    """repvgg_a0 in int8 passed with a median error of 0.47."""
    error = OutputError("logits", True, rel_l2, 0.99, 3.0, 0.5, median)
    verification = judge((error,), DEFAULTS["int8"], 8, "torch")
    assert verification.passed
    trust, findings = checks.judge(replace(making.record(), verification=verification), RULES)
    said = [finding for finding in findings if finding.check == "near_tolerance"]
    assert (trust, len(said)) == (level, level == "caution")
    assert all("logits" in finding.seen and "accuracy" in finding.advice for finding in said)


@pytest.mark.parametrize(
    "precision, vnni, bits, told",
    [
        ("int8", False, 8, True), ("int8", False, 7, False), ("int8", True, 8, False),
        ("int8", None, 8, False), ("fp32", False, 8, False),
    ],
)  # fmt: skip
def test_int8_weights_that_can_overflow_are_told(
    precision: Precision, vnni: bool | None, bits: int, told: bool
) -> None:
    cell = replace(making.FAST, precision=precision)
    note = ArtifactNote("onnx", precision, "0" * 64, ("onnx_dynamo", "onnx_int8"), (), {"weight_bits": bits})
    settings: dict[str, JSON] = {} if vnni is None else {"vnni": vnni}
    record = replace(making.record(cell), artifact=note, facts=Facts(precision, "cpu", settings=settings))
    found = [finding for finding in checks.judge(record, RULES)[1] if finding.check == "int8_saturates"]
    assert [finding.level for finding in found] == ["caution"] * told
    assert all("reduce_range=true" in finding.advice for finding in found)


def test_every_check_is_found_by_the_name_of_its_findings() -> None:
    record = replace(making.record(half_width=0.2), rounds=1, conditions={"cpu_time": {"steal_share": 0.2}})
    findings = checks.judge(record, RULES)[1]
    assert {"wide_interval", "few_rounds", "steal"} <= {finding.check for finding in findings} <= set(checks.CHECKS)


def test_quiet_probes_and_unreadable_values_accuse_nobody() -> None:
    conditions: dict[str, JSON] = {
        "cpu_time": {"steal_share": 0.0, "other_cpus_busy": "unavailable: no worker"},
        "cgroup": {"throttled_periods_share": 0.0},
        "cpu_frequency": {"cpu_mhz_min": 2990.0, "cpu_mhz_median": 3000.0},
        "nvml": "unavailable: no NVIDIA driver",
        "shape": {"kind": "steady", "spread": 1.05, "change": 1.0, "spikes": 0.001},
    }
    assert _judged(replace(making.record(), conditions=conditions)) == ("trusted", {})


def test_busy_processors_are_not_taken_for_processors_apart() -> None:
    record = replace(_disturbed(0, mixed=True), conditions={"core_to_core": {"busy_share": 0.9}})
    assert "other work" in checks.judge(record, RULES)[1][0].seen


def test_advice_depends_on_what_was_tried() -> None:
    """More time where time helps; fresh processes where it does not; the self-test where nothing short of hours would do."""

    def advice(half_width: float, rules: Rules) -> str:
        return checks.judge(making.record(half_width=half_width), rules)[1][0].advice

    assert "--budget 43s" in advice(0.04, Rules(budget_s=10, target=0.02))
    assert "--processes" in advice(0.02, Rules(budget_s=60, target=0.005))
    assert "selftest" in advice(0.3, Rules(budget_s=60, target=0.02))


# ── whole traces: from scripted bursts to the verdict ────────────────────────────────────────────────────────────


def _trust(slow: Callable[[int], float], other: Callable[[int], float] | None = None) -> tuple[str | None, set[str]]:
    """Verdict on a cell twice as fast as its baseline, on a machine that slows both by `slow(burst)` (or it by `other`)."""
    draw = random.Random(1)

    def noisy(base: float, level: Callable[[int], float]) -> Callable[[int], float]:
        return lambda n: base * level(n) * draw.lognormvariate(0, 0.005)

    subjects = {
        "base": Scripted(noisy(2e7, slow), 0.005, seed=1),
        "a": Scripted(noisy(1e7, other or slow), 0.005, seed=2),
    }
    trace, rules = Trace(), Rules(budget_s=6.0, target=0.02)
    schedule.measure(subjects, "base", replace(rules, target=0.0), 0, trace, silent)
    record = replace(making.record(), key="a", baseline="base", latency={}, speedup={}, conditions={})
    judged = summary.finish(record, trace, rules)
    return judged.trust, {finding.check for finding in judged.findings if finding.level != "trusted"}


def test_a_steady_trace_is_trusted() -> None:
    assert _trust(lambda _: 1.0) == ("trusted", set())


@pytest.mark.parametrize(
    "slow",
    [
        pytest.param(lambda n: 1 + n / 100, id="drift"),
        pytest.param(lambda n: 1.0 if n < 15 else 1.3, id="step"),
        pytest.param(lambda n: 1.2 + 0.2 * math.sin(n / 2), id="throttling"),
    ],
)  # fmt: skip
def test_a_machine_that_moves_costs_the_latency_its_trust_but_not_the_speedup(slow: Callable[[int], float]) -> None:
    trust, reasons = _trust(slow)
    assert (trust, reasons) == ("caution", {"latency_moved"})


def test_a_neighbour_that_hits_one_cell_alone_widens_the_interval() -> None:
    trust, reasons = _trust(lambda _: 1.0, lambda n: 2.0 if n % 2 else 1.0)
    assert trust == "untrusted"
    assert {"wide_interval", "latency_moved"} <= reasons


def test_spikes_are_seen() -> None:
    trust, reasons = _trust(lambda _: 1.0, lambda n: 8.0 if n in (7, 19) else 1.0)
    assert trust == "caution"
    assert "spikes" in reasons


def test_every_finding_says_what_to_do() -> None:
    for record in (making.record(half_width=0.2), replace(making.record(), rounds=1), _disturbed(0, mixed=True)):
        assert all(finding.seen and finding.advice for finding in checks.judge(record, RULES)[1])
