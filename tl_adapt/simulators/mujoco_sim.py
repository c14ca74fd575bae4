# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the embedded simulator: a differential-drive robot in MuJoCo."""

from __future__ import annotations

import math

import numpy as np

from tl_adapt.demo.world import World
from tl_adapt.errors import try_import
from tl_adapt.simulators import rotations
from tl_adapt.simulators.base import Command, EntityError, EntityState, Physics
from tl_adapt.simulators.engine import MIN_LAG, SETTLE, Engine
from tl_adapt.simulators.mjcf import build_mjcf
from tl_adapt.simulators.robot import Robot
from tl_adapt.simulators.sensors import Truth

_FLAT = 1e-3  # m, rad; a pose nearer to the floor and the upright means: standing on it
# Degrees of freedom: the base, whose turning counts in its own axes, then the wheels (6, 7).
_LINEAR, _ANGULAR = slice(0, 3), slice(3, 6)


class MujocoSimulator(Engine):
    """Simulate the robot in MuJoCo; `Engine` says what that means."""

    name = 'mujoco'
    steps = (0.0005, 0.0025)

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
        Build the model; the robot stands at the world's start, at time 0, with seed 0.

        Raises InputError as `Engine` does, TlAdaptError without MuJoCo.
        """
        super().__init__(
            world, physics=physics, robot=robot, physics_step=physics_step, beams=beams
        )
        self._mj = mj = try_import('mujoco', 'mujoco')
        self._physics_step = physics_step
        self._build()
        self._lidar = _Lidar(mj, self.robot, beams)
        self.reset(seed=0, start=self.world.start)

    def set_physics(self, physics: Physics) -> None:
        """Change the physics at once, in the running world."""
        m = self._model
        mass = max(physics.payload, 1e-6)
        m.body_mass[self._payload] = mass
        m.body_inertia[self._payload] = self.robot.payload_inertia(mass)
        m.geom_friction[self._floor, 0] = physics.floor_friction
        m.actuator_dynprm[:, 0] = max(physics.motor_lag, MIN_LAG)
        m.dof_frictionloss[6:8] = self.robot.wheel_friction(physics.payload)
        # Derived constants are computed from the rest pose, in a state of its own.
        self._mj.mj_setConst(m, self._scratch)
        self.physics = physics

    def _place(self, x: float, y: float, yaw: float, seed: int) -> None:
        self._stand(x, y, yaw)

    def _build(self) -> None:
        """Make the model of what stands in the world now, in its initial state."""
        mj = self._mj
        xml = build_mjcf(self.world.name, self._scene.solids(), self.robot)
        try:
            self._model = mj.MjModel.from_xml_string(xml)
        except ValueError as error:
            raise EntityError('unsupported', f'MuJoCo refuses the model: {error}') from error
        self._model.opt.timestep = self._physics_step
        self._data = mj.MjData(self._model)
        self._scratch = mj.MjData(self._model)
        self._base, self._payload, self._floor = (
            mj.mj_name2id(self._model, kind, name)
            for kind, name in (
                (mj.mjtObj.mjOBJ_BODY, 'base'),
                (mj.mjtObj.mjOBJ_BODY, 'payload'),
                (mj.mjtObj.mjOBJ_GEOM, 'floor'),
            )
        )
        self.set_physics(self.physics)

    def _scene_changed(self) -> None:
        """Make the model of what stands in the world now; the robot goes on as it was."""
        before = self._data
        try:
            self._build()
        except ValueError as error:
            raise EntityError('unsupported', f'MuJoCo refuses the model: {error}') from error
        d = self._data
        for name in ('qpos', 'qvel', 'act', 'ctrl', 'qacc_warmstart'):
            getattr(d, name)[:] = getattr(before, name)
        d.time = before.time
        self._mj.mj_forward(self._model, d)
        # Computing the forces makes a new starting point for the solver: the old one counts.
        d.qacc_warmstart[:] = before.qacc_warmstart

    def _stand(self, x: float, y: float, yaw: float) -> None:
        """Put the robot at rest on the floor."""
        d = self._data
        self._mj.mj_resetData(self._model, d)
        d.qpos[:2] = x, y
        d.qpos[3:7] = math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)
        for _ in range(round(SETTLE * 1e9 / self._step_ns)):
            self._mj.mj_step(self._model, d)
        # Settling rocks the robot a little: only its height and tilt are kept from that.
        d.qpos[:2] = x, y
        d.qvel[:] = 0.0
        d.time = 0.0
        self._mj.mj_forward(self._model, d)

    def _robot_state(self) -> EntityState:
        x, y, z, w, qx, qy, qz = (float(v) for v in self._data.qpos[:7])
        vx, vy, vz, *spin = (float(v) for v in self._data.qvel[:6])
        orientation = (qx, qy, qz, w)
        angular = rotations.rotate(orientation, (spin[0], spin[1], spin[2]))
        foot = rotations.rotate(orientation, (0.0, 0.0, -self.robot.wheel_radius))
        return EntityState(
            rotations.add((x, y, z), foot),
            orientation,
            rotations.add((vx, vy, vz), rotations.cross(angular, foot)),
            angular,
        )

    def _put_robot(self, state: EntityState) -> None:
        """Put the robot elsewhere; what its odometry and battery say does not change."""
        x, y, z = state.position
        d = self._data
        self._stand(x, y, rotations.yaw_of(state.orientation))
        up = (0.0, 0.0, self.robot.wheel_radius)
        if abs(z) > _FLAT or rotations.tilt_of(state.orientation) > _FLAT:
            qx, qy, qz, w = state.orientation
            d.qpos[:3] = rotations.add(state.position, rotations.rotate(state.orientation, up))
            d.qpos[3:7] = w, qx, qy, qz
        if state.moving:
            self._set_in_motion(state, rotations.rotate(state.orientation, up))
        self._mj.mj_forward(self._model, d)

    def _set_in_motion(self, state: EntityState, up: rotations.Vector) -> None:
        """Give the robot a velocity; its wheels turn, and are driven, as if it rolled so."""
        back = rotations.inverse(state.orientation)
        forward = rotations.rotate(back, state.linear)[0]
        spin = rotations.rotate(back, state.angular)
        turn = spin[2] * self.robot.wheel_separation / 2
        d, radius = self._data, self.robot.wheel_radius
        d.qvel[_LINEAR] = rotations.add(state.linear, rotations.cross(state.angular, up))
        d.qvel[_ANGULAR] = spin
        d.qvel[6:8] = (forward - turn) / radius, (forward + turn) / radius
        d.act[:] = [self.robot.controller_speed(speed) for speed in d.qvel[6:8]]

    def _simulate(self, steps: int, commands: list[tuple[int, Command]]) -> Truth:
        m, d, step = self._model, self._data, self._mj.mj_step
        log = np.empty((steps, 5))  # torques, wheel speeds, force on the hull [N]
        force, speed, touch = d.actuator_force, d.qvel[6:8], d.sensordata
        for i in range(steps):
            while commands and commands[0][0] <= i:
                d.ctrl[:] = self._motor_speeds(commands.pop(0)[1])
            step(m, d)
            log[i, 0:2] = force
            log[i, 2:4] = speed
            log[i, 4] = touch[0]
        w, x, y, z = d.qpos[3:7]
        return Truth(
            position=d.qpos[:3].copy(),
            orientation=np.array([x, y, z, w]),
            linear=d.qvel[:3].copy(),
            angular=d.qvel[3:6].copy(),
            torques=log[:, 0:2],
            speeds=log[:, 2:4],
            touching=bool(log[:, 4].any()),
            distances=self._lidar.cast(m, d, self._base),
        )


class _Lidar:
    """Cast beams in the plane of the base, all in one call; nothing but solids is seen."""

    def __init__(self, mj: object, robot: Robot, beams: int) -> None:
        self._cast = mj.mj_multiRay  # type: ignore[attr-defined]
        angles = np.arange(beams) * (2 * math.pi / beams)
        self._directions = np.stack([np.cos(angles), np.sin(angles), np.zeros(beams)], axis=1)
        self._offset = np.array([0.0, 0.0, robot.lidar_height - robot.wheel_radius])
        self._group = np.array([0, 1, 0, 0, 0, 0], dtype=np.uint8)
        self._hit = np.zeros(beams, dtype=np.int32)
        self._distance = np.zeros(beams)
        self._range = robot.range_max + 1.0
        # Older releases of MuJoCo have no argument for normals.
        self._normals = (None,) if 'normal' in str(self._cast.__doc__) else ()
        self.beams = beams

    def cast(self, model: object, data: object, body: int) -> np.ndarray:
        """Return distances [m] (beams,), -1 where nothing is hit; valid until the next call."""
        rotation = data.xmat[body].reshape(3, 3)  # type: ignore[attr-defined]
        point = data.xpos[body] + rotation @ self._offset  # type: ignore[attr-defined]
        vectors = (self._directions @ rotation.T).ravel()
        self._cast(
            model, data, point, vectors, self._group, True, body, self._hit, self._distance,
            *self._normals, self.beams, self._range,
        )  # fmt: skip
        return self._distance
