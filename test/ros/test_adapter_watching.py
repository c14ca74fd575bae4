# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for an adapter whose robot's sensors and clock fail; all are processes of their own."""

import json
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from std_msgs.msg import String  # noqa: E402
from test_adapter import graph, prepared, settled  # noqa: E402, F401

SENSORS = Path(__file__).with_name('sensors.py')


def measured(values):
    """Tell whether the last window gave the metric."""
    return bool(values.get('metric.cost'))


@pytest.fixture
def robot(graph, prepared):  # noqa: F811
    graph.robot('alpha', {'v': 0.2})
    graph.robot('beta', {'w': 0.5})
    graph.start(sys.executable, str(SENSORS), json.dumps({}))
    command = graph.node.create_publisher(String, 'command', 10)
    graph.tell = lambda **values: command.publish(String(data=json.dumps(values)))
    graph.adapter(prepared(window=2.0))
    graph.until(lambda v: settled(v) and int(v['judged']) >= 1 and measured(v), 60.0)
    return graph


def test_sensors_and_clocks_that_fail_change_nothing(robot):
    robot.until(lambda v: (robot.level, v['silent_topics']) == (0, ''))
    robot.tell(battery=False)
    robot.until(lambda v: v['silent_topics'].startswith('battery_state (since '))
    robot.until(lambda v: not measured(v) and robot.message.startswith('silent: battery_state '))
    assert robot.level == 1
    robot.tell(battery=True)
    robot.until(lambda v: robot.level == 0 and measured(v))
    assert float(robot.values['metric.cost']) == pytest.approx(10.0)
    robot.tell(jump=-50.0)
    robot.until(lambda v: v['outcome'].startswith('the clock went back by '))
    robot.until(lambda v: v['outcome'] == '' and measured(v))
    robot.tell(jump=50.0)
    robot.until(lambda v: v['outcome'].startswith('the clock went forward by '))
    robot.until(lambda v: v['outcome'] == '' and measured(v))
    assert (robot.values['replans'], robot.values['quarantined']) == ('0', '0')
    assert robot.get('alpha', 'v') == 0.5


def test_a_broken_limit_is_answered_before_the_window_ends(robot):
    robot.tell(speed=1.0)
    judged = int(robot.values['judged'])
    robot.until(lambda v: int(v['judged']) > judged)
    judged += 1
    robot.tell(voltage=1000.0)
    robot.until(lambda v: int(v['quarantined']) >= 1)
    assert int(robot.values['judged']) == judged, 'no full window was waited for'
    robot.until(settled)
    assert robot.get('alpha', 'v') != 0.5
