# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of campaigns in a real Gazebo: isolation, faults, and what is left afterwards."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
import yaml

rclpy = pytest.importorskip('rclpy')

from tl_adapt.apparatus import SIMULATOR_FAILED, measure_with_retry  # noqa: E402
from tl_adapt.campaign import campaign_runs, run_campaign  # noqa: E402
from tl_adapt.environments.stack import StackEnvironment  # noqa: E402
from tl_adapt.store import Store  # noqa: E402
from tl_adapt.study import load_study, shipped_file  # noqa: E402
from tl_adapt.testing.faults import ServerFaults, servers  # noqa: E402

pytestmark = [pytest.mark.ros, pytest.mark.gazebo]

DETECTED = 5.0  # s of wall time
CONFIGURATIONS = 30
SHORT = [[-1.7, -2.3, 0.0]]


@pytest.fixture
def study(tmp_path):
    """Return the demo in Gazebo with a mission of a few seconds."""
    content = {
        'extends': str(shipped_file('demo_gazebo.yaml')),
        'mission': {'goals': SHORT, 'timeout': 20.0},
    }
    path = tmp_path / 'short.yaml'
    path.write_text(yaml.safe_dump(content))
    return load_study(path)


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f'{what}: not within {seconds} s'
        time.sleep(0.02)
    return value


@pytest.fixture
def whole(tmp_path):
    """
    Return the demo in Gazebo, whose mission takes more than 10 s and so leaves time to act.

    That time stands still is found earlier than that gzserver hangs, which is the better reason.
    """
    content = {
        'extends': str(shipped_file('demo_gazebo.yaml')),
        'environments': {'simulation': {'simulator': {'stall_timeout': 2.5}}},
    }
    path = tmp_path / 'whole.yaml'
    path.write_text(yaml.safe_dump(content))
    return load_study(path)


@contextlib.contextmanager
def environment(study):
    made = StackEnvironment(study, 'simulation')
    try:
        yield made
    finally:
        made.close()


def test_a_mission_in_gazebo_is_measured_as_one_in_the_embedded_simulator(study):
    with environment(study) as stack:
        measurement = stack.measure(study.space.default(), 1)
        assert len(servers()) == 1
    assert measurement.valid, measurement.reason
    assert set(measurement.metrics) == set(study.metrics)
    assert measurement.sim_time < 10.0
    assert not servers()


def hit_in_measurement(stack, server, number=signal.SIGKILL, *, later=0.0):
    """
    Send a signal to a server once the stack measures; return the thread that does.

    later: CPU time [s] that it uses before; each simulated second takes about 0.02 s.
    """

    def used():
        times = server.cpu_times()
        return times.user + times.system

    def kill():
        before = used()
        wait_for(stack._lock.locked, 10.0, 'a measurement')
        wait_for(lambda: used() >= before + later, 30.0, 'simulating')
        server.send_signal(number)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ('number', 'later', 'why'),
    [
        (signal.SIGKILL, 0.0, 'gzserver died (SIGKILL)'),
        (signal.SIGKILL, 0.06, 'gzserver died (SIGKILL)'),
        (signal.SIGSTOP, 0.06, 'gzserver hangs: no answer within'),
    ],
)
def test_a_server_that_is_lost_is_replaced_and_the_run_repeated(whole, number, later, why):
    with environment(whole) as stack:
        stack.start()
        killer = hit_in_measurement(stack, servers()[0], number, later=later)
        measurement = measure_with_retry(stack, whole.space.default(), 1)
        killer.join()
    assert measurement.valid, measurement.reason
    (reason,) = measurement.provenance['failed_before']
    assert 'simulator died' in reason and why in reason


def test_a_run_in_which_the_simulator_fails_too_often_is_invalid(study):
    with environment(study) as stack:
        stack.retries = 0
        stack.start()
        killer = hit_in_measurement(stack, servers()[0])
        measurement = measure_with_retry(stack, study.space.default(), 2)
        killer.join()
    assert not measurement.valid
    assert 'gzserver died (SIGKILL)' in measurement.reason
    assert measurement.provenance[SIMULATOR_FAILED] is True
    assert measurement.provenance['failed_before'] == [measurement.reason]


def test_nothing_is_lost_when_gzserver_is_killed_again_and_again(study, tmp_path):
    runs = campaign_runs(study, 'simulation', CONFIGURATIONS, seed=1)
    with Store(tmp_path / 'store.sqlite', study=study) as store:
        with ServerFaults(5, between=(3.0, 10.0)) as faults:
            result = run_campaign(study, 'simulation', runs, store, workers=2, progress=False)
        if result.unmeasured:  # a stack that was hit again and again while it came up
            result = run_campaign(study, 'simulation', runs, store, workers=2, progress=False)
        found = store.get()
    assert faults.killed + faults.stopped > 0
    assert result.unmeasured == 0
    assert len(found) == CONFIGURATIONS
    assert len({m.key for m in found}) == CONFIGURATIONS
    for m in found:
        assert m.valid or m.provenance.get(SIMULATOR_FAILED) or m.reason in (
            'collision', 'timeout'
        ), m.reason
    assert sum(m.valid for m in found) >= CONFIGURATIONS * 0.7
    wait_for(lambda: not servers(), DETECTED, 'the end of all servers')


def simulators(domain):
    """Return the names of the simulator nodes in a ROS domain, once there is one."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    try:
        node = rclpy.create_node('onlooker', context=context)

        def seen():
            return [name for name in node.get_node_names() if name == 'simulator']

        wait_for(seen, 20.0, f'a simulator in domain {domain}')
        wait_for(lambda: len(node.get_node_names()) >= 4, 20.0, 'the rest of its stack')
        return seen()
    finally:
        rclpy.shutdown(context=context)


def test_two_campaigns_side_by_side_do_not_see_each_other(study, tmp_path):
    both = []
    for name in ('one', 'two'):
        both.append(subprocess.Popen(
            [sys.executable, '-m', 'tl_adapt', 'campaign', str(study.path),
             '--configurations', '2', '--output', str(tmp_path / name), '--no-traces'],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ))
    try:
        seen = wait_for(
            lambda: [servers(p.pid) for p in both] if all(servers(p.pid) for p in both) else None,
            60.0, 'a server of each campaign',
        )
        surroundings = [found[0].environ() for found in seen]
        for key in ('ROS_DOMAIN_ID', 'GAZEBO_MASTER_URI', 'GZ_PARTITION', 'HOME'):
            assert surroundings[0][key] != surroundings[1][key], key
        for own in surroundings:
            assert simulators(int(own['ROS_DOMAIN_ID'])) == ['simulator']
        for process in both:
            out, _ = process.communicate(timeout=120.0)
            assert process.returncode == 0, out
            assert '2 measured' in out
    finally:
        for process in both:
            process.kill()
            process.wait()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_campaign_that_ends_early(study, tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, '-m', 'tl_adapt', 'campaign', str(study.path), '--workers', '2',
         '--output', str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )
    try:
        wait_for(lambda: len(servers(process.pid)) == 2, 60.0, 'two servers')
        family = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, number)
        process.wait(30.0)
        _, left = psutil.wait_procs(family, timeout=15.0)
        assert not [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    finally:
        process.kill()
        process.wait()
