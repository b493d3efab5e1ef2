"""The recorded machines, unfolded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trees import INTEL, ORIN, XAVIER, unfold


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    return unfold(tmp_path, ORIN)


@pytest.fixture
def xavier(tmp_path: Path) -> Path:
    return unfold(tmp_path, XAVIER)


@pytest.fixture
def intel(tmp_path: Path) -> Path:
    return unfold(tmp_path, INTEL)
