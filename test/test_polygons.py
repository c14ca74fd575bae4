# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what is no polygon."""

import pytest

from tl_adapt.polygons import polygon_fault

SQUARE = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)]
BOW = [(0.0, 0.0), (2.0, 2.0), (2.0, 0.0), (0.0, 2.0)]


@pytest.mark.parametrize('corners', [
    SQUARE, SQUARE[::-1], [*SQUARE, SQUARE[0]], [SQUARE[0], *SQUARE],
    [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (2.0, 1.0), (0.0, 4.0)],  # not convex
    [(1e5, 0.0), (1e5 + 20.0, 0.0), (1e5 + 20.0, 0.01)],  # thin, and far away
    [(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (2.0, 2.0)],  # a corner within a side
    # A hole, by a slit from the outside.
    [(0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0), (0.0, 0.0),
     (1.0, 1.0), (1.0, 8.0), (8.0, 8.0), (8.0, 1.0), (1.0, 1.0)],
])
def test_a_polygon_is_sound(corners):
    assert polygon_fault(corners) == ''


@pytest.mark.parametrize('corners', [
    [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)], [(0.1, 0.1), (0.4, 0.7), (0.2, 0.3)],
    [(1.0, 2.0)] * 3, [(0.0, 0.0), (1.0, 0.0), (0.0, 0.0)],
])
def test_corners_on_a_line_have_no_area(corners):
    assert polygon_fault(corners).startswith('must have an area')


@pytest.mark.parametrize('corners', [
    BOW, [(x + 1e5, y - 7.3) for x, y in BOW], [*BOW, BOW[0]],
    [(0.0, 3.0), (2.0, -3.0), (-3.0, 1.0), (3.0, 1.0), (-2.0, -3.0)],  # a star
])
def test_sides_that_cross_are_told(corners):
    assert polygon_fault(corners) == 'its sides must not cross'
