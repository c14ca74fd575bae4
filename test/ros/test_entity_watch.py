# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of watching a simulated robot's true state."""

import math
import time

import pytest

from tl_adapt.errors import SimulatorFailedError
from tl_adapt.simulators.base import EntityState

pytest.importorskip('rclpy')

from tl_adapt.ros.entity_watch import EntityWatch, ailment  # noqa: E402
from tl_adapt.ros.simulator_control.base import ControlError  # noqa: E402

WELL = EntityState((1.0, 2.0, 0.0))


class Control:
    """Be a simulator that says what it is told to."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    def state(self, name):
        assert name == 'robot'
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ('state', 'text'),
    [
        (WELL, ''),
        (EntityState((math.nan, 0.0, 0.0)), 'the physics diverged: robot has a NaN pose'),
        (EntityState((0.0, 0.0, 0.0), linear=(math.inf, 0.0, 0.0)), 'NaN pose'),
        (EntityState((0.0, 0.0, -5000.0)), r'diverged: robot is at \[0.0, 0.0, -5000'),
        (EntityState((0.0, 0.0, 0.0), (0.7071, 0.0, 0.0, 0.7071)), 'fallen over: tilted by 90'),
    ],
)
def test_what_ails_a_robot(state, text):
    found = ailment('robot', state)
    assert bool(found) == bool(text)
    if text:
        with pytest.raises(SimulatorFailedError, match=text):
            raise SimulatorFailedError(found)


@pytest.mark.parametrize(
    'last', [EntityState((math.nan, 0.0, 0.0)), ControlError('no answer within 10 s', 'silent')]
)
def test_a_lost_robot_is_noticed(last):
    control = Control(WELL, last)
    watch = EntityWatch(control, 'robot')
    end = time.monotonic() + 5.0
    with pytest.raises(SimulatorFailedError):
        while time.monotonic() < end:
            watch.look()
            time.sleep(0.01)
    watch._thread.join(5.0)
    assert not watch._thread.is_alive()


def test_it_ends():
    control = Control(WELL)
    watch = EntityWatch(control, 'robot')
    watch.stop()
    watch._thread.join(5.0)
    assert not watch._thread.is_alive()
    watch.look()
