# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the embedded simulator: a differential-drive robot in MuJoCo."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tl_adapt.demo.world import World, load_world
from tl_adapt.errors import InputError, try_import
from tl_adapt.simulators import rotations
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
from tl_adapt.simulators.mjcf import build_mjcf
from tl_adapt.simulators.robot import Battery, Robot
from tl_adapt.simulators.scene import Scene, checked

_SETTLE = 0.2  # s in which the robot comes to rest on the floor after a reset
_FLAT = 1e-3  # m, rad; a pose nearer to the floor and the upright means: standing on it
_ABOVE = 2.0  # m above the floor to which the robot may be lifted
# Degrees of freedom: the base, whose turning counts in its own axes, then the wheels (6, 7).
_LINEAR, _ANGULAR = slice(0, 3), slice(3, 6)
_MIN_LAG = 1e-4  # s; a filter needs a time constant


class MujocoSimulator:
    """
    Simulate the robot with contacts, slip, motor lag, battery, encoders and lidar.

    Follows the protocol `Simulator`. All sensors are ideal but for what `physics` adds.
    """

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

        physics_step: [s]; beams: lidar beams over the full circle.
        Raises InputError for a bad step or number, TlAdaptError without MuJoCo.
        """
        if not 0.0005 <= physics_step <= 0.0025:
            rule = 'must lie in [0.0005, 0.0025] s'
            raise InputError(rule, key='physics_step', value=physics_step)
        if not 1 <= beams <= 4096:
            raise InputError('must lie in [1, 4096]', key='beams', value=beams)
        self._mj = mj = try_import('mujoco', 'mujoco')
        self.world = world or load_world()
        self.robot = robot or Robot()
        self.physics = physics or Physics()
        self.range_min, self.range_max = self.robot.range_min, self.robot.range_max
        self._scene = Scene(self.world)
        self._physics_step = physics_step
        self._step_ns = round(physics_step * 1e9)
        self._build()
        self._lidar = _Lidar(mj, self.robot, beams)
        self._battery = Battery()
        self._command = Command(0.0, 0.0)
        self._time_ns = 0
        self.reset(seed=0, start=self.world.start)

    @property
    def time_ns(self) -> int:
        """Return the simulated time [ns]."""
        return self._time_ns

    def set_physics(self, physics: Physics) -> None:
        """Change the physics at once, in the running world."""
        m = self._model
        mass = max(physics.payload, 1e-6)
        m.body_mass[self._payload] = mass
        m.body_inertia[self._payload] = mass * 0.08**2 / 6  # a cube with sides of 8 cm
        m.geom_friction[self._floor, 0] = physics.floor_friction
        m.actuator_dynprm[:, 0] = max(physics.motor_lag, _MIN_LAG)
        m.dof_frictionloss[6:8] = self.robot.wheel_friction(physics.payload)
        # Derived constants are computed from the rest pose, in a state of its own.
        self._mj.mj_setConst(m, self._scratch)
        self.physics = physics

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
            self._build()
        self._stand(x, y, yaw)
        scan, odometry = np.random.SeedSequence(seed).spawn(2)
        self._scan_noise = np.random.Generator(np.random.PCG64(scan))
        self._odometry_noise = np.random.Generator(np.random.PCG64(odometry))
        if not keep_battery:
            self._battery = Battery()
        self._command = Command(0.0, 0.0)
        self._odometry = (0.0, 0.0, 0.0)
        self._time_ns = time_ns

    def _build(self) -> None:
        """Make the model of what stands in the world now, in its initial state."""
        mj = self._mj
        xml = build_mjcf(self.world.name, self._scene.solids(), self.robot)
        self._model = mj.MjModel.from_xml_string(xml)
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

    def _rebuild(self) -> None:
        """Make the model of what stands in the world now; the robot goes on as it was."""
        before = self._data
        self._build()
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
        for _ in range(round(_SETTLE * 1e9 / self._step_ns)):
            self._mj.mj_step(self._model, d)
        # Settling rocks the robot a little: only its height and tilt are kept from that.
        d.qpos[:2] = x, y
        d.qvel[:] = 0.0
        d.time = 0.0
        self._mj.mj_forward(self._model, d)

    def entities(self) -> list[str]:
        """Return the names of all entities."""
        return self._scene.names()

    def entity_state(self, name: str) -> EntityState:
        """Return the state; raises EntityError for an unknown name."""
        if name != ROBOT:
            return self._scene.state(name)
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

    def set_entity_state(self, name: str, state: EntityState) -> None:
        """Put an entity elsewhere at once; raises EntityError if that is refused."""
        if name == ROBOT:
            self._put_robot(checked(state))
        else:
            self._scene.move(name, state)
            self._rebuild()

    def _put_robot(self, state: EntityState) -> None:
        """Put the robot elsewhere; what its odometry and battery say does not change."""
        x, y, z = state.position
        limit = [side / 2 for side in self.world.size]
        if abs(x) >= limit[0] or abs(y) >= limit[1] or not -0.01 <= z <= _ABOVE:
            rule = f'the robot must stay in the room and at most {_ABOVE:g} m above its floor'
            raise EntityError('invalid', f'{rule}, got {state.position}')
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

    def spawn(self, name: str, sdf_xml: str, state: EntityState) -> None:
        """Add a static solid described in SDF; raises EntityError if it is refused."""
        self._scene.add(name, sdf_xml, state)
        try:
            self._rebuild()
        except ValueError as error:
            self._scene.remove(name)
            raise EntityError('unsupported', f'MuJoCo refuses the model: {error}') from error

    def delete(self, name: str) -> None:
        """Remove a solid; raises EntityError if that is refused."""
        self._scene.remove(name)
        self._rebuild()

    def restore_entities(self, *, deleted: bool = True) -> None:
        """Remove what was spawned and, if `deleted`, bring back the world's deleted solids."""
        if self._scene.restore(deleted):
            self._rebuild()

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
        Raises SimulatorError if the state is no longer finite, InputError for a duration that
        is not a multiple of the physics step or for a command that is not finite.
        """
        n, rest = divmod(duration_ns, self._step_ns)
        if rest or n < 1:
            rule = f'must be a positive multiple of the physics step of {self._step_ns} ns'
            raise InputError(rule, key='duration_ns', value=duration_ns)
        if not all(finite(command) for _, command in commands):
            raise InputError('must be finite', key='commands', value=list(commands))
        log = self._run(n, list(commands))
        self._time_ns += duration_ns
        self._check()
        seconds = duration_ns / 1e9
        power = self.robot.motor_power(log[:, 0:2], log[:, 2:4]).mean() + self.physics.idle_power
        voltage, current = self._battery.draw(float(power), seconds)
        odometry_twist = self._read_encoders(log[:, 2:4], seconds)
        pose, twist = self._truth()
        return Sample(
            time_ns=self._time_ns,
            pose=pose,
            twist=twist,
            odometry=self._odometry,
            odometry_twist=odometry_twist,
            ranges=self._scan(),
            collision=bool(log[:, 4].any()),
            voltage=voltage,
            current=current,
            charge=self._battery.charge,
            capacity=self._battery.capacity,
        )

    def _run(self, n: int, commands: list[tuple[int, Command]]) -> np.ndarray:
        """Step n times; return torques, wheel speeds [rad/s] and hull force [N] (n, 5)."""
        m, d, step = self._model, self._data, self._mj.mj_step
        log = np.empty((n, 5))
        force, speed, touch = d.actuator_force, d.qvel[6:8], d.sensordata
        if self._battery.charge <= 0:
            commands, self._command = [], Command(0.0, 0.0)
        self._control()
        for i in range(n):
            while commands and commands[0][0] <= self._time_ns + i * self._step_ns:
                self._command = commands.pop(0)[1]
                self._control()
            step(m, d)
            log[i, 0:2] = force
            log[i, 2:4] = speed
            log[i, 4] = touch[0]
        return log

    def _control(self) -> None:
        speeds = self.robot.wheel_speeds(*self._command)
        self._data.ctrl[:] = [self.robot.controller_speed(speed) for speed in speeds]

    def _check(self) -> None:
        d = self._data
        limit = max(self.world.size) + 1.0
        if not (np.isfinite(d.qpos).all() and np.isfinite(d.qvel).all()):
            raise SimulatorError(f'the physics diverged at {self._time_ns / 1e9:.3f} s: NaN pose')
        if np.abs(d.qpos[:3]).max() > limit or np.abs(d.qvel[:3]).max() > 50.0:
            where = [round(float(v), 3) for v in d.qpos[:3]]
            raise SimulatorError(
                f'the physics diverged at {self._time_ns / 1e9:.3f} s: robot at {where} m'
            )

    def _truth(self) -> tuple[tuple[float, float, float], tuple[float, float]]:
        d = self._data
        x, y = float(d.qpos[0]), float(d.qpos[1])
        w, qx, qy, qz = (float(v) for v in d.qpos[3:7])
        yaw = math.atan2(2 * (w * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))
        forward = math.cos(yaw) * float(d.qvel[0]) + math.sin(yaw) * float(d.qvel[1])
        return (x, y, yaw), (forward, float(d.qvel[5]))

    def _read_encoders(self, speeds: np.ndarray, seconds: float) -> tuple[float, float]:
        """Integrate the odometry over wheel speeds [rad/s] (n, 2); return its mean speeds."""
        p, robot = self.physics, self.robot
        dt = seconds / len(speeds)
        travel = speeds * (dt * robot.wheel_radius)
        ds, dyaw = travel.mean(axis=1), (travel[:, 1] - travel[:, 0]) / robot.wheel_separation
        ds, dyaw = ds * (1 + p.odometry_drift), dyaw * (1 - p.odometry_drift)
        dyaw = dyaw + p.odometry_drift * np.abs(ds)
        # Random errors grow like a random walk with the distance and the angle.
        noise = self._odometry_noise.standard_normal(2) * p.odometry_noise
        moved, turned = float(np.abs(ds).sum()), float(np.abs(dyaw).sum())
        ds = ds + noise[0] * math.sqrt(moved) / len(ds)
        dyaw = dyaw + noise[1] * math.sqrt(moved + turned) / len(ds)
        x, y, yaw = self._odometry
        heading = yaw + np.cumsum(dyaw) - dyaw / 2
        x, y = x + float(ds @ np.cos(heading)), y + float(ds @ np.sin(heading))
        yaw += float(dyaw.sum())
        self._odometry = (x, y, math.atan2(math.sin(yaw), math.cos(yaw)))
        return float(ds.sum()) / seconds, float(dyaw.sum()) / seconds

    def _scan(self) -> np.ndarray:
        """Return noisy ranges float32 (beams,); what is too near reads as the shortest."""
        noise = self._scan_noise.standard_normal(self._lidar.beams)
        distance = self._lidar.cast(self._model, self._data, self._base)
        ranges = distance + self.physics.scan_noise * noise
        ranges = np.maximum(ranges, self.range_min)
        ranges[(distance < 0) | (ranges > self.range_max)] = math.inf
        return ranges.astype(np.float32)


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
