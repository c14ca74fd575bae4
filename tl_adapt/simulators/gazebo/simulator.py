# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the robot in a real Gazebo, stepped by our world plugin."""

from __future__ import annotations

import functools

import numpy as np

from tl_adapt.demo.world import World
from tl_adapt.errors import TlAdaptError
from tl_adapt.simulators.base import ROBOT, Command, EntityError, EntityState, Physics
from tl_adapt.simulators.engine import MIN_LAG, SETTLE, Engine
from tl_adapt.simulators.gazebo import wire
from tl_adapt.simulators.gazebo.locate import Gazebo, find_gazebo
from tl_adapt.simulators.gazebo.plugin import build_plugin
from tl_adapt.simulators.gazebo.sdf import SMALL_MASS, build_sdf, build_solid
from tl_adapt.simulators.gazebo.server import ANSWER, Server
from tl_adapt.simulators.robot import Robot
from tl_adapt.simulators.scene import Scene
from tl_adapt.simulators.sensors import Truth

_SPAWN = 15.0  # s of wall time for inserting or removing a model
_CODES = ('exists', 'unknown', 'parse', 'unsupported')


@functools.lru_cache(maxsize=1)
def require_gazebo() -> Gazebo:
    """Return the Gazebo of this machine; raises TlAdaptError if there is none."""
    gazebo = find_gazebo()
    if gazebo is None:
        raise TlAdaptError(
            'the engine gazebo needs gzserver 11, which is not found: run make gazebo, install '
            'it, or name its prefix in TL_ADAPT_GAZEBO'
        )
    return gazebo


class GazeboSimulator(Engine):
    """
    Simulate the robot in Gazebo (ODE); `Engine` says what that means.

    A reset in a running server repeats a run up to some millimetres. With `exact_reset` the server
    is started anew (about 1 s), and a run repeats bit by bit.
    """

    name = 'gazebo'
    steps = (0.0005, 0.005)

    def __init__(
        self,
        world: World | None = None,
        *,
        physics: Physics | None = None,
        robot: Robot | None = None,
        physics_step: float = 0.002,
        beams: int = 360,
        iterations: int = 50,
        exact_reset: bool = False,
        viewable: bool = False,
    ) -> None:
        """
        Start gzserver; the robot stands at the world's start, at time 0, with seed 0.

        iterations: of the contact solver; viewable: by gzclient, which costs time.
        Raises InputError as `Engine` does, TlAdaptError without Gazebo, SimulatorError if the
        server does not come up.
        """
        super().__init__(
            world, physics=physics, robot=robot, physics_step=physics_step, beams=beams
        )
        self.exact_reset = exact_reset
        self._gazebo = require_gazebo()
        plugin = build_plugin(self._gazebo)
        self._text = build_sdf(
            self.world, self.robot, plugin=plugin, physics_step=physics_step,
            iterations=iterations, beams=beams,
        )
        self._viewable = viewable
        self._start()
        try:
            self.reset(seed=0, start=self.world.start)
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        """Start a server, with the present physics and solids."""
        self._server = Server(self._gazebo, self._text, viewable=self._viewable)
        try:
            self._placed = {solid.name: solid for solid in Scene(self.world).solids()}
            self.set_physics(self.physics)
            self._scene_changed()
        except BaseException:
            self.close()
            raise
        self._fresh = True

    @property
    def server(self) -> Server:
        """Return the process that simulates."""
        return self._server

    def check(self) -> None:
        """Raise SimulatorError if gzserver has died or hangs."""
        self._server.ask(wire.Type.PING, b'', wire.Type.DONE)

    @property
    def about(self) -> str:
        """Return what runs, for a log."""
        server = self._server
        return (
            f'gzserver {self._gazebo.version}, process {server.pid}, '
            f'master http://127.0.0.1:{server.port}'
        )

    def close(self) -> None:
        """End gzserver; a second call does nothing."""
        self._server.close()

    def set_physics(self, physics: Physics) -> None:
        """Change the physics at once, in the running world."""
        robot, mass = self.robot, max(physics.payload, SMALL_MASS)
        dry = robot.wheel_friction(physics.payload)
        request = wire.PhysicsRequest(
            payload=mass,
            inertia=robot.payload_inertia(mass),
            friction=physics.floor_friction,
            lag=max(physics.motor_lag, MIN_LAG),
            # What friction takes is missing at the wheel.
            torque=max(robot.torque_limit - dry, 0.01),
            deadband=dry / robot.speed_gain,
            slope=1.0 / (1.0 + robot.viscous_friction / robot.speed_gain),
        )
        self._server.ask(wire.Type.PHYSICS, request.packed(), wire.Type.DONE)
        self.physics = physics

    def _place(self, x: float, y: float, yaw: float, seed: int) -> None:
        if self.exact_reset and not self._fresh:
            self._server.close()
            self._start()
        self._fresh = False
        settle = round(SETTLE * 1e9 / self._step_ns)
        place = (x, y, 0.0, yaw)
        payload = wire.reset_payload(seed % 2**32, place, settle)
        self._server.ask(wire.Type.RESET, payload, wire.Type.STATE)

    def _simulate(self, steps: int, commands: list[tuple[int, Command]]) -> Truth:
        self._fresh = False
        orders = []
        for step, command in commands:
            left, right = self._motor_speeds(command)
            orders.append((step, left, right))
        payload = wire.step_payload(steps, orders)
        # Even a slow machine simulates at twice real time.
        seconds = ANSWER + steps * self._step_ns * 0.5e-9
        answer = self._server.ask(wire.Type.STEP, payload, wire.Type.STATE, seconds=seconds)
        state = wire.read_state(answer)
        speeds = state.rows[:, 2:4]
        # The server knows what reaches the wheel; the motor also turns against friction.
        dry = self.robot.wheel_friction(self.physics.payload) * np.clip(2 * speeds, -1.0, 1.0)
        torques = state.rows[:, 0:2] + dry + self.robot.viscous_friction * speeds
        return Truth(
            position=state.position,
            orientation=state.orientation,
            linear=state.linear,
            angular=state.angular,
            torques=torques,
            speeds=speeds,
            touching=bool(state.rows[:, 4].any()),
            distances=state.ranges,
        )

    def _robot_state(self) -> EntityState:
        payload = self._ask(wire.Type.GET, wire.text_payload(ROBOT), wire.Type.ENTITY)
        v = wire.read_entity(payload)
        return EntityState(
            (v[0], v[1], v[2]), (v[3], v[4], v[5], v[6]), (v[7], v[8], v[9]), (v[10], v[11], v[12])
        )

    def _put_robot(self, state: EntityState) -> None:
        self._fresh = False
        self._put(ROBOT, state)

    def _put(self, name: str, state: EntityState) -> None:
        payload = wire.state_payload(_numbers(state)) + wire.text_payload(name)
        self._ask(wire.Type.SET, payload, wire.Type.DONE)

    def _scene_changed(self) -> None:
        self._fresh = False
        wanted = {solid.name: solid for solid in self._scene.solids()}
        for name in [name for name in self._placed if name not in wanted]:
            self._ask(wire.Type.DELETE, wire.text_payload(name), wire.Type.DONE)
            del self._placed[name]
        for name, solid in wanted.items():
            placed = self._placed.get(name)
            if placed is None or placed.parts != solid.parts:
                if placed is not None:
                    self._ask(wire.Type.DELETE, wire.text_payload(name), wire.Type.DONE)
                payload = wire.state_payload(_numbers(solid.state))
                payload += wire.text_payload(name, build_solid(name, solid.parts))
                self._ask(wire.Type.SPAWN, payload, wire.Type.DONE)
            elif placed.state != solid.state:
                self._put(name, solid.state)
            self._placed[name] = solid

    def _ask(self, kind: wire.Type, payload: bytes, answer: wire.Type) -> bytes:
        slow = kind in (wire.Type.SPAWN, wire.Type.DELETE)
        try:
            return self._server.ask(kind, payload, answer, seconds=_SPAWN if slow else ANSWER)
        except wire.RefusedError as error:
            code = error.code if error.code in _CODES else 'unsupported'
            raise EntityError(code, error.reason) from None


def _numbers(state: EntityState) -> tuple[float, ...]:
    return (*state.position, *state.orientation, *state.linear, *state.angular)
