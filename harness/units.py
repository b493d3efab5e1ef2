"""Reads and writes quantities as people type them: `90s`, `2%`, `10ms`, `1.5GB`."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([a-zA-Zµ%]*)\s*")
_SECONDS = {
    "": 1.0,
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
}
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}


def seconds(text: str) -> float:
    """`10`, `10s`, `2min`, `1.5h`, `10ms` in seconds. Raises ValueError that says what is understood."""
    return _read(text, _SECONDS, "a time such as 10s, 2min or 10ms")


def fraction(text: str) -> float:
    """`2%` as 0.02; a bare number is refused, for 0.5 might be a half or half a percent. Raises ValueError."""
    value = _read(text, {"": 0.01, "%": 0.01}, "a share such as 2%")
    if value >= 1:
        raise ValueError(f"{text!r} is not between 0% and 100%")
    match = _NUMBER.fullmatch(text)
    if value and match is not None and not match[2]:
        raise ValueError(f"{match[1]} has no unit: give {match[1]}%, or {100 * float(match[1]):g}%")
    return value


def size(text: str) -> int:
    """`500MB`, `1.5GiB` in bytes. Raises ValueError."""
    return round(_read(text, {name: float(n) for name, n in _BYTES.items()}, "a size such as 500MB or 1.5GiB"))


def limit_seconds(text: str) -> float:
    """`seconds` of a limit, which has to say its unit: a bare 10 is ten milliseconds to one and ten seconds to another."""
    return _with_unit(text, seconds(text), ("ms", "s"))


def limit_size(text: str) -> int:
    """`size` of a limit, which has to say its unit. Raises ValueError."""
    return round(_with_unit(text, size(text), ("MB", "GB")))


def points(text: str) -> float:
    """`0.5%` or `0.5 points` as 0.005; a bare number is refused, for 0.5 might be a half or half a point."""
    units = {"": 0.01, "%": 0.01, "point": 0.01, "points": 0.01}
    value = _with_unit(text, _read(text, units, "a drop such as 0.5% or 0.5 points"), ("%", " points"))
    if value >= 1:
        raise ValueError(f"{text!r} is not between 0% and 100%")
    return value


def _with_unit(text: str, value: float, units: tuple[str, str]) -> float:
    match = _NUMBER.fullmatch(text)
    if value and match is not None and not match[2]:
        raise ValueError(f"{match[1]} has no unit: give {match[1]}{units[0]} or {match[1]}{units[1]}")
    return value


def joules(text: str) -> float:
    """`100mJ`, `1.5J` in joules. Raises ValueError."""
    return _read(text, {"": 1.0, "j": 1.0, "mj": 1e-3, "kj": 1e3}, "an energy such as 100mJ or 1.5J")


def count(text: str) -> int:
    """`25M`, `5.5m`, `300k`, `1B` as a number. Raises ValueError."""
    return round(_read(text, {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9}, "a number such as 300k or 25M"))


def _read(text: str, units: dict[str, float], what: str) -> float:
    match = _NUMBER.fullmatch(text)
    unit = match.group(2).lower() if match else None
    if match is None or unit not in units:
        raise ValueError(f"{text!r} is not {what}")
    return float(match.group(1)) * units[unit]


def show_seconds(value: float) -> str:
    """`850 ms`, `9.5 s`, `3 min 20 s`, `1 h 05 min`: rounded for a reader."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def show_bytes(value: float) -> str:
    """`98.1 MB`: decimal units, three digits."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}" if value < 1000 * factor else f"{value / factor:.0f} {unit}"
    return f"{value:.0f} B"


def show_count(value: float) -> str:
    """`25.6 M`, `312 k`: three digits."""
    for unit, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f}"


def counted(number: int, what: str) -> str:
    """`1 group`, `3 groups`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def show_ms(ns: float) -> str:
    """Nanoseconds as milliseconds with three significant digits."""
    ms = ns / 1e6
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}" if ms >= 0.001 or ms == 0 else f"{ms:.1e}"
