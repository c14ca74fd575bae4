# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the local controller: a dynamic window over speeds and turning rates.

Fox, Burgard, Thrun: The Dynamic Window Approach to Collision Avoidance (1997), with the critics
of Nav2's DWB: distance of the trajectory's end to the plan and to a goal on it, and closeness to
obstacles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from tl_adapt.demo.geometry import squared_distances
from tl_adapt.demo.planner import ROBOT_RADIUS, closeness_cost
from tl_adapt.demo.settings import NavigatorSettings

STEP = 0.1  # s between the states of a trajectory
MARGIN = 0.02  # m kept free around the hull in every trajectory
FORWARD_POINT = 0.1  # m before the robot: lets the critics of distance see the heading
OBSTACLE_SCALE = 4.0  # brings the closeness in [0, 1] to the size of the weighted distances


@dataclass(frozen=True)
class Command:
    """Speeds to command now; `admissible` is False if every trajectory collides (brake)."""

    v: float
    w: float
    admissible: bool
    states: int  # states that were checked against the lidar
    score: float = math.inf


class DynamicWindow:
    """Choose the best of vx_samples x vtheta_samples trajectories in the robot's own frame."""

    def __init__(self, settings: NavigatorSettings, period: float = 0.1) -> None:
        """Take the settings, and the time [s] from one command to the next."""
        if not period > 0.0:
            raise ValueError(f'period > 0 must hold, got {period}')
        self.settings = settings
        self.period = period

    def ramp(
        self, current: tuple[float, float], target: tuple[float, float]
    ) -> tuple[float, float]:
        """Return the speeds one period after `current` on the way to `target`."""
        s = self.settings
        dv, dw = s.acc_lim_x * self.period, s.acc_lim_theta * self.period
        return (
            current[0] + min(max(target[0] - current[0], -dv), dv),
            current[1] + min(max(target[1] - current[1], -dw), dw),
        )

    def choose(
        self,
        current: tuple[float, float],
        path: np.ndarray,
        goal: np.ndarray,
        obstacles: np.ndarray,
        speed_limit: float,
        *,
        final: bool = False,
        leave_path: bool = False,
    ) -> Command:
        """
        Return the best command.

        Parameters
        ----------
        current
            Speeds (v, w) last commanded [m/s], [rad/s].
        path, goal
            Path (m, 2) near the robot and the local goal (2,), in the robot's frame [m].
        obstacles
            Lidar points (k, 2) in the robot's frame [m].
        speed_limit
            Highest forward speed now [m/s].
        final
            Whether the local goal is the goal itself: then passing it counts like ending there.
        leave_path
            Whether to leave the distance to the path out of the score, to get out of a place
            where standing on the path scores best.

        """
        s = self.settings
        v, w = self._window(current, min(speed_limit, s.max_vel_x))
        x, y, yaw = self._trajectories(current, v, w)
        clearance = self._clearance(x, y, obstacles)
        here = float(np.hypot(*obstacles.T).min()) - ROBOT_RADIUS if len(obstacles) else math.inf
        # A robot that is too close already may still move, as long as it comes no closer.
        floor = min(MARGIN, here - 0.002)
        closest = clearance.min(axis=1)
        free = closest >= floor
        states = x.size
        if not free.any():
            return Command(*self.ramp(current, (0.0, 0.0)), False, states)
        point_x, point_y = x + FORWARD_POINT * np.cos(yaw), y + FORWARD_POINT * np.sin(yaw)
        end = np.column_stack((point_x[:, -1], point_y[:, -1]))
        to_goal = np.hypot(end[:, 0] - goal[0], end[:, 1] - goal[1])
        if final:
            to_goal = np.hypot(point_x - goal[0], point_y - goal[1]).min(axis=1)
        to_path = np.sqrt(squared_distances(end, path).min(axis=1))
        closeness = closeness_cost(closest, s.inflation_radius, s.cost_scaling_factor)
        score = (
            (0.0 if leave_path else s.path_weight) * to_path
            + s.goal_weight * to_goal
            + s.obstacle_weight * OBSTACLE_SCALE * closeness
        )
        score[~free] = np.inf
        best = int(np.argmin(score))
        target = (float(v[best]), float(w[best]))
        return Command(*self.ramp(current, target), True, states, float(score[best]))

    def _window(
        self, current: tuple[float, float], limit: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the speeds and turning rates (n,) that can be reached within the horizon."""
        s = self.settings
        reach_v, reach_w = s.acc_lim_x * s.sim_time, s.acc_lim_theta * s.sim_time
        low = min(max(0.0, current[0] - reach_v), limit)
        high = max(min(limit, current[0] + reach_v), low)
        v = np.linspace(low, high, s.vx_samples)
        w = np.linspace(
            max(-s.max_vel_theta, current[1] - reach_w),
            min(s.max_vel_theta, current[1] + reach_w),
            s.vtheta_samples,
        )
        if w[0] < 0.0 < w[-1]:
            w[np.argmin(np.abs(w))] = 0.0  # driving straight must always be among them
        return np.repeat(v, len(w)), np.tile(w, len(v))

    def _trajectories(
        self, current: tuple[float, float], v: np.ndarray, w: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, y and yaw (n, t) when ramping to each (v, w) within the limits."""
        s = self.settings
        steps = max(2, math.ceil(s.sim_time / STEP))
        dt = s.sim_time / steps
        middle = (np.arange(steps) + 0.5) * dt
        speed = current[0] + np.clip(
            (v - current[0])[:, None], -s.acc_lim_x * middle, s.acc_lim_x * middle
        )
        rate = current[1] + np.clip(
            (w - current[1])[:, None], -s.acc_lim_theta * middle, s.acc_lim_theta * middle
        )
        yaw = np.cumsum(rate * dt, axis=1)
        heading = yaw - 0.5 * rate * dt
        x = np.cumsum(speed * np.cos(heading) * dt, axis=1)
        y = np.cumsum(speed * np.sin(heading) * dt, axis=1)
        return x, y, yaw

    def _clearance(self, x: np.ndarray, y: np.ndarray, obstacles: np.ndarray) -> np.ndarray:
        """Return the hull's distance (n, t) to the nearest point; inf beyond what matters."""
        if not len(obstacles):
            return np.full(x.shape, math.inf)
        bound = max(self.settings.inflation_radius, ROBOT_RADIUS + MARGIN) + 0.01
        reach = float(np.hypot(x, y).max()) + bound
        near = obstacles[np.hypot(obstacles[:, 0], obstacles[:, 1]) < reach]
        if not len(near):
            return np.full(x.shape, math.inf)
        states = np.column_stack((x.ravel(), y.ravel()))
        # A tree is asked once only: building a better one costs more than it saves.
        tree = cKDTree(near, compact_nodes=False, balanced_tree=False)
        distance, _ = tree.query(states, distance_upper_bound=bound)
        return distance.reshape(x.shape) - ROBOT_RADIUS
