# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the servers of the stand-in for Nav2, all but its navigator."""

from __future__ import annotations

import json
import math
from typing import Any

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, Twist
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header
from std_srvs.srv import Empty, Trigger

from tl_adapt.testing import nav2_parameters as tables
from tl_adapt.testing.nav2_parameters import Known, Parameters

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Between the navigator and the controller; Nav2 has the action follow_path there.
TARGET, ARRIVED = 'stand_in/target', 'stand_in/arrived'
_TURN = 2.0  # rad/s for each rad that the heading is off
_AHEAD = 0.6  # rad within which it drives while it turns


class Server(LifecycleNode):
    """
    Be a lifecycle node with Nav2's semantics of parameters.

    Its service `~/in_effect` tells, as JSON, which values are in effect: what a parameter service
    reads back says nothing about that. Nav2 has no such service.
    """

    def __init__(self, name: str, known: dict[str, Known], **options: Any) -> None:
        """Start unconfigured."""
        super().__init__(name, **options)
        self.parameters = Parameters(self, known)
        self.active = False
        self.create_service(Trigger, '~/in_effect', self._on_in_effect)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters."""
        self.parameters.configure()
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to work."""
        self.parameters.activate()
        self.active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working."""
        self.active = False
        self.parameters.deactivate()
        return super().on_deactivate(state)

    def _on_in_effect(self, request: Any, response: Any) -> Any:
        response.success, response.message = True, json.dumps(self.parameters.used)
        return response


class Costmap(Server):
    """Stand in for a costmap: it has a namespace of its own name, and can be cleared."""

    def __init__(self, name: str, parent: Node) -> None:
        """Live in the process, and below the namespace, of its server."""
        # The names on the command line are those of the parent.
        super().__init__(
            name, tables.COSTMAP, use_global_arguments=False,
            namespace=f'{parent.get_namespace().rstrip("/")}/{name}',
        )
        # A relative name, as Nav2's is; its type there is nav2_msgs/srv/ClearEntireCostmap.
        self.create_service(Empty, f'clear_entirely_{name}', self._on_clear)

    def _on_clear(self, request: Any, response: Any) -> Any:
        self.parameters.used['cleared'] = self.parameters.used.get('cleared', 0) + 1
        return response


class ControllerServer(Server):
    """Turn to the target and drive there; its plugin's top speed is what counts."""

    def __init__(self) -> None:
        """Choose the plugin; `release` says how a change while driving is treated."""
        super().__init__('controller_server', tables.CONTROLLER)
        fixed = ParameterDescriptor(read_only=True)
        self.declare_parameter('stand_in.release', 'jazzy', fixed)
        self.declare_parameter(
            'FollowPath.plugin', 'nav2_mppi_controller::MPPIController', fixed
        )
        plugin = self.get_parameter('FollowPath.plugin').value
        self.parameters.known |= tables.PLUGINS[str(plugin)]
        self.parameters.release = self.get_parameter('stand_in.release').value
        self.costmap = Costmap('local_costmap', self)
        self._command = self.create_publisher(Twist, 'cmd_vel', 10)
        self._arrived = self.create_publisher(Header, ARRIVED, 10)
        self.create_subscription(PoseStamped, TARGET, self._on_target, LATCHED)
        self.create_subscription(
            PoseWithCovarianceStamped, 'amcl_pose', self._on_pose, 10
        )
        self._target: tuple[float, float] | None = None

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure the costmap, too; like MPPI, refuse a period longer than the model's."""
        self.costmap.trigger_configure()
        result = super().on_configure(state)
        used = self.parameters.used
        if 1.0 / used['controller_frequency'] > used.get('FollowPath.model_dt', 1e9) + 1e-9:
            self.get_logger().error('Controller period more then model dt, set it equal to model')
            return TransitionCallbackReturn.FAILURE
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate the costmap, too."""
        self.costmap.trigger_activate()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate the costmap, too."""
        self._stop()
        self.costmap.trigger_deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean the costmap up, too."""
        self.costmap.trigger_cleanup()
        return super().on_cleanup(state)

    def _on_target(self, message: PoseStamped) -> None:
        if not message.header.frame_id:
            self._stop()
        elif self.active:
            self._target = message.pose.position.x, message.pose.position.y
            self.parameters.busy = True

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        if self._target is None:
            return
        x, y, yaw = planar(message.pose.pose)
        dx, dy = self._target[0] - x, self._target[1] - y
        used = self.parameters.used
        distance = math.hypot(dx, dy)
        if distance <= used['general_goal_checker.xy_goal_tolerance']:
            self._stop()
            self._arrived.publish(Header(stamp=message.header.stamp, frame_id='succeeded'))
            return
        off = math.remainder(math.atan2(dy, dx) - yaw, 2 * math.pi)
        command = Twist()
        command.angular.z = _TURN * off
        if abs(off) < _AHEAD:
            fastest = next(used[name] for name in tables.SPEEDS if name in used)
            command.linear.x = min(fastest, distance)
        self._command.publish(command)

    def _stop(self) -> None:
        self.parameters.busy = False
        if self._target is not None:
            self._target = None
            self._command.publish(Twist())


class PlannerServer(Server):
    """Have the parameters of a planner; the way is a straight line."""

    def __init__(self) -> None:
        """Start unconfigured."""
        super().__init__('planner_server', tables.PLANNER)


class VelocitySmoother(Server):
    """Have the parameters of the velocity smoother, which smooths nothing here."""

    def __init__(self) -> None:
        """Start unconfigured."""
        super().__init__('velocity_smoother', tables.SMOOTHER)


class Amcl(Server):
    """Tell the pose by odometry, from the initial pose on; none comes before that."""

    def __init__(self) -> None:
        """Know no pose."""
        super().__init__('amcl', tables.AMCL)
        self._pose = self.create_publisher(PoseWithCovarianceStamped, 'amcl_pose', LATCHED)
        self.create_subscription(Odometry, 'odom', self._on_odometry, 10)
        self.create_subscription(
            PoseWithCovarianceStamped, 'initialpose', self._on_initial_pose, 10
        )
        self._initial: tuple[float, float, float] | None = None
        self._origin: tuple[float, float, float] | None = None

    def _on_initial_pose(self, message: PoseWithCovarianceStamped) -> None:
        self._initial, self._origin = planar(message.pose.pose), None

    def _on_odometry(self, message: Odometry) -> None:
        """Put the way since the initial pose behind that pose."""
        if not self.active or self._initial is None:
            return
        x, y, yaw = planar(message.pose.pose)
        if self._origin is None:
            self._origin = x, y, yaw
        turn = self._initial[2] - self._origin[2]
        dx, dy = x - self._origin[0], y - self._origin[1]
        answer = PoseWithCovarianceStamped()
        answer.header.stamp, answer.header.frame_id = message.header.stamp, 'map'
        place, heading = answer.pose.pose.position, yaw + turn
        place.x = self._initial[0] + dx * math.cos(turn) - dy * math.sin(turn)
        place.y = self._initial[1] + dx * math.sin(turn) + dy * math.cos(turn)
        answer.pose.pose.orientation.z = math.sin(heading / 2)
        answer.pose.pose.orientation.w = math.cos(heading / 2)
        self._pose.publish(answer)


def planar(pose: Any) -> tuple[float, float, float]:
    """Return x, y, yaw of a geometry_msgs/Pose."""
    yaw = 2.0 * math.atan2(pose.orientation.z, pose.orientation.w)
    return pose.position.x, pose.position.y, yaw
