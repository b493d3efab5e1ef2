"""What every test has."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache for these tests alone: they neither wait for a user's run nor hold one up, and leave nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BACKBENCH_CACHE", os.environ.get("BACKBENCH_CACHE") or str(tmp_path_factory.mktemp("cache")))
        yield
