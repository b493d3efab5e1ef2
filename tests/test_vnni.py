"""Whether a processor multiplies int8 without overflow is read from what Linux tells of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import machine


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    machine._field.cache_clear()
    yield
    machine._field.cache_clear()


@pytest.mark.parametrize(
    "text, found",
    [
        ("flags\t\t: fpu sse2 avx2 fma", False),
        ("processor\t: 0\nflags\t\t: fpu sse2 avx2 avx_vnni", True),
        ("flags\t\t: fpu sse2 avx512f avx512_vnni\nflags\t\t: fpu sse2 avx512f avx512_vnni", True),
        ("Features\t: fp asimd asimddp", None),
        ("", None),
    ],
)
def test_x86_alone_can_lack_it(monkeypatch: pytest.MonkeyPatch, text: str, found: bool | None) -> None:
    monkeypatch.setattr(machine, "_text", lambda path: text)
    assert machine.vnni() is found
