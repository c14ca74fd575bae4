# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for software to test replays with: a localizer that adds an error to the odometry.

Run as `python -m tl_adapt.testing.replayed localizer`. Its parameter `behaviour` makes it fail in
the ways that software fails which gets a recorded drive; `controller` instead commands a robot.
"""

from __future__ import annotations

import os
import random
import sys
import time
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped, TwistStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import LaserScan

from tl_adapt.ros.node_main import run_node

BEHAVIOURS = ('answer', 'die', 'mute', 'half', 'hang')
_AFTER = 5  # scans after which it does not do well any more
_WORST = 0.8


class Localizer(Node):
    """Publish the odometry's pose for each scan, with an error that depends on `bias`."""

    def __init__(self) -> None:
        """Declare the parameters."""
        super().__init__('localizer')
        self.declare_parameter('bias', 0.0)
        self.declare_parameter('work', 0.0)
        self.declare_parameter('behaviour', 'answer')
        self.declare_parameter('seed', 0)
        self.declare_parameter('model', 1, ParameterDescriptor(read_only=True))
        self.add_on_set_parameters_callback(_check)
        self._pose = self.create_publisher(PoseWithCovarianceStamped, 'pose', 10)
        self._random = random.Random(0)
        self._odometry: dict[int, Odometry] = {}
        self._waiting: dict[int, LaserScan] = {}
        self._scans = 0
        self.create_subscription(Odometry, 'odom', self._on_odometry, 10)
        self.create_subscription(LaserScan, 'scan', self._on_scan, 10)
        self.create_subscription(
            PoseWithCovarianceStamped, 'initialpose', self._on_initial_pose, 10
        )

    def _on_initial_pose(self, message: PoseWithCovarianceStamped) -> None:
        self._random = random.Random(self.get_parameter('seed').value)
        self._odometry.clear()
        self._waiting.clear()
        self._scans = 0
        self._pose.publish(message)

    def _on_odometry(self, message: Odometry) -> None:
        stamp = _nanoseconds(message.header.stamp)
        self._odometry[stamp] = message
        if stamp in self._waiting:
            self._answer(self._waiting.pop(stamp))

    def _on_scan(self, message: LaserScan) -> None:
        # Which of two topics comes first is nobody's to say.
        stamp = _nanoseconds(message.header.stamp)
        if stamp in self._odometry:
            self._answer(message)
        else:
            self._waiting[stamp] = message

    def _answer(self, message: LaserScan) -> None:
        behaviour = self.get_parameter('behaviour').value
        self._scans += 1
        late = self._scans > _AFTER
        if late and behaviour == 'die':
            os._exit(3)
        while late and behaviour == 'hang':
            time.sleep(0.1)
        if late and (behaviour == 'mute' or (behaviour == 'half' and self._scans % 2)):
            return
        end = time.thread_time() + self.get_parameter('work').value
        while time.thread_time() < end:
            pass
        odometry = self._odometry[_nanoseconds(message.header.stamp)]
        estimate = PoseWithCovarianceStamped(header=message.header)
        estimate.pose.pose.position.x = (
            odometry.pose.pose.position.x + self.get_parameter('bias').value
            + 0.001 * self._random.random()
        )
        self._pose.publish(estimate)


class Controller(Node):
    """Command a speed after each scan, which nothing that is replayed may do."""

    def __init__(self) -> None:
        """Declare the parameters."""
        super().__init__('controller')
        self.declare_parameter('bias', 0.0)
        self.declare_parameter('work', 0.0)
        self.declare_parameter('behaviour', 'answer')
        self.declare_parameter('seed', 0)
        self.declare_parameter('model', 1)
        self._pose = self.create_publisher(PoseWithCovarianceStamped, 'pose', 10)
        self._command = self.create_publisher(TwistStamped, 'cmd_vel', 10)
        self.create_subscription(LaserScan, 'scan', self._on_scan, 10)
        self.create_subscription(Odometry, 'odom', lambda _: None, 10)

    def _on_scan(self, message: LaserScan) -> None:
        self._command.publish(TwistStamped(header=message.header))


def _check(parameters: list[Parameter]) -> SetParametersResult:
    """Refuse what the localizer can't do."""
    for parameter in parameters:
        if parameter.name == 'bias' and parameter.value > _WORST:
            return SetParametersResult(successful=False, reason=f'bias must be <= {_WORST}')
    return SetParametersResult(successful=True)


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def main() -> int:
    """Run one of the nodes."""
    return run_node({'localizer': Localizer, 'controller': Controller}[sys.argv[1]], sys.argv)


if __name__ == '__main__':
    sys.exit(main())
