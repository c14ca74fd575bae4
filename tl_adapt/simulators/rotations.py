# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for poses in space: a position (x, y, z) and a unit quaternion (x, y, z, w)."""

from __future__ import annotations

import math

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

IDENTITY: Quaternion = (0.0, 0.0, 0.0, 1.0)


def norm(q: Quaternion) -> float:
    """Return the length of a quaternion: 1 where it stands for a rotation."""
    return math.sqrt(sum(part * part for part in q))


def normalized(q: Quaternion) -> Quaternion:
    """Return a quaternion brought to length 1; the identity if it is zero, NaN stays NaN."""
    length = norm(q)
    if length == 0:
        return IDENTITY
    x, y, z, w = (part / length for part in q)
    return x, y, z, w


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """Return the rotation `b` followed by `a`."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def inverse(q: Quaternion) -> Quaternion:
    """Return the rotation back."""
    return -q[0], -q[1], -q[2], q[3]


def rotate(q: Quaternion, v: Vector) -> Vector:
    """Return a vector rotated."""
    x, y, z, _ = multiply(multiply(q, (*v, 0.0)), inverse(q))
    return x, y, z


def add(a: Vector, b: Vector) -> Vector:
    """Return the sum of two vectors."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def subtract(a: Vector, b: Vector) -> Vector:
    """Return `a` without `b`."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Return the cross product."""
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def from_rpy(roll: float, pitch: float, yaw: float) -> Quaternion:
    """Return the rotation about the fixed axes x, y and z, one after the other [rad]."""
    (sr, cr), (sp, cp), (sy, cy) = (
        (math.sin(angle / 2), math.cos(angle / 2)) for angle in (roll, pitch, yaw)
    )
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )


def yaw_of(q: Quaternion) -> float:
    """Return the heading [rad]."""
    x, y, z, w = q
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def tilt_of(q: Quaternion) -> float:
    """Return the angle between the rotated z axis and the upright one [rad]."""
    return math.acos(max(-1.0, min(1.0, rotate(q, (0.0, 0.0, 1.0))[2])))


def to_rpy(q: Quaternion) -> Vector:
    """Return roll, pitch, yaw [rad] (turns about the fixed x, y, z, in this order)."""
    x, y, z, w = q
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(min(max(2 * (w * y - z * x), -1.0), 1.0))
    return roll, pitch, yaw_of(q)
