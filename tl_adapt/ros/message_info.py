# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for callbacks that get, beside a message, what the middleware knows of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.subscription import Subscription


def with_info(callback: Callable[[Any, Any], None]) -> Callable[..., None]:
    """
    Return what `create_subscription` takes for a callback of a message and its info.

    In Humble rclpy calls with the message alone: the info is empty then, and the message counts
    as sent when it arrives.
    """
    if hasattr(Subscription, 'CallbackType'):
        return callback
    return lambda message: callback(message, {})
