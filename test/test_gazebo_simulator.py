# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the robot in a real Gazebo."""

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.simulators.base import (
    GROUND,
    ROBOT,
    Command,
    EntityError,
    EntityState,
    Physics,
    SimulatorError,
)
from tl_adapt.simulators.gazebo import server as server_module
from tl_adapt.simulators.gazebo.server import Server, free_port
from tl_adapt.simulators.gazebo.simulator import GazeboSimulator, require_gazebo
from tl_adapt.simulators.sdf import write_box

pytestmark = pytest.mark.gazebo

PERIOD = 100_000_000
START = (-2.3, -2.3, 0.6)
DETECTED = 5.0  # s of wall time


@contextlib.contextmanager
def gazebo(**options):
    simulator = GazeboSimulator(**options)
    try:
        yield simulator
    finally:
        simulator.close()


@pytest.fixture(scope='module')
def simulator():
    with gazebo(beams=36) as made:
        yield made


@pytest.fixture
def robot(simulator):
    """Return the simulator with its world and robot as at first."""
    simulator.restore_entities()
    simulator.set_physics(Physics())
    simulator.reset(seed=1, start=START)
    return simulator


def until(condition):
    end = time.monotonic() + DETECTED
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def drive(simulator, periods, linear, angular=0.0):
    return [
        simulator.advance(PERIOD, [(simulator.time_ns, Command(linear, angular))])
        for _ in range(periods)
    ]


def trace(samples):
    return [(s.time_ns, s.pose, s.odometry, s.voltage, s.ranges.tobytes()) for s in samples]


def wander(simulator, periods=100):
    result = []
    for n in range(periods):
        result += drive(simulator, 1, 0.3, 0.8 * math.sin(n / 9))
    return trace(result)


def test_a_run_repeats_bit_by_bit_after_a_restart():
    with gazebo(exact_reset=True) as simulator:
        runs = []
        for seed in (3, 4, 3):
            simulator.reset(seed=seed, start=START)
            runs.append(wander(simulator))
        simulator.exact_reset = False
        simulator.reset(seed=3, start=START)
        near = wander(simulator)
    assert runs[0] == runs[2]
    assert runs[0] != runs[1]  # the noise differs
    assert near[-1][1] == pytest.approx(runs[0][-1][1], abs=0.05)


def test_it_drives_as_told(robot):
    x, y, yaw = drive(robot, 30, 0.3)[-1].pose
    travelled = math.hypot(x - START[0], y - START[1])
    assert travelled == pytest.approx(0.9, abs=0.05)
    assert yaw == pytest.approx(START[2], abs=0.03)
    robot.reset(seed=1, start=START)
    assert drive(robot, 20, 0.0, 1.0)[-1].pose[2] - START[2] == pytest.approx(2.0, abs=0.12)


def test_it_is_the_robot_that_mujoco_simulates(robot):
    mujoco_sim = pytest.importorskip('tl_adapt.simulators.mujoco_sim')
    pytest.importorskip('mujoco')
    other = mujoco_sim.MujocoSimulator(beams=36)
    other.reset(seed=1, start=START)
    here, there = (drive(s, 30, 0.3, 0.3) for s in (robot, other))
    assert here[-1].pose == pytest.approx(there[-1].pose, abs=0.05)
    energy = [-sum(s.voltage * s.current for s in run) for run in (here, there)]
    assert energy[0] == pytest.approx(energy[1], rel=0.1)
    wait = EntityState((0.0, -2.4, 0.0))
    scans = []
    for s in (robot, other):
        s.set_physics(Physics(scan_noise=0.0))
        s.set_entity_state(ROBOT, wait)
        scans.append(s.advance(PERIOD).ranges)
    assert np.nanmax(np.abs(scans[0] - scans[1])) < 0.05


def test_physics_changes_what_it_should(robot):
    def energy_and_way(**physics):
        robot.set_physics(Physics(**physics))
        robot.reset(seed=1, start=START)
        samples = drive(robot, 20, 0.3)
        power = -sum(s.voltage * s.current for s in samples)
        return power, math.dist(samples[-1].pose[:2], START[:2])

    plain, heavy = energy_and_way(), energy_and_way(payload=2.0)
    lazy, icy = energy_and_way(motor_lag=0.8), energy_and_way(floor_friction=0.02)
    assert heavy[0] > plain[0] * 1.1
    assert lazy[1] < plain[1] - 0.1
    assert icy[1] < plain[1] - 0.02


def test_the_hull_feels_a_wall(robot):
    robot.set_entity_state(ROBOT, EntityState((0.0, -2.6, 0.0), (0.0, 0.0, -0.70711, 0.70711)))
    assert any(s.collision for s in drive(robot, 15, 0.3))
    robot.reset(seed=1, start=START)
    assert not any(s.collision for s in drive(robot, 5, 0.1))


def test_the_battery_runs_empty_and_time_may_go_on(robot):
    robot.reset(seed=1, start=START, time_ns=5 * PERIOD)
    sample = robot.advance(PERIOD)
    assert sample.time_ns == 6 * PERIOD
    assert sample.linear_acceleration == pytest.approx((0.0, 0.0, 9.81), abs=0.5)
    robot._sensors._battery.charge = 0.0
    assert abs(drive(robot, 10, 0.3)[-1].twist[0]) < 0.02


def test_models_come_move_and_go(robot):
    assert {GROUND, ROBOT, 'crate', 'wall_east'} <= set(robot.entities())
    robot.set_physics(Physics(scan_noise=0.0))
    robot.reset(seed=1, start=(0.0, 2.5, 0.0))
    before = robot.advance(PERIOD)
    assert before.ranges[0] == pytest.approx(3.0, abs=0.05)
    robot.spawn('block', write_box('anything', (0.2, 0.2, 0.6)), EntityState((0.7, 2.5, 0.0)))
    after = robot.advance(PERIOD)
    assert after.ranges[0] == pytest.approx(0.6, abs=0.05)
    assert after.pose == pytest.approx(before.pose, abs=1e-3)
    assert after.time_ns == before.time_ns + PERIOD
    robot.set_entity_state('block', EntityState((1.2, 2.5, 0.0)))
    assert robot.advance(PERIOD).ranges[0] == pytest.approx(1.1, abs=0.05)
    robot.delete('block')
    assert robot.advance(PERIOD).ranges[0] == pytest.approx(3.0, abs=0.05)
    robot.delete('crate')
    assert 'crate' not in robot.entities()
    robot.restore_entities()
    assert 'crate' in robot.entities() and 'block' not in robot.entities()


def test_spawned_and_deleted_models_outlast_an_exact_reset():
    with gazebo(beams=4, exact_reset=True) as simulator:
        simulator.spawn('block', write_box('x', (0.2, 0.2, 0.6)), EntityState((0.7, 2.5, 0.0)))
        simulator.delete('crate')
        simulator.reset(seed=1, start=(0.0, 2.5, 0.0))
        assert simulator.advance(PERIOD).ranges[0] == pytest.approx(0.6, abs=0.1)
        names = simulator.entities()
    assert 'block' in names and 'crate' not in names


@pytest.mark.parametrize(
    ('act', 'code'),
    [
        (lambda s: s.spawn('crate', write_box('x', (1, 1, 1)), EntityState((1, 1, 1))), 'exists'),
        (lambda s: s.spawn('new', '<sdf', EntityState((1.0, 1.0, 1.0))), 'parse'),
        (lambda s: s.delete('nothing'), 'unknown'),
        (lambda s: s.delete(ROBOT), 'unsupported'),
        (lambda s: s.entity_state('nothing'), 'unknown'),
        (lambda s: s.set_entity_state(ROBOT, EntityState((math.nan, 0.0, 0.0))), 'invalid'),
        (lambda s: s.set_entity_state(ROBOT, EntityState((50.0, 0.0, 0.0))), 'invalid'),
    ],
)
def test_what_is_refused_changes_nothing(robot, act, code):
    before = robot.entities(), robot.entity_state(ROBOT)
    with pytest.raises(EntityError) as caught:
        act(robot)
    assert caught.value.code == code
    assert (robot.entities(), robot.entity_state(ROBOT)) == before


@pytest.mark.parametrize('options', [{'physics_step': 0.01}, {'beams': 0}])
def test_bad_options(options):
    with pytest.raises(InputError, match='must lie in'):
        GazeboSimulator(**options)


def test_a_robot_that_falls_over_ends_the_simulation():
    with gazebo(beams=4) as simulator:
        tipped = EntityState((0.0, -2.4, 0.3), (0.7071, 0.0, 0.0, 0.7071))
        simulator.set_entity_state(ROBOT, tipped)
        with pytest.raises(SimulatorError, match='the robot has fallen over'):
            drive(simulator, 20, 0.0)


def test_a_physics_that_explodes_ends_the_simulation():
    with gazebo(beams=4) as simulator:
        simulator._put(ROBOT, EntityState((0.0, -2.4, 0.0), linear=(1e4, 0.0, 1e4)))
        with pytest.raises(SimulatorError, match='the physics diverged'):
            drive(simulator, 3, 0.0)


@pytest.mark.parametrize(
    ('number', 'act', 'text'),
    [
        (signal.SIGKILL, 'drive', r'gzserver died \(SIGKILL\)'),
        (signal.SIGKILL, 'check', r'gzserver died \(SIGKILL\)'),
        (signal.SIGSTOP, 'drive', 'gzserver hangs: no answer within'),
        (signal.SIGSTOP, 'check', 'gzserver hangs: no answer within'),
    ],
)
def test_a_server_that_is_lost_is_noticed_in_time(number, act, text):
    with gazebo(beams=4) as simulator:
        process = psutil.Process(simulator.server.pid)
        process.send_signal(number)
        if number == signal.SIGSTOP:
            until(lambda: process.status() == psutil.STATUS_STOPPED)
        begun = time.monotonic()
        with pytest.raises(SimulatorError, match=text):
            drive(simulator, 1, 0.1) if act == 'drive' else simulator.check()
        assert time.monotonic() - begun < DETECTED
    assert not process.is_running()


def world_text():
    with gazebo(beams=4) as simulator:
        return simulator._text


def test_a_port_that_is_taken_is_left_to_its_owner():
    text = world_text()
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        number = taken.getsockname()[1]
        ports = [number, free_port()]
        server = Server(require_gazebo(), text, port=lambda: ports.pop(0))
        try:
            assert server.port != number and not ports
        finally:
            server.close()
        with pytest.raises(SimulatorError, match='gzserver died at its start'):
            Server(require_gazebo(), text, port=lambda: number)


def test_a_world_without_our_robot_is_refused(monkeypatch):
    monkeypatch.setattr(server_module, '_START', 20.0)
    text = world_text().replace('name="robot"', 'name="other"')
    with pytest.raises(SimulatorError, match='the world has no robot'):
        Server(require_gazebo(), text)


def test_two_servers_do_not_see_each_other():
    with gazebo(beams=4) as one, gazebo(beams=4) as two:
        assert one.server.port != two.server.port
        one.delete('crate')
        assert 'crate' in two.entities()
        drive(one, 5, 0.3)
        assert two.advance(PERIOD).pose == pytest.approx(load_start(two), abs=1e-3)


def load_start(simulator):
    return simulator.world.start


def test_the_server_ends_with_a_killed_parent():
    code = (
        'from tl_adapt.simulators.gazebo.simulator import GazeboSimulator\n'
        'import time\n'
        's = GazeboSimulator(beams=4)\n'
        'print(s.server.pid, flush=True)\n'
        'time.sleep(60)\n'
    )
    parent = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    try:
        process = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        psutil.wait_procs([process], timeout=DETECTED)
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    finally:
        parent.kill()
        parent.wait()


def test_without_gazebo_there_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('TL_ADAPT_GAZEBO', raising=False)
    require_gazebo.cache_clear()
    try:
        with pytest.raises(TlAdaptError, match='run make gazebo'):
            GazeboSimulator()
    finally:
        require_gazebo.cache_clear()
    assert os.environ['PATH'] == str(tmp_path)
