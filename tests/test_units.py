"""Quantities are read as people type them."""

from __future__ import annotations

import pytest

from harness import units


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10), ("90s", 90), ("2min", 120), ("1.5h", 5400), ("10ms", 0.01), (" 3 s ", 3)]
)
def test_times(text: str, value: float) -> None:
    assert units.seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "ten", "10 parsecs", "-3s", "1e9", "s"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 10s"):
        units.seconds(text)


def test_shares_and_sizes() -> None:
    assert units.fraction("2%") == pytest.approx(0.02)
    assert units.fraction("0") == 0
    with pytest.raises(ValueError, match=r"0\.5 has no unit: give 0\.5%, or 50%"):
        units.fraction("0.5")
    assert units.size("1.5GiB") == 3 << 29
    with pytest.raises(ValueError, match="between"):
        units.fraction("200%")


def test_limits_say_their_unit() -> None:
    assert (units.limit_seconds("10ms"), units.limit_seconds("0"), units.limit_size("3MB")) == (0.01, 0, 3_000_000)
    assert (units.points("0.5%"), units.points("1 point")) == (0.005, 0.01)
    for read, text in ((units.limit_seconds, "10"), (units.limit_size, "300"), (units.points, "0.5")):
        with pytest.raises(ValueError, match=f"{text} has no unit: give {text}"):
            read(text)
    with pytest.raises(ValueError, match="between"):
        units.points("100%")


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0123, "12 ms"), (9.53, "9.5 s"), (42, "42 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")]
)
def test_times_are_shown_rounded(value: float, shown: str) -> None:
    assert units.show_seconds(value) == shown


def test_latencies_are_shown_with_three_digits() -> None:
    assert [units.show_ms(ns) for ns in (123_456_789, 20_512_345, 3_456_789, 123_456)] == [
        "123",
        "20.5",
        "3.46",
        "0.123",
    ]


def test_one_is_not_plural() -> None:
    assert (units.counted(1, "group"), units.counted(3, "group")) == ("1 group", "3 groups")
