# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.ros.recorder over real topics."""

import numpy as np
import pytest

pytest.importorskip('rclpy')

from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import LaserScan  # noqa: E402
from std_msgs.msg import Float64  # noqa: E402

from tl_adapt.errors import MeasurementError  # noqa: E402
from tl_adapt.ros import recorder as recorder_module  # noqa: E402
from tl_adapt.ros.recorder import (  # noqa: E402
    Recorder,
    SimClock,
    TraceError,
    matching_qos,
    message_type,
)
from tl_adapt.trace import POSITION  # noqa: E402

pytestmark = pytest.mark.ros


def set_time(stamp, seconds):
    stamp.sec, stamp.nanosec = divmod(round(seconds * 1e9), 10**9)


def test_record_over_two_missions(graph, wait_until):
    robot, node = graph('robot'), graph('recorder')
    clock_publisher = robot.create_publisher(Clock, '/clock', 10)
    scan = robot.create_publisher(LaserScan, 'scan', 10)
    odometry = robot.create_publisher(Odometry, 'odom', 10)
    load = robot.create_publisher(Float64, 'load', 10)
    clock = SimClock(node)
    topics = {'scan': {'ranges'}, 'odom': {POSITION, 'twist.twist.linear.x'}, 'load': {'data'}}
    recorder = Recorder(node, {**topics, 'ghost': {'data'}}, clock)
    recorder.prepare(deadline=2.0)
    wait_until(lambda: clock_publisher.get_subscription_count() == 1)

    for _ in range(2):
        clock.restart()
        recorder.start()
        for step in range(50):
            time = Clock()
            set_time(time.clock, step * 0.1)
            clock_publisher.publish(time)
            message = LaserScan(ranges=[1.0 + step, float('inf')])
            set_time(message.header.stamp, step * 0.1)
            scan.publish(message)
            message = Odometry()
            set_time(message.header.stamp, step * 0.1)
            message.pose.pose.position.x = step * 0.5
            message.twist.twist.linear.x = 5.0
            odometry.publish(message)
            load.publish(Float64(data=float(step)))
        wait_until(lambda: clock.ticks == 50)
        recorder.drain(round(4.9e9))
        trace = recorder.stop()
        assert set(trace.topics) == {'scan', 'odom', 'load'}
        stamps = (np.arange(50) * 100_000_000).tolist()
        assert trace.topics['scan'].stamp_ns.tolist() == stamps
        assert trace.topics['scan'].fields['ranges'].shape == (50, 2)
        assert trace.topics['odom'].fields[POSITION][3].tolist() == [1.5, 0.0]
        assert set(trace.topics['odom'].fields['twist.twist.linear.x']) == {5.0}
        # without a header the clock at the time of sending counts
        assert trace.topics['load'].stamp_ns.tolist() == stamps
        assert trace.topics['load'].fields['data'].tolist() == list(range(50))


def test_quality_of_service_follows_the_publishers(graph, wait_until):
    robot, node = graph('robot'), graph('recorder')
    sensor = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    robot.create_publisher(Float64, 'sensor', sensor)
    robot.create_publisher(Float64, 'latched', latched)
    robot.create_publisher(Float64, 'both', latched)
    robot.create_publisher(Float64, 'both', sensor)
    for topic, count in (('sensor', 1), ('latched', 1), ('both', 2)):
        wait_until(lambda t=topic, n=count: len(node.get_publishers_info_by_topic(t)) == n)
    assert matching_qos(node, 'sensor').reliability == ReliabilityPolicy.BEST_EFFORT
    assert matching_qos(node, 'latched').durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert matching_qos(node, 'latched').reliability == ReliabilityPolicy.RELIABLE
    assert matching_qos(node, 'both').durability == DurabilityPolicy.VOLATILE
    assert matching_qos(node, 'both').reliability == ReliabilityPolicy.BEST_EFFORT


def test_a_field_that_the_type_lacks(graph, wait_until):
    robot, node = graph('robot'), graph('recorder')
    publisher = robot.create_publisher(Float64, 'load', 10)
    recorder = Recorder(node, {'load': {'value'}}, SimClock(node))
    recorder.prepare()
    recorder.start()
    wait_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(Float64())
    wait_until(lambda: recorder.received('load') == 1)
    with pytest.raises(TraceError, match='topic load has no field value'):
        recorder.stop()


def test_a_topic_that_does_not_fit_leaves_the_others_alone(graph, monkeypatch):
    def installed(name):
        if name == 'sensor_msgs/msg/LaserScan':
            raise MeasurementError(f'message type {name} is not installed here')
        return message_type(name)

    monkeypatch.setattr(recorder_module, 'message_type', installed)
    robot, node = graph('robot'), graph('recorder')
    robot.create_publisher(LaserScan, 'a', 10)
    robot.create_publisher(Float64, 'b', 10)
    recorder = Recorder(node, {'a': {'data'}, 'b': {'data'}}, SimClock(node))
    for _ in range(2):
        with pytest.raises(MeasurementError, match='LaserScan is not installed'):
            recorder.prepare(deadline=5.0)
        assert [channel.matched for channel in recorder._channels] == [False, True]


def test_message_type():
    assert message_type('std_msgs/msg/Float64') is Float64
    for name in ('std_msgs/msg/Nothing', 'no_such_msgs/msg/Thing', 'os/path', 'std_msgs/Float64'):
        with pytest.raises(MeasurementError):
            message_type(name)
