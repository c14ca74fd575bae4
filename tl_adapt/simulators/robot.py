# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the simulated robot: its measures, its motors, its battery; no physics engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Robot:
    """
    Describe a small round differential-drive robot (mass and wheels like a TurtleBot3 burger).

    Lengths in m, masses in kg; heights are above the floor. Motor values are those at the wheel.
    """

    wheel_radius: float = 0.033
    wheel_separation: float = 0.16
    wheel_mass: float = 0.028
    armature: float = 0.0004          # kg m^2, of a rotor through its gear
    base_mass: float = 0.944
    mass_x: float = -0.015            # the rear caster carries a part of the weight
    mass_height: float = 0.06
    payload_x: float = -0.05
    payload_height: float = 0.14
    hull_radius: float = 0.105
    hull_bottom: float = 0.03
    hull_top: float = 0.16
    lidar_height: float = 0.172
    range_min: float = 0.12
    range_max: float = 8.0
    torque_limit: float = 0.14        # N m
    speed_limit: float = 25.0         # rad/s
    speed_gain: float = 0.2           # N m s/rad, of the speed controller
    gear_friction: float = 0.004      # N m, dry
    viscous_friction: float = 0.0045  # N m s/rad
    rolling_resistance: float = 0.12  # of the load on the wheels
    efficiency: float = 0.45          # of motor and gear
    torque_constant: float = 0.06     # N m / A
    winding_resistance: float = 1.8   # ohm

    @property
    def mass(self) -> float:
        """Return the mass without payload [kg]."""
        return self.base_mass + 2 * self.wheel_mass

    def wheel_speeds(self, linear: float, angular: float) -> tuple[float, float]:
        """Return the speeds of left and right wheel [rad/s], scaled down into their limit."""
        turn = angular * self.wheel_separation / 2
        left, right = (linear - turn) / self.wheel_radius, (linear + turn) / self.wheel_radius
        scale = min(1.0, self.speed_limit / max(abs(left), abs(right), 1e-9))
        return left * scale, right * scale

    def controller_speed(self, speed: float) -> float:
        """
        Return what the speed controller is told for a wheel speed [rad/s].

        It adds what makes up for the friction of the robot without payload.
        """
        dry = self.wheel_friction(0.0) * min(max(2 * speed, -1.0), 1.0)
        return speed + (dry + self.viscous_friction * speed) / self.speed_gain

    def wheel_friction(self, payload: float) -> float:
        """Return the dry friction torque of one wheel [N m]; it grows with the load."""
        load = (self.mass + payload) * 9.81 / 2
        return self.gear_friction + self.rolling_resistance * load * self.wheel_radius

    def payload_inertia(self, mass: float) -> float:
        """Return the payload's moment of inertia [kg m^2] about any axis: a cube of 8 cm."""
        return mass * 0.08**2 / 6

    def motor_power(self, torque: np.ndarray, speed: np.ndarray) -> np.ndarray:
        """
        Return the electrical power [W] (n,) of both motors; nothing is won back in braking.

        torque [N m], speed [rad/s]: (n, 2).
        """
        mechanical = np.abs(torque * speed) / self.efficiency
        copper = (torque / self.torque_constant) ** 2 * self.winding_resistance
        return np.sum(mechanical + copper, axis=1)


@dataclass
class Battery:
    """Model three lithium cells: a voltage linear in the charge behind a resistance."""

    capacity: float = 1.8             # Ah
    charge: float = 1.8               # Ah
    full_voltage: float = 12.6
    empty_voltage: float = 10.8
    resistance: float = 0.12          # ohm

    def draw(self, power: float, duration: float) -> tuple[float, float]:
        """
        Deliver `power` [W] for `duration` [s]; return voltage [V] and current [A, <= 0].

        More than the battery can deliver gives the most it can; an empty one gives none.
        """
        share = self.charge / self.capacity
        source = self.empty_voltage + (self.full_voltage - self.empty_voltage) * share
        if self.charge <= 0:
            return source, 0.0
        root = math.sqrt(max(source**2 - 4 * self.resistance * power, 0.0))
        current = (source - root) / (2 * self.resistance)
        self.charge = max(self.charge - current * duration / 3600, 0.0)
        return source - current * self.resistance, -current
