# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
A node with parameters that drives made-up missions, for tests of the adapter.

Its argument is JSON: `name`, `parameters` (name -> value), `refuse` (name -> largest value that
is accepted). Each goal on `goal_pose` is one mission of 2 s of sim time, whose `battery_state`
depends on the parameters `v` and `payload`; while `hold` is true it does not end.
"""

import hashlib
import json
import math
import sys

import rclpy
from action_msgs.msg import GoalStatus, GoalStatusArray
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Header

STEPS = 20
STEP_NS = 100_000_000


def cost_of(v, payload=0.0):
    """Return the made-up cost: its best v is 0.5, and higher with a payload."""
    return 10.0 * math.exp(2.0 * (v - 0.5 - 0.4 * payload) ** 2 + 0.8 * payload)


class FakeRobot(Node):
    def __init__(self, name, parameters, refuse):
        super().__init__(name)
        self.refuse = refuse
        for key, value in parameters.items():
            self.declare_parameter(key, value)
        self.add_on_set_parameters_callback(self.on_set)
        self.now = 0
        self.count = 0
        self.running = None
        if 'v' not in parameters:
            return
        self.declare_parameter('payload', 0.0)
        self.declare_parameter('hold', False)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.statuses = self.create_publisher(GoalStatusArray, 'goal_status', latched)
        self.clock_out = self.create_publisher(Clock, '/clock', 10)
        self.battery = self.create_publisher(BatteryState, 'battery_state', 50)
        self.result = self.create_publisher(Header, 'mission/result', 10)
        self.create_subscription(PoseStamped, 'goal_pose', self.on_goal, 10)
        self.create_timer(0.01, self.on_timer)

    def on_set(self, parameters):
        for parameter in parameters:
            most = self.refuse.get(parameter.name)
            if most is not None and parameter.value > most:
                return SetParametersResult(successful=False, reason='too much for me')
        return SetParametersResult(successful=True)

    def on_goal(self, _):
        self.count += 1
        self.running = GoalStatus()
        self.running.goal_info.goal_id.uuid = list(
            hashlib.sha256(str(self.count).encode()).digest()[:16])
        self.left = STEPS
        self.publish_status(GoalStatus.STATUS_EXECUTING)

    def publish_status(self, code):
        self.running.status = code
        self.statuses.publish(GoalStatusArray(status_list=[self.running]))

    def on_timer(self):
        if self.running is None:
            return
        self.now += STEP_NS
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(self.now, 1_000_000_000)
        self.clock_out.publish(clock)
        noise = 1.0 + 0.01 * math.sin(self.count)
        payload = self.get_parameter('payload').value
        message = BatteryState(
            voltage=noise * cost_of(self.get_parameter('v').value, payload))
        message.header.stamp = clock.clock
        self.battery.publish(message)
        self.left -= 0 if self.get_parameter('hold').value else 1
        if self.left <= 0:
            self.result.publish(Header(stamp=clock.clock, frame_id='succeeded'))
            self.publish_status(GoalStatus.STATUS_SUCCEEDED)
            self.running = None


def main():
    options = json.loads(sys.argv[1])
    rclpy.init()
    node = FakeRobot(options['name'], options['parameters'], options.get('refuse', {}))
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
