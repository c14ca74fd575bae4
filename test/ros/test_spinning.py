# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the thread that spins a node."""

import threading

import pytest

rclpy = pytest.importorskip('rclpy')

from rclpy.exceptions import InvalidHandle  # noqa: E402

from tl_adapt.ros import spinning  # noqa: E402

pytestmark = pytest.mark.ros


@pytest.fixture
def node(ros_domain):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    yield rclpy.create_node('spun', context=context)
    context.try_shutdown()


def destroyed(node):
    try:
        with node.handle:
            return False
    except InvalidHandle:
        return True


@pytest.mark.parametrize('how', ['busy', 'idle', 'not spun'])
def test_the_node_goes_once_nobody_spins_it(node, monkeypatch, how):
    called = threading.Event()
    timer = node.create_timer(0.01, lambda: called.set() if how == 'busy' else idle())
    spinner = spinning.Spinner(node)
    alive = []
    destroy = node.destroy_node
    monkeypatch.setattr(
        node, 'destroy_node', lambda: (alive.append(spinner._thread.is_alive()), destroy())
    )

    def idle():
        timer.cancel()
        called.set()

    if how != 'not spun':
        spinner.start()
        assert called.wait(10.0)
    assert spinner.close()
    assert alive == [False]
    assert destroyed(node)
    assert not node.context.ok()
    assert spinner.close()


def test_a_node_whose_callback_does_not_return_is_left_alone(node, monkeypatch):
    called, done = threading.Event(), threading.Event()

    def hang():
        called.set()
        done.wait(30.0)

    node.create_timer(0.01, hang)
    spinner = spinning.Spinner(node)
    spinner.start()
    assert called.wait(10.0)
    with monkeypatch.context() as patch:
        patch.setattr(spinning, '_LEAVE', 0.05)
        assert not spinner.close()
    assert not destroyed(node)
    done.set()
    assert spinner.close()
    assert destroyed(node)


def test_it_ends_with_its_context(node):
    spinner = spinning.Spinner(node)
    spinner.start()
    node.context.try_shutdown()
    spinner._thread.join(10.0)
    assert not spinner._thread.is_alive()
    assert spinner.close()
