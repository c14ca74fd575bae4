# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the node `navigator`: plan to a goal and command speeds, one command per scan."""

from __future__ import annotations

import hashlib
import sys
import time
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TwistStamped
from nav_msgs.msg import Odometry, Path
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Header

from tl_adapt.demo.compute_time import navigator_time
from tl_adapt.demo.geometry import yaw_of
from tl_adapt.demo.navigation import Decision, Navigation
from tl_adapt.demo.node_support import (
    ScanReader,
    SoftwareNode,
    StampMatcher,
    nanoseconds,
    run_node,
)
from tl_adapt.demo.planner import make_planner
from tl_adapt.demo.settings import NavigatorSettings, pick, tunables
from tl_adapt.demo.world import load_world

_FRAME = 'map'


class Navigator(SoftwareNode):
    """Answer each scan, once its odometry and pose are there, with one command."""

    def __init__(self, **kwargs: Any) -> None:
        """Load the map and wait for a goal."""
        others = {
            'world': (
                'room',
                ParameterDescriptor(description='world whose map is used', read_only=True),
            ),
            'xy_goal_tolerance': (
                0.2,
                ParameterDescriptor(
                    description='distance from the goal that counts as reached [m]',
                    floating_point_range=[
                        FloatingPointRange(from_value=0.05, to_value=1.0, step=0.0)
                    ],
                ),
            ),
        }
        super().__init__('navigator', tunables(NavigatorSettings), others, **kwargs)
        self._navigation = Navigation(
            make_planner(load_world(str(self.get_parameter('world').value)))
        )
        self._scans = ScanReader()
        self._matcher = StampMatcher(('scan', 'odom', 'pose'))
        self._goals = 0
        self._status: GoalStatus | None = None
        self._fresh_goal = False  # whether the goal has seen no scan yet
        self._last = TwistStamped()
        latched = QoSProfile(
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self._cmd_vel = self.publisher(TwistStamped, 'cmd_vel')
        self._plan = self.publisher(Path, 'plan')
        self._result = self.publisher(Header, 'navigator/result')
        self._statuses = self.publisher(
            GoalStatusArray, 'navigate_to_pose/_action/status', latched
        )
        self.gather(
            {'odom': Odometry, 'scan': LaserScan, 'pose': PoseWithCovarianceStamped}, self._take
        )
        self.listen(PoseStamped, 'goal_pose', self._on_goal)

    def check(self, name: str, value: Any) -> str | None:
        """Refuse goal tolerances out of range."""
        if name == 'xy_goal_tolerance' and not 0.05 <= value <= 1.0:
            return f'xy_goal_tolerance: 0.05 <= value <= 1.0 must hold, got {value}'
        return None

    def _refresh(self) -> None:
        values = self.values()
        if values is not None:
            self._navigation.configure(pick(NavigatorSettings, values))
            self._navigation.xy_goal_tolerance = float(
                self.get_parameter('xy_goal_tolerance').value
            )

    def _on_goal(self, message: PoseStamped) -> None:
        p, q = message.pose.position, message.pose.orientation
        goal = (p.x, p.y, yaw_of(q.z, q.w, q.x, q.y))
        finite = all(abs(n) < float('inf') for n in goal)
        if message.header.frame_id not in ('', _FRAME) or not finite:
            self.get_logger().warning(
                f'goal_pose: a finite pose in frame {_FRAME} must be given, '
                f'got {goal} in {message.header.frame_id!r}'
            )
            return
        if self._status is not None:
            self._publish_status(GoalStatus.STATUS_ABORTED)  # a new goal replaces the old one
        self._refresh()
        self._navigation.set_goal(goal)
        self._fresh_goal = True
        self._goals += 1
        status = GoalStatus()
        status.goal_info.stamp = message.header.stamp
        text = f'{self._goals} {nanoseconds(message.header.stamp)} {goal}'
        status.goal_info.goal_id.uuid = list(hashlib.sha256(text.encode()).digest()[:16])
        self._status = status
        self._publish_status(GoalStatus.STATUS_ACCEPTED)
        self._publish_status(GoalStatus.STATUS_EXECUTING)

    def _publish_status(self, code: int) -> None:
        if self._status is None:
            return
        self._status.status = code
        self._statuses.publish(GoalStatusArray(status_list=[self._status]))

    def _take(self, topic: str, message: Any) -> bool:
        stamp = nanoseconds(message.header.stamp)
        if self._matcher.went_back(topic, stamp):
            self._on_time_back()
        complete, older = self._matcher.add(topic, stamp, message)
        for parts in older:
            # Its pose or odometry never came: the scan is answered all the same, by holding on.
            self._command(parts['scan'].header, self._last.twist.linear.x,
                          self._last.twist.angular.z)
        if complete is not None:
            self._step(complete['scan'], complete['odom'], complete['pose'])
        return complete is not None

    def _on_time_back(self) -> None:
        """Forget everything but a goal that has been given since the last scan."""
        self._last = TwistStamped()
        if self._fresh_goal:
            return
        self._navigation.reset()
        if self._status is not None:
            self._publish_status(GoalStatus.STATUS_ABORTED)
            self._status = None

    def _step(self, scan: LaserScan, odom: Odometry, pose: PoseWithCovarianceStamped) -> None:
        started = time.thread_time()
        self._refresh()
        self._fresh_goal = False
        angles, ranges = self._scans.read(scan)
        p, q = pose.pose.pose.position, pose.pose.pose.orientation
        decision = self._navigation.step(
            nanoseconds(scan.header.stamp) / 1e9,
            (p.x, p.y, yaw_of(q.z, q.w, q.x, q.y)),
            angles,
            ranges,
            (odom.twist.twist.linear.x, odom.twist.twist.angular.z),
        )
        if decision.plan is not None and self._plan.get_subscription_count():
            self._publish_plan(scan.header, decision)
        self.report(
            scan.header.stamp, navigator_time(decision.states, decision.expanded), started
        )
        if decision.outcome:
            # Before the command, which lets a simulator in lock-step go on.
            self._finish(scan.header, decision)
        self._command(scan.header, decision.v, decision.w)

    def _command(self, header: Header, v: float, w: float) -> None:
        message = TwistStamped()
        message.header.stamp = header.stamp
        message.header.frame_id = 'base_link'
        message.twist.linear.x, message.twist.angular.z = v, w
        self._last = message
        self._cmd_vel.publish(message)

    def _finish(self, header: Header, decision: Decision) -> None:
        succeeded = decision.outcome == 'succeeded'
        if decision.reason:
            self.get_logger().warning(f'goal aborted: {decision.reason}')
        self._result.publish(Header(stamp=header.stamp, frame_id=decision.outcome))
        self._publish_status(
            GoalStatus.STATUS_SUCCEEDED if succeeded else GoalStatus.STATUS_ABORTED
        )
        self._status = None

    def _publish_plan(self, header: Header, decision: Decision) -> None:
        message = Path(header=Header(stamp=header.stamp, frame_id=_FRAME))
        for x, y in decision.plan if decision.plan is not None else ():
            pose = PoseStamped(header=message.header)
            pose.pose.position.x, pose.pose.position.y = float(x), float(y)
            pose.pose.orientation.w = 1.0
            message.poses.append(pose)
        self._plan.publish(message)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(Navigator, args)


if __name__ == '__main__':
    sys.exit(main())
