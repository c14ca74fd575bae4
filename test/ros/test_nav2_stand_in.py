# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for campaigns on a user's own stack, with the stand-in for Nav2 as that."""

import contextlib
import importlib
import importlib.util
import json
import os
import sys
import time

import pytest
import yaml
from nav2_study import LIFECYCLE_NODES, STAND_IN, nav2_study, target

rclpy = pytest.importorskip('rclpy')

from geometry_msgs.msg import PoseStamped  # noqa: E402
from lifecycle_msgs.srv import GetState  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from std_srvs.srv import Empty, Trigger  # noqa: E402

from tl_adapt.environments.stack import StackEnvironment  # noqa: E402
from tl_adapt.errors import ApparatusError, MeasurementError, TlAdaptError  # noqa: E402
from tl_adapt.metrics import process_topic  # noqa: E402
from tl_adapt.ros.live_stack import LiveStack  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402

pytestmark = pytest.mark.ros
needs_action = pytest.mark.skipif(
    importlib.util.find_spec('nav2_msgs') is None, reason='nav2_msgs is not installed'
)


@contextlib.contextmanager
def making(folder):
    """Make environments of studies of the stand-in, and close them."""
    made = []

    def build(change=lambda content: None, **options):
        content = nav2_study(**options)
        change(content)
        path = folder / f'study{len(made)}.yaml'
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        study = load_study(path)
        made.append(StackEnvironment(study, 'simulation'))
        return made[-1], study.space.default()

    try:
        yield build
    finally:
        for environment in made:
            environment.close()


@pytest.fixture
def make(tmp_path):
    with making(tmp_path) as build:
        yield build


@pytest.fixture(scope='module')
def stack(tmp_path_factory):
    """Keep one stack for all tests that leave it well."""
    def tune_behaviour(content):
        content['parameters']['behaviour'] = {
            'type': 'string', 'choices': ['reach', 'abort', 'reject', 'cling'],
            'default': 'reach', 'targets': [target('bt_navigator', 'stand_in.behaviour')],
        }

    with making(tmp_path_factory.mktemp('study')) as build:
        yield build(tune_behaviour)


class Asker:
    """Use the services of a stack, as a person with `ros2` would."""

    def __init__(self, context):
        self.node = rclpy.create_node('asker', context=context)
        self.executor = rclpy.executors.SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)

    def spin_until(self, done, deadline=10.0):
        end = time.monotonic() + deadline
        while not done():
            assert time.monotonic() < end
            self.executor.spin_once(0.02)

    def call(self, kind, name, request=None):
        client = self.node.create_client(kind, name)
        self.spin_until(client.service_is_ready)
        future = client.call_async(request or kind.Request())
        self.spin_until(future.done)
        return future.result()

    def state(self, node):
        return self.call(GetState, f'{node}/get_state').current_state.label

    def in_effect(self, node):
        return json.loads(self.call(Trigger, f'{node}/in_effect').message)

    def set(self, node, name, value):
        """Return why a value was refused, or nothing."""
        request = SetParameters.Request()
        request.parameters = [rclpy.Parameter(name, value=value).to_parameter_msg()]
        return self.call(SetParameters, f'{node}/set_parameters', request).results[0].reason

    def drive(self):
        """Let time run, send a goal and wait until the robot moves."""
        self.call(Empty, 'unpause_physics')
        moved = []
        self.node.create_subscription(
            Odometry, 'odom', lambda m: moved.append(m.twist.twist.linear.x > 0), 10
        )
        goal = PoseStamped()
        goal.header.frame_id, goal.pose.position.x = 'map', 50.0
        publisher = self.node.create_publisher(PoseStamped, 'goal_pose', 10)
        self.spin_until(lambda: publisher.get_subscription_count() > 0)
        publisher.publish(goal)
        self.spin_until(lambda: True in moved)

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()


@pytest.fixture
def ask_of(monkeypatch):
    """Join the graph of an environment's stack."""

    @contextlib.contextmanager
    def join(environment):
        for name, value in environment.environment().items():
            monkeypatch.setenv(name, value)
        context = rclpy.Context()
        rclpy.init(context=context)
        asker = Asker(context)
        try:
            yield asker
        finally:
            asker.close()
            rclpy.shutdown(context=context)

    return join


@pytest.fixture
def asker(stack, ask_of):
    with ask_of(stack[0]) as found:
        yield found


@needs_action
def test_a_mission_by_the_action(stack, asker):
    environment, default = stack
    slow, fast = (
        environment.measure({**default, 'speed': speed}, 1) for speed in (0.2, 0.6)
    )
    for measurement in (slow, fast):
        assert (measurement.valid, measurement.reason) == (True, '')
        assert measurement.provenance['goal_interface'] == 'action'
        assert measurement.metrics['way'] == pytest.approx(3.0, abs=0.7)
    assert slow.metrics['mission_time'] > 1.8 * fast.metrics['mission_time']
    assert asker.in_effect('controller_server')['FollowPath.vx_max'] == 0.6
    # A child of a server, with its own namespace; it was cleared before each mission.
    assert asker.in_effect('local_costmap/local_costmap')['cleared'] == 2
    states = [asker.state(node) for node in LIFECYCLE_NODES]
    assert states == ['active'] * 5


def test_parameters_of_all_modes_are_in_effect(stack, asker):
    environment, default = stack
    changes = {
        'speed': 0.55, 'model_dt': 0.08, 'frequency': 15.0, 'radius': 0.4, 'top_speed': 0.3,
    }
    measurement = environment.measure({**default, **changes}, 1)
    assert (measurement.valid, measurement.reason) == (True, '')
    used = asker.in_effect('controller_server')
    assert used['FollowPath.vx_max'] == 0.55
    assert used['FollowPath.model_dt'] == 0.08  # only read when it is configured
    assert used['controller_frequency'] == 15.0  # refused while a goal runs
    costmap = asker.in_effect('local_costmap/local_costmap')
    assert costmap['inflation_layer.inflation_radius'] == 0.4
    assert asker.in_effect('velocity_smoother')['max_velocity'] == [0.3, 0.0, 2.5]
    again = environment.measure(default, 1)
    assert (again.valid, again.reason) == (True, '')
    assert asker.in_effect('controller_server')['FollowPath.model_dt'] == 0.05


def test_what_a_node_does_not_configure_is_invalid(stack):
    environment, default = stack
    measurement = environment.measure({**default, 'model_dt': 0.07, 'frequency': 10.0}, 1)
    assert not measurement.valid
    assert measurement.reason == 'lifecycle node /controller_server does not configure'
    again = environment.measure(default, 1)
    assert (again.valid, again.reason) == (True, '')


def has_manager():
    with contextlib.suppress(ImportError):
        return hasattr(importlib.import_module('nav2_msgs.srv'), 'ManageLifecycleNodes')
    return False


@pytest.mark.skipif(not has_manager(), reason='nav2_msgs has no ManageLifecycleNodes here')
def test_where_there_is_a_lifecycle_manager_it_configures_anew(make, ask_of):
    def name_manager(content):
        environment = content['environments']['simulation']
        environment['lifecycle_manager'] = 'lifecycle_manager_navigation'

    environment, default = make(name_manager)
    measurement = environment.measure({**default, 'model_dt': 0.1, 'frequency': 10.0}, 1)
    assert (measurement.valid, measurement.reason) == (True, '')
    with ask_of(environment) as asker:
        assert asker.in_effect('controller_server')['FollowPath.model_dt'] == 0.1
        assert [asker.state(node) for node in LIFECYCLE_NODES] == ['active'] * 5
    again = environment.measure(default, 1)
    assert (again.valid, again.reason) == (True, '')


@needs_action
def test_failures_of_goals_have_their_reason(stack):
    environment, default = stack
    reasons = {
        'abort': 'mission aborted (error code 9002, no transform to the map)',
        'reject': 'the goal was rejected by action navigate_to_pose',
    }
    processes = None
    for behaviour, reason in reasons.items():
        measurement = environment.measure({**default, 'behaviour': behaviour}, 1)
        assert (measurement.valid, measurement.reason) == (False, reason)
        sessions = environment._worker._sessions
        assert processes in (None, sessions)  # the stack is well and stays up
        processes = sessions
    assert environment.measure(default, 1).valid


@needs_action
def test_a_goal_is_given_up_after_a_time_out(make, stack):
    def hurry(content):
        content['mission']['timeout'] = 3.0

    environment, default = make(hurry)
    before = environment.measure({**default, 'speed': 0.15}, 1)
    assert (before.valid, before.reason) == (False, 'timeout')
    sessions = environment._worker._sessions
    # What must not change while a goal runs can be changed at once.
    again = environment.measure({**default, 'speed': 0.15, 'frequency': 25.0}, 1)
    assert (again.valid, again.reason) == (False, 'timeout')
    assert environment._worker._sessions == sessions
    environment, default = stack
    short = environment.measure({**default, 'behaviour': 'cling'}, 1)
    assert (short.valid, short.reason) == (False, 'timeout')
    # It did not let go of its goal: there is a new one.
    assert environment.measure(default, 1).valid


@pytest.mark.parametrize('release', ['jazzy', 'lyrical'])
def test_a_change_while_the_robot_drives(make, ask_of, release):
    """Check the stand-in itself: it is strict where Nav2 is, and silent where Nav2 is."""
    environment, _ = make(arguments=['-p', f'controller_server:stand_in.release:={release}'])
    with ask_of(environment) as asker:
        assert asker.set('controller_server', 'controller_frequency', 15.0) == ''
        assert 'parameter type' in asker.set('controller_server', 'controller_frequency', 15)
        assert 'should be >= 0' in asker.set('amcl', 'laser_min_range', -1.0)
        assert 'should be <= 0' in asker.set('velocity_smoother', 'max_decel', [1.0, 0.0, -1.0])
        assert 'size' in asker.set('velocity_smoother', 'max_accel', [1.0])
        asker.drive()
        answer = asker.set('controller_server', 'controller_frequency', 25.0)
        assert ('currently running' in answer) == (release == 'jazzy')
        assert asker.set('controller_server', 'FollowPath.vx_max', 0.3) == ''
        used = asker.in_effect('controller_server')
    assert used['controller_frequency'] == 15.0
    assert used['FollowPath.vx_max'] == 0.3


def by_topic(content):
    content['mission']['goal_interface'] = 'topic'


def test_goals_by_topic_in_a_namespace(make):
    environment, default = make(by_topic, namespace='/robot1')
    measurement = environment.measure({**default, 'model_dt': 0.09}, 1)
    assert (measurement.valid, measurement.reason) == (True, '')
    assert measurement.provenance['goal_interface'] == 'topic'
    assert measurement.provenance['parameters']['/robot1/controller_server'][
        'FollowPath.model_dt'] == 0.09
    assert '/robot1/local_costmap/local_costmap' in measurement.provenance['parameters']


@pytest.mark.parametrize(
    'simulator',
    [
        {'node': 'robot', 'reset': 'reset_world'},
        {'node': 'robot', 'pause': 'pause_physics', 'unpause': 'unpause_physics',
         'reset': 'reset_world', 'pause_for': 'never'},
    ],
)
def test_a_simulation_that_never_stands_still(make, simulator):
    def change(content):
        content['environments']['simulation']['simulator'] = simulator

    environment, default = make(change)
    for speed in (0.6, 0.3):
        measurement = environment.measure({**default, 'speed': speed}, 1)
        assert (measurement.valid, measurement.reason) == (True, '')
        # 3 m, and more where a busy machine lets it overshoot; a jump at a reset makes it 6.
        assert 2.3 < measurement.metrics['way'] < 5.9
        assert 4.0 < measurement.metrics['mission_time'] < 30.0


def test_without_nav2_msgs_goals_go_by_topic(make, tmp_path, monkeypatch):
    (tmp_path / 'shadow').mkdir()
    (tmp_path / 'shadow' / 'nav2_msgs.py').write_text("raise ImportError('it is not there')\n")
    monkeypatch.setenv('PYTHONPATH', str(tmp_path / 'shadow'), prepend=os.pathsep)
    environment, default = make()
    measurement = environment.measure(default, 1)
    assert (measurement.valid, measurement.reason) == (True, '')
    assert measurement.provenance['goal_interface'] == 'topic'


def test_processes_of_their_own_are_told_apart(make):
    def launch(content):
        environment = content['environments']['simulation']
        nodes = [node for entry in environment['bringup'] for node in entry['nodes']]
        environment['bringup'] = [
            {'name': 'all', 'command': [*STAND_IN, 'launch'], 'nodes': nodes}
        ]
        for node in ('controller_server', 'amcl'):
            content['metrics'][f'cpu_{node}'] = {
                'reduction': 'cpu', 'nodes': [node], 'direction': 'minimize',
            }

    environment, default = make(launch)
    measurement = environment.measure(default, 1)
    assert (measurement.valid, measurement.reason) == (True, '')
    assert measurement.metrics['cpu_controller_server'] > 0
    sampled = measurement.provenance['threads']
    threads = [set(sampled[process_topic(node)]) for node in ('controller_server', 'amcl')]
    assert not threads[0] & threads[1]


@pytest.mark.parametrize(
    ('nodes', 'run', 'problem'),
    [
        (['amcl'], 'servers', 'metric cpu: node /amcl shares its process with /bt_navigator, '),
        (['amcl'], 'container', 'metric cpu: node /amcl runs in the container /nav2_container, '),
        (['nav2_container'], 'container', ''),
        ([*LIFECYCLE_NODES, 'lifecycle_manager_navigation'], 'servers', ''),
    ],
)
def test_nodes_that_share_a_process_are_not_told_apart(make, nodes, run, problem):
    def measure_cpu(content):
        content['metrics']['cpu'] = {
            'reduction': 'cpu', 'nodes': nodes, 'direction': 'minimize',
        }
        bringup = content['environments']['simulation']['bringup'][1]
        bringup['command'] = [*STAND_IN, run]
        if run == 'container':
            bringup['command'] += ['--ros-args', '-r', 'nav2_container:__node:=nav2_container']

    environment, default = make(measure_cpu)
    if not problem:
        measurement = environment.measure(default, 1)
        assert (measurement.valid, measurement.reason) == (True, '')
        assert measurement.metrics['cpu'] > 0
        return
    with pytest.raises(ApparatusError) as caught:
        environment.start()
    assert caught.value.reason.startswith(f'the stack did not come up: {problem}')


def drop_manager(content):
    bringup = content['environments']['simulation']['bringup'][1]
    bringup['command'] += ['-p', 'lifecycle_manager_navigation:autostart:=false']
    content['environments']['simulation']['startup_timeout'] = 4.0


def prepare(**call):
    return lambda content: content['mission'].update(prepare=[call])


def no_action(content):
    content['mission'].update(goal_interface='action', action='drive_home', wall_timeout=2.0)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (drop_manager, 'lifecycle node /amcl is unconfigured, not active, within 4 s'),
        pytest.param(no_action, 'no server of action drive_home within 2 s', marks=needs_action),
    ],
)
def test_a_stack_that_does_not_get_ready_says_so(make, change, reason):
    environment, _ = make(change)
    with pytest.raises(ApparatusError) as caught:
        environment.start()
    assert caught.value.reason.startswith(f'the stack did not come up: {reason}')


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        (prepare(service='clear', type='no_msgs/srv/Clear'),
         'mission.prepare[0].type: needs no_msgs/srv/Clear, which can not be imported ('),
        (prepare(service='clear', type='std_srvs/srv/Clear'),
         'mission.prepare[0].type: needs std_srvs/srv/Clear, which can not be imported ('),
        (prepare(service='clear', type='std_srvs/srv/SetBool', request={'date': True}),
         'mission.prepare[0].request.date: no such field; known are data'),
        (prepare(service='clear', type='std_srvs/srv/SetBool', request={'data': 'yes'}),
         "mission.prepare[0].request.data: must be a boolean, got 'yes'"),
    ],
)
def test_types_that_are_not_there_are_one_error_before_anything_starts(
    make, tmp_path, change, problem
):
    environment, _ = make(change)
    with pytest.raises(TlAdaptError) as caught:
        LiveStack(environment._study, 'simulation', tmp_path)
    assert str(caught.value).startswith(f'{environment._study.path}: {problem}')


def test_what_needs_nav2_msgs_says_so(make, tmp_path, monkeypatch):
    def change(content):
        content['mission']['goal_interface'] = 'action'
        content['environments']['simulation']['lifecycle_manager'] = 'manager'

    monkeypatch.setattr('tl_adapt.ros.goals.nav2_msgs', lambda: None)
    monkeypatch.setitem(sys.modules, 'nav2_msgs.srv', None)
    study = make(change)[0]._study
    with pytest.raises(TlAdaptError, match='mission.goal_interface: needs nav2_msgs, which can'):
        LiveStack(study, 'simulation', tmp_path)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, 'nav2_msgs.srv', None)
    problem = 'environments.simulation.lifecycle_manager: needs nav2_msgs/srv/ManageLifecycleNo'
    study = make(lambda content: change(content) or by_topic(content))[0]._study
    with pytest.raises(TlAdaptError, match=problem):
        LiveStack(study, 'simulation', tmp_path)


def test_a_missing_type_ends_a_campaign_at_once(make):
    environment, default = make(prepare(service='clear', type='no_msgs/srv/Clear'))
    with pytest.raises(TlAdaptError, match='needs no_msgs/srv/Clear') as caught:
        environment.measure(default, 1)
    assert not isinstance(caught.value, MeasurementError)


def preparing(call):
    def change(content):
        content['mission']['prepare'] = [call]
        content['environments']['simulation']['bringup'][1]['command'] = [*STAND_IN, 'container']

    return change


def test_a_service_that_fails_makes_the_run_invalid(make):
    service = 'nav2_container/_container/list_nodes'
    environment, default = make(preparing({'service': service, 'type': 'std_srvs/srv/Trigger'}))
    measurement = environment.measure(default, 1)
    reason = f'service {service} failed: no reason given'
    assert (measurement.valid, measurement.reason) == (False, reason)


def test_a_service_that_is_not_there_is_no_measurement(make):
    call = {'service': 'clear', 'type': 'std_srvs/srv/Empty', 'timeout': 0.5}
    environment, default = make(preparing(call))
    with pytest.raises(ApparatusError, match='no service clear within 0.5 s'):
        environment.measure(default, 1)
