# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the navigator's logic without ROS: plan, follow, recover, and say how it ended."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tl_adapt.demo.geometry import Pose, scan_points, squared_distances, to_child, to_parent, wrap
from tl_adapt.demo.local_control import DynamicWindow
from tl_adapt.demo.planner import ROBOT_RADIUS, SPACING, GridPlanner
from tl_adapt.demo.settings import NavigatorSettings

REPLAN_PERIOD = 1.0  # s
BLOCKED_PERIOD = 0.4  # s: soonest replanning when the plan is blocked
PROGRESS = 0.3  # m that must be made ...
PROGRESS_TIME = 15.0  # ... within this time [s], or the mission is aborted
STUCK_TIME = 3.0  # s without 0.1 m of movement before a recovery
RECOVERY_TIME = 2.5  # s
TURN_AT = 1.0  # rad to the local goal above which the robot turns in place first
TURNED = 0.25  # rad below which it drives again
BACK_SPEED = -0.08  # m/s
FOLLOW_TIME = 0.4  # s that the base may lag behind its commands


@dataclass
class Decision:
    """What one scan led to: speeds, the outcome if the mission ended, and the work it took."""

    v: float = 0.0
    w: float = 0.0
    outcome: str = ''  # '', 'succeeded' or 'aborted'
    reason: str = ''
    plan: np.ndarray | None = None  # (n, 2), only when it is new
    states: int = 0
    expanded: int = 0


@dataclass
class _Mission:
    goal: Pose
    path: np.ndarray | None = None
    planned_at: float = -math.inf
    failed_plans: int = 0
    progress_at: float = math.nan
    progress_pose: Pose = (0.0, 0.0, 0.0)
    moved_at: float = math.nan
    moved_pose: Pose = (0.0, 0.0, 0.0)
    turning: bool = False
    recovery_until: float = -math.inf
    recoveries: int = 0


class Navigation:
    """Drive to one goal at a time; `step` is called once for each scan."""

    def __init__(
        self,
        planner: GridPlanner,
        settings: NavigatorSettings | None = None,
        *,
        xy_goal_tolerance: float = 0.2,
        period: float = 0.1,
    ) -> None:
        """Take a planner, the settings and the time [s] between two scans."""
        self.planner = planner
        self.xy_goal_tolerance = xy_goal_tolerance
        self.controller = DynamicWindow(settings or NavigatorSettings(), period)
        self.configure(self.controller.settings)
        self.reset()

    def configure(self, settings: NavigatorSettings) -> None:
        """Take new settings, also while driving."""
        self.settings = settings
        self.controller.settings = settings
        self.planner.configure(settings.inflation_radius, settings.cost_scaling_factor)

    def reset(self) -> None:
        """Forget the goal, the speeds and the obstacles seen."""
        self._mission: _Mission | None = None
        self._speeds = (0.0, 0.0)
        self.planner.reset()

    @property
    def active(self) -> bool:
        """Whether there is a goal."""
        return self._mission is not None

    def set_goal(self, goal: Pose) -> None:
        """Start to a goal from a clean state."""
        self.reset()
        self._mission = _Mission(goal)

    def step(
        self,
        now: float,
        pose: Pose,
        angles: np.ndarray,
        ranges: np.ndarray,
        measured: tuple[float, float] | None = None,
    ) -> Decision:
        """
        Return the decision for a scan (n,) taken at time `now` [s] at the estimated `pose`.

        `measured` speeds (v, w) of the odometry keep the controller from running away from a base
        that does not follow.
        """
        mission = self._mission
        if mission is None:
            self._speeds = (0.0, 0.0)
            return Decision()
        if math.isnan(mission.progress_at):
            mission.progress_at = mission.moved_at = now
            mission.progress_pose = mission.moved_pose = pose
        decision = Decision()
        to_goal = math.hypot(mission.goal[0] - pose[0], mission.goal[1] - pose[1])
        if to_goal <= self.xy_goal_tolerance:
            return self._finish(decision, 'succeeded', '')
        self._hold_back(measured)
        self.planner.observe(pose, angles, ranges)
        self._watch(mission, now, pose)
        if now - mission.progress_at >= PROGRESS_TIME:
            return self._finish(
                decision, 'aborted', f'no progress of {PROGRESS} m in {PROGRESS_TIME} s'
            )
        points = scan_points(angles, ranges)
        if not self._replan(mission, decision, now, pose, points):
            return self._finish(decision, 'aborted', 'no path to the goal')
        if mission.path is None:
            self._speeds = self.controller.ramp(self._speeds, (0.0, 0.0))
        elif now < mission.recovery_until and mission.recoveries % 3 != 1:
            self._recover(mission, pose, points)
        else:
            self._follow(mission, decision, pose, points, to_goal, now < mission.recovery_until)
        decision.v, decision.w = self._speeds
        return decision

    def _finish(self, decision: Decision, outcome: str, reason: str) -> Decision:
        self.reset()
        decision.outcome, decision.reason = outcome, reason
        return decision

    def _hold_back(self, measured: tuple[float, float] | None) -> None:
        """Keep the speeds that trajectories start from near the measured ones."""
        if measured is None:
            return
        s = self.settings
        slack_v, slack_w = FOLLOW_TIME * s.acc_lim_x + 0.1, FOLLOW_TIME * s.acc_lim_theta + 0.3
        v, w = self._speeds
        self._speeds = (
            min(max(v, measured[0] - slack_v), measured[0] + slack_v),
            min(max(w, measured[1] - slack_w), measured[1] + slack_w),
        )

    def _watch(self, mission: _Mission, now: float, pose: Pose) -> None:
        """Note progress, and start a recovery when the robot is stuck."""
        if math.dist(pose[:2], mission.progress_pose[:2]) >= PROGRESS:
            mission.progress_at, mission.progress_pose = now, pose
        turned = abs(wrap(pose[2] - mission.moved_pose[2])) > 0.5
        if math.dist(pose[:2], mission.moved_pose[:2]) >= 0.1 or (turned and mission.turning):
            mission.moved_at, mission.moved_pose = now, pose
        elif now - mission.moved_at >= STUCK_TIME and now >= mission.recovery_until:
            mission.recovery_until = now + RECOVERY_TIME
            mission.recoveries += 1
            mission.planned_at = -math.inf
            mission.moved_at = now + RECOVERY_TIME
            mission.moved_pose = pose

    def _replan(
        self, mission: _Mission, decision: Decision, now: float, pose: Pose, points: np.ndarray
    ) -> bool:
        """Plan where it is due; return False if there has been no path for too long."""
        age = now - mission.planned_at
        due = mission.path is None or age >= REPLAN_PERIOD - 1e-6
        if not due and age >= BLOCKED_PERIOD:
            due = self._blocked(mission, pose, points)
        if not due:
            return True
        mission.planned_at = now
        plan = self.planner.plan(pose, mission.goal[:2])
        if plan is None:
            mission.failed_plans += 1
            return mission.failed_plans < 10
        mission.failed_plans = 0
        mission.path = decision.plan = plan.points
        decision.expanded = plan.expanded
        return True

    def _nearest(self, path: np.ndarray, pose: Pose) -> int:
        return int(np.argmin(squared_distances(np.array([pose[:2]]), path)))

    def _blocked(self, mission: _Mission, pose: Pose, points: np.ndarray) -> bool:
        """Return whether lidar points lie on the next metre of the path."""
        if mission.path is None or not len(points):
            return False
        start = self._nearest(mission.path, pose)
        ahead = mission.path[start : start + int(1.0 / SPACING)]
        near = to_parent(pose, points[np.hypot(*points.T) < 1.3])
        if not len(near):
            return False
        return bool(squared_distances(ahead, near).min() < ROBOT_RADIUS**2)

    def _recover(self, mission: _Mission, pose: Pose, points: np.ndarray) -> None:
        """Turn towards the path or, if there is room behind, back off; by turns."""
        path = mission.path if mission.path is not None else np.array([mission.goal[:2]])
        local = self._local_goal(path, pose)
        bearing = math.atan2(local[1], local[0])
        target = (0.0, self._turn_rate(bearing))
        if mission.recoveries % 3 == 0 and len(points):
            behind = points[(points[:, 0] < 0.0) & (np.abs(points[:, 1]) < ROBOT_RADIUS + 0.03)]
            if not len(behind) or -behind[:, 0].max() > ROBOT_RADIUS + 0.1:
                target = (BACK_SPEED, 0.0)
        self._speeds = self.controller.ramp(self._speeds, target)

    def _turn_rate(self, bearing: float) -> float:
        limit = self.settings.max_vel_theta
        return min(max(1.5 * bearing, -limit), limit)

    def _local_goal(self, path: np.ndarray, pose: Pose) -> np.ndarray:
        """Return the point of the path at the look-ahead distance, in the robot's frame (2,)."""
        start = self._nearest(path, pose)
        end = min(start + max(1, round(self.settings.lookahead_dist / SPACING)), len(path) - 1)
        return to_child(pose, path[end : end + 1])[0]

    def _follow(
        self,
        mission: _Mission,
        decision: Decision,
        pose: Pose,
        points: np.ndarray,
        to_goal: float,
        leave_path: bool,
    ) -> None:
        """Follow the path: turn in place if it leads away, else take the best of the window."""
        path = mission.path
        if path is None:
            return
        start = self._nearest(path, pose)
        ahead = round(self.settings.lookahead_dist / SPACING)
        local = to_child(pose, path[start : start + max(2 * ahead, 10)])
        goal = self._local_goal(path, pose)
        near = local[min(4, len(local) - 1)]
        bearing = math.atan2(goal[1], goal[0])
        limit = TURNED if mission.turning else TURN_AT
        mission.turning = abs(bearing) > limit and float(np.hypot(*near)) > 0.02
        if mission.turning:
            target = (0.0, self._turn_rate(bearing))
            self._speeds = self.controller.ramp(self._speeds, target)
            return
        # Brake for the goal: half of the limit, since the base answers late.
        limit_v = max(0.06, math.sqrt(self.settings.acc_lim_x * max(to_goal - 0.1, 0.0)))
        final = start + ahead >= len(path) - 1
        command = self.controller.choose(
            self._speeds, local, goal, points, limit_v, final=final, leave_path=leave_path
        )
        decision.states = command.states
        self._speeds = (command.v, command.w)
        if not command.admissible and command.v <= 0.01:
            # Standing with nothing free ahead: the round hull can still turn on the spot.
            self._speeds = self.controller.ramp(
                (0.0, self._speeds[1]), (0.0, self._turn_rate(bearing))
            )
