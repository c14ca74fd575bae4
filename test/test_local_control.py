# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Test the local controller, and the navigator's logic around it."""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from tl_adapt.demo.local_control import DynamicWindow
from tl_adapt.demo.navigation import PROGRESS_TIME, Navigation
from tl_adapt.demo.planner import make_planner
from tl_adapt.demo.settings import LocalizerSettings, NavigatorSettings, pick, tunables
from tl_adapt.demo.world import load_world
from tl_adapt.testing.kinematic import cast_rays

ANGLES = np.arange(360) * (2 * math.pi / 360)
FAR = np.array([[5.0, 5.0]])
STRAIGHT = np.column_stack((np.arange(0.0, 1.6, 0.05), np.zeros(32)))


def choose(controller, current, *, path=STRAIGHT, goal=(0.8, 0.0), obstacles=FAR, limit=1.0):
    return controller.choose(current, path, np.array(goal), obstacles, limit)


def settle(controller, current, n=20, **kwargs):
    for _ in range(n):
        command = choose(controller, current, **kwargs)
        current = (command.v, command.w)
    return command


def test_a_free_straight_path_is_driven_at_full_speed():
    command = settle(DynamicWindow(NavigatorSettings()), (0.0, 0.0))
    assert command.v == pytest.approx(0.3)
    assert command.w == pytest.approx(0.0, abs=1e-9)


def test_accelerations_keep_their_limits():
    s = NavigatorSettings(acc_lim_x=0.5, acc_lim_theta=1.0)
    controller = DynamicWindow(s)
    current = (0.0, 0.0)
    for goal in ((0.5, 0.6), (0.5, -0.6), (0.05, 0.0)):
        for _ in range(10):
            command = choose(controller, current, path=np.array([goal]), goal=goal)
            assert abs(command.v - current[0]) <= 0.05 + 1e-9
            assert abs(command.w - current[1]) <= 0.1 + 1e-9
            assert 0.0 <= command.v <= s.max_vel_x + 1e-9
            assert abs(command.w) <= s.max_vel_theta + 1e-9
            current = (command.v, command.w)


@pytest.mark.parametrize('side', [1.0, -1.0])
def test_it_turns_to_the_side_of_the_goal(side):
    command = settle(DynamicWindow(NavigatorSettings()), (0.0, 0.0), n=4, goal=(0.5, 0.5 * side),
                     path=np.array([[0.5, 0.5 * side]]))
    assert command.w * side > 0.2


def test_it_slows_down_before_an_obstacle_and_brakes_where_all_ways_end():
    controller = DynamicWindow(NavigatorSettings())
    command = settle(controller, (0.3, 0.0), n=2, obstacles=np.array([[0.35, 0.06]]))
    assert command.admissible and command.v < 0.3
    wall = np.column_stack((np.full(81, 0.14), np.linspace(-2.0, 2.0, 81)))
    command = choose(controller, (0.3, 0.0), obstacles=wall)
    assert not command.admissible
    assert command.v == pytest.approx(0.2)


def test_the_weight_of_obstacles_buys_clearance():
    post = np.array([[0.45, 0.16]])  # beside the straight way
    low = choose(DynamicWindow(NavigatorSettings(obstacle_weight=0.05)), (0.3, 0.0),
                 obstacles=post)
    high = choose(DynamicWindow(NavigatorSettings(obstacle_weight=10.0)), (0.3, 0.0),
                  obstacles=post)
    assert high.v < low.v == pytest.approx(0.3)


def test_more_samples_are_more_work():
    few = choose(DynamicWindow(NavigatorSettings(vx_samples=3, vtheta_samples=5)), (0.0, 0.0))
    many = choose(DynamicWindow(NavigatorSettings(vx_samples=15, vtheta_samples=41)), (0.0, 0.0))
    assert few.states == 3 * 5 * 15 and many.states == 15 * 41 * 15


def test_a_period_must_be_positive():
    with pytest.raises(ValueError, match='period > 0'):
        DynamicWindow(NavigatorSettings(), 0.0)


@pytest.fixture(scope='module')
def scene():
    world = load_world('room')
    return world, Navigation(make_planner(world)), cast_rays(world, world.start, ANGLES)


def test_no_goal_means_standing(scene):
    world, navigation, ranges = scene
    navigation.reset()
    decision = navigation.step(0.1, world.start, ANGLES, ranges)
    assert (decision.v, decision.w, decision.outcome) == (0.0, 0.0, '')


def test_a_goal_under_the_robot_is_reached_at_once(scene):
    world, navigation, ranges = scene
    navigation.set_goal((world.start[0] + 0.15, world.start[1], 0.0))
    decision = navigation.step(0.1, world.start, ANGLES, ranges)
    assert decision.outcome == 'succeeded' and (decision.v, decision.w) == (0.0, 0.0)
    assert not navigation.active


def test_the_first_scan_of_a_goal_plans_and_later_ones_replan(scene):
    world, navigation, ranges = scene
    navigation.set_goal((2.3, 2.2, 0.0))
    plans = [
        navigation.step(0.1 * i, world.start, ANGLES, ranges).plan is not None
        for i in range(1, 13)
    ]
    assert plans == [True] + [False] * 9 + [True, False]


def test_a_robot_that_does_not_move_gives_up(scene):
    world, navigation, ranges = scene
    navigation.set_goal((2.3, 2.2, 0.0))
    outcomes = [
        navigation.step(0.1 * i, world.start, ANGLES, ranges, (0.0, 0.0))
        for i in range(1, round(PROGRESS_TIME * 10) + 2)
    ]
    assert [d.outcome for d in outcomes[:-1]] == [''] * (len(outcomes) - 1)
    assert outcomes[-1].outcome == 'aborted' and 'no progress' in outcomes[-1].reason
    assert any(d.v < 0.0 for d in outcomes)  # it has tried to back off


def test_a_goal_in_a_wall_is_given_up(scene):
    world, navigation, ranges = scene
    navigation.set_goal((2.0, 9.0, 0.0))
    for i in range(1, 12):
        decision = navigation.step(1.0 * i, world.start, ANGLES, ranges)
        assert (decision.v, decision.w) == (0.0, 0.0)
        if decision.outcome:
            break
    assert decision.outcome == 'aborted' and decision.reason == 'no path to the goal'


def test_a_goal_behind_makes_it_turn_in_place(scene):
    world, navigation, ranges = scene
    pose = (-2.3, -2.3, -2.4)
    navigation.set_goal((2.3, 2.2, 0.0))
    decisions = [
        navigation.step(0.1 * i, pose, ANGLES, cast_rays(world, pose, ANGLES))
        for i in range(1, 4)
    ]
    assert decisions[-1].v == 0.0 and abs(decisions[-1].w) > 0.5


def test_the_settings_are_those_of_the_demo_study():
    text = (Path(__file__).parents[1] / 'config' / 'demo.yaml').read_text(encoding='utf-8')
    study = yaml.safe_load(text)['parameters']
    known = {t.name: t for s in (NavigatorSettings, LocalizerSettings) for t in tunables(s)}
    assert set(study) == set(known) and len(known) >= 16
    for name, entry in study.items():
        t = known[name]
        assert entry['range'] == [t.low, t.high]
        assert entry['default'] == t.default
        assert entry['type'] == ('int' if isinstance(t.default, int) else 'double')


def test_settings_out_of_range_are_refused():
    assert pick(NavigatorSettings, {'max_vel_x': 0.5, 'beams': 9}).max_vel_x == 0.5
    for values in ({'max_vel_x': 9.0}, {'vx_samples': 4.5}, {'sim_time': math.nan},
                   {'sim_time': 'long'}, {'vx_samples': True}):
        with pytest.raises(ValueError, match=next(iter(values))):
            pick(NavigatorSettings, values)
