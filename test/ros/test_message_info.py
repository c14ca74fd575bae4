# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import time
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from action_msgs.msg import GoalStatus, GoalStatusArray  # noqa: E402
from rclpy.subscription import Subscription  # noqa: E402
from std_msgs.msg import Bool, Header  # noqa: E402

from tl_adapt.ros.inbox import Inbox  # noqa: E402
from tl_adapt.ros.message_info import with_info  # noqa: E402
from tl_adapt.ros.mission import MissionRunner  # noqa: E402
from tl_adapt.ros.recorder import sent_ns  # noqa: E402


def test_a_callback_gets_the_info(graph, wait_until):
    heard = []
    node = graph('listener')
    node.create_subscription(
        Bool, 'flag', with_info(lambda message, info: heard.append(sent_ns(info))), 10
    )
    publisher = graph('talker').create_publisher(Bool, 'flag', 10)
    wait_until(lambda: publisher.get_subscription_count() > 0)
    begun = time.time_ns()
    publisher.publish(Bool(data=True))
    wait_until(lambda: heard)
    assert begun <= heard[0] <= time.time_ns()


def test_without_info_the_message_counts_as_sent_now(monkeypatch):
    monkeypatch.delattr(Subscription, 'CallbackType')
    heard = []
    callback = with_info(lambda message, info: heard.append((message, sent_ns(info))))
    begun = time.time_ns()
    callback('message')
    assert heard[0][0] == 'message'
    assert begun <= heard[0][1] <= time.time_ns()


class HumbleNode:
    """Create nothing; deliver a message as Humble's executor does, without info."""

    def __init__(self):
        self.callbacks = {}

    def create_subscription(self, kind, topic, callback, qos, **options):
        self.callbacks[topic] = callback
        return Mock()

    def create_publisher(self, *arguments, **options):
        return Mock()


def test_an_open_inbox_gets_messages_without_info(monkeypatch):
    monkeypatch.delattr(Subscription, 'CallbackType')
    node, heard = HumbleNode(), []
    inbox = Inbox(node, open=True)
    inbox.subscribe(Bool, 'flag', lambda message, info: heard.append((message, info)), 10)
    node.callbacks['flag']('message')
    assert heard == [('message', {})]


def test_a_mission_gets_messages_without_info(monkeypatch):
    monkeypatch.delattr(Subscription, 'CallbackType')
    node = HumbleNode()
    mission = SimpleNamespace(
        goal_topic='goal_pose', outcome_topic='status', result_topic='result',
        initialpose_topic=None, goal_interface='topic', action='navigate_to_pose',
        fail_when=(),
    )
    runner = MissionRunner(node, mission, None, Mock(), lambda: None, Mock())
    status = GoalStatus(status=GoalStatus.STATUS_EXECUTING)
    node.callbacks['status'](GoalStatusArray(status_list=[status]))
    node.callbacks['result'](Header(frame_id='succeeded'))
    (known, since), = runner.goals._statuses.values()
    assert known == GoalStatus.STATUS_EXECUTING and since > 0
    assert [(at, what) for _, at, what in runner._results] == [(0, 'succeeded')]
