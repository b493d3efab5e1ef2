"""The Pareto front: points that no other point beats on one axis without losing on another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from harness.errors import PlanInvalid

Direction = Literal["min", "max"]
Point: TypeAlias = Mapping[str, float | None]


def front(points: Sequence[Point], axes: Mapping[str, Direction]) -> tuple[int, ...]:
    """Indices of the points on the front, ascending.

    `axes` names each axis with the direction that is better. A point that lacks one of them (absent, None or NaN) cannot
    be judged: it is neither on the front nor beats others. Of points that are equal on all axes, all are on the front or
    none. O(n log n) for one and two axes, O(n · front) for more. Raises `PlanInvalid` where `axes` cannot be used.
    """
    _check(axes)
    judged = sorted((costs, index) for index, point in enumerate(points) if (costs := _costs(point, axes)) is not None)
    kept: list[tuple[tuple[float, ...], int]] = []
    rivals: list[tuple[float, ...]] = []
    for costs, index in judged:
        # Whoever beats a point comes before it in this order, and is beaten, if at all, by one that is kept.
        if any(_dominates(rival, costs) for rival in rivals):
            continue
        kept.append((costs, index))
        # On two axes the last one kept has the lowest second cost so far, and stands for all before it.
        rivals = [costs] if len(axes) <= 2 else [*rivals, costs] if costs not in rivals[-1:] else rivals
    return tuple(sorted(index for _, index in kept))


def dominates(one: Point, other: Point, axes: Mapping[str, Direction]) -> bool:
    """Whether `one` is at least as good on every axis and better on one; False where either lacks an axis."""
    _check(axes)
    first, second = _costs(one, axes), _costs(other, axes)
    return first is not None and second is not None and _dominates(first, second)


def _check(axes: Mapping[str, Direction]) -> None:
    wrong = [f"{name}: {direction}" for name, direction in axes.items() if direction not in ("min", "max")]
    if wrong or not axes:
        raise PlanInvalid(
            f"no Pareto front over {', '.join(wrong) or 'no axes'}", "give axes with the direction min or max each"
        )


def _costs(point: Point, axes: Mapping[str, Direction]) -> tuple[float, ...] | None:
    """The point with every axis turned so that less is better; None where it lacks one."""
    costs = []
    for name, direction in axes.items():
        value = point.get(name)
        if value is None or math.isnan(value):
            return None
        costs.append(float(value) if direction == "min" else -float(value))
    return tuple(costs)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
