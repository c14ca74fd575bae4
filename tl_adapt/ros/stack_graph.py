# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what a worker has in the graph of its stack: a node, and all that uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tl_adapt.errors import MeasurementError
from tl_adapt.metrics import needed_fields
from tl_adapt.ros.attribution import Attribution
from tl_adapt.ros.graph_node import GraphNode
from tl_adapt.ros.lifecycle import Lifecycle
from tl_adapt.ros.mission import MissionRunner
from tl_adapt.ros.parameters import ParameterClient
from tl_adapt.ros.preparation import Preparation
from tl_adapt.ros.recorder import Recorder, SimClock
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.ros.live_stack import LiveStack

_STEP = 10.0  # s that one step before the mission may take


class StackGraph(GraphNode):
    """Hold the node in the stack's graph, the thread that spins it, and all that uses it."""

    def __init__(self, stack: LiveStack) -> None:
        """Join the graph; raises MeasurementError if the study has no mission."""
        super().__init__(stack.namespace)
        mission = stack.study.mission
        if mission is None:
            raise MeasurementError('the study has no mission')
        self.clock = SimClock(self.node, self.inbox)
        self.parameters = ParameterClient(self.node, alive=stack.alive)
        self.recorder = Recorder(
            self.node, needed_fields(stack.study.metrics.values()), self.clock, self.inbox
        )
        simulator = stack.spec.options.get('simulator')
        self.runner = MissionRunner(
            self.node,
            mission,
            simulator,
            self.clock,
            stack.alive,
            self.inbox,
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
        self.spin()

    def now(self) -> int:
        """Return the present sim time in ns."""
        self.inbox.take()
        return self.clock.now()
