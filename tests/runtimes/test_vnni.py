"""Whether a processor multiplies int8 without overflow is read from what Linux tells of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtimes._vnni import vnni


@pytest.mark.parametrize(
    "text, found",
    [
        ("flags\t\t: fpu sse2 avx2 fma\n", False),
        ("processor\t: 0\nflags\t\t: fpu sse2 avx2 avx_vnni\n", True),
        ("flags\t\t: fpu sse2 avx512f avx512_vnni\nflags\t\t: fpu sse2 avx512f avx512_vnni\n", True),
        ("Features\t: fp asimd asimddp\n", None),
        ("", None),
    ],
)
def test_x86_alone_can_lack_it(tmp_path: Path, text: str, found: bool | None) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    assert vnni(file) is found


def test_it_is_unknown_where_linux_does_not_tell(tmp_path: Path) -> None:
    assert vnni(tmp_path / "cpuinfo") is None
