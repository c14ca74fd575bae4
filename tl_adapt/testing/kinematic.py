# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for a simulator without physics: what is commanded is what happens, at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tl_adapt.demo.world import World, load_world
from tl_adapt.simulators.base import Command, Physics, Sample

_HULL = 0.105  # m
_RANGE_MAX = 8.0  # m


def cast_rays(
    world: World, pose: tuple[float, float, float], angles: np.ndarray, steps: int = 40
) -> np.ndarray:
    """Return exact ranges (n,) [m] of beams (n,) by sphere tracing, inf beyond the reach."""
    directions = np.column_stack((np.cos(angles + pose[2]), np.sin(angles + pose[2])))
    ranges = np.zeros(len(angles))
    for _ in range(steps):
        points = np.asarray(pose[:2]) + ranges[:, None] * directions
        ranges = np.minimum(ranges + np.maximum(world.distance(points), 0.0), 2 * _RANGE_MAX)
    ranges[ranges > _RANGE_MAX] = math.inf
    return ranges


class KinematicSimulator:
    """
    Move a point with a hull exactly as commanded; the protocol `Simulator` without its entities.

    Needs no MuJoCo, so tests of the robot software run anywhere. Only `scan_noise` and
    `odometry_drift` of the physics are there.
    """

    range_min, range_max = 0.12, _RANGE_MAX

    def __init__(
        self, world: World | None = None, *, physics: Physics | None = None, beams: int = 360
    ) -> None:
        """Start at the world's start."""
        self.world = world or load_world()
        self.physics = physics or Physics(scan_noise=0.01, odometry_drift=0.0)
        self._angles = np.arange(beams) * (2 * math.pi / beams)
        self.reset(seed=0, start=self.world.start)

    @property
    def time_ns(self) -> int:
        """Return the simulated time [ns]."""
        return self._time_ns

    def set_physics(self, physics: Physics) -> None:
        """Change the physics at once."""
        self.physics = physics

    def reset(
        self, *, seed: int, start: Sequence[float], keep_battery: bool = False, time_ns: int = 0
    ) -> None:
        """Put the robot at rest at `start`, and begin the random stream anew."""
        self._rng = np.random.default_rng(seed)
        self._pose = (float(start[0]), float(start[1]), float(start[2]))
        self._odometry = (0.0, 0.0, 0.0)
        self._command = Command(0.0, 0.0)
        self._time_ns = time_ns

    def advance(self, duration_ns: int, commands: Sequence[tuple[int, Command]] = ()) -> Sample:
        """Move for `duration_ns` in steps of 10 ms, then read the sensors."""
        waiting = list(commands)
        steps = max(1, round(duration_ns / 10_000_000))
        dt = duration_ns / steps / 1e9
        collision = False
        for i in range(steps):
            while waiting and waiting[0][0] <= self._time_ns + i * duration_ns // steps:
                self._command = waiting.pop(0)[1]
            v, w = self._command
            self._pose = _moved(self._pose, v * dt, w * dt)
            drift = 1.0 + self.physics.odometry_drift
            self._odometry = _moved(self._odometry, drift * v * dt, w * dt)
            collision |= bool(self.world.distance(np.array([self._pose[:2]]))[0] < _HULL)
        self._time_ns += duration_ns
        noise = self._rng.standard_normal(len(self._angles)) * self.physics.scan_noise
        ranges = np.maximum(cast_rays(self.world, self._pose, self._angles) + noise, 0.12)
        speeds = (self._command.linear, self._command.angular)
        return Sample(
            time_ns=self._time_ns, pose=self._pose, twist=speeds, odometry=self._odometry,
            odometry_twist=speeds, ranges=ranges.astype(np.float32), collision=collision,
            voltage=12.0, current=-0.5 - abs(speeds[0]), charge=1.8, capacity=1.8,
        )  # fmt: skip


def _moved(
    pose: tuple[float, float, float], distance: float, turn: float
) -> tuple[float, float, float]:
    heading = pose[2] + 0.5 * turn
    return (
        pose[0] + distance * math.cos(heading),
        pose[1] + distance * math.sin(heading),
        pose[2] + turn,
    )
