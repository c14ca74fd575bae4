# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the smallest software that drives a simulated robot."""

from __future__ import annotations

import sys

import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import LaserScan, TimeReference

from tl_adapt.ros.node_main import run_node
from tl_adapt.simulators.base import Command
from tl_adapt.simulators.messages import QOS


def wander(ranges: np.ndarray, speed: float) -> Command:
    """Return a command that keeps away from what the lidar, ranges (n,) [m], sees ahead."""
    front, left, right = (
        min(float(np.take(ranges, np.arange(*part) * len(ranges) // 360, mode='wrap').min()), 8.0)
        for part in ((-30, 30), (30, 90), (-90, -30))
    )
    turn = 0.8 if left > right else -0.8
    return Command(speed * min(max(2 * (front - 0.25), 0.0), 1.0), turn if front < 0.7 else 0.0)


class Wanderer(Node):
    """Answer each scan with one command; to measure and test simulators, not to get anywhere."""

    def __init__(self) -> None:
        """Subscribe to `scan`; publish `cmd_vel`, and `compute_time` of the parameter's value."""
        super().__init__('wanderer')
        self._compute_time = float(self.declare_parameter('compute_time', 0.01).value or 0.0)
        self._speed = float(self.declare_parameter('speed', 0.25).value or 0.0)
        self._command = self.create_publisher(TwistStamped, 'cmd_vel', QOS)
        self._time = self.create_publisher(TimeReference, 'compute_time', QOS)
        self.create_subscription(LaserScan, 'scan', self._on_scan, QOS)

    def _on_scan(self, scan: LaserScan) -> None:
        time = TimeReference(header=scan.header, source=self.get_name())
        time.time_ref.nanosec = round(self._compute_time * 1e9)
        self._time.publish(time)
        ranges = np.frombuffer(scan.ranges, dtype=np.float32)
        command = TwistStamped(header=scan.header)
        command.twist.linear.x, command.twist.angular.z = wander(ranges, self._speed)
        self._command.publish(command)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to end; return the exit code."""
    return run_node(Wanderer, args)


if __name__ == '__main__':
    sys.exit(main())
