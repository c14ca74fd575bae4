# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what every simulator has in common: its physics options, its state, its protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from tl_adapt.errors import InputError, TlAdaptError


class SimulatorError(TlAdaptError):
    """Report a simulation that can not go on, such as one whose state is no longer finite."""


class EntityError(TlAdaptError):
    """
    Report a request on an entity that is refused; nothing has changed.

    code: 'exists' (the name is taken), 'unknown' (no such entity), 'parse' (the description can
    not be read), 'format' (it is none in SDF), 'unsupported' (this entity or description can not
    be handled so), 'invalid' (a state that makes no sense, such as one that is not finite) or
    'name' (a name that no entity can have).
    """

    def __init__(self, code: str, text: str) -> None:
        """Store the code; the text is for the user."""
        self.code = code
        super().__init__(text)


class Option(NamedTuple):
    """Describe a physics option: range (both ends included), unit and meaning."""

    low: float
    high: float
    unit: str
    description: str


PHYSICS_OPTIONS = {
    'payload': Option(0.0, 3.0, 'kg', 'mass that the robot carries'),
    'floor_friction': Option(0.02, 2.0, '-', 'friction coefficient of the wheels on the floor'),
    'motor_lag': Option(0.0, 1.0, 's', 'time constant of the wheel speed controllers'),
    'scan_noise': Option(0.0, 0.5, 'm', 'standard deviation of the lidar ranges'),
    'odometry_drift': Option(
        -0.5, 0.5, '-',
        'relative error of the odometry: distance is over-read, turning under-read by it, and the '
        'heading drifts by as many rad per metre',
    ),
    'odometry_noise': Option(
        0.0, 0.5, '-', 'random error of the odometry relative to the root of the distance'
    ),
    'idle_power': Option(0.0, 100.0, 'W', 'power drawn from the battery by all but the motors'),
}  # fmt: skip


@dataclass(frozen=True)
class Physics:
    """
    Hold the physics options; PHYSICS_OPTIONS says what they mean.

    Raises InputError for a value that is out of range or not finite.
    """

    payload: float = 0.0
    floor_friction: float = 0.8
    motor_lag: float = 0.04
    scan_noise: float = 0.01
    odometry_drift: float = 0.01
    odometry_noise: float = 0.01
    idle_power: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, option = getattr(self, field.name), PHYSICS_OPTIONS[field.name]
            if not math.isfinite(value) or not option.low <= value <= option.high:
                rule = f'must lie in [{option.low:g}, {option.high:g}] {option.unit}'
                raise InputError(rule, key=field.name, value=value)

    def changed(self, **changes: float) -> Physics:
        """Return a copy with some options changed; raises InputError as the constructor does."""
        if unknown := sorted(set(changes) - set(PHYSICS_OPTIONS)):
            raise InputError(f'must be one of {sorted(PHYSICS_OPTIONS)}', key=unknown[0])
        return replace(self, **changes)


class Command(NamedTuple):
    """Ask for a speed: forwards [m/s] and turning [rad/s]."""

    linear: float
    angular: float


@dataclass(frozen=True)
class Sample:
    """
    Hold what the sensors say at one instant.

    time_ns: simulated time [ns]. pose: true (x, y, yaw) in `map` [m, rad]. twist: true forward
    [m/s] and turning [rad/s] speed. odometry, odometry_twist: the same from the wheel encoders,
    in `odom`. ranges: float32 (beams,) counter-clockwise from straight ahead [m], inf where
    nothing is hit. collision: whether the hull touched anything since the sample before.
    voltage [V], current [A] (negative while discharging; voltage * current is the mean power
    since the sample before [W]), charge and capacity [Ah]. orientation: true (x, y, z, w).
    angular_velocity [rad/s] and linear_acceleration [m/s^2] are what an IMU on the base measures,
    the latter with gravity and as the mean since the sample before.
    """

    time_ns: int
    pose: tuple[float, float, float]
    twist: tuple[float, float]
    odometry: tuple[float, float, float]
    odometry_twist: tuple[float, float]
    ranges: np.ndarray
    collision: bool
    voltage: float
    current: float
    charge: float
    capacity: float
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
    angular_velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    linear_acceleration: tuple[float, float, float] = (0.0, 0.0, 9.81)


@dataclass(frozen=True)
class EntityState:
    """
    Hold where an entity is and how it moves, in the frame `map`.

    position [m] of its origin and orientation (unit quaternion x, y, z, w); linear [m/s] and
    angular [rad/s] velocity, with the axes of that frame, too. The origin of the robot is the
    point on the floor between its wheels, that of a solid of the world the point on the floor
    below its centre, that of a spawned model the one of its description.
    """

    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
    linear: tuple[float, float, float] = (0.0, 0.0, 0.0)
    angular: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def moving(self) -> bool:
        """Return whether a velocity is not zero."""
        return any(self.linear) or any(self.angular)


ROBOT, GROUND = 'robot', 'ground_plane'  # entities that every simulator has


class Simulator(Protocol):
    """
    Simulate one robot in one world, deterministically.

    The same seed, physics and commands give the same samples: bit for bit with `exact_reset`, in
    an engine where that makes a difference. Entities are the
    robot, the ground and the solids: those of the world, walls too, and those that were spawned.
    """

    physics: Physics
    range_min: float
    range_max: float

    @property
    def time_ns(self) -> int:
        """Return the simulated time [ns]."""

    def set_physics(self, physics: Physics) -> None:
        """Change the physics at once, in the running world."""

    def reset(
        self, *, seed: int, start: Sequence[float], keep_battery: bool = False, time_ns: int = 0
    ) -> None:
        """
        Put the robot at rest at `start` (x, y, yaw), and begin all random streams anew.

        Solids go back to where they began. What was spawned stays, what was deleted stays away.
        """

    def advance(self, duration_ns: int, commands: Sequence[tuple[int, Command]] = ()) -> Sample:
        """
        Simulate `duration_ns`, then read the sensors.

        commands: (time [ns], Command) sorted by time; each holds from its time on.
        Raises SimulatorError if the state is no longer finite.
        """

    def entities(self) -> list[str]:
        """Return the names of all entities."""

    def entity_state(self, name: str) -> EntityState:
        """Return the state; raises EntityError for an unknown name."""

    def set_entity_state(self, name: str, state: EntityState) -> None:
        """
        Put an entity elsewhere at once; a solid stands still there.

        Raises EntityError, among others for the ground, for a solid that shall move and for a
        robot outside the room.
        """

    def spawn(self, name: str, sdf_xml: str, state: EntityState) -> None:
        """
        Add a static solid described in SDF; `state` counts, not the pose in the description.

        Raises EntityError; for 'unsupported' it says what is supported.
        """

    def delete(self, name: str) -> None:
        """Remove a solid; raises EntityError: 'unknown', or 'unsupported' for robot and ground."""

    def restore_entities(self, *, deleted: bool = True) -> None:
        """
        Remove what was spawned and, if `deleted`, bring back the world's deleted solids.

        Nothing else changes; `reset` puts the rest back.
        """


def finite(values: Sequence[Any]) -> bool:
    """Return whether all numbers are finite."""
    return all(math.isfinite(value) for value in values)
