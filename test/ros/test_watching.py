# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the monitor beside sensors in a process of their own that can fail."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from action_msgs.msg import GoalStatus  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from std_msgs.msg import Float64, String  # noqa: E402

from tl_adapt.adaptation.events import ContextChanged, Exploration  # noqa: E402
from tl_adapt.ros.monitor import Monitor  # noqa: E402
from tl_adapt.study import study_from_dict  # noqa: E402

SENSORS = Path(__file__).with_name('sensors.py')
IN_FORCE = {'v': 0.5}
EXECUTING, SUCCEEDED = GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_SUCCEEDED


def study(**adaptation):
    battery = {'topic': 'battery_state', 'field': 'voltage', 'unit': 'V', 'direction': 'minimize'}
    return study_from_dict({
        'version': 1,
        'name': 'watched',
        'parameters': {'v': {
            'type': 'double', 'range': [0.0, 1.0], 'default': 0.2, 'targets': [{'node': 'alpha'}],
        }},
        'metrics': {
            'volt': {'reduction': 'mean', **battery},
            'most': {'reduction': 'max', **battery},
            'bumps': {'reduction': 'count', 'topic': 'bump', 'unit': '1',
                      'direction': 'minimize'},
            'x': {'reduction': 'last', 'topic': 'pose', 'field': 'pose.position.x', 'unit': 'm',
                  'direction': 'minimize'},
        },
        'objectives': [{'metric': 'volt'}],
        'limits': ['volt <= 20', 'most <= 100'],
        'mission': {
            'goals': [[1.0, 0.0, 0.0]], 'timeout': 500.0, 'outcome_topic': 'goal_status',
            'fail_when': [{'topic': 'bump', 'field': 'data', 'op': '==', 'value': True,
                           'reason': 'bumped'}],
        },
        'environments': {
            'simulation': {'kind': 'stack', 'role': 'source'},
            'robot': {'kind': 'stack', 'role': 'target'},
        },
        'adaptation': {'window': 2.0, **adaptation},
    })


class Bench:
    """A monitor, the sensors that it watches, and what it has said so far."""

    def __init__(self, node, adaptation, values):
        self.process = subprocess.Popen(
            [sys.executable, str(SENSORS), json.dumps(values)], stderr=subprocess.DEVNULL)
        self.events = []
        self.windows = []
        self.node = node
        self.command = node.create_publisher(String, 'command', 10)
        self.monitor = Monitor(node, study(**adaptation), post=self.events.append)
        self.monitor.in_force(IN_FORCE)
        self.silent = ()
        self.prepared = 0.0

    def tell(self, **values):
        self.command.publish(String(data=json.dumps(values)))

    def until(self, condition, seconds=30.0):
        """Do what the adapter's thread does until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f'{self.windows[-3:]} {self.events[-3:]} {self.silent}')
            if time.monotonic() > self.prepared + 0.2:
                self.silent = self.monitor.prepare()
                self.prepared = time.monotonic()
            window = self.monitor.poll()
            if window is None:
                time.sleep(0.01)
            else:
                self.windows.append(window)

    def connected(self):
        """Wait until all is heard."""
        self.until(lambda: self.silent == () and self.command.get_subscription_count() > 0
                   and self.monitor.clock.running)
        return self

    def full(self):
        return [window for window in self.windows if not window.overlapping]

    def next_full(self, number=1):
        """Wait for further full windows and return the last of them."""
        count = len(self.full()) + number
        self.until(lambda: len(self.full()) >= count)
        return self.full()[-1]

    def close(self):
        self.monitor.close()
        self.process.terminate()
        self.process.wait(10.0)


@pytest.fixture
def bench(graph):
    made = []

    def make(values=None, **adaptation):
        made.append(Bench(graph('watcher'), adaptation, values or {}))
        return made[-1].connected()

    yield make
    for one in made:
        one.close()


def test_full_windows_and_such_that_slide(bench):
    robot = bench(stride=0.5)
    robot.windows.clear()
    robot.next_full(3)
    full, sliding = robot.full(), [w for w in robot.windows if w.overlapping]
    assert all(set(w.metrics) == {'volt', 'most', 'bumps', 'x'} for w in full)
    assert all(set(w.metrics) == {'volt', 'most'} for w in sliding)
    assert all(w.configuration == IN_FORCE and w.sim_time == 2.0 for w in robot.windows)
    assert len(sliding) >= 4
    # 2 s of 10 messages each, and what has come since the last stride.
    assert robot.monitor._recorder.received('pose') < 40, 'more is kept than is needed'
    # The volts rise: a window that slides sees it before a full one began and ended after it.
    robot.tell(voltage=90.0)
    robot.until(lambda: robot.windows[-1].metrics['volt'] > 85.0)
    assert robot.windows[-1].metrics['volt'] <= 90.0


def test_a_mission_that_runs_is_looked_at_for_its_limits(bench):
    robot = bench(window='mission', stride=2.0)
    robot.tell(goal={1: EXECUTING})
    robot.until(lambda: len(robot.windows) >= 2)
    assert all(w.overlapping and w.configuration == IN_FORCE for w in robot.windows)
    assert set(robot.windows[0].metrics) == {'most'}, 'an average says nothing so early'
    assert set(robot.windows[1].metrics) == {'most', 'volt'}
    assert robot.windows[1].metrics['volt'] == pytest.approx(10.0)
    robot.tell(voltage=1000.0)
    robot.until(lambda: robot.windows[-1].metrics['most'] == 1000.0)
    robot.tell(voltage=0.0)
    robot.until(lambda: robot.windows[-1].metrics['volt'] == 0.0)
    assert robot.windows[-1].metrics['most'] == 1000.0, 'this can not be mended'
    robot.tell(goal={1: SUCCEEDED})
    window = robot.next_full()
    assert (window.outcome, window.configuration) == ('', IN_FORCE)
    assert window.metrics['volt'] > 0.0
    assert window.sim_time > 6.0


def test_a_rule_that_is_met_makes_its_window_a_failure(bench):
    robot = bench(stride=2.0)
    assert robot.next_full().outcome == ''
    robot.tell(bump=True)
    robot.until(lambda: robot.full()[-1].outcome == 'bumped')
    assert robot.full()[-1].metrics['bumps'] > 0
    robot.tell(bump=False)
    robot.until(lambda: robot.full()[-1].outcome == '')


def test_a_topic_that_stops_gives_no_number(bench):
    robot = bench(stride=2.0)
    assert 'volt' in robot.next_full().metrics
    robot.tell(battery=False)
    robot.until(lambda: any('battery_state (since' in text for text in robot.silent))
    window = robot.next_full(2)
    assert set(window.metrics) == {'bumps', 'x'}
    assert window.configuration == IN_FORCE
    assert all(w.metrics.get('volt', 10.0) == pytest.approx(10.0) for w in robot.windows)
    robot.tell(battery=True)
    robot.until(lambda: robot.silent == ())
    window = robot.next_full(2)
    assert window.metrics['volt'] == pytest.approx(10.0)


def test_a_node_that_ends_takes_its_numbers_along(bench):
    robot = bench(stride=2.0)
    robot.next_full()
    robot.process.terminate()
    robot.until(lambda: {'battery_state', 'pose'} <= set(robot.silent))
    count = len(robot.windows)
    end = time.monotonic() + 0.5
    robot.until(lambda: time.monotonic() > end)
    assert len(robot.windows) == count, 'the clock stands still'


def test_messages_that_are_damaged_cost_the_numbers_of_their_topic_alone(bench):
    robot = bench({'payload': 1.0}, contexts=[
        {'name': 'payload', 'topic': 'payload', 'field': 'data', 'hold': 0.0},
    ])
    for topic, kind in (('payload', Float64), ('pose', PoseStamped)):
        out = robot.node.create_publisher(kind, topic, 10)
        robot.node.create_timer(0.02, lambda out=out: out.publish(b'\x00\x01\x00\x00\x01\x02'))
    robot.until(lambda: set(robot.monitor.doubts) == {'payload', 'pose'})
    assert 'can not be read (6 bytes that are no PoseStamped)' in robot.monitor.doubts['pose']
    # Those that are well come in between.
    assert set(robot.next_full(2).metrics) == {'volt', 'most', 'bumps', 'x'}
    robot.tell(drop='pose', voltage=90.0, payload=None)
    robot.until(lambda: robot.windows[-1].context == '')
    window = robot.next_full(2)
    assert set(window.metrics) == {'volt', 'most', 'bumps'} and window.metrics['volt'] == 90.0
    (silent,) = robot.silent
    assert silent.startswith('pose (since') and 'can not be read' in silent


def test_a_clock_that_goes_back_begins_anew(bench):
    robot = bench(stride=0.5)
    robot.next_full()
    robot.tell(voltage=50.0, jump=-90.0)
    robot.until(lambda: 'the clock went back by 8' in robot.windows[-1].outcome)
    assert robot.windows[-1].configuration is None
    assert robot.windows[-1].metrics == {}
    del robot.windows[:]
    robot.next_full(2)
    assert {round(w.metrics['volt'], 6) for w in robot.windows} == {50.0}, 'nothing is mixed in'


def test_a_clock_that_leaps_begins_anew(bench):
    robot = bench(stride=0.5)
    robot.next_full()
    robot.tell(voltage=50.0, jump=1000.0)
    robot.until(lambda: 'the clock went forward by 1000' in robot.windows[-1].outcome)
    del robot.windows[:]
    robot.next_full(2)
    assert {round(w.metrics['volt'], 6) for w in robot.windows} == {50.0}
    assert all(w.sim_time == 2.0 for w in robot.windows)


def test_a_clock_that_stands_still_is_waited_for(bench):
    robot = bench(stride=0.5)
    robot.next_full()
    robot.tell(still=True)
    robot.until(lambda: robot.monitor.clock.stands_still)
    count = len(robot.windows)
    end = time.monotonic() + 0.5
    robot.until(lambda: time.monotonic() > end)
    assert len(robot.windows) == count
    assert robot.silent == ()
    robot.tell(still=False)
    assert robot.next_full().metrics['volt'] == pytest.approx(10.0)


def test_a_mission_in_which_the_clock_jumps_is_none(bench):
    robot = bench(window='mission')
    for number, jump in ((1, -50.0), (2, 300.0)):
        robot.tell(goal={number: EXECUTING})
        robot.until(lambda: robot.monitor.goal_active
                    and robot.monitor._recorder.received('pose') > 5)
        robot.tell(jump=jump)
        window = robot.next_full()
        assert 'the clock went' in window.outcome
        assert (window.configuration, window.metrics) == (None, {})
        robot.tell(goal={number: SUCCEEDED})
        robot.until(lambda: not robot.monitor.goal_active)
    robot.tell(goal={3: EXECUTING})
    robot.until(lambda: robot.monitor._recorder.received('pose') > 20)
    robot.tell(goal={3: SUCCEEDED})
    window = robot.next_full()
    assert (window.outcome, window.configuration) == ('', IN_FORCE)
    assert window.metrics['volt'] == pytest.approx(10.0)


def test_a_clock_that_goes_back_after_a_mission_does_not_cost_it(bench, monkeypatch):
    robot = bench(window='mission')
    robot.tell(goal={1: EXECUTING})
    robot.until(lambda: robot.monitor._recorder.received('pose') > 20)
    # The adapter is busy while the mission ends and the simulation is reset.
    jumped = robot.monitor.clock.jumped
    robot.tell(goal={1: SUCCEEDED})
    end = time.monotonic() + 20.0
    while robot.monitor.goal_active:
        assert time.monotonic() < end
    robot.tell(voltage=500.0, jump=-50.0)
    while robot.monitor.clock.jumped == jumped:
        assert time.monotonic() < end
    window = robot.next_full()
    assert (window.outcome, window.configuration) == ('', IN_FORCE)
    assert window.metrics['most'] == pytest.approx(10.0)
    assert 0.0 < window.sim_time < 50.0


def test_a_simulation_that_was_reset_before_the_mission_does_not_cost_it(bench, monkeypatch):
    # It tells its new time only when it runs on, which is after the goal was taken.
    robot = bench(window='mission')
    robot.tell(still=True)
    robot.until(lambda: robot.monitor.clock.stands_still)
    before, sampled = robot.monitor.clock.now(), []
    monkeypatch.setattr(robot.monitor._processes, 'start',
                        lambda: sampled.append(robot.monitor.clock.now()))
    robot.tell(goal={1: EXECUTING})
    robot.until(lambda: robot.monitor.goal_active)
    robot.tell(jump=-50.0, still=False)
    robot.until(lambda: robot.monitor._recorder.received('pose') > 20)
    assert robot.monitor.clock.jumped == 1
    assert len(sampled) == 1 and sampled[0] < before, 'CPU time is sampled in the new time'
    robot.tell(goal={1: SUCCEEDED})
    window = robot.next_full()
    assert (window.outcome, window.configuration) == ('', IN_FORCE)
    assert window.metrics['volt'] == pytest.approx(10.0)


CONTEXTS = [
    {'name': 'payload', 'topic': 'payload', 'field': 'data', 'edges': [0.5], 'hysteresis': 0.2,
     'hold': 1.0},
    {'name': 'floor', 'topic': 'floor', 'field': 'data', 'hold': 0.0},
    {'name': 'region', 'topic': 'pose', 'polygons': {'dock': [[4, -1], [6, -1], [6, 1], [4, 1]]},
     'hold': 0.5},
]


def test_contexts_are_followed(bench):
    robot = bench(stride=0.5, contexts=CONTEXTS)
    robot.until(lambda: robot.events)
    assert robot.events == [ContextChanged('payload=0,floor=dry,region=elsewhere')]
    assert robot.next_full().context == 'payload=0,floor=dry,region=elsewhere'
    robot.tell(x=5.0, voltage=12.0)
    robot.until(lambda: len(robot.events) == 2)
    assert robot.events[-1] == ContextChanged('payload=0,floor=dry,region=dock')
    del robot.windows[:]
    window = robot.next_full()
    assert (window.context, window.configuration) == (robot.events[-1].context, IN_FORCE)
    assert window.metrics['volt'] == pytest.approx(12.0), 'nothing from before is mixed in'
    assert any(w.overlapping and w.configuration == IN_FORCE for w in robot.windows), (
        'the limits are looked at on all the while')
    robot.tell(payload=0.6)  # within the hysteresis
    robot.next_full(2)
    robot.tell(payload=1.0, floor='wet')
    robot.until(lambda: len(robot.events) >= 4)
    assert robot.events[-1] == ContextChanged('payload=1,floor=wet,region=dock')
    assert {e.context for e in robot.events[2:-1]} <= {'payload=0,floor=wet,region=dock'}


def test_a_context_that_nobody_tells_any_more_is_unknown(bench):
    payload = {'name': 'payload', 'topic': 'payload', 'field': 'data', 'edges': [0.5],
               'hold': 0.0, 'age': 2.0}
    floor = {'name': 'floor', 'topic': 'floor', 'field': 'data', 'hold': 0.0}
    robot = bench(stride=0.5, contexts=[payload, floor])
    known = ContextChanged('payload=0,floor=dry')
    robot.until(lambda: robot.events == [known])
    robot.tell(payload=None)  # silent for 2 s of sim time
    robot.until(lambda: len(robot.events) == 2)
    assert robot.events[-1] == ContextChanged('')
    robot.tell(payload=0.0)
    robot.until(lambda: len(robot.events) == 3)
    assert robot.events[-1] == known, 'a latched topic may be silent for ever'
    robot.tell(drop='floor')
    robot.until(lambda: len(robot.events) == 4)
    assert robot.events[-1] == ContextChanged('')
    assert 'floor' in robot.silent, 'and it is said'


def test_a_mission_in_which_the_context_changes_is_marked(bench):
    robot = bench(window='mission', contexts=CONTEXTS)
    robot.until(lambda: robot.events)
    for number, x, mixed in ((1, 0.0, False), (2, 5.0, True), (3, 5.0, False)):
        robot.tell(goal={number: EXECUTING})
        robot.until(lambda: robot.monitor._recorder.received('pose') > 5)
        robot.tell(x=x)
        more = robot.monitor._recorder.received('pose') + 40
        robot.until(lambda more=more: robot.monitor._recorder.received('pose') > more)
        robot.tell(goal={number: SUCCEEDED})
        window = robot.next_full()
        assert window.outcome == ''
        assert (window.configuration, window.mixed) == (IN_FORCE, mixed)
    assert window.context == 'payload=0,floor=dry,region=dock'


def test_exploring_needs_a_message_that_allows_it(bench):
    rule = {'topic': 'free', 'field': 'data', 'op': '==', 'value': True, 'age': 2.0}
    robot = bench({'free': True}, explore_when=rule)
    robot.until(lambda: len(robot.events) >= 2)
    assert robot.events == [
        Exploration(False, 'no message on topic free'), Exploration(True)]
    robot.tell(free=False)
    robot.until(lambda: len(robot.events) >= 3)
    assert robot.events[-1] == Exploration(False, 'not free data == True')
    robot.tell(free=True)
    robot.until(lambda: robot.events[-1] == Exploration(True))
    robot.tell(free=None)
    robot.until(lambda: len(robot.events) >= 5)
    assert robot.events[-1] == Exploration(False, 'no message on topic free for 2 s')
