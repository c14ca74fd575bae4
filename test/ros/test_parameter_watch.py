# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for telling our own changes of parameters from those of others."""

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from rclpy.parameter import Parameter as RosParameter  # noqa: E402

from tl_adapt.adaptation.events import ForeignChange, NodeRestarted  # noqa: E402
from tl_adapt.ros import parameter_watch  # noqa: E402
from tl_adapt.ros.apply import Applier  # noqa: E402
from tl_adapt.ros.parameter_watch import ParameterWatch  # noqa: E402
from tl_adapt.ros.parameters import ParameterClient  # noqa: E402
from tl_adapt.space import Parameter, RosTarget, Space  # noqa: E402

SPACE = Space([
    Parameter(name='v', type='double', low=0.0, high=1.0, default=0.5,
              targets=(RosTarget(node='robot', name='v'),)),
    Parameter(name='w', type='double', low=0.0, high=1.0, default=0.5,
              targets=(RosTarget(node='robot', name='gains', index=1),)),
])


class Rig:
    def __init__(self, make, wait_until):
        self.make, self.wait_until = make, wait_until
        self.start_robot()
        node = make('watcher')
        self.client = ParameterClient(node)
        self.applier = Applier(SPACE, self.client)
        self.watch = ParameterWatch(node, self.client, SPACE)
        self.client.wait_for_nodes(['robot'], deadline=10.0)
        wait_until(lambda: node.count_publishers('/parameter_events') >= 2)
        self.watch.in_force(self.applier.read_values())
        self.found = []
        self.poll()

    def start_robot(self, **values):
        self.robot = self.make('robot')
        self.robot.declare_parameter('v', values.get('v', 0.25))
        self.robot.declare_parameter('gains', [0.0, 0.25, 0.0])
        self.robot.declare_parameter('other', 1)

    def set(self, name, value):
        self.robot.set_parameters([RosParameter(name, value=value)])

    def poll(self):
        self.found += self.watch.poll()

    def until(self, *events):
        def seen():
            self.poll()
            return len(self.found) >= len(events)

        self.wait_until(seen)
        assert self.found == list(events)
        self.found = []


@pytest.fixture
def rig(graph, wait_until):
    rig = Rig(graph, wait_until)
    yield rig
    rig.watch.close()
    rig.client.close()


def test_only_what_others_did_to_tuned_parameters_is_told(rig):
    outcome = rig.applier.apply({'v': 0.5, 'w': 0.75})
    assert outcome.ok
    # Its events come before and after this.
    rig.watch.in_force(outcome.values)
    rig.set('other', 2)
    rig.set('gains', [1.0, 0.75, 1.0])
    rig.set('v', 0.5)
    rig.set('v', 0.625)
    rig.until(ForeignChange('/robot v: 0.5 -> 0.625'))
    rig.set('gains', [1.0, 0.875, 1.0])
    rig.until(ForeignChange('/robot gains: [0.0, 0.75, 0.0] -> [1.0, 0.875, 1.0]'))
    # What was known and taken note of is in force now.
    rig.set('v', 0.625)
    rig.set('v', 0.125)
    rig.until(ForeignChange('/robot v: 0.625 -> 0.125'))


def test_what_was_set_and_restored_is_ours_and_what_came_between_is_not(rig):
    before = rig.applier.read_values()
    rig.client.set('robot', {'v': 0.75})
    rig.set('v', 0.375)
    rig.client.restore(before)
    rig.watch.in_force(rig.applier.read_values())
    rig.until(ForeignChange('/robot v: 0.25 -> 0.375'))


def test_nothing_is_told_of_a_node_whose_values_are_not_known(rig):
    rig.watch.in_force({})
    rig.set('v', 0.375)
    rig.client.set('robot', {'v': 0.5})
    rig.poll()
    rig.watch.in_force(rig.applier.read_values())
    rig.set('v', 0.625)
    rig.until(ForeignChange('/robot v: 0.5 -> 0.625'))


def test_a_change_whose_message_was_lost_is_found_by_reading(rig, monkeypatch):
    monkeypatch.setattr(parameter_watch, '_READ', 0.1)
    monkeypatch.setattr(rig.watch, '_on_event', lambda message: None)
    rig.watch._node.destroy_subscription(rig.watch._subscription)
    rig.set('v', 0.625)
    rig.until(ForeignChange('/robot v: 0.25 -> 0.625'))


def test_a_restart_is_told_once_and_only_when_the_node_is_up(rig):
    rig.robot.destroy_node()
    rig.wait_until(lambda: rig.poll() or rig.watch.unsettled == ('/robot',))
    assert rig.found == []
    rig.start_robot(v=0.875)
    rig.until(NodeRestarted('/robot'))
    assert rig.watch.unsettled == ()
    rig.set('v', 0.125)
    rig.until(ForeignChange('/robot v: 0.875 -> 0.125'))


def test_a_parameter_that_is_declared_anew_is_a_restart(rig):
    rig.robot.undeclare_parameter('v')
    rig.robot.declare_parameter('v', 0.875)
    rig.until(NodeRestarted('/robot'))
    rig.set('v', 0.125)
    rig.until(ForeignChange('/robot v: 0.875 -> 0.125'))


def test_a_node_that_gives_no_answer_is_as_good_as_gone(rig, monkeypatch):
    class NoCall:
        def __init__(self, client, request):
            pass

        def wait(self, seconds):
            return False

        def forget(self):
            pass

    for name in ('_READ', '_GIVE_UP', '_GRAPH'):
        monkeypatch.setattr(parameter_watch, name, 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(parameter_watch, 'Call', NoCall)
        rig.wait_until(lambda: rig.poll() or rig.watch._nodes['/robot'].unanswered == 1)
        assert rig.watch.unsettled == (), 'it may be busy'
        rig.wait_until(lambda: rig.poll() or rig.watch.unsettled == ('/robot',))
    rig.wait_until(lambda: rig.poll() or rig.watch.unsettled == ())
    assert rig.found == []


def test_a_restart_of_ours_is_none(rig):
    rig.robot.destroy_node()
    rig.wait_until(lambda: rig.client.count('robot') == 0)
    rig.start_robot(v=0.875)
    rig.client.wait_for_nodes(['robot'], deadline=10.0)
    rig.watch.in_force(rig.applier.read_values(), restarted=['/robot'])
    rig.set('v', 0.125)
    rig.until(ForeignChange('/robot v: 0.875 -> 0.125'))
