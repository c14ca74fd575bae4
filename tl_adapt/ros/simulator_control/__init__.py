# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for controlling a simulator over ROS, whichever of the usual interfaces it offers."""

from tl_adapt.ros.simulator_control.base import ControlError, SimulatorControl
from tl_adapt.ros.simulator_control.find import find_control

__all__ = ['ControlError', 'SimulatorControl', 'find_control']
