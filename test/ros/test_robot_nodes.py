# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Test the robot software's nodes as processes, over ROS."""

import math
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tl_adapt.demo.settings import LocalizerSettings, NavigatorSettings, tunables

pytestmark = pytest.mark.ros
DEADLINE = 20.0  # s
NS = 1_000_000_000


class Client:
    """Play the simulator and the user: publish sensors, collect answers, set parameters."""

    def __init__(self):
        import rclpy
        from action_msgs.msg import GoalStatusArray
        from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TwistStamped
        from nav_msgs.msg import Odometry
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from sensor_msgs.msg import LaserScan, TimeReference
        from std_msgs.msg import Header

        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('client', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.got = defaultdict(list)
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for topic, kind, qos in (
            ('pose', PoseWithCovarianceStamped, 50),
            ('cmd_vel', TwistStamped, 50),
            ('compute_time', TimeReference, 50),
            ('navigator/result', Header, 10),
            ('navigate_to_pose/_action/status', GoalStatusArray, latched),
        ):
            self.node.create_subscription(kind, topic, self.taker(topic), qos)
        self.scan = self.node.create_publisher(LaserScan, 'scan', 10)
        self.odom = self.node.create_publisher(Odometry, 'odom', 10)
        self.initialpose = self.node.create_publisher(PoseWithCovarianceStamped, 'initialpose', 10)
        self.goal = self.node.create_publisher(PoseStamped, 'goal_pose', 10)

    def taker(self, topic):
        return lambda message: self.got[topic].append(message)

    def close(self):
        self.node.destroy_node()
        self.context.try_shutdown()

    def wait(self, condition, what):
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f'no {what} within {DEADLINE} s'
            self.executor.spin_once(timeout_sec=0.2)

    def wait_for_nodes(self):
        self.wait(
            lambda: (
                self.scan.get_subscription_count() == 2
                and self.odom.get_subscription_count() == 2
                and self.initialpose.get_subscription_count() == 1
                and self.goal.get_subscription_count() == 1
                and self.node.count_publishers('compute_time') == 2
                and self.node.count_publishers('cmd_vel') == 1
                and self.node.count_publishers('navigate_to_pose/_action/status') == 1
            ),
            'nodes',
        )

    def sensors(self, sample, stamp_ns, *, odom=True, odom_last=False):
        from nav_msgs.msg import Odometry
        from sensor_msgs.msg import LaserScan

        state = Odometry()
        scan = LaserScan(range_min=0.12, range_max=8.0)
        for message in (state, scan):
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, NS)
        state.pose.pose.position.x, state.pose.pose.position.y = sample.odometry[:2]
        state.pose.pose.orientation.z = math.sin(sample.odometry[2] / 2)
        state.pose.pose.orientation.w = math.cos(sample.odometry[2] / 2)
        state.twist.twist.linear.x, state.twist.twist.angular.z = sample.odometry_twist
        scan.angle_increment = 2 * math.pi / len(sample.ranges)
        scan.ranges = sample.ranges.astype(np.float32).tolist()
        order = [(self.odom, state)] * odom + [(self.scan, scan)]
        for publisher, message in reversed(order) if odom_last else order:
            publisher.publish(message)

    def answers(self, stamp_ns):
        def stamp(message):
            return message.header.stamp.sec * NS + message.header.stamp.nanosec

        return {
            topic: [m for m in self.got[topic] if stamp(m) == stamp_ns]
            for topic in ('pose', 'cmd_vel', 'compute_time')
        }

    def step(self, sample, stamp_ns, **kwargs):
        self.sensors(sample, stamp_ns, **kwargs)
        self.wait(
            lambda: all(
                len(self.answers(stamp_ns)[topic]) >= count
                for topic, count in (('pose', 1), ('cmd_vel', 1), ('compute_time', 2))
            ),
            f'answer to the scan of {stamp_ns} ns',
        )
        return self.answers(stamp_ns)

    def localize(self, pose, stamp_ns):
        from geometry_msgs.msg import PoseWithCovarianceStamped

        self.got.clear()
        message = PoseWithCovarianceStamped()
        message.header.frame_id = 'map'
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, NS)
        message.pose.pose.position.x, message.pose.pose.position.y = pose[:2]
        message.pose.pose.orientation.z = math.sin(pose[2] / 2)
        message.pose.pose.orientation.w = math.cos(pose[2] / 2)
        self.initialpose.publish(message)
        self.wait(lambda: self.answers(stamp_ns)['pose'], 'answer to initialpose')
        return self.answers(stamp_ns)['pose'][0]

    def send_goal(self, x, y):
        from geometry_msgs.msg import PoseStamped

        message = PoseStamped()
        message.header.frame_id = 'map'
        message.pose.position.x, message.pose.position.y = x, y
        message.pose.orientation.w = 1.0
        self.goal.publish(message)
        self.wait(lambda: 2 in self.statuses(), 'status EXECUTING')

    def statuses(self):
        topic = 'navigate_to_pose/_action/status'
        return [s.status for m in self.got[topic] for s in m.status_list]

    def call(self, kind, service, request):
        client = self.node.create_client(kind, service)
        self.wait(client.service_is_ready, service)
        future = client.call_async(request)
        self.wait(future.done, f'answer of {service}')
        self.node.destroy_client(client)
        return future.result()

    def set(self, node, **values):
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(
            parameters=[Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        )
        return self.call(SetParameters, f'{node}/set_parameters', request).results


def start(name):
    return subprocess.Popen(
        [sys.executable, '-m', f'tl_adapt.demo.{name}'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip


@pytest.fixture(scope='module')
def software():
    from tl_adapt.ros.isolation import hold_domain

    with hold_domain() as domain, pytest.MonkeyPatch.context() as patch:
        for name, value in domain.environment().items():
            patch.setenv(name, value)
        processes = {name: start(name) for name in ('localizer', 'navigator')}
        client = Client()
        try:
            client.wait_for_nodes()
            yield client, processes
        finally:
            client.close()
            for process in processes.values():
                process.kill()
                process.communicate()


def sample_at_start():
    from tl_adapt.testing.kinematic import KinematicSimulator

    simulator = KinematicSimulator(beams=90)
    return simulator, simulator.advance(100_000_000)


def test_every_scan_is_answered_once_and_runs_repeat(software):
    client, _ = software
    simulator, sample = sample_at_start()
    traces = []
    for _ in range(2):
        client.set('localizer', seed=5)
        client.localize(simulator.world.start, 0)
        client.send_goal(2.3, 2.2)
        trace = []
        for i in range(1, 6):
            answers = client.step(sample, i * NS // 10, odom_last=bool(i % 2))
            assert [len(answers[t]) for t in ('pose', 'cmd_vel', 'compute_time')] == [1, 1, 2]
            times = {m.source: m.time_ref.nanosec for m in answers['compute_time']}
            assert set(times) == {'localizer', 'navigator'}
            twist, pose = answers['cmd_vel'][0].twist, answers['pose'][0].pose
            trace.append((times, twist.linear.x, twist.angular.z, pose.pose.position.x,
                          pose.pose.orientation.z, tuple(pose.covariance)))
        traces.append(trace)
        assert trace[-1][1] > 0.0
    assert traces[0] == traces[1]


def test_the_localizer_answers_initialpose_and_no_goal_means_standing(software):
    client, _ = software
    _, sample = sample_at_start()
    answer = client.localize((1.0, -2.0, 0.5), 7 * NS)
    assert answer.pose.pose.position.x == pytest.approx(1.0, abs=0.02)
    client.step(sample, 8 * NS)
    answers = client.step(sample, 7 * NS)  # time goes back: a goal of an earlier test is over
    assert answers['cmd_vel'][0].twist.linear.x == 0.0
    assert answers['cmd_vel'][0].twist.angular.z == 0.0


def test_a_mission_succeeds_and_says_so(software):
    from tl_adapt.simulators.base import Command

    client, _ = software
    simulator, _ = sample_at_start()
    simulator.reset(seed=1, start=simulator.world.start)
    client.localize(simulator.world.start, 0)
    assert all(r.successful for r in client.set('navigator', max_vel_x=0.5))
    client.send_goal(-1.6, -2.1)
    command = Command(0.0, 0.0)
    while not client.got['navigator/result'] and simulator.time_ns < 10 * NS:
        sample = simulator.advance(NS // 10, [(simulator.time_ns, command)])
        twist = client.step(sample, sample.time_ns)['cmd_vel'][0].twist
        command = Command(twist.linear.x, twist.angular.z)
    client.wait(lambda: client.got['navigator/result'], 'result')
    result = client.got['navigator/result'][0]
    assert result.frame_id == 'succeeded'
    # The command may be here before the result, which is then seen one scan later.
    assert 0 <= sample.time_ns - (result.stamp.sec * NS + result.stamp.nanosec) <= NS // 10
    client.wait(lambda: client.statuses()[-1:] == [4], 'status SUCCEEDED')
    assert math.dist(sample.pose[:2], (-1.6, -2.1)) < 0.25


def test_time_going_back_ends_the_goal_but_keeps_one_given_since(software):
    client, _ = software
    simulator, sample = sample_at_start()
    client.localize(simulator.world.start, 0)
    client.send_goal(2.3, 2.2)
    for stamp in (2 * NS, NS // 10):
        client.step(sample, stamp)
    client.wait(lambda: client.statuses()[-1] == 6, 'status ABORTED')
    assert client.answers(NS // 10)['cmd_vel'][0].twist.linear.x == 0.0
    client.step(sample, 3 * NS)
    client.got.clear()
    client.send_goal(2.3, 2.2)
    client.step(sample, NS // 10)
    assert client.answers(NS // 10)['cmd_vel'][0].twist.linear.x > 0.0
    assert 6 not in client.statuses()


def test_a_scan_without_odometry_is_answered_with_the_next(software):
    client, _ = software
    simulator, sample = sample_at_start()
    client.localize(simulator.world.start, 0)
    client.sensors(sample, NS, odom=False)
    client.step(sample, 2 * NS)
    client.wait(lambda: client.answers(NS)['cmd_vel'], 'command for the scan without a pose')
    answers = client.step(sample, 3 * NS)
    assert [len(client.answers(i * NS)['cmd_vel']) for i in (1, 2, 3)] == [1, 1, 1]
    assert len(answers['pose']) == 1
    assert not client.answers(NS)['pose']


def test_parameters_are_described_and_checked(software):
    from rcl_interfaces.srv import DescribeParameters, GetParameters

    client, _ = software
    for node, settings in (('navigator', NavigatorSettings), ('localizer', LocalizerSettings)):
        known = {t.name: t for t in tunables(settings)}
        request = DescribeParameters.Request(names=list(known))
        for d in client.call(
            DescribeParameters, f'{node}/describe_parameters', request
        ).descriptors:
            ranges = d.integer_range or d.floating_point_range
            assert (ranges[0].from_value, ranges[0].to_value) == (
                known[d.name].low, known[d.name].high
            )
            assert d.description
    for node, name, value in (
        ('navigator', 'max_vel_x', 5.0), ('navigator', 'sim_time', math.nan),
        ('navigator', 'vx_samples', 7.5), ('localizer', 'particles', 1),
        ('localizer', 'seed', -1), ('localizer', 'compute_time_mode', 'guessed'),
    ):  # fmt: skip
        (result,) = client.set(node, **{name: value})
        assert not result.successful and result.reason
    request = GetParameters.Request(names=['max_vel_x'])
    values = client.call(GetParameters, 'navigator/get_parameters', request).values
    assert 0.2 <= values[0].double_value <= 0.6


def test_an_unknown_world_is_one_clear_error(ros_domain):
    process = subprocess.run(
        [sys.executable, '-m', 'tl_adapt.demo.localizer', '--ros-args', '-p', 'world:=nowhere'],
        capture_output=True, text=True, timeout=DEADLINE, check=False,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert process.returncode == 2
    assert 'world' in process.stderr and 'Traceback' not in process.stderr


def test_signals_end_the_nodes_in_silence(software):
    client, processes = software
    _, sample = sample_at_start()
    client.localize((0.0, 0.0, 0.0), 0)
    client.step(sample, NS)
    processes['localizer'].send_signal(signal.SIGINT)
    processes['navigator'].send_signal(signal.SIGTERM)
    for process in processes.values():
        _, errors = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0
        assert 'Traceback' not in errors
