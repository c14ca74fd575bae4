# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for sending goals, over an action or a topic, and for what becomes of them.

An action is a set of services and topics. Only those that are needed are used here, each goal with
an id of its own: its feedback would wake this process all the time.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from typing import TYPE_CHECKING, Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from action_msgs.srv import CancelGoal
from geometry_msgs.msg import PoseStamped
from rclpy.client import Client
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from tl_adapt.errors import ApparatusError, InputError, MeasurementError
from tl_adapt.judging import ACTIVE, SUCCEEDED
from tl_adapt.ros.calls import Call
from tl_adapt.ros.inbox import PUBLISHER_EVENTS, SUBSCRIPTION_EVENTS
from tl_adapt.ros.message_info import with_info
from tl_adapt.ros.optional_interfaces import nav2_msgs
from tl_adapt.ros.recorder import SimClock, sent_ns
from tl_adapt.ros.waiting import Waiter

if TYPE_CHECKING:
    from tl_adapt.study import Mission, Pose

_FAILED = {GoalStatus.STATUS_ABORTED: 'aborted', GoalStatus.STATUS_CANCELED: 'canceled'}
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_RESULT = 1.0  # s that a result may come later than the status that it belongs to
_CANCEL = 5.0  # s that a goal may take to end once nobody wants it any more


class RejectedError(MeasurementError):
    """Say that a goal was refused: the stack itself is well."""


@dataclasses.dataclass(frozen=True)
class GoalEnd:
    """Say how a goal ended: `outcome` is 'succeeded' or the reason; `sent` is wall time in ns."""

    outcome: str
    sent: int


class Goals:
    """
    Send the mission's goals, one after the other.

    The way is chosen when the first goal is sent: the study's, or for `auto` the action where its
    type is installed and its server is there, else the topic.
    """

    def __init__(self, node: Node, mission: Mission, clock: SimClock, waiter: Waiter) -> None:
        """Use `node`, which another thread spins."""
        self._node = node
        self._mission = mission
        self._clock = clock
        self._waiter = waiter
        self._changed = waiter.changed
        self._statuses: dict[bytes, tuple[int, int]] = {}  # id -> (status, since when)
        self._clients: dict[str, Client] = {}
        self._results: dict[bytes, Call] = {}
        self._late: dict[bytes, float] = {}
        self._type = action_type(mission)
        self.interface = '' if mission.goal_interface == 'auto' else mission.goal_interface
        self._publisher = node.create_publisher(
            PoseStamped, mission.goal_topic, 10, event_callbacks=PUBLISHER_EVENTS
        )
        node.create_subscription(
            GoalStatusArray,
            mission.outcome_topic,
            with_info(self._on_status),
            LATCHED,
            event_callbacks=SUBSCRIPTION_EVENTS,
        )

    def wait_until_ready(self) -> None:
        """Wait until those who take goals are there."""
        action = f'no server of action {self._mission.action}'
        topic = f'nothing listens on topic {self._mission.goal_topic}'

        def listened_to() -> bool:
            return self._publisher.get_subscription_count() > 0

        if self.interface == 'action':
            self._waiter.until(self._served, action, poll=0.01)
        elif self.interface == 'topic' or self._type is None:
            self._waiter.until(listened_to, topic, poll=0.01)
        else:
            self._waiter.until(
                lambda: listened_to() or self._served(), f'{action}, and {topic}', poll=0.01
            )

    def send(self, pose: Pose) -> bytes:
        """Send a goal, wait until it is taken, and return its id; raises RejectedError."""
        if not self.interface:
            self.interface = 'action' if self._type is not None and self._served() else 'topic'
        message = PoseStamped()
        message.header.frame_id = self._mission.frame
        if self._clock.running:
            put_time(message.header.stamp, self._clock.now())
        put_pose(message.pose, pose)
        if self.interface == 'action':
            return self._send_by_action(message)
        return self._send_by_topic(message)

    def end_of(self, goal: bytes) -> GoalEnd | None:
        """Return how a goal ended, None if it goes on; only with `changed` held."""
        status, sent = self._statuses.get(goal, (GoalStatus.STATUS_UNKNOWN, 0))
        if status == GoalStatus.STATUS_SUCCEEDED:
            return GoalEnd(SUCCEEDED, sent)
        if status not in _FAILED:
            return None
        result = self._results.get(goal)
        if result is not None and not result.wait(0.0):
            # The reason is worth a moment.
            late = self._late.setdefault(goal, time.monotonic())
            if time.monotonic() - late < _RESULT:
                return None
        return GoalEnd(f'mission {_FAILED[status]}{self._reason(goal)}', sent)

    def abandon(self, goal: bytes) -> None:
        """Ask for a goal to be cancelled, and wait for nothing: its robot must not drive on."""
        if not self._over(goal) and self._there('cancel_goal'):
            Call(self._client('cancel_goal', CancelGoal), _cancellation(goal))

    def give_up(self, goal: bytes) -> bool:
        """Cancel a goal that may still be under way; return False if it does not end in time."""
        if self._over(goal) or not self._there('cancel_goal'):
            return True
        client = self._client('cancel_goal', CancelGoal)
        try:
            self._waiter.call(client, _cancellation(goal), deadline=_CANCEL)
            self._waiter.until(
                lambda: self._over(goal), 'the goal did not end', deadline=_CANCEL
            )
        except ApparatusError:
            raise
        except MeasurementError:
            return False
        return True

    def wait_until_idle(self) -> None:
        """
        Wait until no goal is under way, where goals are those of an action.

        Raises ApparatusError: some parameters are refused, or not taken in silence, while a goal
        runs. A goal that is somebody else's is never cancelled.
        """
        if self._idle() or not self._there('cancel_goal'):
            return
        problem = f'action {self._mission.action} still has a goal that was not ended'
        self._waiter.until(self._idle, problem, error=ApparatusError)

    def forget(self) -> None:
        """Forget the results of past goals."""
        for call in self._results.values():
            call.forget()
        self._results.clear()
        self._late.clear()

    def _send_by_topic(self, message: PoseStamped) -> bytes:
        known = set(self._statuses)
        self._publisher.publish(message)
        self._waiter.until(
            lambda: bool(set(self._statuses) - known),
            f'the goal on {self._mission.goal_topic} was not taken: '
            f'no new status on topic {self._mission.outcome_topic}',
        )
        new = set(self._statuses) - known
        active = [goal for goal in new if self._active(goal)]
        return (active or list(new))[0]

    def _send_by_action(self, message: PoseStamped) -> bytes:
        kind: Any = self._type
        goal = os.urandom(16)
        request = kind.Impl.SendGoalService.Request()
        request.goal_id.uuid = list(goal)
        request.goal.pose = message
        client = self._client('send_goal', kind.Impl.SendGoalService)
        try:
            accepted = self._waiter.call(client, request).accepted
        except MeasurementError:
            self.abandon(goal)  # it may have been taken all the same
            raise
        if not accepted:
            raise RejectedError(f'the goal was rejected by action {self._mission.action}')
        ask = kind.Impl.GetResultService.Request()
        ask.goal_id.uuid = list(goal)
        self._results[goal] = Call(self._client('get_result', kind.Impl.GetResultService), ask)
        return goal

    def _reason(self, goal: bytes) -> str:
        """Return what the goal's result says of its failure; Humble's says nothing."""
        call = self._results.get(goal)
        if call is None or not call.wait(0.0):
            return ''
        result = call.answer().result
        code = getattr(result, 'error_code', 0)
        text = ' '.join(str(getattr(result, 'error_msg', '')).split())
        parts = [f'error code {code}'] * bool(code) + [text] * bool(text)
        return f' ({", ".join(parts)})' if parts else ''

    def _idle(self) -> bool:
        with self._changed:
            return not any(map(self._active, self._statuses))

    def _active(self, goal: bytes) -> bool:
        return self._statuses.get(goal, (GoalStatus.STATUS_UNKNOWN, 0))[0] in ACTIVE

    def _over(self, goal: bytes) -> bool:
        status = self._statuses.get(goal, (GoalStatus.STATUS_UNKNOWN, 0))[0]
        return status in _FAILED or status == GoalStatus.STATUS_SUCCEEDED

    def _served(self) -> bool:
        return all(self._there(part) for part in ('send_goal', 'get_result', 'cancel_goal'))

    def _there(self, part: str) -> bool:
        """Say whether the action's service is in the graph."""
        name = self._node.resolve_service_name(f'{self._mission.action}/_action/{part}')
        return any(name == known for known, _ in self._node.get_service_names_and_types())

    def _client(self, part: str, kind: Any) -> Client:
        if part not in self._clients:
            name = f'{self._mission.action}/_action/{part}'
            self._clients[part] = self._node.create_client(kind, name)
        return self._clients[part]

    def _on_status(self, message: GoalStatusArray, info: Any) -> None:
        sent = sent_ns(info)
        with self._changed:
            for status in message.status_list:
                goal = bytes(status.goal_info.goal_id.uuid)
                if self._statuses.get(goal, (None, 0))[0] != status.status:
                    self._statuses[goal] = (status.status, sent)
        self._waiter.wake()


def _cancellation(goal: bytes) -> Any:
    request = CancelGoal.Request()
    request.goal_info.goal_id.uuid = list(goal)
    return request


def action_type(mission: Mission) -> Any:
    """
    Return the type NavigateToPose, None if goals do without it.

    Raises InputError if the mission wants the action and its type is not installed.
    """
    if mission.goal_interface == 'topic':
        return None
    package = nav2_msgs()
    if package is None and mission.goal_interface == 'action':
        rule = 'needs nav2_msgs, which can not be imported'
        raise InputError(rule, key='mission.goal_interface', value='action')
    return None if package is None else package.action.NavigateToPose


def put_time(stamp: Any, nanoseconds: int) -> None:
    """Write a time into a builtin_interfaces/Time."""
    stamp.sec, stamp.nanosec = divmod(nanoseconds, 1_000_000_000)


def put_pose(message: Any, pose: Pose) -> None:
    """Write x, y, yaw into a geometry_msgs/Pose."""
    x, y, yaw = pose
    message.position.x, message.position.y = float(x), float(y)
    message.orientation.z, message.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
