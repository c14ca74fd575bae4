# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import math
from dataclasses import replace

import numpy as np
import pytest

from tl_adapt.demo.world import Box, World
from tl_adapt.errors import InputError
from tl_adapt.simulators.base import Command, Physics, SimulatorError
from tl_adapt.simulators.robot import Battery, Robot

pytest.importorskip('mujoco')

from tl_adapt.simulators.mujoco_sim import MujocoSimulator  # noqa: E402

PERIOD = 100_000_000
IDEAL = Physics(scan_noise=0.0, odometry_drift=0.0, odometry_noise=0.0)
TARGET = Physics(
    payload=0.8, floor_friction=0.25, motor_lag=0.12, scan_noise=0.03, odometry_drift=0.08
)
STOP = Command(0.0, 0.0)


@pytest.fixture(scope='module')
def simulator():
    return MujocoSimulator()


@pytest.fixture(scope='module')
def hall():
    t = 0.1
    walls = (
        Box(10 + t / 2, 0, 0, t, 20, 0.6, name='e'), Box(-10 - t / 2, 0, 0, t, 20, 0.6, name='w'),
        Box(0, 10 + t / 2, 0, 20, t, 0.6, name='n'), Box(0, -10 - t / 2, 0, 20, t, 0.6, name='s'),
    )  # fmt: skip
    return MujocoSimulator(World('hall', (20.0, 20.0), walls, ()))


def drive(simulator, commands, *, seed=0, start=(0.0, 0.0, 0.0), physics=IDEAL):
    """Give one command per period after a reset; return the samples."""
    simulator.set_physics(physics)
    simulator.reset(seed=seed, start=start)
    return [simulator.advance(PERIOD, [(simulator.time_ns, c)]) for c in commands]


def energy(samples):
    return sum(-s.voltage * s.current * 0.1 for s in samples)


def stop_and_go(acceleration, periods=100):
    speed, commands = 0.0, []
    for k in range(periods):
        wanted = 0.6 if (k // 6) % 2 == 0 else 0.0
        speed += min(max(wanted - speed, -acceleration * 0.1), acceleration * 0.1)
        commands.append(Command(speed, 0.0))
    return commands


def test_straight_drive_and_turn(hall):
    samples = drive(hall, [Command(0.3, 0.0)] * 50)
    assert samples[-1].pose[0] == pytest.approx(1.5, abs=0.05)
    assert abs(samples[-1].pose[1]) < 0.01
    assert samples[-1].twist[0] == pytest.approx(0.3, rel=0.06)
    turn = drive(hall, [Command(0.0, 1.0)] * 20)[-1]
    assert turn.pose[2] == pytest.approx(2.0, abs=0.15)
    assert turn.twist[1] == pytest.approx(1.0, rel=0.1)


def test_stands_still_without_a_command(hall):
    sample = drive(hall, [STOP] * 300, start=(1.0, 2.0, 0.5))[-1]
    np.testing.assert_allclose(sample.pose, [1.0, 2.0, 0.5], atol=2e-3)
    assert not sample.collision


def test_ideal_odometry_follows_the_truth_where_wheels_grip(hall):
    commands = [Command(min(0.02 * k, 0.3), 0.3) for k in range(60)]
    sample = drive(hall, commands, start=(1.0, 1.0, 0.0))[-1]
    truth = np.array(sample.pose) - [1.0, 1.0, 0.0]
    np.testing.assert_allclose(sample.odometry, truth, atol=0.05)


def test_drift_is_systematic(hall):
    straight = [Command(min(0.02 * k, 0.3), 0.0) for k in range(70)]
    right, wrong = (
        drive(hall, straight, physics=replace(IDEAL, odometry_drift=d))[-1] for d in (0.0, 0.08)
    )
    assert wrong.odometry[0] > right.odometry[0] * 1.03
    assert wrong.odometry[2] - right.odometry[2] == pytest.approx(
        0.08 * wrong.pose[0] * 1.08, rel=0.05
    )
    assert wrong.pose == right.pose


def test_same_seed_same_samples_bit_for_bit(simulator):
    commands = [Command(0.3, 0.5 * math.sin(k)) for k in range(40)]
    start = simulator.world.start
    runs = [drive(simulator, commands, seed=s, start=start, physics=TARGET) for s in (7, 7, 8)]
    other = drive(MujocoSimulator(), commands, seed=7, start=start, physics=TARGET)
    for a, b in ((runs[0], runs[1]), (runs[0], other)):
        for x, y in zip(a, b):
            assert replace(x, ranges=None) == replace(y, ranges=None)
            assert x.ranges.tobytes() == y.ranges.tobytes()
    assert not np.array_equal(runs[0][0].ranges, runs[2][0].ranges)
    assert runs[0][-1].odometry != runs[2][-1].odometry


def test_physics_set_and_set_back_leaves_no_trace(simulator):
    commands = [Command(0.3, 0.2)] * 10
    start = simulator.world.start
    first = drive(simulator, commands, start=start)[-1]
    drive(simulator, commands, start=start, physics=TARGET)
    assert drive(simulator, commands, start=start)[-1].pose == first.pose


def test_wheels_slip_on_a_smooth_floor(hall):
    def lost(physics, acceleration):
        sample = drive(hall, stop_and_go(acceleration), start=(-8, 0, 0), physics=physics)[-1]
        return sample.odometry[0] - (sample.pose[0] + 8), sample.pose[0] + 8

    smooth = replace(TARGET, odometry_drift=0.0, odometry_noise=0.0)
    nominal_gentle, nominal_hard = lost(IDEAL, 1.0), lost(IDEAL, 3.0)
    target_gentle, target_hard = lost(smooth, 1.0), lost(smooth, 3.0)
    assert nominal_hard[0] < 0.1
    assert target_gentle[0] < 0.1
    assert target_hard[0] > 0.25
    # Hard acceleration gets as far on the nominal floor, and less far on the smooth one.
    assert nominal_hard[1] > nominal_gentle[1] * 0.98
    assert target_hard[1] < target_gentle[1] * 0.92


def test_payload_and_lag_cost_energy_and_time(hall):
    commands = stop_and_go(1.0)
    nominal = drive(hall, commands, start=(-8, 0, 0))
    loaded = drive(hall, commands, start=(-8, 0, 0), physics=replace(IDEAL, payload=0.8))
    assert energy(loaded) > energy(nominal) * 1.1
    lagging = drive(hall, commands[:3], physics=replace(IDEAL, motor_lag=0.2))[-1]
    prompt = drive(hall, commands[:3])[-1]
    assert lagging.twist[0] < prompt.twist[0] * 0.8


def test_idle_energy_and_battery(hall):
    samples = drive(hall, [STOP] * 50)
    assert energy(samples) == pytest.approx(25.0, rel=1e-6)
    last = samples[-1]
    assert last.current < 0 < last.charge < last.capacity
    used = last.capacity - last.charge
    assert used * 3600 == pytest.approx(sum(-s.current * 0.1 for s in samples), rel=1e-6)
    hall.reset(seed=0, start=(0, 0, 0), keep_battery=True)
    assert hall.advance(PERIOD).charge < last.charge
    hall.reset(seed=0, start=(0, 0, 0))
    assert hall.advance(PERIOD).charge > last.charge


def test_battery_model():
    battery = Battery()
    voltage, current = battery.draw(20.0, 1.0)
    assert -voltage * current == pytest.approx(20.0)
    assert voltage < battery.full_voltage
    limit = Battery().draw(1e6, 1.0)
    assert all(map(math.isfinite, limit))
    empty = Battery(charge=0.0)
    assert empty.draw(5.0, 1.0) == (empty.empty_voltage, 0.0)


def test_empty_battery_stops_the_robot(hall):
    hall.set_physics(IDEAL)
    hall.reset(seed=0, start=(0, 0, 0))
    hall._sensors._battery.charge = 0.0
    for _ in range(5):
        sample = hall.advance(PERIOD, [(hall.time_ns, Command(0.3, 0.0))])
    assert abs(sample.pose[0]) < 0.01


def test_motor_power_is_never_won_back():
    robot = Robot()
    torque, speed = np.array([[0.1, -0.1]]), np.array([[-5.0, 5.0]])
    assert robot.motor_power(torque, speed)[0] > 1.0 / robot.efficiency
    assert robot.wheel_friction(0.8) > robot.wheel_friction(0.0)
    left, right = robot.wheel_speeds(5.0, 10.0)
    assert max(left, right) == pytest.approx(robot.speed_limit)


def test_lidar_matches_the_geometry(simulator):
    x, y, yaw = start = simulator.world.start
    ranges = drive(simulator, [STOP], start=start)[-1].ranges
    assert ranges.dtype == np.float32
    assert ranges.shape == (360,)
    angles = yaw + np.arange(360) * 2 * np.pi / 360
    hits = np.array([x, y]) + ranges[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(simulator.world.distance(hits), 0.0, atol=0.01)


def test_scan_noise_and_range(simulator, hall):
    start = simulator.world.start
    clean, noisy = (
        drive(simulator, [STOP], start=start, physics=replace(IDEAL, scan_noise=s))[-1].ranges
        for s in (0.0, 0.03)
    )
    assert np.std(noisy - clean) == pytest.approx(0.03, rel=0.2)
    far = drive(hall, [STOP])[-1].ranges
    assert np.isinf(far).all()
    near = drive(hall, [STOP], start=(9.88, 0, 0))[-1].ranges
    assert near.min() == np.float32(0.12)


def test_collision_is_felt_and_stops_the_robot(hall):
    samples = drive(hall, [Command(0.5, 0.0)] * 25, start=(9.2, 0.0, 0.0))
    assert not samples[5].collision
    assert samples[-1].collision
    assert samples[-1].pose[0] == pytest.approx(10 - 0.105, abs=0.02)


def test_commands_take_effect_at_their_time(hall):
    hall.set_physics(IDEAL)
    hall.reset(seed=0, start=(0, 0, 0), time_ns=5_000_000_000)
    now = hall.advance(PERIOD, [(5_100_000_000, Command(0.5, 0.0))])
    assert now.time_ns == 5_100_000_000
    assert abs(now.twist[0]) < 1e-3
    assert hall.advance(PERIOD, [(5_100_000_000, Command(0.5, 0.0))]).twist[0] > 0.3
    assert hall.advance(PERIOD).twist[0] > 0.45


def test_bad_input_is_refused(hall):
    for key, value in (
        ('payload', -0.1), ('floor_friction', math.nan), ('motor_lag', math.inf),
        ('scan_noise', 1.0), ('odometry_drift', 2.0),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f'{key}: must lie in .* got '):
            Physics(**{key: value})
    with pytest.raises(InputError, match='mass: must be one of'):
        Physics().changed(mass=1.0)
    for start in ((0, 0), (math.nan, 0, 0), (11, 0, 0), (9.95, 0, 0)):
        with pytest.raises(InputError, match='start: must be'):
            hall.reset(seed=0, start=start)
    with pytest.raises(InputError, match='multiple of the physics step'):
        hall.advance(PERIOD + 1)
    with pytest.raises(InputError, match='commands: must be finite'):
        hall.advance(PERIOD, [(0, Command(math.nan, 0.0))])
    with pytest.raises(InputError, match='physics_step: must lie in'):
        MujocoSimulator(physics_step=0.1)


def test_divergence_is_an_error_and_a_reset_mends_it(hall):
    hall.set_physics(IDEAL)
    hall.reset(seed=0, start=(0, 0, 0))
    hall._data.qvel[0] = math.nan
    with pytest.raises(SimulatorError, match='the physics diverged at .* NaN pose'):
        hall.advance(PERIOD)
    hall.reset(seed=0, start=(0, 0, 0))
    assert math.isfinite(hall.advance(PERIOD).pose[0])


def test_hard_driving_stays_finite(simulator):
    rng = np.random.default_rng(3)
    for physics in (Physics(), TARGET, Physics(payload=3.0, floor_friction=2.0, motor_lag=0.0)):
        commands = [Command(*c) for c in rng.uniform([-1, -8], [1, 8], (100, 2))]
        sample = drive(simulator, commands, start=simulator.world.start, physics=physics)[-1]
        assert all(map(math.isfinite, (*sample.pose, *sample.odometry)))
