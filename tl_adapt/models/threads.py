# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for linear algebra on one thread.

The matrices here are small: several threads gain little, and where other processes (a simulator,
the robot's software) want the cores, threads that wait for each other cost a hundredfold.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec('P')
R = TypeVar('R')


@functools.cache
def _controller() -> Any:
    """Return the controller of the linear algebra libraries, None without threadpoolctl."""
    import scipy.linalg  # noqa: F401  loads its library before the controller looks

    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


def single_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function run its linear algebra on one thread."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        controller = _controller()
        if controller is None:
            return function(*args, **kwargs)
        with controller.limit(limits=1, user_api='blas'):
            return function(*args, **kwargs)

    return wrapper
