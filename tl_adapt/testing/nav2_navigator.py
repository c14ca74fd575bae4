# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the navigator of the stand-in for Nav2: goals come by its action or by a topic."""

from __future__ import annotations

import os
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse
from rclpy.task import Future
from std_msgs.msg import Header

from tl_adapt.testing.nav2_servers import ARRIVED, LATCHED, TARGET, Server

try:
    from nav2_msgs.action import NavigateToPose
except ImportError:
    NavigateToPose = None

ACTION = 'navigate_to_pose'
BEHAVIOURS = ('reach', 'abort', 'reject', 'cling')
_ABORTED = 9002, 'no transform to the map'


class Navigator(Server):
    """
    Take goals and hand them to the controller, one at a time.

    `stand_in.behaviour`: `abort` ends goals with an error code, `reject` takes none, `cling`
    neither reaches a goal nor lets it be cancelled. Without nav2_msgs there is no action, only
    its status topic.
    """

    def __init__(self) -> None:
        """Start unconfigured."""
        super().__init__('bt_navigator', {})
        self.declare_parameter('stand_in.behaviour', 'reach')
        self._target = self.create_publisher(PoseStamped, TARGET, LATCHED)
        self.create_subscription(Header, ARRIVED, self._on_arrived, 10)
        self.create_subscription(PoseStamped, 'goal_pose', self._on_goal_pose, 10)
        self._end: Future | None = None
        self._goal: Any = None
        if NavigateToPose is None:
            self._status = self.create_publisher(
                GoalStatusArray, f'{ACTION}/_action/status', LATCHED
            )
            self._id: bytes = b''
            return
        self._client = ActionClient(self, NavigateToPose, ACTION)
        self._server = ActionServer(
            self, NavigateToPose, ACTION, self._execute, goal_callback=self._on_goal,
            cancel_callback=self._on_cancel,
        )

    @property
    def _behaviour(self) -> Any:
        return self.get_parameter('stand_in.behaviour').value

    def _on_goal_pose(self, message: PoseStamped) -> None:
        """Pass a goal from the topic on to the action, as Nav2 does."""
        if NavigateToPose is not None:
            self._client.send_goal_async(NavigateToPose.Goal(pose=message))
        elif self._on_goal(None) == GoalResponse.ACCEPT:
            self._id = os.urandom(16)
            self._say(GoalStatus.STATUS_EXECUTING)
            if self._behaviour == 'abort':
                self._say(GoalStatus.STATUS_ABORTED)
            else:
                self._target.publish(message)

    def _on_goal(self, _: Any) -> GoalResponse:
        taken = self.active and self._behaviour != 'reject'
        return GoalResponse.ACCEPT if taken else GoalResponse.REJECT

    def _on_cancel(self, _: Any) -> CancelResponse:
        if self._behaviour == 'cling':
            return CancelResponse.REJECT
        self._finish('canceled')
        return CancelResponse.ACCEPT

    def _on_arrived(self, message: Header) -> None:
        if self._behaviour == 'cling':
            return
        if NavigateToPose is None:
            self._say(GoalStatus.STATUS_SUCCEEDED)
        self._finish(message.frame_id)

    def _finish(self, outcome: str) -> None:
        end, self._end = self._end, None
        if end is not None:
            end.set_result(outcome)

    async def _execute(self, goal: Any) -> Any:
        """Follow one goal to its end; a new one takes its place."""
        self._finish('replaced')
        end = self._end = Future(executor=self.executor)
        if self._behaviour == 'abort':
            self._finish('aborted')
        else:
            self._target.publish(goal.request.pose)
        outcome = await end
        result = NavigateToPose.Result()
        if outcome != 'replaced':
            self._target.publish(PoseStamped())
        if outcome == 'succeeded':
            goal.succeed()
        elif outcome == 'canceled':
            goal.canceled()
        else:
            # Humble's result has neither.
            for name, value in zip(('error_code', 'error_msg'), _ABORTED):
                if hasattr(result, name):
                    setattr(result, name, value)
            goal.abort()
        return result

    def _say(self, status: int) -> None:
        message = GoalStatus(status=status)
        message.goal_info.goal_id.uuid = list(self._id)
        self._status.publish(GoalStatusArray(status_list=[message]))
