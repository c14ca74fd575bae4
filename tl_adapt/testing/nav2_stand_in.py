# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for a stand-in for Nav2 and a simulated robot, to test campaigns with: it is not Nav2.

Run as `python -m tl_adapt.testing.nav2_stand_in NAME`, with the name of a node; `servers` runs all
servers in one process, `container` also puts a component container there, `launch` starts each in
a process of its own, as a launch file does. Real lifecycle nodes, parameters, actions and topics;
the robot goes where it is told to, ten times as fast as time passes.
"""

from __future__ import annotations

import functools
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped, Twist
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Empty, Trigger

from tl_adapt.ros.node_main import run_node
from tl_adapt.testing.nav2_navigator import Navigator
from tl_adapt.testing.nav2_servers import (
    LATCHED,
    Amcl,
    ControllerServer,
    PlannerServer,
    VelocitySmoother,
)

try:
    from nav2_msgs.srv import ManageLifecycleNodes
except ImportError:
    ManageLifecycleNodes = None

PERIOD_NS = 100_000_000
_WALL = 0.01  # s of wall time in which one period passes
_TICK = 0.01  # s


class Robot(Node):
    """Move a point as commanded while time runs; from the start on it does."""

    def __init__(self) -> None:
        """Offer what gazebo_ros offers for a world."""
        super().__init__('robot')
        self.declare_parameter('start_pose', [0.0, 0.0, 0.0])
        self._clock_publisher = self.create_publisher(Clock, '/clock', 10)
        self._odometry = self.create_publisher(Odometry, 'odom', 10)
        self.create_subscription(Twist, 'cmd_vel', self._on_command, 10)
        for verb in ('pause', 'unpause', 'reset'):
            name = 'reset_world' if verb == 'reset' else f'{verb}_physics'
            self.create_service(Empty, name, functools.partial(self._on_call, verb))
        self._running = True
        self._now = 0
        self._pose = (0.0, 0.0, 0.0)
        self._speeds = (0.0, 0.0)
        self.create_timer(_WALL, self._step)

    def _on_call(self, verb: str, request: Any, response: Any) -> Any:
        if verb == 'reset':
            x, y, yaw = self.get_parameter('start_pose').value
            self._pose, self._speeds = (x, y, yaw), (0.0, 0.0)
        else:
            self._running = verb == 'unpause'
        return response

    def _on_command(self, message: Twist) -> None:
        self._speeds = message.linear.x, message.angular.z

    def _step(self) -> None:
        if not self._running:
            return
        seconds = PERIOD_NS * 1e-9
        x, y, yaw = self._pose
        speed, turn = self._speeds
        yaw += turn * seconds
        self._pose = x + speed * math.cos(yaw) * seconds, y + speed * math.sin(yaw) * seconds, yaw
        self._now += PERIOD_NS
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(self._now, 1_000_000_000)
        self._clock_publisher.publish(clock)
        odometry = Odometry()
        odometry.header.stamp, odometry.header.frame_id = clock.clock, 'odom'
        odometry.pose.pose.position.x, odometry.pose.pose.position.y = self._pose[:2]
        odometry.pose.pose.orientation.z = math.sin(yaw / 2)
        odometry.pose.pose.orientation.w = math.cos(yaw / 2)
        odometry.twist.twist.linear.x = speed
        self._odometry.publish(odometry)


class LifecycleManager(Node):
    """
    Bring the servers up one after the other, and down again when `~/manage_nodes` says so.

    The controller waits for a pose, as Nav2's costmaps wait for the transform to the map; time
    must run for it to come. What can't be activated stays as it is.
    """

    def __init__(self) -> None:
        """Begin to configure and activate; `nodes` are the servers in order."""
        super().__init__('lifecycle_manager_navigation')
        self.declare_parameter('nodes', list(SERVERS))
        self.declare_parameter('autostart', True)
        self._nodes = list(self.get_parameter('nodes').value)
        self._todo: list[tuple[str, int]] = []
        self._call: Any = None
        self._done: Future | None = None
        self._clients_of = {
            name: self.create_client(ChangeState, f'{name}/change_state') for name in self._nodes
        }
        self._posed = False
        self.create_subscription(
            PoseWithCovarianceStamped, 'amcl_pose', self._on_pose, LATCHED
        )
        self.create_timer(_TICK, self._work)
        if ManageLifecycleNodes is not None:
            self.create_service(ManageLifecycleNodes, '~/manage_nodes', self._on_manage)
        if self.get_parameter('autostart').value:
            self._start(self._nodes)

    def _start(self, names: Sequence[str]) -> None:
        for name in names:
            self._todo.append((name, Transition.TRANSITION_CONFIGURE))
            self._todo.append((name, Transition.TRANSITION_ACTIVATE))

    def _on_pose(self, _: PoseWithCovarianceStamped) -> None:
        self._posed = True

    async def _on_manage(self, request: Any, response: Any) -> Any:
        """Do what is ordered, and answer when it is done."""
        kind = ManageLifecycleNodes.Request
        rest = [name for name in self._nodes if name != 'amcl']
        if request.command == kind.RESET:
            for name in reversed(rest):
                self._todo.append((name, Transition.TRANSITION_DEACTIVATE))
                self._todo.append((name, Transition.TRANSITION_CLEANUP))
        elif request.command == kind.STARTUP:
            self._start(rest)
        self._done = Future(executor=self.executor)
        await self._done
        response.success = True
        return response

    def _work(self) -> None:
        if self._call is not None and self._call.done():
            self._todo.pop(0)
            self._call = None
            if not self._todo and self._done is not None:
                self._done.set_result(None)
        if self._call is None and self._todo:
            name, transition = self._todo[0]
            activates = transition == Transition.TRANSITION_ACTIVATE
            if name == 'controller_server' and activates and not self._posed:
                return
            client = self._clients_of[name]
            if client.service_is_ready():
                request = ChangeState.Request()
                request.transition.id = transition
                self._call = client.call_async(request)


class Container(Node):
    """Stand in for a component container, which is known by its services."""

    def __init__(self) -> None:
        """Offer a service of a container's name; composition_interfaces need not be there."""
        super().__init__('nav2_container')
        self.create_service(Trigger, '~/_container/list_nodes', lambda _, answer: answer)


SERVERS: dict[str, Callable[[], Node]] = {
    'amcl': Amcl,
    'controller_server': ControllerServer,
    'planner_server': PlannerServer,
    'velocity_smoother': VelocitySmoother,
    'bt_navigator': Navigator,
}
NODES = {**SERVERS, 'robot': Robot, 'lifecycle_manager_navigation': LifecycleManager}


class Together(Node):
    """Hold nodes that share a process."""

    def __init__(self, name: str, factories: Sequence[Callable[[], Node]]) -> None:
        """Make them all."""
        super().__init__(name, use_global_arguments=False, enable_rosout=False)
        self.nodes = [factory() for factory in factories]


def _spin(node: Node, executor: SingleThreadedExecutor) -> None:
    """Spin a node with those that live in its process."""
    for other in getattr(node, 'nodes', [node]):
        for member in (other, getattr(other, 'costmap', None)):
            if member is not None and member is not node:
                executor.add_node(member)
    while executor.context.ok():
        executor.spin_once(timeout_sec=0.25)


def main() -> int:
    """Run what the first argument names."""
    name = sys.argv[1]
    if name == 'launch':
        command = [sys.executable, '-m', 'tl_adapt.testing.nav2_stand_in']
        children = [
            subprocess.Popen([*command, node, '--ros-args', '-r', f'__node:={node}'])
            for node in NODES
        ]
        while all(child.poll() is None for child in children):
            time.sleep(0.05)
        return max(child.wait() for child in children)
    if name in NODES:
        return run_node(NODES[name], sys.argv, spin=_spin)
    factories = [*SERVERS.values(), LifecycleManager]
    if name == 'container':
        factories.append(Container)
    return run_node(functools.partial(Together, name, factories), sys.argv, spin=_spin)


if __name__ == '__main__':
    sys.exit(main())
