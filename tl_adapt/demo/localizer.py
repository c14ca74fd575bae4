# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the node `localizer`: a particle filter on lidar and odometry."""

from __future__ import annotations

import sys
import time
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import IntegerRange, ParameterDescriptor
from sensor_msgs.msg import LaserScan

from tl_adapt.demo.compute_time import localizer_time
from tl_adapt.demo.geometry import Pose, quaternion_of, yaw_of
from tl_adapt.demo.node_support import (
    ScanReader,
    SoftwareNode,
    StampMatcher,
    nanoseconds,
    run_node,
)
from tl_adapt.demo.particle_filter import Estimate, make_filter
from tl_adapt.demo.settings import LocalizerSettings, pick, tunables
from tl_adapt.demo.world import load_world

_FRAME = 'map'


class Localizer(SoftwareNode):
    """Publish a pose for each scan, from it and the odometry of the same stamp."""

    def __init__(self, **kwargs: Any) -> None:
        """Load the map and start at the world's start."""
        others = {
            'world': (
                'room',
                ParameterDescriptor(description='world whose map is used', read_only=True),
            ),
            'seed': (
                0,
                ParameterDescriptor(
                    description='seed of the particle filter; takes effect with initialpose',
                    integer_range=[IntegerRange(from_value=0, to_value=2**62, step=1)],
                ),
            ),
        }
        super().__init__('localizer', tunables(LocalizerSettings), others, **kwargs)
        world = load_world(str(self.get_parameter('world').value))
        self._filter = make_filter(world)
        self._start: Pose = (float(world.start[0]), float(world.start[1]), float(world.start[2]))
        self._scans = ScanReader()
        self._matcher = StampMatcher(('scan', 'odom'))
        self._pose = self.publisher(PoseWithCovarianceStamped, 'pose')
        self._restart()
        self.gather({'odom': Odometry, 'scan': LaserScan}, self._take)
        self.listen(PoseWithCovarianceStamped, 'initialpose', self._on_initialpose)

    def check(self, name: str, value: Any) -> str | None:
        """Refuse negative seeds."""
        if name == 'seed' and value < 0:
            return f'seed: value >= 0 must hold, got {value}'
        return None

    def _refresh(self) -> None:
        values = self.values()
        if values is not None:
            self._filter.configure(pick(LocalizerSettings, values))

    def _restart(self) -> None:
        """Draw the particles anew at the last known start, from the seed."""
        self._refresh()
        self._filter.reset(self._start, seed=int(self.get_parameter('seed').value))

    def _on_initialpose(self, message: PoseWithCovarianceStamped) -> None:
        p, q = message.pose.pose.position, message.pose.pose.orientation
        start = (p.x, p.y, yaw_of(q.z, q.w, q.x, q.y))
        if message.header.frame_id not in ('', _FRAME) or not _finite(start):
            self.get_logger().warning(
                f'initialpose: a finite pose in frame {_FRAME} must be given, '
                f'got {start} in {message.header.frame_id!r}'
            )
            return
        self._start = start
        self._matcher.clear()
        self._restart()
        self._publish(message.header.stamp, self._filter.estimate())

    def _take(self, topic: str, message: Any) -> bool:
        stamp = nanoseconds(message.header.stamp)
        if self._matcher.went_back(topic, stamp):
            self._restart()
        complete, _ = self._matcher.add(topic, stamp, message)
        if complete is not None:
            self._update(complete['scan'], complete['odom'])
        return complete is not None

    def _update(self, scan: LaserScan, odom: Odometry) -> None:
        started = time.thread_time()
        self._refresh()
        p, q = odom.pose.pose.position, odom.pose.pose.orientation
        odometry = (p.x, p.y, yaw_of(q.z, q.w, q.x, q.y))
        if not _finite(odometry):
            self.get_logger().warning(f'odom: finite numbers must be given, got {odometry}')
            return
        angles, ranges = self._scans.read(scan)
        estimate = self._filter.update(odometry, angles, ranges)
        modelled = localizer_time(
            len(self._filter.particles), estimate.lookups, estimate.gradients
        )
        self.report(scan.header.stamp, modelled, started)
        self._publish(scan.header.stamp, estimate)

    def _publish(self, stamp: Any, estimate: Estimate) -> None:
        message = PoseWithCovarianceStamped()
        message.header.stamp = stamp
        message.header.frame_id = _FRAME
        pose = message.pose.pose
        pose.position.x, pose.position.y = estimate.pose[0], estimate.pose[1]
        pose.orientation.z, pose.orientation.w = quaternion_of(estimate.pose[2])
        covariance = [0.0] * 36
        for i, row in enumerate((0, 1, 5)):
            for j, column in enumerate((0, 1, 5)):
                covariance[6 * row + column] = float(estimate.covariance[i, j])
        message.pose.covariance = covariance
        self._pose.publish(message)


def _finite(numbers: tuple[float, ...]) -> bool:
    return all(abs(n) < float('inf') for n in numbers)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(Localizer, args)


if __name__ == '__main__':
    sys.exit(main())
