# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the robot software's settings: names, ranges and defaults of the tunable parameters.

The nodes declare exactly these as ROS parameters, so this table is the one place to look them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

T = TypeVar('T')


@dataclass(frozen=True)
class Tunable:
    """One tunable parameter: its type is the default's (`int` or `float`)."""

    name: str
    default: int | float
    low: int | float
    high: int | float
    description: str

    def check(self, value: Any) -> str | None:
        """Return why `value` is refused, or None."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f'{self.name}: a number must be given, got {value!r}'
        if isinstance(self.default, int) and not isinstance(value, int):
            return f'{self.name}: a whole number must be given, got {value!r}'
        if not self.low <= value <= self.high:
            return f'{self.name}: {self.low} <= value <= {self.high} must hold, got {value!r}'
        return None


def _tunable(
    default: int | float, low: int | float, high: int | float, description: str
) -> Any:
    return field(
        default=default, metadata={'low': low, 'high': high, 'description': description}
    )


@dataclass(frozen=True)
class NavigatorSettings:
    """Parameters of the navigator."""

    max_vel_x: float = _tunable(0.3, 0.2, 0.6, 'highest forward speed [m/s]')
    max_vel_theta: float = _tunable(1.5, 0.5, 3.0, 'highest turning rate [rad/s]')
    acc_lim_x: float = _tunable(1.0, 0.2, 3.0, 'forward acceleration limit [m/s^2]')
    acc_lim_theta: float = _tunable(3.0, 0.5, 8.0, 'turning acceleration limit [rad/s^2]')
    sim_time: float = _tunable(1.5, 0.6, 3.0, 'horizon of the simulated trajectories [s]')
    vx_samples: int = _tunable(7, 3, 15, 'speeds tried in each period')
    vtheta_samples: int = _tunable(17, 5, 41, 'turning rates tried in each period')
    path_weight: float = _tunable(16.0, 2.0, 64.0, 'weight of the distance to the plan')
    goal_weight: float = _tunable(20.0, 2.0, 64.0, 'weight of the distance to the local goal')
    obstacle_weight: float = _tunable(1.0, 0.05, 10.0, 'weight of the closeness to obstacles')
    lookahead_dist: float = _tunable(0.8, 0.3, 1.5, 'distance of the local goal on the plan [m]')
    inflation_radius: float = _tunable(0.35, 0.15, 0.6, 'reach of the cost of closeness [m]')
    cost_scaling_factor: float = _tunable(5.0, 1.0, 20.0, 'decay of that cost [1/m]')


@dataclass(frozen=True)
class LocalizerSettings:
    """Parameters of the localizer."""

    particles: int = _tunable(300, 20, 1000, 'size of the particle set')
    beams: int = _tunable(40, 8, 120, 'lidar beams used in each update')
    refinements: int = _tunable(1, 0, 4, 'gradient steps that pull particles to the lidar')
    sigma_hit: float = _tunable(0.1, 0.02, 0.4, 'assumed spread of lidar hits [m]')
    z_rand: float = _tunable(0.1, 0.01, 0.5, 'assumed share of random readings')
    alpha_trans: float = _tunable(0.2, 0.02, 1.0, 'assumed odometry noise in translation')
    alpha_rot: float = _tunable(0.2, 0.02, 1.0, 'assumed odometry noise in rotation')


def tunables(settings: type) -> tuple[Tunable, ...]:
    """Return the tunable parameters that a class of settings declares."""
    return tuple(
        Tunable(f.name, cast('int | float', f.default), **f.metadata)
        for f in fields(settings)
    )


def pick(settings: type[T], values: Mapping[str, Any]) -> T:
    """
    Return settings made of those `values` that belong to them; defaults for the rest.

    Raises
    ------
    ValueError
        For a value out of its range.

    """
    chosen: dict[str, Any] = {}
    for tunable in tunables(settings):
        if tunable.name not in values:
            continue
        value = values[tunable.name]
        reason = tunable.check(value)
        if reason:
            raise ValueError(reason)
        chosen[tunable.name] = type(tunable.default)(value)
    return settings(**chosen)
