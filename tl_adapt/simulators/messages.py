# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for publishing what the simulated sensors say."""

from __future__ import annotations

import array
import math
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState, Imu, LaserScan
from std_msgs.msg import Bool

from tl_adapt.ros import optional_interfaces
from tl_adapt.ros.inbox import PUBLISHER_EVENTS
from tl_adapt.simulators.base import Sample

QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


class SensorPublisher:
    """
    Publish samples: clock, tf, odom, ground_truth, imu, battery_state, collision; last, scan.

    The messages are made once and filled anew each time, because making them is what costs most.
    """

    def __init__(self, node: Node, beams: int, range_min: float, range_max: float) -> None:
        """Make the publishers; beams and ranges [m] describe the scan."""
        self._clock = _publisher(node, Clock, '/clock')
        self._odometry = _publisher(node, Odometry, 'odom')
        self._truth = _publisher(node, Odometry, 'ground_truth')
        self._imu = _publisher(node, Imu, 'imu')
        self._imu_message = Imu()
        self._imu_message.header.frame_id = 'imu_link'
        self._battery = _publisher(node, BatteryState, 'battery_state')
        self._collision = _publisher(node, Bool, 'collision')
        self._scan = _publisher(node, LaserScan, 'scan')
        tf2_msgs = optional_interfaces.tf2_msgs()
        self._tf: Any = tf2_msgs and _publisher(node, tf2_msgs.msg.TFMessage, '/tf')
        self._odometry_message = _odometry('odom', 0.01)
        self._truth_message = _odometry('map', 0.0)
        self._battery_message = _battery()
        self._scan_message = LaserScan()
        self._scan_message.header.frame_id = 'base_scan'
        self.set_scan(beams, range_min, range_max)

    def set_scan(self, beams: int, range_min: float, range_max: float) -> None:
        """Describe the scan: number of beams over the full circle, ranges [m]."""
        scan = self._scan_message
        scan.angle_min, scan.angle_increment = 0.0, 2 * math.pi / beams
        scan.angle_max = scan.angle_increment * (beams - 1)
        scan.range_min, scan.range_max = range_min, range_max

    def publish(self, sample: Sample, period: float) -> None:
        """Publish one sample; period: time between scans [s]."""
        sec, nanosec = divmod(sample.time_ns, 1_000_000_000)
        stamp = Time(sec=sec, nanosec=nanosec)
        self._clock.publish(Clock(clock=stamp))
        _fill(self._odometry_message, stamp, sample.odometry, sample.odometry_twist)
        self._odometry.publish(self._odometry_message)
        if self._tf:
            self._tf.publish(_transform(self._odometry_message))
        _fill(self._truth_message, stamp, sample.pose, sample.twist)
        self._truth.publish(self._truth_message)
        if self._imu.get_subscription_count():  # else it is not worth its time
            self._publish_imu(sample, stamp)
        battery = self._battery_message
        battery.header.stamp = stamp
        battery.voltage, battery.current = sample.voltage, sample.current
        battery.charge, battery.capacity = sample.charge, sample.capacity
        battery.percentage = sample.charge / sample.capacity
        self._battery.publish(battery)
        self._collision.publish(Bool(data=sample.collision))
        scan = self._scan_message
        scan.header.stamp = stamp
        scan.scan_time = period
        scan.ranges = array.array('f', sample.ranges.tobytes())
        self._scan.publish(scan)


    def _publish_imu(self, sample: Sample, stamp: Time) -> None:
        message = self._imu_message
        message.header.stamp = stamp
        o, spin, force = (
            message.orientation, message.angular_velocity, message.linear_acceleration
        )
        o.x, o.y, o.z, o.w = sample.orientation
        spin.x, spin.y, spin.z = sample.angular_velocity
        force.x, force.y, force.z = sample.linear_acceleration
        self._imu.publish(message)


def _publisher(node: Node, kind: Any, topic: str) -> Publisher:
    return node.create_publisher(kind, topic, QOS, event_callbacks=PUBLISHER_EVENTS)


def _odometry(frame: str, variance: float) -> Odometry:
    message = Odometry()
    message.header.frame_id = frame
    message.child_frame_id = 'base_link'
    for index in (0, 7, 35):
        message.pose.covariance[index] = variance
        message.twist.covariance[index] = variance
    return message


def _fill(
    message: Odometry, stamp: Time, pose: tuple[float, float, float], twist: tuple[float, float]
) -> None:
    message.header.stamp = stamp
    x, y, yaw = pose
    position, orientation = message.pose.pose.position, message.pose.pose.orientation
    position.x, position.y = x, y
    orientation.z, orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    message.twist.twist.linear.x, message.twist.twist.angular.z = twist


def _transform(odometry: Odometry) -> Any:
    transform = TransformStamped(header=odometry.header, child_frame_id='base_link')
    transform.transform.translation.x = odometry.pose.pose.position.x
    transform.transform.translation.y = odometry.pose.pose.position.y
    transform.transform.rotation = odometry.pose.pose.orientation
    return optional_interfaces.tf2_msgs().msg.TFMessage(transforms=[transform])


def _battery() -> BatteryState:
    message = BatteryState(present=True, temperature=math.nan, design_capacity=1.8)
    message.header.frame_id = 'base_link'
    message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
    message.power_supply_health = BatteryState.POWER_SUPPLY_HEALTH_GOOD
    message.power_supply_technology = BatteryState.POWER_SUPPLY_TECHNOLOGY_LION
    return message
