# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what a worker has in the graph of software that is replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import PoseWithCovarianceStamped

from tl_adapt.closed_loop import commands, refusal
from tl_adapt.errors import InputError, MeasurementError
from tl_adapt.metrics import needed_fields
from tl_adapt.ros.attribution import Attribution
from tl_adapt.ros.goals import put_pose, put_time
from tl_adapt.ros.graph_node import GraphNode
from tl_adapt.ros.inbox import PUBLISHER_EVENTS
from tl_adapt.ros.lifecycle import Lifecycle
from tl_adapt.ros.parameters import ParameterClient
from tl_adapt.ros.recorder import Recorder
from tl_adapt.ros.replay_clock import ReplayClock
from tl_adapt.ros.replay_player import Input, Player
from tl_adapt.ros.waiting import Waiter
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.ros.replay_stack import ReplayStack
    from tl_adapt.study import Pose

_STEP = 10.0  # s that one step before a mission may take
_VARIANCE = 0.01  # m^2 and rad^2, of the pose that a mission starts at
# What nearly every node publishes, and what tells others about itself.
_OF_EVERY_NODE = ('/rosout', '/parameter_events', '/diagnostics')


class ReplayGraph(GraphNode):
    """Hold the node that plays a bag and takes the answers, and all that uses it."""

    def __init__(self, stack: ReplayStack) -> None:
        """Join the graph."""
        super().__init__(stack.namespace)
        options = stack.spec.options
        self._alive = stack.alive
        self._patience = stack.patience
        self.clock = ReplayClock()
        self.parameters = ParameterClient(self.node, alive=stack.alive)
        self.waiter = Waiter(self.inbox, stack.alive, _STEP)
        self.lifecycle = Lifecycle(
            self.node,
            [resolved(n, stack.namespace) for n in options.get('lifecycle_nodes', ())],
            self.waiter,
            manager=options.get('lifecycle_manager'),
        )
        self.attribution = Attribution(self.node, stack.bringup, stack.namespace)
        self.player = Player(
            self.node,
            [Input(*each) for each in stack.replayed.inputs],
            self.clock,
            ticks=bool(options.get('use_sim_time', True)),
            drop_transforms=options.get('drop_transforms', ()),
        )
        self._needed = needed_fields(stack.study.metrics.values())
        self._renamed = dict(stack.renamed)
        self._topics = dict(stack.outputs)
        self._begin_ns = stack.replayed.missions[0].drive.start_ns
        self.recorder = self._make_recorder(self._topics)
        self._initial: Any = None
        mission = stack.study.mission
        self._frame = 'map' if mission is None else mission.frame
        self.pose_topic = ''
        if mission is not None and mission.initialpose_topic and stack.sets_pose:
            self.pose_topic = resolved(mission.initialpose_topic, stack.namespace)
            self._initial = self.node.create_publisher(
                PoseWithCovarianceStamped, self.pose_topic, 10, event_callbacks=PUBLISHER_EVENTS
            )
        self.pose: tuple[int, Pose] | bytes | None = None
        self._excused = set(stack.replayed.named('open_loop'))
        self._declared = set(stack.replayed.named('outputs')) | set(self._renamed.values())
        self._played = set(stack.replayed.named('inputs'))
        #: What a live stack's mission runner does, as far as a replay has it.
        self.runner = self
        self.spin()

    def _make_recorder(self, topics: Mapping[str, str]) -> Recorder:
        wanted = {
            full: self._needed.get(topic, set()) for topic, full in topics.items()
        }
        clock: Any = self.clock
        return Recorder(self.node, wanted, clock, self.inbox)

    # --- what a live stack asks of its mission runner -------------------------------------------

    def connect(self) -> None:
        """Do nothing: there is no simulator."""

    def pause(self) -> None:
        """Do nothing: time stands still unless messages are sent."""

    def resume(self) -> None:
        """Let time begin, which software that follows it waits for."""
        self.player.tick(self._begin_ns)

    def warm_up(self) -> None:
        """Do nothing: no message is sent before all are connected."""

    def check_simulator(self) -> None:
        """Do nothing: there is no simulator."""

    def wait_until_ready(self) -> None:
        """Wait until the software listens to all that is played, and to the pose."""
        self.player.wait_until_heard(self._patience, self._alive)
        if self._initial is not None:
            self.waiter.until(
                lambda: self._initial.get_subscription_count() > 0,
                f'nothing listens on topic {self.pose_topic}',
                poll=0.01,
            )

    def announce_pose(self) -> None:
        """Tell the localizer where the mission starts, if that is to be told."""
        if self._initial is None or self.pose is None:
            return
        if isinstance(self.pose, bytes):
            self._initial.publish(self.pose)
            return
        stamp, pose = self.pose
        message = PoseWithCovarianceStamped()
        message.header.frame_id = self._frame
        put_time(message.header.stamp, stamp)
        put_pose(message.pose.pose, pose)
        for index in (0, 7, 35):
            message.pose.covariance[index] = _VARIANCE
        self._initial.publish(message)

    # --- what only a replay has -----------------------------------------------------------------

    def require_outputs(self) -> None:
        """Raise MeasurementError for an output that the software does not publish."""
        for topic, full in self._topics.items():
            if not self.node.count_publishers(full):
                error = MeasurementError(f'the software publishes nothing on output topic {topic}')
                error.mismatch = True
                raise error

    def refuse_loops(self, nodes: Sequence[str], key: str, file: object) -> None:
        """Raise InputError if one of the nodes publishes what would have moved the robot."""
        for full in nodes:
            namespace, _, name = full.rpartition('/')
            try:
                found = self.node.get_publisher_names_and_types_by_node(name, namespace or '/')
            except Exception as error:
                raise MeasurementError(f'node {full} has left the graph ({error})') from error
            for topic, kinds in found:
                back = next((t for t, other in self._renamed.items() if other == topic), topic)
                if back in self._excused or topic in _OF_EVERY_NODE:
                    continue
                why = commands(back, kinds)
                if topic in self._played - self._declared:
                    why = f'it publishes on topic {topic}, which is among its inputs'
                if why:
                    raise InputError(refusal(f'node {full}', why), file=file, key=f'{key}.bringup',
                                     value=full)

    def newest(self, full: str) -> int:
        """Take what has come in; return the stamp of the newest message on a topic, else 0."""
        self.inbox.take()
        return self.recorder.newest(full)
