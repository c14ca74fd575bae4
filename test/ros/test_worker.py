# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for measuring on a live stack: StackEnvironment, its worker and the small stack."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest

rclpy = pytest.importorskip('rclpy')

from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402

from tl_adapt.apparatus import measure_with_retry  # noqa: E402
from tl_adapt.environments.base import Environment, make_environment  # noqa: E402
from tl_adapt.environments.stack import StackEnvironment  # noqa: E402
from tl_adapt.errors import ApparatusError, InputError, TlAdaptError  # noqa: E402
from tl_adapt.metrics import evaluate  # noqa: E402
from tl_adapt.trace import Trace  # noqa: E402

pytestmark = pytest.mark.ros


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def descendants(pid=None):
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


@pytest.fixture(scope='module')
def study(small_study):
    return small_study()


@pytest.fixture(scope='module')
def stack(study):
    """Keep one stack for all tests that leave it well, or that want to see it mended."""
    environment = make_environment(study, 'simulation')
    yield environment
    environment.close()
    environment.close()


@pytest.fixture
def run(stack, study):
    def measure(seed=5, trace=None, **changes):
        return stack.measure({**study.space.default(), **changes}, seed, trace=trace)

    return measure


def test_one_seed_gives_one_result(run, study, stack, tmp_path):
    assert isinstance(stack, Environment)
    first, second, other = (
        run(seed=seed, trace=tmp_path / f'{index}.npz') for index, seed in enumerate((5, 5, 6))
    )
    assert (first.valid, first.reason) == (True, '')
    assert first.cost == 2.0
    for measurement in (first, second):
        measurement.metrics.pop('cpu')
    assert first.metrics == second.metrics
    traces = [Trace.load(tmp_path / f'{index}.npz') for index in range(3)]
    ways = [trace.topics['ground_truth'].fields['@position'] for trace in traces]
    np.testing.assert_array_equal(ways[0], ways[1])
    assert ways[0].shape != ways[2].shape or (ways[0] != ways[2]).any()
    again = evaluate(study, traces[0])
    assert first.metrics.items() <= again.items()
    assert first.sim_time == pytest.approx(first.metrics['mission_time'])
    parameters = first.provenance['parameters']
    assert parameters['/driver']['beams'] == 16
    assert parameters['/world']['seed'] == 5
    assert parameters['/world']['start_pose'] == [0.25, 0.0, 0.0]
    assert first.provenance['reference_loop'] > 0
    assert other.valid


def test_array_element_restart_and_leaving_as_is(run, stack):
    measurement = run(bias=2.0, horizon=7)
    assert (measurement.valid, measurement.reason) == (True, '')
    assert measurement.metrics['error'] == pytest.approx(0.02)
    driver = measurement.provenance['parameters']['/driver']
    assert driver['gains'] == [1.0, 2.0]
    assert (driver['horizon'], driver['beams']) == (7, 16)
    as_is = stack.measure(None, 5)
    assert as_is.valid
    assert as_is.configuration == measurement.configuration
    assert as_is.metrics['error'] == measurement.metrics['error']


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'speed': 0.95}, 'set of /driver speed refused: speed must be <= 0.9'),
        ({'behaviour': 'idle'}, 'timeout'),
        ({'behaviour': 'abort'}, 'mission aborted'),
        ({'behaviour': 'collide'}, 'collision'),
        (
            {'behaviour': 'not_a_number'},
            'metric error: topic pose has a position that is not a number',
        ),
    ],
)
def test_failed_missions_leave_the_stack_up(run, stack, changes, reason):
    first = run()
    assert (first.valid, first.reason) == (True, '')
    before = sorted(descendants())
    measurement = run(**changes)
    assert (measurement.valid, measurement.reason) == (False, reason)
    assert sorted(descendants()) == before
    if reason == 'timeout':
        assert measurement.sim_time == pytest.approx(30.0)
        assert measurement.metrics['success'] == 0.0
        assert 'mission_time' not in measurement.metrics
    again = run()
    assert (again.valid, again.reason) == (True, '')


@pytest.mark.parametrize(
    ('behaviour', 'reason'),
    [
        ('die', 'node /driver died (exit code 3)'),
        ('deaf', 'the goal on goal_pose was not taken'),
        ('freeze', 'wall time-out: not done within 10 s'),
    ],
)
def test_a_broken_stack_is_brought_up_anew(run, stack, behaviour, reason):
    domain = stack.environment()['ROS_DOMAIN_ID']
    worker = stack._worker
    measurement = run(behaviour=behaviour)
    assert not measurement.valid
    assert measurement.reason.startswith(reason)
    assert not worker.alive
    again = run()
    assert (again.valid, again.reason) == (True, '')
    assert stack.environment()['ROS_DOMAIN_ID'] == domain


def test_two_nodes_of_one_name(run, stack, wait_until):
    command = [sys.executable, '-m', 'tl_adapt.testing.nodes', 'driver']
    with subprocess.Popen(command, env={**os.environ, **stack.environment()}) as stranger:
        reasons = []

        def refused():
            measurement = run()
            reasons.append(measurement.reason)
            return not measurement.valid

        try:
            wait_until(refused, deadline=20.0)
        finally:
            stranger.send_signal(signal.SIGINT)
    assert reasons[-1] == '2 nodes have the name /driver'
    wait_until(lambda: run().valid, deadline=20.0)


@pytest.fixture
def kill_in_mid_mission(stack, run, wait_until, monkeypatch):
    """Measure a mission that hangs half-way, and kill a process once it is there."""

    def measure(word, number=signal.SIGKILL):
        for name, value in stack.environment().items():
            monkeypatch.setenv(name, value)
        victim = next(p for p in descendants() if word in psutil.Process(p).cmdline())
        half_way = threading.Event()
        context = rclpy.Context()
        with rclpy.init(context=context):
            node = rclpy.create_node('observer', context=context, enable_rosout=False)

            def look(message):
                if message.pose.pose.position.x > 1.0:
                    half_way.set()

            node.create_subscription(Odometry, 'ground_truth', look, 10)
            executor = SingleThreadedExecutor(context=context)
            executor.add_node(node)

            def kill():
                wait_until(lambda: executor.spin_once(0.05) or half_way.is_set())
                os.kill(victim, number)

            killer = threading.Thread(target=kill)
            killer.start()
            try:
                return run(behaviour='freeze')
            finally:
                killer.join()
                executor.shutdown()
                node.destroy_node()

    return measure


def test_a_node_is_killed_in_mid_mission(kill_in_mid_mission, run):
    measurement = kill_in_mid_mission('driver')
    assert (measurement.valid, measurement.reason) == (False, 'node /driver died (SIGKILL)')
    again = run()
    assert (again.valid, again.reason) == (True, '')


@pytest.mark.parametrize(
    ('number', 'how'),
    [
        (signal.SIGKILL, 'SIGKILL'),
        (signal.SIGSEGV, r'SIGSEGV: File ".*", line \d+ in \w+'),
    ],
)
def test_the_worker_dies_in_mid_mission(
    kill_in_mid_mission, run, stack, wait_until, number, how
):
    stack.start()
    children = descendants()
    with pytest.raises(ApparatusError, match=rf'^the worker died \({how}\)$'):
        kill_in_mid_mission('tl_adapt.ros.worker', number)
    wait_until(lambda: all(gone(child) for child in children))
    assert run().valid


def test_outside_of_the_space(stack, study):
    with pytest.raises(InputError):
        stack.measure({**study.space.default(), 'speed': 7.0}, 1)
    with pytest.raises(InputError):
        stack.measure({'speed': 0.5}, 1)


def test_close_in_mid_measurement(study, wait_until):
    environment = StackEnvironment(study, 'simulation')
    others = set(descendants())
    environment.start()
    children = set(descendants()) - others
    results = []
    configuration = {**study.space.default(), 'behaviour': 'freeze'}
    thread = threading.Thread(
        target=lambda: results.append(environment.measure(configuration, 1))
    )
    thread.start()
    wait_until(environment._lock.locked)
    environment.close()
    thread.join(10.0)
    assert (results[0].valid, results[0].reason) == (False, 'the environment was closed')
    assert environment.measure(configuration, 1).reason == 'the environment was closed'
    wait_until(lambda: all(gone(child) for child in children))


def test_close_while_the_worker_is_being_started(study, monkeypatch):
    environment = StackEnvironment(study, 'simulation')
    made = []

    class Late:
        alive = True
        folder = ''

        def __init__(self, options, domain=None):
            made.append(self)
            self.closed = False
            # From another thread, which does not get past the lock that the measurement holds.
            closing = threading.Thread(target=environment.close, daemon=True)
            closing.start()
            closing.join(0.1)

        def ask(self, request, seconds):
            raise AssertionError('nothing may be asked after close')

        def close(self, *, gently):
            self.closed = True

    monkeypatch.setattr('tl_adapt.environments.stack.WorkerProcess', Late)
    measurement = environment.measure(study.space.default(), 1)
    assert (measurement.valid, measurement.reason) == (False, 'the environment was closed')
    assert [worker.closed for worker in made] == [True]


def edit(content, **changes):
    """Change a study's only environment."""
    content['environments']['simulation'].update(changes)


def add_ghost(content):
    content['metrics']['ghost'] = {
        'reduction': 'mean', 'topic': 'ghost', 'field': 'data', 'unit': '1',
        'direction': 'minimize',
    }


def add_wings(content):
    content['parameters']['wings'] = {
        'type': 'int', 'range': [0, 3], 'default': 2, 'targets': [{'node': 'driver'}],
    }


def drop_program(content):
    bringup = content['environments']['simulation']['bringup']
    edit(content, bringup=[{**bringup[0], 'command': ['/no/such/program']}, *bringup[1:]])


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (add_ghost, 'metric ghost: no message on topic ghost'),
        (add_wings, 'node /driver has no parameter wings'),
    ],
)
def test_a_study_that_does_not_fit_the_stack(small_study, change, reason):
    study = small_study(change)
    environment = StackEnvironment(study, 'simulation')
    try:
        measurement = environment.measure(study.space.default(), 1)
    finally:
        environment.close()
    assert not measurement.valid
    assert measurement.reason.startswith(reason)
    assert measurement.provenance['mismatch'] is True


def test_a_stack_that_does_not_come_up_measures_nothing(small_study):
    study = small_study(drop_program)
    environment = StackEnvironment(study, 'simulation')
    reason = 'the stack did not come up: world: /no/such/program does not start'
    try:
        for act in (environment.start, lambda: environment.measure(study.space.default(), 1)):
            with pytest.raises(ApparatusError, match=reason):
                act()
    finally:
        environment.close()


def test_a_simulator_that_does_not_answer_is_replaced(small_study):
    study = small_study(lambda content: content['mission'].update(wall_timeout=3.0))
    environment = StackEnvironment(study, 'simulation')
    others = set(descendants())
    try:
        environment.start()
        world = next(
            pid for pid in set(descendants()) - others
            if psutil.Process(pid).cmdline()[-1] == 'world'
        )
        os.kill(world, signal.SIGSTOP)
        measurement = measure_with_retry(environment, study.space.default(), 1)
    finally:
        environment.close()
    assert (measurement.valid, measurement.reason) == (True, '')
    failed = measurement.provenance['failed_before']
    assert failed == ['service pause_physics gave no answer within 3 s']
    assert gone(world)


def test_without_ros_there_is_one_clear_error(small_study, tmp_path, monkeypatch):
    (tmp_path / 'rclpy.py').write_text("raise ImportError('it is not there')\n")
    monkeypatch.setenv('PYTHONPATH', str(tmp_path), prepend=os.pathsep)
    study = small_study()
    environment = StackEnvironment(study, 'simulation')
    reason = 'environment simulation needs ROS 2, which can not be imported'
    try:
        for _ in range(2):
            with pytest.raises(TlAdaptError, match=reason) as caught:
                environment.measure(study.space.default(), 1)
            assert not isinstance(caught.value, ApparatusError)
    finally:
        environment.close()


def test_nothing_is_left_when_the_parent_is_killed(small_study, wait_until):
    study = small_study(
        lambda content: edit(
            content,
            bringup=[{
                'name': 'all', 'nodes': ['world', 'driver'],
                'command': ['{python}', '-m', 'tl_adapt.testing.nodes', 'launch'],
            }],
        )
    )
    code = (
        'import sys\n'
        'from tl_adapt.study import load_study\n'
        'from tl_adapt.environments.stack import StackEnvironment\n'
        'study = load_study(sys.argv[1])\n'
        "environment = StackEnvironment(study, 'simulation')\n"
        'environment.start()\n'
        'print(1, flush=True)\n'
        "environment.measure({**study.space.default(), 'behaviour': 'freeze'}, 1)\n"
    )
    command = [sys.executable, '-c', code, str(study.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b'1\n'
        family = descendants(parent.pid)
        # worker, launch, world, driver
        assert len(family) >= 4
        parent.kill()
    wait_until(lambda: all(gone(pid) for pid in family))


def simulator_entry(**entry):
    return lambda content: edit(content, simulator={'node': 'world', **entry})


def test_an_interface_that_is_found_is_as_good_as_named_services(small_study, stack, study):
    found = StackEnvironment(small_study(simulator_entry(interface='auto')), 'simulation')
    try:
        results = [e.measure(study.space.default(), 5) for e in (stack, found)]
    finally:
        found.close()
    for measurement in results:
        assert (measurement.valid, measurement.reason) == (True, '')
        measurement.metrics.pop('cpu')
    assert results[0].metrics == results[1].metrics


def test_an_entity_that_can_not_be_placed_ends_the_start(small_study):
    study = small_study(simulator_entry(interface='gazebo', entity='robot'))
    environment = StackEnvironment(study, 'simulation')
    try:
        with pytest.raises(ApparatusError, match='gazebo_msgs') as caught:
            environment.measure(study.space.default(), 1)
    finally:
        environment.close()
    assert 'the stack did not come up' in str(caught.value)
