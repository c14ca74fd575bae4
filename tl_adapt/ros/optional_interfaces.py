# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for interface packages that not every ROS 2 installation has.

Each function returns the package with its parts imported (`gazebo_msgs().srv.SpawnEntity`), or
None where the package is not installed. `make interfaces` builds them in the checkout's virtual
environment; elsewhere they come with the installation, in its version, so look with `hasattr` for
what is not in all of them.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any


def gazebo_msgs() -> Any:
    """Return gazebo_msgs, what Gazebo classic speaks, or None."""
    return _package('gazebo_msgs', 'msg', 'srv')


def simulation_interfaces() -> Any:
    """Return simulation_interfaces, what simulators in general speak, or None."""
    return _package('simulation_interfaces', 'msg', 'srv')


def tf2_msgs() -> Any:
    """Return tf2_msgs, or None."""
    return _package('tf2_msgs', 'msg')


def nav2_msgs() -> Any:
    """Return nav2_msgs, with its actions only, or None."""
    return _package('nav2_msgs', 'action')


@functools.cache
def _package(name: str, *parts: str) -> Any:
    """Import a package and its parts; return None where one of them can't be imported."""
    try:
        package = importlib.import_module(name)
        for part in parts:
            importlib.import_module(f'{name}.{part}')
    except ImportError:
        return None
    return package
