# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for Monte-Carlo localisation with corrective gradient refinement.

Particle filter on a likelihood field (Thrun, Burgard, Fox: Probabilistic Robotics, 2005, chapters
4 to 6), whose best particles are pulled to the lidar by gradient steps as in Biswas, Coltin,
Veloso: Corrective Gradient Refinement for Mobile Robot Localization (IROS 2011).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tl_adapt.demo.geometry import Pose, relative, wrap_array
from tl_adapt.demo.settings import LocalizerSettings
from tl_adapt.demo.world import World

RANGE_SCALE = 8.0  # m: a random reading is spread evenly over the lidar's reach
FLOOR_TRANS = 0.002  # m per update: keeps copies of one particle apart while the robot stands
FLOOR_ROT = 0.002  # rad per update
REFINED_SHARE = 0.1  # share of the particles, the best ones, that are refined
# How far a gradient step trusts the lidar over the odometry: deviations of the motion's error.
STEP_TRANS = 0.05  # m
STEP_ROT = 0.05  # rad
MAX_STEP = 0.1  # m or rad: a longer step would leave the region where the field is smooth
RESOLUTION = 0.025  # m: cells of the likelihood field


@dataclass(frozen=True)
class Estimate:
    """Weighted mean of the particles, its covariance (3, 3), and what the update cost."""

    pose: Pose
    covariance: np.ndarray
    lookups: int  # evaluations of the field for weighing
    gradients: int  # evaluations of the field and its gradient for refining
    effective: float  # effective sample size before resampling


class ParticleFilter:
    """Particle filter over (x, y, yaw) in the map's frame."""

    def __init__(
        self,
        distance: np.ndarray,
        resolution: float,
        origin: tuple[float, float],
        settings: LocalizerSettings | None = None,
        *,
        seed: int = 0,
    ) -> None:
        """Take the map's distance field (h, w) [m], row = y; cell (0, 0) starts at origin."""
        if distance.ndim != 2:
            raise ValueError(f'distance.ndim == 2 must hold, got {distance.ndim}')
        self._height, self._width = distance.shape
        self._resolution = float(resolution)
        self._origin = (float(origin[0]), float(origin[1]))
        field = np.ascontiguousarray(distance, dtype=np.float32)
        gradient_y, gradient_x = np.gradient(field, self._resolution)
        self._field = field.ravel()
        self._gradient = np.stack((gradient_x.ravel(), gradient_y.ravel()))
        self.configure(settings or LocalizerSettings())
        self.reset((0.0, 0.0, 0.0), seed=seed)

    def configure(self, settings: LocalizerSettings) -> None:
        """Take new settings; the particles stay (a new number takes effect at the next update)."""
        self.settings = settings
        sigma, z = settings.sigma_hit, settings.z_rand
        hit = (1.0 - z) / (sigma * math.sqrt(2.0 * math.pi))
        hits = hit * np.exp(-0.5 * (self._field / sigma) ** 2)
        random = z / RANGE_SCALE
        # Neighbouring beams err together (they hit the same wall): count fewer than there are.
        self._temper = min(1.0, 3.0 / math.sqrt(settings.beams))
        self._log = (self._temper * np.log(hits + random)).astype(np.float32)
        self._hit_share = (hits / (hits + random)).astype(np.float32)

    def reset(
        self, pose: Pose, *, spread: tuple[float, float, float] = (0.05, 0.05, 0.05), seed: int
    ) -> None:
        """Draw the particles anew around `pose` with standard deviations `spread`, from `seed`."""
        self._rng = np.random.default_rng(seed)
        n = self.settings.particles
        noise = self._rng.standard_normal((n, 3)) * np.asarray(spread)
        self.particles = np.asarray(pose, dtype=float) + noise
        self._log_weights = np.zeros(n)
        self._odometry: Pose | None = None

    def update(self, odometry: Pose, angles: np.ndarray, ranges: np.ndarray) -> Estimate:
        """
        Move the particles by the odometry since the last update and weigh them by a scan.

        Parameters
        ----------
        odometry
            Pose in the odometry's frame at the time of the scan.
        angles, ranges
            Beams (n,) of the scan [rad], [m]; readings that are no number count as no hit.

        """
        if self._odometry is not None:
            self._move(relative(self._odometry, odometry))
        self._odometry = odometry
        self._match_size()
        points = self._beams(angles, ranges)
        count, beams = len(self.particles), len(points)
        gradients = 0
        if beams:
            likelihood = self._likelihood(self.particles, points)
            self._log_weights += likelihood
            if self.settings.refinements:
                gradients = self._refine(points, likelihood)
        weights = np.exp(self._log_weights - self._log_weights.max())
        weights /= weights.sum()
        effective = 1.0 / float(np.dot(weights, weights))
        pose, covariance = self._mean(weights)
        if effective < 0.5 * count:
            self._resample(weights)
        else:
            self._log_weights = np.log(weights + 1e-300)
        return Estimate(pose, covariance, count * beams, gradients, effective)

    def estimate(self) -> Estimate:
        """Return the present mean without an update."""
        weights = np.exp(self._log_weights - self._log_weights.max())
        weights /= weights.sum()
        pose, covariance = self._mean(weights)
        return Estimate(pose, covariance, 0, 0, 1.0 / float(np.dot(weights, weights)))

    def _move(self, motion: Pose) -> None:
        """Apply the motion (in the robot's frame) with noise that grows with it."""
        x, y, turn = motion
        trans, rot = math.hypot(x, y), abs(turn)
        s = self.settings
        # 0.5 rad/m and 0.05 m/rad couple the two: wheels that slip turn a straight line, and back.
        sigma_trans = s.alpha_trans * (trans + 0.05 * rot) + FLOOR_TRANS
        sigma_rot = s.alpha_rot * (rot + 0.5 * trans) + FLOOR_ROT
        noise = self._rng.standard_normal((3, len(self.particles)))
        dx = x + sigma_trans * noise[0]
        dy = y + 0.5 * sigma_trans * noise[1]
        yaw = self.particles[:, 2]
        c, sn = np.cos(yaw), np.sin(yaw)
        self.particles[:, 0] += c * dx - sn * dy
        self.particles[:, 1] += sn * dx + c * dy
        self.particles[:, 2] = wrap_array(yaw + turn + sigma_rot * noise[2])

    def _match_size(self) -> None:
        """Bring the particle set to the number that the settings ask for."""
        if len(self.particles) != self.settings.particles:
            weights = np.exp(self._log_weights - self._log_weights.max())
            self._resample(weights / weights.sum())

    def _beams(self, angles: np.ndarray, ranges: np.ndarray) -> np.ndarray:
        """Return the hits (b, 2) of the beams in use, spread evenly over the scan."""
        count = min(self.settings.beams, len(ranges))
        index = (np.arange(count) * (len(ranges) / max(count, 1))).astype(int)
        r, a = ranges[index], angles[index]
        valid = np.isfinite(r) & (r > 0.0)
        r, a = r[valid], a[valid]
        return np.column_stack((r * np.cos(a), r * np.sin(a)))

    def _cells(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return flat cell numbers of points; those off the map take the cell at its edge."""
        scale = 1.0 / self._resolution
        column = ((x - self._origin[0]) * scale).astype(np.int32)
        row = ((y - self._origin[1]) * scale).astype(np.int32)
        np.clip(column, 0, self._width - 1, out=column)
        np.clip(row, 0, self._height - 1, out=row)
        row *= self._width
        row += column
        return row

    @staticmethod
    def _rotated(poses: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the points (b, 2) turned by each pose's yaw: x and y, (k, b) each."""
        c, s = np.cos(poses[:, 2])[:, None], np.sin(poses[:, 2])[:, None]
        x, y = points[:, 0], points[:, 1]
        return c * x - s * y, s * x + c * y

    def _likelihood(self, poses: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return the log likelihood (k,) of the hits (b, 2) at the poses (k, 3)."""
        x, y = self._rotated(poses, points)
        x += poses[:, 0:1]
        y += poses[:, 1:2]
        return self._log[self._cells(x, y)].sum(axis=1, dtype=float)

    def _refine(self, points: np.ndarray, likelihood: np.ndarray) -> int:
        """Pull the best particles up the likelihood; keep a step only where the fit is better."""
        count = min(len(self.particles), max(2, round(REFINED_SHARE * len(self.particles))))
        best = np.argsort(-self._log_weights, kind='stable')[:count]
        poses = self.particles[best]
        sigma2 = self.settings.sigma_hit**2
        damping = np.diag([1.0 / STEP_TRANS**2, 1.0 / STEP_TRANS**2, 1.0 / STEP_ROT**2])
        for _ in range(self.settings.refinements):
            rx, ry = self._rotated(poses, points)
            cells = self._cells(rx + poses[:, 0:1], ry + poses[:, 1:2])
            weight = self._hit_share[cells] * (self._temper / sigma2)
            gx, gy = self._gradient[0][cells], self._gradient[1][cells]
            jacobian = np.stack((gx, gy, gy * rx - gx * ry), axis=2)  # (k, b, 3)
            weighted = jacobian * weight[:, :, None]
            normal = np.matmul(weighted.transpose(0, 2, 1), jacobian) + damping
            slope = np.matmul(weighted.transpose(0, 2, 1), self._field[cells][:, :, None])
            step = np.linalg.solve(normal, slope)[:, :, 0]
            poses = poses - np.clip(step, -MAX_STEP, MAX_STEP)
        gain = self._likelihood(poses, points) - likelihood[best]
        better = gain > 0.0
        poses[:, 2] = wrap_array(poses[:, 2])
        self.particles[best[better]] = poses[better]
        self._log_weights[best[better]] += gain[better]
        return count * len(points) * (self.settings.refinements + 1)

    def _mean(self, weights: np.ndarray) -> tuple[Pose, np.ndarray]:
        """Return the weighted mean (its yaw on the circle) and the covariance (3, 3)."""
        x, y, yaw = self.particles.T
        mean_x, mean_y = float(weights @ x), float(weights @ y)
        mean_yaw = math.atan2(float(weights @ np.sin(yaw)), float(weights @ np.cos(yaw)))
        error = np.stack((x - mean_x, y - mean_y, wrap_array(yaw - mean_yaw)))
        return (mean_x, mean_y, mean_yaw), (error * weights) @ error.T

    def _resample(self, weights: np.ndarray) -> None:
        """Draw the particles anew by their weights with one random number (low variance)."""
        n = self.settings.particles
        positions = (np.arange(n) + self._rng.random()) / n
        index = np.searchsorted(np.cumsum(weights), positions)
        self.particles = self.particles[np.minimum(index, len(weights) - 1)]
        self._log_weights = np.zeros(n)


def make_filter(
    world: World, settings: LocalizerSettings | None = None, *, seed: int = 0
) -> ParticleFilter:
    """Return a particle filter on the mapped part of a world."""
    grid = world.occupancy(RESOLUTION, mapped_only=True)
    centres = grid.centres(np.indices(grid.data.shape).reshape(2, -1).T)
    distance = np.abs(world.distance(centres, mapped_only=True)).reshape(grid.data.shape)
    return ParticleFilter(distance, grid.resolution, grid.origin, settings, seed=seed)
