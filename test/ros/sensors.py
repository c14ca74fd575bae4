# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
A node with a clock and sensors that can fail, for tests of what watches them.

It reads commands, JSON in std_msgs/String on `command`: each key is an attribute that is set, but
`jump` moves the clock by as many seconds, and `goal` begins and ends goals by their number.
Sim time runs at `speed` times wall time, `still` stops it.
"""

import json
import sys

import rclpy
from action_msgs.msg import GoalStatus, GoalStatusArray
from geometry_msgs.msg import PoseStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Bool, Float64, String

PERIOD = 0.02  # s, wall
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Sensors(Node):
    def __init__(self, values):
        super().__init__('sensors')
        self.speed = 5.0
        self.still = False
        self.battery = True  # whether the battery is heard of
        self.voltage = 10.0
        self.payload = 0.0  # None: not said
        self.floor = 'dry'
        self.x = 0.0
        self.free = None  # whether there is nothing in the way, None: not said
        self.bump = False
        self.time = 100.0
        self.goals = {}
        self.clock_out = self.create_publisher(Clock, '/clock', 10)
        self.battery_out = self.create_publisher(BatteryState, 'battery_state', 50)
        self.pose_out = self.create_publisher(PoseStamped, 'pose', 50)
        self.payload_out = self.create_publisher(Float64, 'payload', 10)
        self.floor_out = self.create_publisher(String, 'floor', LATCHED)
        self.free_out = self.create_publisher(Bool, 'free', 10)
        self.bump_out = self.create_publisher(Bool, 'bump', 10)
        self.status_out = self.create_publisher(GoalStatusArray, 'goal_status', LATCHED)
        self.create_subscription(String, 'command', self.on_command, 10)
        self.do({'floor': self.floor, **values})
        self.create_timer(PERIOD, self.on_timer)

    def on_command(self, message):
        self.do(json.loads(message.data))

    def do(self, values):
        for key, value in values.items():
            if key == 'jump':
                self.time += value
            elif key == 'drop':  # a publisher, as if its node had died
                self.destroy_publisher(getattr(self, f'{value}_out'))
                setattr(self, f'{value}_out', None)
            elif key == 'goal':
                self.goals.update({int(number): code for number, code in value.items()})
                self.publish_goals()
            else:
                assert hasattr(self, key), key
                setattr(self, key, value)
            if key == 'floor':
                self.floor_out.publish(String(data=value))

    def publish_goals(self):
        message = GoalStatusArray()
        for number, code in self.goals.items():
            status = GoalStatus(status=code)
            status.goal_info.goal_id.uuid = [number] * 16
            message.status_list.append(status)
        self.status_out.publish(message)

    def on_timer(self):
        if self.still:
            return
        self.time += PERIOD * self.speed
        clock = Clock()
        clock.clock.sec, nanosec = divmod(round(self.time * 1e9), 1_000_000_000)
        clock.clock.nanosec = nanosec
        self.clock_out.publish(clock)
        if self.battery:
            message = BatteryState(voltage=self.voltage)
            message.header.stamp = clock.clock
            self.battery_out.publish(message)
        pose = PoseStamped()
        pose.header.stamp = clock.clock
        pose.pose.position.x = self.x
        if self.pose_out is not None:
            self.pose_out.publish(pose)
        if self.payload is not None and self.payload_out is not None:
            self.payload_out.publish(Float64(data=self.payload))
        if self.free is not None:
            self.free_out.publish(Bool(data=self.free))
        if self.bump:
            self.bump_out.publish(Bool(data=True))


def main():
    rclpy.init()
    node = Sensors(json.loads(sys.argv[1]))
    try:
        # Not rclpy.spin(): a signal does not always wake it up.
        while rclpy.ok():
            rclpy.spin_once(node, timeout_sec=0.25)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
