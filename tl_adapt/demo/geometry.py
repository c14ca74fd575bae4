# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for plane geometry that the robot software shares."""

from __future__ import annotations

import math

import numpy as np

Pose = tuple[float, float, float]


def wrap(angle: float) -> float:
    """Return an angle [rad] brought into [-pi, pi)."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi


def wrap_array(angles: np.ndarray) -> np.ndarray:
    """Return angles [rad] of any shape brought into [-pi, pi)."""
    return (angles + math.pi) % (2.0 * math.pi) - math.pi


def relative(base: Pose, other: Pose) -> Pose:
    """Return `other` as seen from `base` (both in one frame)."""
    dx, dy = other[0] - base[0], other[1] - base[1]
    c, s = math.cos(base[2]), math.sin(base[2])
    return c * dx + s * dy, c * dy - s * dx, wrap(other[2] - base[2])


def to_parent(pose: Pose, points: np.ndarray) -> np.ndarray:
    """Return points (n, 2) of the frame at `pose` in that frame's parent, (n, 2)."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    x, y = points[:, 0], points[:, 1]
    return np.column_stack((pose[0] + c * x - s * y, pose[1] + s * x + c * y))


def to_child(pose: Pose, points: np.ndarray) -> np.ndarray:
    """Return points (n, 2) of the parent frame in the frame at `pose`, (n, 2)."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    x, y = points[:, 0] - pose[0], points[:, 1] - pose[1]
    return np.column_stack((c * x + s * y, c * y - s * x))


def squared_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the squared distances (n, m) of points (n, 2) to others (m, 2)."""
    dx = points[:, 0:1] - others[:, 0]
    dy = points[:, 1:2] - others[:, 1]
    return dx * dx + dy * dy


def scan_points(angles: np.ndarray, ranges: np.ndarray, max_range: float = math.inf) -> np.ndarray:
    """Return the hits (k, 2) of a scan in the lidar's frame, without readings of no hit."""
    with np.errstate(invalid='ignore'):
        valid = np.isfinite(ranges) & (ranges > 0.0) & (ranges <= max_range)
    r, a = ranges[valid], angles[valid]
    return np.column_stack((r * np.cos(a), r * np.sin(a)))


def yaw_of(z: float, w: float, x: float = 0.0, y: float = 0.0) -> float:
    """Return the yaw [rad] of a quaternion."""
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def quaternion_of(yaw: float) -> tuple[float, float]:
    """Return (z, w) of the quaternion that turns by `yaw` [rad] about the vertical."""
    return math.sin(0.5 * yaw), math.cos(0.5 * yaw)
