# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what a worker has in the graph of its stack: a node, and all that uses it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from tl_adapt.errors import MeasurementError
from tl_adapt.metrics import needed_fields
from tl_adapt.ros.attribution import Attribution
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.lifecycle import Lifecycle
from tl_adapt.ros.mission import MissionRunner
from tl_adapt.ros.parameters import ParameterClient
from tl_adapt.ros.preparation import Preparation
from tl_adapt.ros.recorder import Recorder, SimClock
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.ros.live_stack import LiveStack

_STEP = 10.0  # s that one step before the mission may take


class StackGraph:
    """Hold the node in the stack's graph, the thread that spins it, and all that uses it."""

    def __init__(self, stack: LiveStack) -> None:
        """Join the graph; raises MeasurementError if the study has no mission."""
        self.context = rclpy.Context()
        rclpy.init(context=self.context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(
            f'tl_adapt_worker_{os.getpid()}',
            context=self.context,
            namespace=stack.namespace or None,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        mission = stack.study.mission
        if mission is None:
            raise MeasurementError('the study has no mission')
        self._inbox = Inbox(self.node)
        self.clock = SimClock(self.node, self._inbox)
        self.parameters = ParameterClient(self.node, alive=stack.alive)
        self.recorder = Recorder(
            self.node, needed_fields(stack.study.metrics.values()), self.clock, self._inbox
        )
        simulator = stack.spec.options.get('simulator')
        self.runner = MissionRunner(
            self.node,
            mission,
            simulator,
            self.clock,
            stack.alive,
            self._inbox,
            deadline=min(_STEP, mission.wall_timeout),
        )
        self.lifecycle = Lifecycle(
            self.node,
            [resolved(n, stack.namespace) for n in stack.spec.options.get('lifecycle_nodes', ())],
            self.runner.waiter,
            manager=stack.spec.options.get('lifecycle_manager'),
        )
        self.attribution = Attribution(self.node, stack.bringup, stack.namespace)
        self.preparation = Preparation(self.node, mission.prepare, self.runner.waiter)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def now(self) -> int:
        """Return the present sim time in ns."""
        self._inbox.take()
        return self.clock.now()

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
        """Leave the graph."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(1.0)
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
