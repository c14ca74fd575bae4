# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
A node with parameters that drives made-up missions, for tests of the adapter.

Its argument is JSON, one object for each node of the process: `name`, `parameters` (name ->
value), `refuse` (name -> largest value that is accepted), `hold` (name -> path: a set of it is not
answered before there is such a file; one with the ending .held tells that it came), `die` (names
whose set ends the process; with `crash` that is not announced to others). With `lifecycle` it is a
lifecycle node, which starts active; it does not configure itself with a value above that in
`refuse_configure`, and its parameter `used.NAME` tells with what it did.

Each goal on `goal_pose` is one mission of 2 s of sim time, whose `battery_state` depends on the
parameters `v` and `payload`; while `hold` is true it does not end.
"""

import hashlib
import json
import math
import os
import sys
import time
from pathlib import Path

import rclpy
from action_msgs.msg import GoalStatus, GoalStatusArray
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState
from std_msgs.msg import Header

STEPS = 20
STEP_NS = 100_000_000


def cost_of(v, payload=0.0):
    """Return the made-up cost: its best v is 0.5, and higher with a payload."""
    return 10.0 * math.exp(2.0 * (v - 0.5 - 0.4 * payload) ** 2 + 0.8 * payload)


class Refusing:
    """Refuse, hold and die at sets of parameters."""

    def declare(self, options):
        self.options = options
        for key, value in options['parameters'].items():
            self.declare_parameter(key, value)
        self.add_on_set_parameters_callback(self.on_set)

    def on_set(self, parameters):
        for parameter in parameters:
            most = self.options.get('refuse', {}).get(parameter.name)
            if most is not None and parameter.value > most:
                return SetParametersResult(successful=False, reason='too much for me')
            if parameter.name in self.options.get('die', ()):
                if self.options.get('crash'):
                    os._exit(0)
                raise KeyboardInterrupt
            if (path := self.options.get('hold', {}).get(parameter.name)) is not None:
                hold(Path(path))
        return SetParametersResult(successful=True)


def hold(path):
    """Wait until there is a file, and tell that something waits for it."""
    path.with_suffix('.held').touch()
    end = time.monotonic() + 60.0
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


class FakeServer(Refusing, LifecycleNode):
    def __init__(self, name, options, **more):
        super().__init__(name, **more)
        self.declare(options)
        self.names = list(options['parameters'])
        for key in self.names:
            self.declare_parameter(f'used.{key}', 0.0)
        self.trigger_configure()
        self.trigger_activate()

    def on_configure(self, state):
        most = self.options.get('refuse_configure', {})
        if any(self.get_parameter(key).value > value for key, value in most.items()):
            return TransitionCallbackReturn.FAILURE
        self.set_parameters([
            Parameter(f'used.{key}', value=self.get_parameter(key).value) for key in self.names
        ])
        return super().on_configure(state)


class FakeRobot(Refusing, Node):
    def __init__(self, name, options):
        super().__init__(name)
        self.declare(options)
        self.now = 0
        self.count = 0
        self.running = None
        if 'v' not in options['parameters']:
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
    found = json.loads(sys.argv[1])
    rclpy.init(args=sys.argv)
    nodes = [
        (FakeServer if options.get('lifecycle') else FakeRobot)(options['name'], options)
        for options in (found if isinstance(found, list) else [found])
    ]
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    try:
        # Not executor.spin(): a signal does not always wake it up.
        while executor.context.ok():
            executor.spin_once(timeout_sec=0.25)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # A signal ends the context under whatever is being answered at that moment.
        if rclpy.ok():
            raise
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
