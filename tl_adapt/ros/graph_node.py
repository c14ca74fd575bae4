# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for a worker's own node in a graph."""

from __future__ import annotations

import os
import time

import rclpy
from rclpy.signals import SignalHandlerOptions

from tl_adapt.errors import ApparatusError, MeasurementError
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.spinning import Spinner


class GraphNode:
    """Hold a node in the graph of the present ROS domain; a thread spins it."""

    def __init__(self, namespace: str = '') -> None:
        """Join the graph; relative names are in the namespace."""
        self.context = rclpy.Context()
        rclpy.init(context=self.context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(
            f'tl_adapt_worker_{os.getpid()}',
            context=self.context,
            namespace=namespace or None,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._spinner = Spinner(self.node)
        self.inbox = Inbox(self.node)

    def spin(self) -> None:
        """Let the thread begin."""
        self._spinner.start()

    def refuse_strangers(self, seconds: float = 0.3) -> None:
        """Raise MeasurementError if nodes are on this domain before the stack is brought up."""
        time.sleep(seconds)  # as long as discovery takes
        own = self.node.get_name()
        strangers = [
            f'{namespace.rstrip("/")}/{name}'
            for name, namespace in self.node.get_node_names_and_namespaces()
            if name != own
        ]
        if strangers:
            raise MeasurementError(
                f'nodes that are not of this stack run on its domain: {", ".join(strangers)}'
            )

    def close(self) -> None:
        """Leave the graph; raises ApparatusError if a callback does not return."""
        if not self._spinner.close():
            raise ApparatusError('a callback of the worker does not return')
