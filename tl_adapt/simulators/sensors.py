# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the robot's sensors make of the true state, whatever simulates that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tl_adapt.simulators import rotations
from tl_adapt.simulators.base import Physics, Sample
from tl_adapt.simulators.robot import Battery, Robot

_GRAVITY = np.array([0.0, 0.0, 9.81])


@dataclass(frozen=True)
class Truth:
    """
    Hold what a physics engine knows after some steps.

    position [m], orientation (x, y, z, w), linear [m/s] in the world frame, angular [rad/s] in
    the body's. torques [N m] and speeds [rad/s] (steps, 2) of the left and right wheel. touching:
    whether the hull touched anything. distances (beams,) [m] by lidar, inf or negative where
    nothing is hit.
    """

    position: np.ndarray
    orientation: np.ndarray
    linear: np.ndarray
    angular: np.ndarray
    torques: np.ndarray
    speeds: np.ndarray
    touching: bool
    distances: np.ndarray

    @property
    def yaw(self) -> float:
        """Return the heading [rad]."""
        x, y, z, w = (float(v) for v in self.orientation)
        return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))

    @property
    def tilt(self) -> float:
        """Return the angle [rad] between the robot's axis and the vertical."""
        x, y, *_ = (float(v) for v in self.orientation)
        return math.acos(min(max(1 - 2 * (x * x + y * y), -1.0), 1.0))


class Sensors:
    """Add noise and drift, integrate odometry and battery; deterministic for a seed."""

    def __init__(self, robot: Robot) -> None:
        """Begin with a full battery, at the origin of `odom`, with seed 0."""
        self._robot = robot
        self.reset(seed=0)

    @property
    def battery_empty(self) -> bool:
        """Return whether the motors have no power any more."""
        return self._battery.charge <= 0

    def reset(self, *, seed: int, keep_battery: bool = False) -> None:
        """Begin all random streams anew, at the origin of `odom`."""
        scan, odometry = np.random.SeedSequence(seed).spawn(2)
        self._scan_noise = np.random.Generator(np.random.PCG64(scan))
        self._odometry_noise = np.random.Generator(np.random.PCG64(odometry))
        if not keep_battery:
            self._battery = Battery()
        self._odometry = (0.0, 0.0, 0.0)
        self._linear = np.zeros(3)

    def moved(self, linear: tuple[float, float, float]) -> None:
        """Take note of a velocity [m/s] that was set from outside: no acceleration led to it."""
        self._linear = np.array(linear)

    def read(self, truth: Truth, physics: Physics, *, time_ns: int, seconds: float) -> Sample:
        """Return what the sensors say at `time_ns`, `seconds` after the reading before."""
        power = self._robot.motor_power(truth.torques, truth.speeds).mean() + physics.idle_power
        voltage, current = self._battery.draw(float(power), seconds)
        odometry_twist = self._read_encoders(truth.speeds, seconds, physics)
        yaw = truth.yaw
        forward = math.cos(yaw) * float(truth.linear[0]) + math.sin(yaw) * float(truth.linear[1])
        acceleration = (truth.linear - self._linear) / seconds + _GRAVITY
        self._linear = truth.linear.copy()
        return Sample(
            time_ns=time_ns,
            pose=(float(truth.position[0]), float(truth.position[1]), yaw),
            twist=(forward, float(truth.angular[2])),
            odometry=self._odometry,
            odometry_twist=odometry_twist,
            ranges=self._scan(truth.distances, physics),
            collision=truth.touching,
            voltage=voltage,
            current=current,
            charge=self._battery.charge,
            capacity=self._battery.capacity,
            orientation=_four(truth.orientation),
            angular_velocity=_three(truth.angular),
            linear_acceleration=rotations.rotate(
                rotations.inverse(_four(truth.orientation)), _three(acceleration)
            ),
        )

    def _read_encoders(
        self, speeds: np.ndarray, seconds: float, p: Physics
    ) -> tuple[float, float]:
        """Integrate the odometry over wheel speeds [rad/s] (n, 2); return its mean speeds."""
        robot = self._robot
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

    def _scan(self, distances: np.ndarray, physics: Physics) -> np.ndarray:
        """Return noisy ranges float32 (beams,); what is too near reads as the shortest."""
        low, high = self._robot.range_min, self._robot.range_max
        noise = self._scan_noise.standard_normal(len(distances))
        ranges = np.maximum(distances + physics.scan_noise * noise, low)
        ranges[(distances < 0) | (ranges > high)] = math.inf
        return ranges.astype(np.float32)


def _three(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _four(values: np.ndarray) -> tuple[float, float, float, float]:
    x, y, z, w = (float(v) for v in values)
    return x, y, z, w
