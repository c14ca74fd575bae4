# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import math
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_adapt.simulators.base import (
    GROUND,
    ROBOT,
    Command,
    EntityError,
    EntityState,
    SimulatorError,
)
from tl_adapt.simulators.rotations import from_rpy, yaw_of
from tl_adapt.simulators.sdf import write_box

pytest.importorskip('mujoco')

from tl_adapt.simulators.mujoco_sim import MujocoSimulator  # noqa: E402

PERIOD = 100_000_000
BLOCK = write_box('block', (0.2, 0.2, 0.5))
HERE = EntityState((-1.5, -2.3, 0.0))


@pytest.fixture
def simulator():
    simulator = MujocoSimulator(beams=36)
    simulator.reset(seed=1, start=(-2.3, -2.3, 0.0))
    return simulator


def refused(call, *arguments):
    with pytest.raises(EntityError) as caught:
        call(*arguments)
    return caught.value.code


def drive(simulator, periods, speed=0.3, turn=0.0):
    return [
        simulator.advance(PERIOD, [(simulator.time_ns, Command(speed, turn))])
        for _ in range(periods)
    ]


def trace(samples):
    return [(s.time_ns, s.pose, s.odometry, s.voltage, s.ranges.tobytes()) for s in samples]


def test_what_there_is(simulator):
    names = simulator.entities()
    assert {ROBOT, GROUND, 'wall_east', 'crate', 'bin'} <= set(names)
    assert len(set(names)) == len(names)
    assert simulator.entity_state(GROUND) == EntityState((0.0, 0.0, 0.0))
    crate = simulator.entity_state('crate')
    assert crate.position == (-0.95, -0.75, 0.0)
    assert yaw_of(crate.orientation) == pytest.approx(0.5)
    assert refused(simulator.entity_state, 'moon') == 'unknown'


def test_the_state_of_the_robot_is_its_motion(simulator):
    still = simulator.entity_state(ROBOT)
    assert still.position == pytest.approx((-2.3, -2.3, 0.0), abs=1e-3)
    assert not still.moving
    (sample,) = drive(simulator, 10, 0.3, 0.5)[-1:]
    state = simulator.entity_state(ROBOT)
    assert state.position[:2] == pytest.approx(sample.pose[:2], abs=1e-3)
    assert yaw_of(state.orientation) == pytest.approx(sample.pose[2])
    assert state.angular[2] == pytest.approx(sample.twist[1], abs=0.01)
    assert math.hypot(*state.linear[:2]) == pytest.approx(sample.twist[0], abs=0.02)


def test_a_spawned_solid_is_seen_and_stops_the_robot(simulator):
    free = drive(simulator, 1)[0].ranges[0]
    simulator.spawn('block', BLOCK, HERE)
    assert simulator.entities().count('block') == 1
    assert simulator.entity_state('block') == HERE
    samples = drive(simulator, 40)
    assert samples[0].ranges[0] == pytest.approx(0.7, abs=0.1)
    assert free > 1.5
    assert samples[-1].collision
    assert samples[-1].pose[0] < -1.6
    simulator.delete('block')
    assert 'block' not in simulator.entities()
    assert drive(simulator, 20)[-1].pose[0] > -1.5


def test_the_robot_goes_on_as_it_was(simulator):
    other = MujocoSimulator(beams=36)
    other.reset(seed=1, start=(-2.3, -2.3, 0.0))
    drive(simulator, 7, 0.3, 0.4), drive(other, 7, 0.3, 0.4)
    far = EntityState((2.5, -2.5, 0.0))
    simulator.spawn('block', BLOCK, far)
    simulator.set_entity_state('block', EntityState((2.6, -2.6, 0.0)))
    simulator.delete('block')
    assert trace(drive(simulator, 20, 0.2, -0.5)) == trace(drive(other, 20, 0.2, -0.5))


def test_reset_puts_back_what_was_moved_and_keeps_what_was_spawned(simulator):
    names = simulator.entities()
    first = trace(drive(simulator, 30))
    crate = simulator.entity_state('crate')
    simulator.set_entity_state('crate', EntityState((-1.5, -2.3, 0.0), from_rpy(0, 0, 1.0)))
    simulator.spawn('block', BLOCK, EntityState((2.5, -2.5, 0.0)))
    simulator.set_entity_state('block', EntityState((2.0, -2.5, 0.0)))
    simulator.delete('bin')
    simulator.reset(seed=1, start=(-2.3, -2.3, 0.0))
    assert simulator.entity_state('crate') == crate
    assert simulator.entity_state('block') == EntityState((2.5, -2.5, 0.0))
    assert 'bin' not in simulator.entities()
    simulator.restore_entities(deleted=False)
    assert set(names) - set(simulator.entities()) == {'bin'}
    simulator.restore_entities()
    assert simulator.entities() == names
    simulator.reset(seed=1, start=(-2.3, -2.3, 0.0))
    assert trace(drive(simulator, 30)) == first


def test_a_restored_solid_takes_back_its_name(simulator):
    simulator.delete('bin')
    simulator.spawn('bin', BLOCK, HERE)
    simulator.restore_entities()
    assert simulator.entity_state('bin').position == (-1.0, -1.65, 0.0)


def test_the_robot_is_put_elsewhere(simulator):
    before = drive(simulator, 10)[-1]
    simulator.set_entity_state(ROBOT, EntityState((1.0, 2.2, 0.0), from_rpy(0, 0, 2.0)))
    state = simulator.entity_state(ROBOT)
    assert state.position == pytest.approx((1.0, 2.2, 0.0), abs=1e-3)
    assert yaw_of(state.orientation) == pytest.approx(2.0)
    assert not state.moving
    after = drive(simulator, 1, 0.0)[-1]
    assert after.time_ns == before.time_ns + PERIOD
    assert after.pose[:2] == pytest.approx((1.0, 2.2), abs=0.002)
    assert after.odometry[0] == pytest.approx(before.odometry[0], abs=0.02)
    assert 0 < before.charge - after.charge < 1e-4


def test_the_robot_is_put_in_motion(simulator):
    state = EntityState((0.0, -2.4, 0.0), (0.0, 0.0, 0.0, 1.0), (0.3, 0.0, 0.0), (0.0, 0.0, 0.4))
    simulator.set_entity_state(ROBOT, state)
    now = simulator.entity_state(ROBOT)
    assert now.linear == pytest.approx((0.3, 0.0, 0.0), abs=0.01)
    assert now.angular == pytest.approx((0.0, 0.0, 0.4), abs=0.01)
    assert drive(simulator, 1, 0.3, 0.4)[0].twist == pytest.approx((0.3, 0.4), abs=0.04)


def test_the_robot_falls(simulator):
    lifted = EntityState((0.0, -2.4, 0.3), from_rpy(2.0, 0.0, 0.0))
    simulator.set_entity_state(ROBOT, lifted)
    assert simulator.entity_state(ROBOT).position == pytest.approx(lifted.position)
    assert simulator.entity_state(ROBOT).orientation == pytest.approx(lifted.orientation)
    with pytest.raises(SimulatorError, match='the robot has fallen over'):
        drive(simulator, 20, 0.0)
    assert simulator.entity_state(ROBOT).position[2] < 0.3


@pytest.mark.parametrize(
    ('name', 'state', 'code'),
    [
        (ROBOT, EntityState((math.nan, 0.0, 0.0)), 'invalid'),
        (ROBOT, EntityState((9.0, 0.0, 0.0)), 'invalid'),
        (ROBOT, EntityState((0.0, 0.0, -1.0)), 'invalid'),
        (ROBOT, EntityState((0.0, 0.0, 5.0)), 'invalid'),
        (ROBOT, EntityState((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)), 'invalid'),
        (ROBOT, EntityState((0.0, 0.0, 0.0), linear=(math.inf, 0.0, 0.0)), 'invalid'),
        ('crate', EntityState((0.0, math.inf, 0.0)), 'invalid'),
        ('crate', EntityState((0.0, 1e4, 0.0)), 'invalid'),
        ('crate', EntityState((0.0, 0.0, 0.0), linear=(0.1, 0.0, 0.0)), 'unsupported'),
        (GROUND, EntityState((0.0, 0.0, 0.0)), 'unsupported'),
        ('moon', EntityState((0.0, 0.0, 0.0)), 'unknown'),
    ],
)
def test_refused_states_change_nothing(simulator, name, state, code):
    before = [simulator.entity_state(n) for n in simulator.entities()]
    assert refused(simulator.set_entity_state, name, state) == code
    assert [simulator.entity_state(n) for n in simulator.entities()] == before


def test_refused_names(simulator):
    for name, code in (
        ('crate', 'exists'), (ROBOT, 'exists'), (GROUND, 'exists'),
        ('', 'name'), ('a::b', 'name'), ('a\nb', 'name'),
    ):  # fmt: skip
        assert refused(simulator.spawn, name, BLOCK, HERE) == code
    assert refused(simulator.spawn, 'block', '<sdf/>', HERE) == 'unsupported'
    assert refused(simulator.spawn, 'block', '<sdf>', HERE) == 'parse'
    for name, code in ((ROBOT, 'unsupported'), (GROUND, 'unsupported'), ('moon', 'unknown')):
        assert refused(simulator.delete, name) == code


COORDINATES = st.floats(-200.0, 200.0)
SIZES = st.floats(0.00005, 1100.0)
ONE = MujocoSimulator(beams=4)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(['box', 'cylinder', 'sphere']),
    st.lists(SIZES, min_size=3, max_size=3),
    st.tuples(COORDINATES, COORDINATES, COORDINATES),
    st.tuples(*[st.floats(-1.0, 1.0)] * 4),
)
def test_any_shape_is_spawned_or_refused(kind, sizes, position, orientation):
    text = {
        'box': f'<size>{sizes[0]} {sizes[1]} {sizes[2]}</size>',
        'cylinder': f'<radius>{sizes[0]}</radius><length>{sizes[1]}</length>',
        'sphere': f'<radius>{sizes[0]}</radius>',
    }[kind]
    old = '<box><size>0.2 0.2 0.5</size></box>'
    sdf = BLOCK.replace(old, f'<{kind}>{text}</{kind}>')
    state = EntityState(position, orientation)
    try:
        ONE.spawn('block', sdf, state)
    except EntityError as error:
        assert error.code in ('invalid', 'parse')
        assert 'block' not in ONE.entities()
        return
    assert ONE.entity_state('block').position == position
    ONE.delete('block')


def test_what_the_engine_refuses_is_not_there(simulator, monkeypatch):
    def refuse(_):
        raise ValueError('no')

    broken = SimpleNamespace(MjModel=SimpleNamespace(from_xml_string=refuse))
    monkeypatch.setattr(simulator, '_mj', broken)
    assert refused(simulator.spawn, 'block', BLOCK, HERE) == 'unsupported'
    assert 'block' not in simulator.entities()
