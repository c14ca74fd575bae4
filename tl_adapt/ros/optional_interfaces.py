# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the interface packages that not every installation has: a module, or None."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType


@functools.cache
def _package(name: str, part: str) -> ModuleType | None:
    try:
        importlib.import_module(f'{name}.{part}')
        return importlib.import_module(name)
    except ImportError:
        return None


def gazebo_msgs() -> ModuleType | None:
    """Return gazebo_msgs, None if it is not installed."""
    return _package('gazebo_msgs', 'srv')


def simulation_interfaces() -> ModuleType | None:
    """Return simulation_interfaces, None if it is not installed."""
    return _package('simulation_interfaces', 'srv')


def nav2_msgs() -> ModuleType | None:
    """Return nav2_msgs, None if it is not installed."""
    return _package('nav2_msgs', 'action')
