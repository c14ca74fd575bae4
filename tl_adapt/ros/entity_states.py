# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the states of entities as ROS messages, and the frames that they are seen from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from builtin_interfaces.msg import Time

from tl_adapt.simulators import rotations
from tl_adapt.simulators.base import EntityState


def read_state(pose: Any, twist: Any = None) -> EntityState:
    """Return what a geometry_msgs/Pose and, perhaps, a Twist say; nothing is checked."""
    state = EntityState(_vector(pose.position), (*_vector(pose.orientation), pose.orientation.w))
    if twist is None:
        return state
    return replace(state, linear=_vector(twist.linear), angular=_vector(twist.angular))


def write_state(state: EntityState, pose: Any, twist: Any = None) -> None:
    """Fill a geometry_msgs/Pose and, perhaps, a Twist."""
    _fill(pose.position, state.position)
    _fill(pose.orientation, state.orientation[:3])
    pose.orientation.w = float(state.orientation[3])
    if twist is not None:
        _fill(twist.linear, state.linear)
        _fill(twist.angular, state.angular)


def seen_from(frame: EntityState, state: EntityState) -> EntityState:
    """Return the state, of the world, relative to a frame that may move, too."""
    back = rotations.inverse(frame.orientation)
    return EntityState(
        rotations.rotate(back, rotations.subtract(state.position, frame.position)),
        rotations.multiply(back, state.orientation),
        rotations.rotate(back, rotations.subtract(state.linear, frame.linear)),
        rotations.rotate(back, rotations.subtract(state.angular, frame.angular)),
    )


def from_frame(frame: EntityState, state: EntityState) -> EntityState:
    """
    Return in the world what is wanted relative to a frame.

    The velocities are turned only: what the frame itself does is not added, as in gazebo_ros.
    """
    q = frame.orientation
    return EntityState(
        rotations.add(frame.position, rotations.rotate(q, state.position)),
        rotations.multiply(q, state.orientation),
        rotations.rotate(q, state.linear),
        rotations.rotate(q, state.angular),
    )


def stamp(time_ns: int) -> Time:
    """Return a time [ns] as a message."""
    sec, nanosec = divmod(time_ns, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def _vector(message: Any) -> rotations.Vector:
    return message.x, message.y, message.z


def _fill(message: Any, values: tuple[float, ...]) -> None:
    message.x, message.y, message.z = (float(value) for value in values)
