# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for how fast a simulation runs, as its clock tells."""

from __future__ import annotations

import threading
import time

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from tl_adapt.ros.inbox import SUBSCRIPTION_EVENTS

_PERIODS = 5  # of silence from which on a clock counts as stopped


class RealTimeFactor:
    """Compare `/clock` with the wall clock."""

    def __init__(self, node: Node) -> None:
        """Subscribe through `node`, which another thread spins."""
        self._node = node
        self._changed = threading.Condition()
        self._heard: list[tuple[float, float]] = []
        self._subscription = node.create_subscription(
            Clock,
            '/clock',
            self._on_clock,
            QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
            event_callbacks=SUBSCRIPTION_EVENTS,
        )

    def measure(self, window: float) -> float:
        """
        Return simulated s per wall s over the next `window` [s].

        0 if the clock stands still, or nobody publishes it. Time that was put back by a reset
        in between counts as none.
        """
        with self._changed:
            self._heard = []
            end = time.monotonic() + window
            while (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            heard = self._heard
        if len(heard) < 2:
            return 0.0
        # From one message to another: when the window begins and ends between two is unknown.
        passed = sum(max(b[1] - a[1], 0.0) for a, b in zip(heard, heard[1:]))
        whole = heard[-1][0] - heard[0][0]
        silent = time.monotonic() - heard[-1][0]
        if silent > _PERIODS * whole / (len(heard) - 1):
            whole += silent  # the clock has stopped meanwhile
        return passed / max(whole, 1e-9)

    def close(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self._subscription)

    def _on_clock(self, message: Clock) -> None:
        seconds = message.clock.sec + message.clock.nanosec * 1e-9
        with self._changed:
            self._heard.append((time.monotonic(), seconds))
