# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the end of the adapter's life while it changes something."""

import threading
import time
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip('rclpy')

from rclpy.executors import SingleThreadedExecutor  # noqa: E402

from tl_adapt.ros.nodes.adapter import Adapter  # noqa: E402


class BusyEngine:
    """Be in the middle of a change, whose answers come through the node's executor."""

    changing = True

    def __init__(self, node):
        self.asked = threading.Event()
        self.answered = threading.Event()
        node.create_timer(0.01, lambda: self.asked.is_set() and self.answered.set())
        self.thread = threading.Thread(target=self.answered.wait, args=(20.0,), daemon=True)
        self.thread.start()

    def stop(self, deadline=5.0):
        self.asked.set()
        self.thread.join(deadline)
        return not self.thread.is_alive()


def test_a_change_that_does_not_end_is_waited_for_and_told_once():
    waited, told, ended = [], [], []
    engine = SimpleNamespace(stop=lambda deadline: waited.append(deadline))
    node = SimpleNamespace(
        _engine=engine, _overdue=None, _journal=None,
        _restarts=SimpleNamespace(stop=lambda: ended.append(len(waited))),
        get_logger=lambda: SimpleNamespace(error=told.append),
    )
    Adapter.stop(node)
    Adapter.stop(node)
    assert told == [
        'a change did not end in time and is cut short; it is put back at the next start']
    assert waited[0] > 0.0 and waited[1:] == [0.0]
    assert ended[0] == 0, 'a command is ended before the engine is waited for'


@pytest.mark.parametrize(('configuration', 'waiting', 'told'), [
    ({'v': 1 / 3, 'on': True}, '', 'the robot keeps: v 0.333333, on true'),
    ({'v': 0.5}, 'waits for /b to be up', 'the robot had (waits for /b to be up): v 0.5'),
    (None, 'waits for /b to be up', 'waits for /b to be up'),
    (None, '', 'something of it is not known'),
])
def test_the_end_says_what_the_robot_is_left_with(configuration, waiting, told):
    said = []
    report = SimpleNamespace(
        status=SimpleNamespace(configuration=configuration), waiting=waiting,
        message='something of it is not known',
    )
    node = SimpleNamespace(
        _engine=SimpleNamespace(report=lambda: report), _overdue=None,
        get_logger=lambda: SimpleNamespace(info=said.append),
    )
    Adapter.say_end(node)
    assert said == [f'the adapter ends; {told}']
    node._overdue = node._engine
    Adapter.say_end(node)
    node._engine = None
    Adapter.say_end(node)
    assert len(said) == 1


def test_a_change_ends_before_the_adapter_leaves(ros_domain):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    node = Adapter(context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        engine = node._engine = BusyEngine(node)
        begun = time.monotonic()
        shut_down = executor.create_task(node.trigger_shutdown)
        while node._engine is not None:
            assert time.monotonic() - begun < 4.0, 'the change could not end'
            executor.spin_once(0.05)
        assert engine.answered.is_set()
        assert not engine.thread.is_alive()
        assert shut_down.done()
        assert node._state_machine.current_state[1] == 'finalized'
        # The timer that waited is gone, and a later end does nothing.
        executor.spin_once(0.05)
        node.stop()
    finally:
        executor.shutdown(1.0)
        node.destroy_node()
        rclpy.shutdown(context=context)
