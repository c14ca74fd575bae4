# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for changing the states of lifecycle nodes that are slow to answer."""

import types

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from lifecycle_msgs.srv import GetState  # noqa: E402

from tl_adapt.errors import MeasurementError  # noqa: E402
from tl_adapt.ros.lifecycle import Lifecycle  # noqa: E402


class Waiter:
    """Stand for calls to a node that does not tell its state before it was asked often enough."""

    def __init__(self, silent):
        self.silent, self.asked, self.sent = silent, 0, []

    def call(self, client, request, *, deadline, meanwhile=None):
        if isinstance(request, GetState.Request):
            self.asked += 1
            if self.asked <= self.silent:
                raise MeasurementError('no answer')
            label = 'active' if not self.sent else 'inactive'
            state = types.SimpleNamespace(id=0, label=label)
            return types.SimpleNamespace(current_state=state)
        self.sent.append(request.transition.id)
        return types.SimpleNamespace(success=True)

    def pass_time(self, seconds):
        pass


@pytest.mark.parametrize('silent', [0, 3])
def test_a_node_that_is_slow_to_tell_its_state_is_taken_down_all_the_same(silent):
    waiter = Waiter(silent)
    client = types.SimpleNamespace(service_is_ready=lambda: True)
    node = types.SimpleNamespace(create_client=lambda kind, name: client)
    Lifecycle(node, ['/server'], waiter).take_down(['/server'], 10.0)
    assert waiter.sent == [4, 2], 'deactivate, cleanup'


def test_a_node_that_never_tells_its_state_is_left_as_it_is():
    waiter = Waiter(10**9)
    client = types.SimpleNamespace(service_is_ready=lambda: True)
    node = types.SimpleNamespace(create_client=lambda kind, name: client)
    Lifecycle(node, ['/server'], waiter).take_down(['/server'], 0.01)
    assert waiter.sent == [] and waiter.asked > 1
