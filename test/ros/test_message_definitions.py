# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.ros.message_definitions against what rosbags knows of the same types."""

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('rosbags', reason='bags need the library rosbags')

from rosbags.typesys import Stores, get_types_from_msg, get_typestore  # noqa: E402

from tl_adapt.ros import message_definitions  # noqa: E402

pytestmark = pytest.mark.ros

TYPES = [
    'nav_msgs/msg/Odometry', 'sensor_msgs/msg/LaserScan', 'action_msgs/msg/GoalStatusArray',
    'rcl_interfaces/msg/ParameterEvent', 'rosgraph_msgs/msg/Clock', 'std_msgs/msg/Empty',
    'sensor_msgs/msg/BatteryState', 'shape_msgs/msg/SolidPrimitive',
    'geometry_msgs/msg/PoseWithCovarianceStamped', 'sensor_msgs/msg/NavSatFix',
]


@pytest.mark.parametrize('made', [False, True], ids=['file', 'class'])
@pytest.mark.parametrize('name', TYPES)
def test_a_definition_means_the_type_that_everybody_knows(name, made, monkeypatch):
    if made:
        monkeypatch.setattr(message_definitions, '_installed', lambda name: None)
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(message_definitions.definition(name), name))
    # The hash is of the fields, their order and types, down to the last message within.
    assert store.hash_rihs01(name) == get_typestore(Stores.ROS2_KILTED).hash_rihs01(name)
