# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the embedded simulator: a differential-drive robot in MuJoCo."""

from __future__ import annotations

import math

import numpy as np

from tl_adapt.demo.world import World
from tl_adapt.errors import try_import
from tl_adapt.simulators.base import Command, Physics
from tl_adapt.simulators.engine import MIN_LAG, SETTLE, Engine
from tl_adapt.simulators.mjcf import build_mjcf
from tl_adapt.simulators.robot import Robot
from tl_adapt.simulators.sensors import Truth


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
        self._model = mj.MjModel.from_xml_string(build_mjcf(self.world, self.robot))
        self._model.opt.timestep = physics_step
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
        # Degrees of freedom: 0-5 the base, 6 and 7 the wheels; positions: 0-6 and 7, 8.
        self._lidar = _Lidar(mj, self.robot, beams)
        self.set_physics(self.physics)
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
