# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what makes a list of corners no polygon that a position can be in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

Point = tuple[float, float]

_FLAT = 1e-9  # width of a polygon that has no area, as a share of its length


def polygon_fault(corners: Sequence[Point]) -> str:
    """
    Return the rule that a polygon of these corners breaks, empty if it is sound.

    A corner that comes twice in a row counts once, also the first at the end; sides may touch.
    """
    kept = [one for one, after in zip(corners, [*corners[1:], corners[0]]) if one != after]
    if not kept or _flat(kept):
        return 'must have an area: its corners are on one line'
    sides = list(zip(kept, [*kept[1:], kept[0]]))
    if any(_cross(one, other) for one, other in itertools.combinations(sides, 2)):
        return 'its sides must not cross'
    return ''


def _flat(corners: Sequence[Point]) -> bool:
    """Tell whether all corners are on the line from the first to the one farthest from it."""
    (x, y), *others = corners
    away = [(px - x, py - y) for px, py in others]
    dx, dy = max(away, key=lambda each: each[0] ** 2 + each[1] ** 2, default=(0.0, 0.0))
    return all(abs(dx * py - dy * px) <= _FLAT * (dx * dx + dy * dy) for px, py in away)


def _cross(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Tell whether two sides have a point in common that is the end of neither."""
    return all(
        _turn(*first, second[0]) * _turn(*first, second[1]) < 0
        for first, second in ((one, other), (other, one))
    )


def _turn(a: Point, b: Point, c: Point) -> int:
    """Return on which side of the line from a to b the point c is: -1, 0 (on it) or 1."""
    left, right = (b[0] - a[0]) * (c[1] - a[1]), (b[1] - a[1]) * (c[0] - a[0])
    return (left > right) - (left < right)
