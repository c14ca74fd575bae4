# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the conformance suite of ways to control a simulator, and of simulators.

A control and a simulator have to pass it together: derive a test class from SimulatorConformance
that says how the control is made, and let pytest run it between `begin` and `finish`.

    class TestMine(SimulatorConformance):
        @pytest.fixture(autouse=True)
        def simulator(self, spun_node):
            self.begin(spun_node)

Yield:
            self.finish()

        def make_control(self):
            return find_control(self.node, 'gazebo')

"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from tl_adapt.ros.simulator_control.base import FEATURES, ControlError, SimulatorControl
from tl_adapt.ros.simulator_control.place import place
from tl_adapt.simulators.base import EntityState
from tl_adapt.simulators.rotations import from_rpy, yaw_of
from tl_adapt.simulators.sdf import write_box
from tl_adapt.testing.conformance import require

_NAN = math.nan


class SimulatorConformance:
    """
    Check one control with one simulator; every method named `test_...` is one rule.

    The class attributes say what the simulator has and can do.
    """

    #: What the control must be able to do.
    features: Iterable[str] = FEATURES
    #: The robot, where it begins (x [m], y [m], yaw [rad]), and a free place elsewhere.
    robot = 'robot'
    start = (0.0, 0.0, 0.0)
    elsewhere = (1.0, 1.0, 1.0)
    #: A static entity of the world, and places in the world where nothing stands.
    static: str | None = None
    free = ((1.0, 0.0), (2.0, 0.0))
    #: Length of a step of the physics [s].
    step = 0.001
    #: Whether a reset removes what was spawned.
    reset_removes = True
    #: Whether a model with a mesh is refused.
    only_shapes = True
    #: m and rad to which a pose has to be kept.
    tolerance = 0.01
    #: s that anything may take.
    deadline = 20.0

    def make_control(self) -> SimulatorControl:
        """Return the control under test."""
        raise NotImplementedError

    def begin(self, node: Node) -> None:
        """Stand at the simulation's start, and listen with a node that another thread spins."""
        self.node = node
        self._times: list[float] = []
        self._listener = self.node.create_subscription(
            Clock, '/clock', lambda m: self._times.append(m.clock.sec + m.clock.nanosec / 1e9), 100
        )
        self.control = self.make_control()
        self.control.pause()
        self.control.reset()

    def finish(self) -> None:
        """Let the simulation stand still, and leave it."""
        self.control.pause()
        self.control.close()
        self.node.destroy_subscription(self._listener)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition holds."""
        end = time.monotonic() + self.deadline
        while not condition():
            require(time.monotonic() < end, what, f'nothing within {self.deadline} s')
            time.sleep(0.01)

    def refused(self, codes: Iterable[str], call: Callable[..., Any], *arguments: Any) -> None:
        """Require that a call raises ControlError with one of the codes, and says something."""
        try:
            answer = call(*arguments)
        except ControlError as error:
            require(error.code in codes, f'the code must be one of {codes}', error.code)
            require(len(str(error)) > 10, 'an error must say what was wrong', str(error))
        else:
            require(False, f'{arguments} must be refused', answer)

    def run_for(self, ticks: int) -> None:
        """Let time go on for so many messages of the clock."""
        self._times.clear()
        self.control.resume()
        self.wait(lambda: len(self._times) >= ticks, 'the clock must run after resume')
        self.control.pause()

    def near(self, name: str, pose: tuple[float, float, float], tolerance: float = 0.0) -> None:
        """Require that an entity stands at x, y, yaw."""
        tolerance = tolerance or self.tolerance
        state = self.control.state(name)
        off = math.dist(state.position[:2], pose[:2])
        require(off <= tolerance, f'{name} must stand within {tolerance} m of {pose}', state)
        turned = math.remainder(yaw_of(state.orientation) - pose[2], 2 * math.pi)
        require(abs(turned) <= tolerance, f'{name} must be turned as {pose}', state)

    def spawn(self, name: str, place: tuple[float, float], yaw: float = 0.0) -> None:
        """Spawn a box."""
        state = EntityState((*place, 0.0), from_rpy(0.0, 0.0, yaw))
        got = self.control.spawn(name, write_box(name, (0.2, 0.3, 0.4)), state)
        require(got == name, f'the name must be {name}', got)

    def test_it_says_what_it_can_do(self) -> None:
        """All features are known ones, and those that it should have are among them."""
        features = self.control.features()
        require(features <= set(FEATURES), f'features must be of {FEATURES}', features)
        for feature in self.features:
            require(feature in features, f'{feature} must be a feature', sorted(features))

    def test_time_stands_still_and_goes_on(self) -> None:
        """A pause stops the clock, twice is as good as once; so it is with going on."""
        self.run_for(5)
        self.control.pause()
        factor = self.control.real_time_factor(0.3)
        require(factor == 0.0, 'the real-time factor must be 0 in a pause', factor)
        self.control.resume()
        self.control.resume()
        factor = self.control.real_time_factor(0.5)
        require(factor > 0.0, 'the real-time factor must be positive', factor)

    def test_a_reset_puts_time_and_robot_back(self) -> None:
        """After a reset the clock begins anew and the robot stands at its start."""
        place(self.control, self.robot, self.elsewhere)
        self.run_for(20)
        late = self._times[-1]
        self.control.reset()
        self.near(self.robot, self.start)
        self.run_for(1)
        first = self._times[0]
        require(first < late, f'the clock must begin anew, it was at {late}', first)
        self.control.resume()
        self.control.reset()
        self.near(self.robot, self.start)

    def test_steps_are_exact(self) -> None:
        """So many steps are so much time, and time stands still before and after."""
        if 'step' not in self.control.features():
            self.refused(('unsupported',), self.control.step, 1)
            return
        self.run_for(2)
        self.control.step(0)
        self._times.clear()
        period = 2.0
        self.control.step(round(period / self.step))
        self.wait(lambda: bool(self._times), 'the clock must tell of steps')
        self.control.step(round(period / self.step))
        end = self._times[0] + period
        self.wait(lambda: self._times[-1] >= end - 1e-9, f'the clock must come to {end}')
        factor = self.control.real_time_factor(0.2)
        require(factor == 0.0, 'time must stand still after steps', factor)
        passed = self._times[-1] - self._times[0]
        require(passed < 2 * period, f'two times {period} s must not be longer', passed)
        self.control.resume()
        self.refused(('state',), self.control.step, 1)

    def test_entities_are_listed(self) -> None:
        """The robot is there, and each name comes once."""
        names = self.control.entities()
        require(self.robot in names, f'{self.robot} must be there', names)
        require(len(set(names)) == len(names), 'names must differ', names)
        require(self.static is None or self.static in names, f'{self.static} must be there', names)

    def test_the_robot_is_put_elsewhere(self) -> None:
        """A robot stands at once where it is put, paused or not, and stays there."""
        place(self.control, self.robot, self.elsewhere)
        self.near(self.robot, self.elsewhere)
        self.run_for(5)
        self.near(self.robot, self.elsewhere)
        self.control.resume()
        place(self.control, self.robot, self.start)
        self.near(self.robot, self.start)

    def test_a_box_is_spawned_and_deleted(self) -> None:
        """What was spawned is listed, stands where it should, and is gone when deleted."""
        pose = (*self.free[0], 0.5)
        self.spawn('box_1', self.free[0], 0.5)
        require('box_1' in self.control.entities(), 'box_1 must be there', self.control.entities())
        self.near('box_1', pose)
        self.run_for(3)
        self.near('box_1', pose)
        place(self.control, 'box_1', (*self.free[1], 0.0))
        self.near('box_1', (*self.free[1], 0.0))
        self.control.delete('box_1')
        require('box_1' not in self.control.entities(), 'box_1 must be gone', 'it is there')
        self.refused(('unknown', 'failed'), self.control.state, 'box_1')
        self.refused(('unknown', 'failed'), self.control.delete, 'box_1')
        self.spawn('box_1', self.free[0])
        self.control.delete('box_1')

    def test_a_reset_and_what_was_spawned(self) -> None:
        """A reset removes it, or puts it back to where it was spawned."""
        self.spawn('box_2', self.free[0])
        place(self.control, 'box_2', (*self.free[1], 0.0))
        self.control.reset()
        if self.reset_removes:
            names = self.control.entities()
            require('box_2' not in names, 'a reset must remove box_2', names)
            return
        self.near('box_2', (*self.free[0], 0.0))
        self.control.delete('box_2')

    def test_a_static_entity_is_moved_and_put_back(self) -> None:
        """What belongs to the world can be moved, and is back after a reset."""
        if self.static is None:
            return
        before = self.control.state(self.static)
        first = (*before.position[:2], yaw_of(before.orientation))
        place(self.control, self.static, (*self.free[0], 1.0))
        self.near(self.static, (*self.free[0], 1.0))
        self.control.reset()
        self.near(self.static, first)

    def test_what_can_not_be_spawned(self) -> None:
        """A name that is taken, no name, and what is no model of boxes are refused."""
        state, control = EntityState((*self.free[0], 0.0)), self.control
        names = control.entities()
        box = write_box('box_3', (0.2, 0.2, 0.2))
        self.refused(('exists', 'failed'), control.spawn, self.robot, box, state)
        nowhere = EntityState((_NAN, 0.0, 0.0))
        self.refused(('invalid', 'failed'), control.spawn, 'box_3', box, nowhere)
        for xml in ('', 'no model', '<sdf version="1.6">', '<sdf version="1.6"/>'):
            self.refused(
                ('parse', 'unsupported', 'failed', 'invalid'), control.spawn, 'box_3', xml, state
            )
        if self.only_shapes:
            mesh = box.replace('<box><size>0.2 0.2 0.2</size></box>', '<mesh/>')
            entities = '<!DOCTYPE sdf [<!ENTITY a "aaaa">]>' + box
            for xml in (mesh, entities):
                codes = ('parse', 'unsupported', 'failed')
                self.refused(codes, control.spawn, 'box_3', xml, state)
        require(control.entities() == names, 'refused models must not be there', names)

    def test_what_is_not_there_or_makes_no_sense(self) -> None:
        """Unknown names and states that are not finite are refused, and change nothing."""
        control = self.control
        somewhere = EntityState((*self.free[0], 0.0))
        before = control.state(self.robot)
        for name in ('nobody', ''):
            self.refused(('unknown', 'failed'), control.state, name)
            self.refused(('unknown', 'failed'), control.set_state, name, somewhere)
            self.refused(('unknown', 'failed'), control.delete, name)
        for state in (
            EntityState((_NAN, 0.0, 0.0)),
            EntityState((0.0, math.inf, 0.0)),
            EntityState((0.0, 0.0, 0.0), (0.0, 0.0, _NAN, 1.0)),
            EntityState((0.0, 0.0, 0.0), linear=(_NAN, 0.0, 0.0)),
        ):
            self.refused(('invalid', 'failed'), control.set_state, self.robot, state)
        after = control.state(self.robot)
        require(after == before, f'{before} must not change', after)
