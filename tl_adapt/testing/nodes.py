# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for a small stack to test measuring with: a world of one dimension and its driver.

Run as `python -m tl_adapt.testing.nodes world` and `... driver`. The world steps in lock-step with
the driver's commands. The driver's parameter `behaviour` makes it fail in the ways that robot
software fails.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TwistStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Bool, Header
from std_srvs.srv import Empty

from tl_adapt.ros.node_main import run_node

BEHAVIOURS = ('reach', 'die', 'idle', 'deaf', 'abort', 'not_a_number', 'collide', 'freeze')
PERIOD_NS = 100_000_000
_FASTEST = 0.9
_LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class World(Node):
    """Move a point along x with the speed that the driver commands."""

    def __init__(self) -> None:
        """Start paused at x = 0."""
        super().__init__('world')
        self.declare_parameter('seed', 0)
        self.declare_parameter('start_pose', [0.0, 0.0, 0.0])
        self.declare_parameter('slip', 0.0)
        self._clock_publisher = self.create_publisher(Clock, '/clock', 10)
        self._truth = self.create_publisher(Odometry, 'ground_truth', 10)
        self._battery = self.create_publisher(BatteryState, 'battery_state', 10)
        self._collision = self.create_publisher(Bool, 'collision', 10)
        self.create_subscription(TwistStamped, 'cmd_vel', self._on_command, 10)
        self.create_service(Empty, 'pause_physics', self._on_pause)
        self.create_service(Empty, 'unpause_physics', self._on_unpause)
        self.create_service(Empty, 'reset_simulation', self._on_reset)
        self._running = False
        self._step = 0
        self._x = 0.0
        self._random = random.Random(0)
        # As long as the driver has not found the world yet, nothing of it arrives there.
        self.create_timer(0.3, self._publish_again)
        self._published = -1

    def _publish_again(self) -> None:
        if self._running and self._published == self._step:
            self._publish()
        self._published = self._step

    def _on_pause(self, request: Any, response: Any) -> Any:
        self._running = False
        return response

    def _on_unpause(self, request: Any, response: Any) -> Any:
        if not self._running:
            self._running = True
            self._publish()
        return response

    def _on_reset(self, request: Any, response: Any) -> Any:
        self._step = 0
        self._x = self.get_parameter('start_pose').value[0]
        self._random = random.Random(self.get_parameter('seed').value)
        return response

    def _on_command(self, message: TwistStamped) -> None:
        if not self._running or _nanoseconds(message.header.stamp) != self._step * PERIOD_NS:
            return
        slip = 1.0 - self.get_parameter('slip').value * self._random.random()
        self._x += message.twist.linear.x * slip * PERIOD_NS * 1e-9
        self._step += 1
        self._publish()

    def _publish(self) -> None:
        stamp = Header(frame_id='map')
        _set(stamp.stamp, self._step * PERIOD_NS)
        self._clock_publisher.publish(Clock(clock=stamp.stamp))
        self._collision.publish(Bool(data=self._x < -0.5))
        self._battery.publish(BatteryState(header=stamp, voltage=12.0, current=-1.0))
        truth = Odometry(header=stamp)
        truth.pose.pose.position.x = self._x
        self._truth.publish(truth)


class Driver(Node):
    """Drive to the goal, unless the behaviour says otherwise."""

    def __init__(self) -> None:
        """Declare the parameters, among them some that tests need to be awkward."""
        super().__init__('driver')
        fixed = ParameterDescriptor(read_only=True)
        self.declare_parameter('behaviour', 'reach')
        self.declare_parameter('speed', 0.5)
        self.declare_parameter('gains', [1.0, 0.0])
        self.declare_parameter('beams', 8)
        self.declare_parameter('seed', 0)
        self.declare_parameter('horizon', 4, fixed)
        self.add_on_set_parameters_callback(_check)
        self._pose = self.create_publisher(PoseWithCovarianceStamped, 'pose', 10)
        self._command = self.create_publisher(TwistStamped, 'cmd_vel', 10)
        self._status = self.create_publisher(
            GoalStatusArray, 'navigate_to_pose/_action/status', _LATCHED
        )
        self._result = self.create_publisher(Header, 'driver/result', 10)
        self.create_subscription(Odometry, 'ground_truth', self._on_truth, 10)
        self.create_subscription(PoseStamped, 'goal_pose', self._on_goal, 10)
        self.create_subscription(
            PoseWithCovarianceStamped, 'initialpose', self._on_initial_pose, 10
        )
        self._goal: float | None = None
        self._id = b''

    def _on_initial_pose(self, message: PoseWithCovarianceStamped) -> None:
        self._goal = None
        self._pose.publish(message)

    def _on_goal(self, message: PoseStamped) -> None:
        if self.get_parameter('behaviour').value != 'deaf':
            self._goal = message.pose.position.x
            self._id = os.urandom(16)
            self._say(GoalStatus.STATUS_EXECUTING)

    def _on_truth(self, message: Odometry) -> None:
        behaviour = self.get_parameter('behaviour').value
        x = message.pose.pose.position.x
        estimate = PoseWithCovarianceStamped(header=message.header)
        estimate.pose.pose.position.x = x + 0.01 * self.get_parameter('gains').value[1]
        if behaviour == 'not_a_number':
            estimate.pose.pose.position.x = float('nan')
        self._pose.publish(estimate)
        speed = 0.0
        if self._goal is not None:
            speed = self.get_parameter('speed').value
            half = x > 0.5 * self._goal
            if half and behaviour == 'die':
                os._exit(3)
            if half and behaviour == 'freeze':
                return
            if behaviour == 'idle':
                speed = 0.0
            elif behaviour == 'collide':
                speed = -speed
            elif half and behaviour == 'abort':
                self._end(message.header, 'aborted', GoalStatus.STATUS_ABORTED)
            elif x >= self._goal:
                self._end(message.header, 'succeeded', GoalStatus.STATUS_SUCCEEDED)
        command = TwistStamped(header=message.header)
        command.twist.linear.x = speed
        self._command.publish(command)

    def _end(self, header: Header, outcome: str, status: int) -> None:
        self._goal = None
        self._result.publish(Header(stamp=header.stamp, frame_id=outcome))
        self._say(status)

    def _say(self, status: int) -> None:
        message = GoalStatus(status=status)
        message.goal_info.goal_id.uuid = list(self._id)
        self._status.publish(GoalStatusArray(status_list=[message]))


def _check(parameters: list[Parameter]) -> SetParametersResult:
    """Refuse what the driver can't do."""
    for parameter in parameters:
        if parameter.name == 'speed' and parameter.value > _FASTEST:
            return SetParametersResult(successful=False, reason=f'speed must be <= {_FASTEST}')
        if parameter.name == 'behaviour' and parameter.value not in BEHAVIOURS:
            return SetParametersResult(successful=False, reason='unknown behaviour')
    return SetParametersResult(successful=True)


def _nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def _set(stamp: Any, nanoseconds: int) -> None:
    stamp.sec, stamp.nanosec = divmod(nanoseconds, 1_000_000_000)


def main() -> int:
    """Run one of the nodes; `launch` instead starts both and waits, as a launch file does."""
    if sys.argv[1] == 'launch':
        command = [sys.executable, '-m', 'tl_adapt.testing.nodes']
        children = [
            subprocess.Popen([*command, name, '--ros-args', '-r', f'__node:={name}'])
            for name in ('world', 'driver')
        ]
        return max(child.wait() for child in children)
    return run_node({'world': World, 'driver': Driver}[sys.argv[1]], sys.argv)


if __name__ == '__main__':
    sys.exit(main())
