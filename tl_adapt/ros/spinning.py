# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the thread that spins a node, and for leaving the graph without harm."""

from __future__ import annotations

import contextlib
import threading

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

_LEAVE = 5.0  # s for the callback that runs to return
_LOOK = 0.1  # s between looks whether to end: to be woken up does not end a wait for callbacks


class Spinner:
    """
    Spin one node, the only one of its context, in a thread.

    What a thread still waits for must not be destroyed, and rclpy's executors are shut down
    without waiting for those that spin them.
    """

    def __init__(self, node: Node) -> None:
        """Take the node; nothing is spun before `start`."""
        self._node = node
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._ending = False
        self._thread = threading.Thread(target=self._spin, name='spin', daemon=True)

    def start(self) -> None:
        """Let the thread begin."""
        self._thread.start()

    def close(self) -> bool:
        """
        End the thread, destroy the node and shut its context down.

        Where a callback does not return, all stays as it is, as the thread uses it: returns False.
        """
        self._ending = True
        if self._thread.ident is not None:
            self._thread.join(_LEAVE)
            if self._thread.is_alive():
                return False
        self._executor.shutdown()
        self._node.destroy_node()
        self._node.context.try_shutdown()
        return True

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not self._ending and self._node.context.ok():
                self._executor.spin_once(_LOOK)
