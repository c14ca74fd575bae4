# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what every physics engine with our robot in it has in common."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence

import numpy as np

from tl_adapt.demo.world import World, load_world
from tl_adapt.errors import InputError
from tl_adapt.simulators.base import (
    ROBOT,
    Command,
    EntityError,
    EntityState,
    Physics,
    Sample,
    SimulatorError,
    finite,
)
from tl_adapt.simulators.robot import Robot
from tl_adapt.simulators.scene import Scene, checked
from tl_adapt.simulators.sensors import Sensors, Truth

SETTLE = 0.2  # s in which the robot comes to rest on the floor after a reset
MIN_LAG = 1e-4  # s; a filter needs a time constant
_ABOVE = 2.0  # m above the floor to which the robot may be lifted
_FALLEN = math.radians(60)  # tilt from which the robot does not come up again


class Engine(abc.ABC):
    """
    Simulate the robot with contacts, slip, motor lag, battery, encoders and lidar.

    Follows the protocol `Simulator`. All sensors are ideal but for what `physics` adds.
    """

    #: Name, as the simulator node's parameter `engine` has it.
    name: str
    #: Whether a reset has to repeat a run bit by bit, where that costs time.
    exact_reset: bool = False
    #: Shortest and longest physics step [s] at which the robot drives as it should.
    steps: tuple[float, float]

    def __init__(
        self,
        world: World | None = None,
        *,
        physics: Physics | None = None,
        robot: Robot | None = None,
        physics_step: float = 0.002,
        beams: int = 360,
    ) -> None:
        """
        Keep the description; physics_step: [s]; beams: lidar beams over the full circle.

        Raises InputError for a bad step or number.
        """
        low, high = self.steps
        if not low <= physics_step <= high:
            rule = f'must lie in [{low:g}, {high:g}] s for the engine {self.name}'
            raise InputError(rule, key='physics_step', value=physics_step)
        if not 1 <= beams <= 4096:
            raise InputError('must lie in [1, 4096]', key='beams', value=beams)
        self.world = world or load_world()
        self.robot = robot or Robot()
        self.physics = physics or Physics()
        self.range_min, self.range_max = self.robot.range_min, self.robot.range_max
        self._beams = beams
        self._step_ns = round(physics_step * 1e9)
        self._sensors = Sensors(self.robot)
        self._scene = Scene(self.world)
        self._command = Command(0.0, 0.0)
        self._time_ns = 0

    @property
    def about(self) -> str:
        """Return what runs, for a log."""
        return self.name

    @property
    def time_ns(self) -> int:
        """Return the simulated time [ns]."""
        return self._time_ns

    @property
    def step_ns(self) -> int:
        """Return the physics step [ns]."""
        return self._step_ns

    @abc.abstractmethod
    def set_physics(self, physics: Physics) -> None:
        """Change the physics at once, in the running world."""

    @abc.abstractmethod
    def _place(self, x: float, y: float, yaw: float, seed: int) -> None:
        """Put the robot at rest there, settled on its wheels, with the engine's own seed."""

    @abc.abstractmethod
    def _simulate(self, steps: int, commands: list[tuple[int, Command]]) -> Truth:
        """Step the physics; commands: (step from which it holds, Command), sorted."""

    @abc.abstractmethod
    def _robot_state(self) -> EntityState:
        """Return the robot's true state."""

    @abc.abstractmethod
    def _put_robot(self, state: EntityState) -> None:
        """Put the robot elsewhere; the state has been checked."""

    @abc.abstractmethod
    def _scene_changed(self) -> None:
        """Let the solids stand as the scene says; the robot goes on as it was."""

    def check(self) -> None:  # noqa: B027 - most engines can not be lost
        """Raise SimulatorError if the simulation can not go on."""

    def close(self) -> None:  # noqa: B027 - most engines have nothing to end
        """End what the engine runs in; a second call does nothing."""

    def reset(
        self, *, seed: int, start: Sequence[float], keep_battery: bool = False, time_ns: int = 0
    ) -> None:
        """
        Put the robot at rest at `start` (x, y, yaw), and begin all random streams anew.

        Raises InputError for a start that is not finite or not in the room.
        """
        x, y, yaw = self.check_start(start)
        if seed < 0:
            raise InputError('must not be negative', key='seed', value=seed)
        if self._scene.reset():
            self._scene_changed()
        self._place(x, y, yaw, seed)
        self._sensors.reset(seed=seed, keep_battery=keep_battery)
        self._command = Command(0.0, 0.0)
        self._time_ns = time_ns

    def check_start(self, start: Sequence[float]) -> tuple[float, float, float]:
        """Return (x, y, yaw); raises InputError unless the robot has room to stand there."""
        if len(start) != 3 or not finite(start):
            raise InputError('must be three finite numbers', key='start', value=list(start))
        x, y, yaw = (float(v) for v in start)
        inside = abs(x) < self.world.size[0] / 2 and abs(y) < self.world.size[1] / 2
        if not inside or self.world.distance(np.array([x, y]))[0] <= self.robot.hull_radius:
            raise InputError('must be a free place in the room', key='start', value=list(start))
        return x, y, yaw

    def advance(self, duration_ns: int, commands: Sequence[tuple[int, Command]] = ()) -> Sample:
        """
        Simulate `duration_ns`, then read the sensors.

        commands: (time [ns], Command) sorted by time; each holds from the first step on that
        begins at or after its time.
        Raises SimulatorError if the simulation can not go on, InputError for a duration that
        is not a multiple of the physics step or for a command that is not finite.
        """
        steps, rest = divmod(duration_ns, self._step_ns)
        if rest or steps < 1:
            rule = f'must be a positive multiple of the physics step of {self._step_ns} ns'
            raise InputError(rule, key='duration_ns', value=duration_ns)
        if not all(finite(command) for _, command in commands):
            raise InputError('must be finite', key='commands', value=list(commands))
        orders = [(-(-(at - self._time_ns) // self._step_ns), c) for at, c in commands]
        orders = [(max(step, 0), command) for step, command in orders if step < steps]
        if self._sensors.battery_empty:
            orders, self._command = [], Command(0.0, 0.0)
        truth = self._simulate(steps, [(0, self._command), *orders])
        if orders:
            self._command = orders[-1][1]
        self._time_ns += duration_ns
        self._check(truth)
        return self._sensors.read(
            truth, self.physics, time_ns=self._time_ns, seconds=duration_ns / 1e9
        )

    # --- entities -----------------------------------------------------------------------------

    def entities(self) -> list[str]:
        """Return the names of all entities."""
        return self._scene.names()

    def entity_state(self, name: str) -> EntityState:
        """Return the state; raises EntityError for an unknown name."""
        return self._robot_state() if name == ROBOT else self._scene.state(name)

    def set_entity_state(self, name: str, state: EntityState) -> None:
        """Put an entity elsewhere at once; raises EntityError if that is refused."""
        if name != ROBOT:
            self._change(lambda: self._scene.move(name, state))
            return
        state = checked(state)
        x, y, z = state.position
        limit = [side / 2 for side in self.world.size]
        if abs(x) >= limit[0] or abs(y) >= limit[1] or not -0.01 <= z <= _ABOVE:
            rule = f'the robot must stay in the room and at most {_ABOVE:g} m above its floor'
            raise EntityError('invalid', f'{rule}, got {state.position}')
        self._put_robot(state)
        self._sensors.moved(state.linear)

    def spawn(self, name: str, sdf_xml: str, state: EntityState) -> None:
        """Add a static solid described in SDF; raises EntityError if it is refused."""
        self._change(lambda: self._scene.add(name, sdf_xml, state))

    def delete(self, name: str) -> None:
        """Remove a solid; raises EntityError if that is refused."""
        self._change(lambda: self._scene.remove(name))

    def restore_entities(self, *, deleted: bool = True) -> None:
        """Remove what was spawned and, if `deleted`, bring back the world's deleted solids."""
        self._change(lambda: self._scene.restore(deleted))

    def _change(self, action: Callable[[], object]) -> None:
        """Change the scene, and the engine's world with it; both stay as they are if refused."""
        before = self._scene.solids()
        action()
        if before == self._scene.solids():
            return
        try:
            self._scene_changed()
        except EntityError:
            self._scene.restore_to(before)
            raise

    def _motor_speeds(self, command: Command) -> list[float]:
        """Return what the wheels' speed controllers are told for a command [rad/s]."""
        return [self.robot.controller_speed(s) for s in self.robot.wheel_speeds(*command)]

    def _check(self, truth: Truth) -> None:
        """Raise SimulatorError unless the robot stands in the room on its wheels."""
        limit = max(self.world.size) + 1.0
        at = f'{self._time_ns / 1e9:.3f} s'
        state = (*truth.position, *truth.orientation, *truth.linear, truth.speeds.sum())
        if not finite(state):
            raise SimulatorError(f'the physics diverged at {at}: NaN pose')
        if max(map(abs, truth.position)) > limit or max(map(abs, truth.linear)) > 50.0:
            where = [round(float(v), 3) for v in truth.position]
            raise SimulatorError(f'the physics diverged at {at}: robot at {where} m')
        if truth.tilt > _FALLEN:
            angle = math.degrees(truth.tilt)
            raise SimulatorError(f'the robot has fallen over at {at}: tilted by {angle:.0f} deg')
