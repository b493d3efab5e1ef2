"""The front holds exactly the points that nobody beats."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deciding.pareto import Direction, Point, dominates, front
from harness.errors import PlanInvalid

AXES: dict[str, Direction] = {"latency": "min", "accuracy": "max"}


def _points(*pairs: tuple[float | None, float | None]) -> list[Point]:
    return [{"latency": latency, "accuracy": accuracy} for latency, accuracy in pairs]


def test_what_is_slower_and_less_accurate_is_left_out() -> None:
    assert front(_points((10, 80), (5, 70), (12, 79), (20, 85)), AXES) == (0, 1, 3)


def test_equal_points_stand_or_fall_together() -> None:
    assert front(_points((5, 70), (5, 70), (6, 60), (6, 60)), AXES) == (0, 1)


def test_a_tie_on_one_axis_is_decided_by_the_other() -> None:
    assert front(_points((5, 70), (5, 71), (6, 71)), AXES) == (1,)


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_point_that_lacks_an_axis_is_not_judged(missing: float | None) -> None:
    assert front([*_points((1, missing), (5, 70)), {"latency": 1.0}], AXES) == (1,)


def test_no_points_make_an_empty_front() -> None:
    assert front([], AXES) == ()


@pytest.mark.parametrize("axes", [{}, {"latency": "least"}])
def test_axes_that_cannot_be_used_are_named(axes: dict[str, Direction]) -> None:
    with pytest.raises(PlanInvalid, match="no Pareto front over"):
        front(_points((1, 1)), axes)


_FEW = st.integers(0, 4).map(float) | st.none()


@given(
    st.lists(st.tuples(_FEW, _FEW, _FEW), max_size=30),
    st.integers(1, 3),
    st.tuples(*[st.sampled_from(("min", "max"))] * 3),
)
def test_it_is_what_comparing_all_with_all_gives(
    rows: list[tuple[float | None, ...]], count: int, directions: tuple[Direction, ...]
) -> None:
    axes: dict[str, Direction] = dict(zip("abc"[:count], directions, strict=False))
    points: list[Point] = [dict(zip("abc", row, strict=True)) for row in rows]
    whole = [i for i, point in enumerate(points) if all(point[name] is not None for name in axes)]
    expected = tuple(i for i in whole if not any(dominates(points[j], points[i], axes) for j in whole))
    assert front(points, axes) == expected
