# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for putting a robot where a mission starts."""

from __future__ import annotations

from collections.abc import Sequence

from tl_adapt.ros.simulator_control.base import SimulatorControl
from tl_adapt.simulators.base import EntityState
from tl_adapt.simulators.rotations import from_rpy


def place(control: SimulatorControl, entity: str, pose: Sequence[float]) -> None:
    """
    Put an entity at rest at a pose (x [m], y [m], yaw [rad]).

    Its height stays: that of a robot's origin over the floor is known to the simulator only.
    """
    x, y, yaw = pose
    height = control.state(entity).position[2]
    control.set_state(entity, EntityState((x, y, height), from_rpy(0.0, 0.0, yaw)))
