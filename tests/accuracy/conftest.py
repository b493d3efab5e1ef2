"""The digits, trained once for all tests of a worker process."""

from __future__ import annotations

import pytest

from tests import digits


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> digits.Digits:
    """A checkpoint that is right on over 95 % of the digits it has not seen."""
    made = digits.make(tmp_path_factory.mktemp("digits"))
    assert made.accuracy > 0.95
    return made


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cache that the tests share, so that each artifact is made once."""
    return str(tmp_path_factory.mktemp("cache"))
