# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Test the grid planner."""

import math

import numpy as np
import pytest

from tl_adapt.demo.planner import ROBOT_RADIUS, GridPlanner, closeness_cost, make_planner
from tl_adapt.demo.world import load_world
from tl_adapt.testing.kinematic import cast_rays

ANGLES = np.arange(360) * (2 * math.pi / 360)


def room(width=60, height=40):
    grid = np.zeros((height, width), dtype=bool)
    grid[[0, -1], :] = grid[:, [0, -1]] = True
    return grid


def planner(grid):
    return GridPlanner(grid, 0.05, (0.0, 0.0))


def length(points):
    return float(np.hypot(*np.diff(points, axis=0).T).sum())


def test_a_free_way_is_straight():
    plan = planner(room()).plan((0.5, 1.0, 0.0), (2.5, 1.0))
    assert length(plan.points) == pytest.approx(2.0, abs=0.02)
    assert plan.points[0] == pytest.approx((0.5, 1.0))
    assert plan.points[-1] == pytest.approx((2.5, 1.0))
    assert 0 < plan.expanded <= 2400


def test_the_way_leads_around_a_wall_with_room_for_the_hull():
    grid = room()
    grid[:28, 30] = True
    p = planner(grid)
    p.configure(0.35, 5.0)
    plan = p.plan((0.5, 0.5, 0.0), (2.5, 0.5))
    wall_end = np.array([1.525, 1.4])
    assert np.hypot(*(plan.points - wall_end).T).min() > ROBOT_RADIUS
    assert plan.points[:, 1].max() > 1.4


def test_no_way_gives_none():
    grid = room()
    grid[:, 30] = True
    assert planner(grid).plan((0.5, 0.5, 0.0), (2.5, 0.5)) is None
    assert planner(room()).plan((0.5, 0.5, 0.0), (99.0, 0.5)) is None


def test_a_gap_narrower_than_the_hull_is_closed():
    grid = room()
    grid[:, 30] = True
    grid[18:21, 30] = False  # 0.15 m
    assert planner(grid).plan((0.5, 0.5, 0.0), (2.5, 0.5)) is None
    grid[14:24, 30] = False  # 0.5 m
    assert planner(grid).plan((0.5, 0.5, 0.0), (2.5, 0.5)) is not None


def test_inflation_keeps_the_way_off_walls():
    grid = room()
    grid[:20, 25:35] = True
    clearances = []
    for inflation, scaling in ((0.15, 20.0), (0.6, 2.0)):
        p = planner(grid)
        p.configure(inflation, scaling)
        points = p.plan((0.5, 0.5, 0.0), (2.5, 0.5)).points
        cells = np.argwhere(grid)[:, ::-1] * 0.05 + 0.025
        offset = points[:, None, :] - cells[None, :, :]
        clearances.append(np.sqrt(np.square(offset).sum(axis=2)).min())
    assert clearances[1] > clearances[0] + 0.05


def test_unmapped_obstacles_are_seen_avoided_and_forgotten():
    world = load_world('room')
    p = make_planner(world)
    pose, goal = (-1.6, -2.0, 0.5), (-0.2, -1.4)
    before = p.plan(pose, goal).points
    ranges = cast_rays(world, pose, ANGLES)
    for _ in range(4):
        p.observe(pose, ANGLES, ranges)
    after = p.plan(pose, goal).points
    assert world.distance(before).min() < ROBOT_RADIUS  # through the bin, which no map has
    assert world.distance(after).min() > ROBOT_RADIUS
    for _ in range(10):
        p.observe(pose, ANGLES, np.full(360, math.inf))
    assert length(p.plan(pose, goal).points) == pytest.approx(length(before))
    for _ in range(4):
        p.observe(pose, ANGLES, ranges)
    p.reset()
    assert length(p.plan(pose, goal).points) == pytest.approx(length(before))


def test_the_way_out_of_a_tight_place_is_found():
    world = load_world('room')
    plan = make_planner(world).plan((-2.93, -2.3, 0.0), (-2.0, -2.3))
    assert plan is not None and length(plan.points) < 1.2


def test_plans_repeat():
    world = load_world('room')
    first = make_planner(world).plan(world.start, (2.3, 2.2))
    second = make_planner(world).plan(world.start, (2.3, 2.2))
    assert np.array_equal(first.points, second.points)
    assert 6.3 < length(first.points) < 8.0


def test_the_cost_of_closeness_falls_and_ends():
    cost = closeness_cost(np.array([-0.1, 0.0, 0.1, 0.2, 0.3]), 0.35, 5.0)
    assert cost[0] == cost[1] == 1.0
    assert 1.0 > cost[2] > cost[3] > 0.0 == cost[4]


def test_an_empty_map_is_refused():
    with pytest.raises(ValueError, match='occupied'):
        planner(np.zeros((5, 5), dtype=bool))
