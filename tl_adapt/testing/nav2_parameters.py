# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the parameters of the stand-in for Nav2: which there are, and what becomes of a change.

Names, types, defaults and behaviour are facts about Nav2 from Humble to Lyrical; see also
`config/nav2/`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter

BUSY = 'Unable to dynamically change Parameters while the controller is currently running'


@dataclasses.dataclass(frozen=True)
class Known:
    """
    Describe a parameter.

    `live` ones take effect while the node is active, others only when it is configured. `sign`
    is 1 or -1 for values that must not have the other sign.
    """

    default: Any
    live: bool = True
    sign: int = 0


def _critics(default: float, *names: str) -> dict[str, Known]:
    return {f'FollowPath.{name}': Known(default, live=False) for name in names}


CONTROLLER = {
    'controller_frequency': Known(20.0, sign=1),
    'failure_tolerance': Known(0.3),
    'progress_checker.required_movement_radius': Known(0.5, sign=1),
    'progress_checker.movement_time_allowance': Known(10.0, sign=1),
    'general_goal_checker.xy_goal_tolerance': Known(0.25, sign=1),
    'general_goal_checker.yaw_goal_tolerance': Known(0.25, sign=1),
}
PLUGINS = {
    'dwb_core::DWBLocalPlanner': {
        'FollowPath.max_vel_x': Known(0.26),
        'FollowPath.max_speed_xy': Known(0.26),
        'FollowPath.max_vel_theta': Known(1.0),
        'FollowPath.acc_lim_x': Known(2.5, sign=1),
        'FollowPath.decel_lim_x': Known(-2.5, sign=-1),
        'FollowPath.sim_time': Known(1.7, live=False),
        'FollowPath.vx_samples': Known(20, live=False),
        'FollowPath.vtheta_samples': Known(20, live=False),
        **_critics(32.0, 'PathAlign.scale', 'PathDist.scale'),
        **_critics(24.0, 'GoalAlign.scale', 'GoalDist.scale'),
        **_critics(0.02, 'BaseObstacle.scale'),
    },
    'nav2_mppi_controller::MPPIController': {
        'FollowPath.vx_max': Known(0.5),
        'FollowPath.wz_max': Known(1.9),
        'FollowPath.ax_max': Known(3.0),
        'FollowPath.vx_std': Known(0.2),
        'FollowPath.wz_std': Known(0.4),
        'FollowPath.batch_size': Known(2000),
        'FollowPath.time_steps': Known(56),
        'FollowPath.model_dt': Known(0.05, live=False),
        'FollowPath.temperature': Known(0.3),
        'FollowPath.gamma': Known(0.015),
        'FollowPath.CostCritic.cost_weight': Known(3.81),
        'FollowPath.PathAlignCritic.cost_weight': Known(14.0),
        'FollowPath.PathFollowCritic.cost_weight': Known(5.0),
        'FollowPath.GoalCritic.cost_weight': Known(5.0),
        'FollowPath.PathAngleCritic.cost_weight': Known(2.0),
        'FollowPath.PreferForwardCritic.cost_weight': Known(5.0),
    },
    'nav2_regulated_pure_pursuit_controller::RegulatedPurePursuitController': {
        'FollowPath.desired_linear_vel': Known(0.5),
        'FollowPath.lookahead_dist': Known(0.6),
        'FollowPath.lookahead_time': Known(1.5),
        'FollowPath.use_velocity_scaled_lookahead_dist': Known(False),
        'FollowPath.regulated_linear_scaling_min_radius': Known(0.9),
        'FollowPath.max_allowed_time_to_collision_up_to_carrot': Known(1.0),
        'FollowPath.max_angular_accel': Known(3.2),
    },
}
SPEEDS = ('FollowPath.max_vel_x', 'FollowPath.vx_max', 'FollowPath.desired_linear_vel')
COSTMAP = {
    'inflation_layer.inflation_radius': Known(0.7, sign=1),
    'inflation_layer.cost_scaling_factor': Known(3.0, sign=1),
    'update_frequency': Known(5.0, live=False, sign=1),
    'resolution': Known(0.05, sign=1),
    'footprint_padding': Known(0.01, sign=1),
}
PLANNER = {'GridBased.tolerance': Known(0.5), 'GridBased.use_astar': Known(False)}
AMCL = {
    'max_particles': Known(2000, sign=1),
    'min_particles': Known(500, sign=1),
    **{f'alpha{number}': Known(0.2, sign=1) for number in range(1, 5)},
    'max_beams': Known(60, sign=1),
    'update_min_d': Known(0.25, sign=1),
    'update_min_a': Known(0.2, sign=1),
    'laser_min_range': Known(-1.0, sign=1),  # the default that can't be set again
}
SMOOTHER = {
    'smoothing_frequency': Known(20.0, sign=1),
    'max_velocity': Known([0.5, 0.0, 2.5], sign=1),
    'max_accel': Known([2.5, 0.0, 3.2], sign=1),
    'max_decel': Known([-2.5, 0.0, -3.2], sign=-1),
}


class Parameters:
    """
    Give a lifecycle node parameters that behave as Nav2's do.

    They are declared, and read, when the node is configured; only while it is active does
    anything judge a change or act on it. `used` is what is in effect.
    """

    def __init__(self, node: LifecycleNode, known: dict[str, Known]) -> None:
        """Declare nothing yet."""
        self._node = node
        self.known = dict(known)
        self.used: dict[str, Any] = {}
        # While a goal runs: refuse ('jazzy') or skip in silence ('lyrical') bare names.
        self.busy = False
        self.release = 'jazzy'

    def configure(self) -> None:
        """Declare what is not declared yet, and take what is set."""
        for name, known in self.known.items():
            if not self._node.has_parameter(name):
                self._node.declare_parameter(name, known.default)
        self.used = {name: self._node.get_parameter(name).value for name in self.known}

    def activate(self) -> None:
        """Begin to judge changes and to act on them."""
        self._node.add_on_set_parameters_callback(self._judge)
        self._node.add_post_set_parameters_callback(self._take)

    def deactivate(self) -> None:
        """Leave changes to the next `configure`."""
        self._node.remove_on_set_parameters_callback(self._judge)
        self._node.remove_post_set_parameters_callback(self._take)

    def _judge(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            known = self.known.get(parameter.name)
            if known is None:
                continue
            if self.busy and self.release == 'jazzy' and '.' not in parameter.name:
                return SetParametersResult(successful=False, reason=BUSY)
            value = parameter.value
            values = value if isinstance(known.default, list) else [value]
            if isinstance(known.default, list) and len(values) != len(known.default):
                return SetParametersResult(successful=False, reason='Invalid size of parameter')
            if known.sign and any(each * known.sign < 0 for each in values):
                sign = '>= 0' if known.sign > 0 else '<= 0'
                reason = f'{parameter.name} should be {sign}'
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _take(self, parameters: Sequence[Parameter]) -> None:
        for parameter in parameters:
            known = self.known.get(parameter.name)
            skipped = self.busy and '.' not in parameter.name
            if known is not None and known.live and not skipped:
                value = parameter.value
                self.used[parameter.name] = list(value) if isinstance(value, Sequence) else value
