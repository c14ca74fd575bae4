# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for what a recording keeps of nodes, against a client that stands for the graph."""

import time
import types

import pytest

pytest.importorskip('rclpy')

from rcl_interfaces.srv import ListParameters  # noqa: E402

from tl_adapt.ros import recorded_nodes  # noqa: E402
from tl_adapt.ros.recorded_nodes import ParameterSnapshots  # noqa: E402
from tl_adapt.ros.values import to_message  # noqa: E402

pytestmark = pytest.mark.ros


class Graph:
    """Stand for a client of a graph with one node, whose parameter changes as it is read."""

    def __init__(self, *speeds):
        self.speeds, self.publishers, self.asked = list(speeds), frozenset((b'a',)), []
        self.answered = []

    def identities(self):
        return {'/driver': self.publishers}

    def count(self, node):
        return 1

    def ask(self, requests, *, deadline):
        kind, request = requests['/driver']
        if kind is ListParameters:
            result = types.SimpleNamespace(names=['speed'])
            return {'/driver': types.SimpleNamespace(result=result)}, {}
        assert request.names == ['speed']
        self.asked.append(time.time_ns())
        speed = self.speeds.pop(0) if len(self.speeds) > 1 else self.speeds[0]
        self.answered.append(time.time_ns())
        return {'/driver': types.SimpleNamespace(values=[to_message(speed)])}, {}


def until(read):
    end = time.monotonic() + 20.0
    while not read():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def snapshots(monkeypatch):
    monkeypatch.setattr(recorded_nodes, '_LOOK', 0.02)
    opened = []

    def build(graph):
        opened.append(ParameterSnapshots(graph, ['/driver']))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def test_what_changed_as_a_node_was_met_is_read_later(snapshots):
    graph = Graph(0.5, 0.8)
    read = snapshots(graph)
    until(lambda: read.settled)
    found = read.take()
    assert [(node, values) for node, values, _ in found] == [
        ('/driver', {'speed': 0.5}), ('/driver', {'speed': 0.8})]
    # A change that is told later than its time is newer.
    assert all(at <= asked for (*_, at), asked in zip(found, graph.asked))
    assert len(graph.asked) == 2


def test_the_same_is_told_once_and_a_restarted_node_is_read_again(snapshots):
    graph = Graph(0.5)
    read = snapshots(graph)
    until(lambda: read.settled)
    assert [values for _, values, _ in read.take()] == [{'speed': 0.5}]
    graph.speeds = [0.7]
    graph.publishers = frozenset((b'b',))
    until(lambda: len(graph.asked) == 4 and read.settled)
    assert [values for _, values, _ in read.take()] == [{'speed': 0.7}]
