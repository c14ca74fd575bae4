# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for calls to a simulator whose answers get lost, with clients that stand for its own."""

import time
import types

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('gazebo_msgs')

from gazebo_msgs.srv import GetModelList, SpawnEntity  # noqa: E402
from rclpy.task import Future  # noqa: E402
from std_srvs.srv import Empty  # noqa: E402

from tl_adapt.ros.simulator_control.base import ControlError  # noqa: E402
from tl_adapt.ros.simulator_control.caller import Caller  # noqa: E402

pytestmark = pytest.mark.ros


class Server:
    """Stand for a client whose first `lost` answers do not come."""

    srv_name = '/gazebo/service'

    def __init__(self, lost):
        self.lost, self.requests, self.removed = lost, [], 0

    def call_async(self, request):
        self.requests.append(request)
        future = Future()
        if len(self.requests) > self.lost:
            future.set_result(len(self.requests))
        return future

    def remove_pending_request(self, future):
        self.removed += 1


def calling(server, deadline=0.4):
    return Caller(types.SimpleNamespace(create_client=lambda kind, name: server),
                  deadline=deadline)


@pytest.mark.parametrize('kind', [Empty, GetModelList])
def test_a_first_answer_that_gets_lost_is_asked_for_again(kind):
    server = Server(1)
    assert calling(server).call(kind, 'service') == 2
    assert (len(server.requests), server.removed) == (2, 1)


def test_nothing_is_sent_twice_that_would_be_done_twice():
    server = Server(1)
    with pytest.raises(ControlError, match='no answer within 0.4 s'):
        calling(server).call(SpawnEntity, 'service')
    assert (len(server.requests), server.removed) == (1, 1)


def test_a_service_that_has_answered_is_asked_once():
    server = Server(0)
    caller = calling(server)
    assert caller.call(Empty, 'service') == 1
    server.lost = 9
    with pytest.raises(ControlError, match='no answer'):
        caller.call(Empty, 'service')
    assert len(server.requests) == 2


def test_a_late_answer_waits_for_what_was_asked_again():
    """Or a reset would happen a second time after the mission began."""
    server = Server(9)
    futures = []

    def call_async(request):
        futures.append(Future())
        if len(futures) == 2:
            futures[0].set_result('late')
        return futures[-1]

    server.call_async = call_async
    begun = time.monotonic()
    assert calling(server).call(Empty, 'service') == 'late'
    assert time.monotonic() - begun >= 0.39
    assert len(futures) == 2
