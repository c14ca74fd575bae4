# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import time

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from rclpy.subscription import Subscription  # noqa: E402
from std_msgs.msg import Bool  # noqa: E402

from tl_adapt.ros.message_info import with_info  # noqa: E402
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
