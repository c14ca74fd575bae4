# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the windows that the monitor makes of goals, without any message being sent."""

import dataclasses
import time

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from action_msgs.msg import GoalStatus, GoalStatusArray  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from sensor_msgs.msg import LaserScan  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from tl_adapt.adaptation.events import ContextChanged, Exploration  # noqa: E402
from tl_adapt.errors import MeasurementError  # noqa: E402
from tl_adapt.ros.field_reader import FieldReader  # noqa: E402
from tl_adapt.ros.monitor import Monitor  # noqa: E402
from tl_adapt.ros.topic_watch import TopicWatch  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402

IN_FORCE = {'max_vel_x': 0.3}
SECOND = 1_000_000_000


class NoSubscription:
    """A subscription to which nothing ever comes; its own handle."""

    msg_type, raw = None, True
    handle = property(lambda self: self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def take_message(self, *_):
        return None


class NoNode:
    """A node in a graph where nobody publishes anything."""

    def create_subscription(self, *args, **options):
        return NoSubscription()

    def destroy_subscription(self, subscription):
        pass

    def get_publishers_info_by_topic(self, topic):
        return []

    def count_publishers(self, topic):
        return 0


def heard(watched, topic, message):
    """Let a message come that the situation reads."""
    latest = watched.monitor._situation._latest[topic]
    if latest._reader is None:
        latest._kind, latest._reader = type(message), FieldReader(type(message), latest.fields)
    latest._on_message(serialize_message(message), None)


class Watched:
    """A monitor, and a clock of our own for what it is told."""

    def __init__(self, **adaptation):
        study = load_study('demo')
        study = dataclasses.replace(study, adaptation={**study.adaptation, **adaptation})
        self.events = []
        self.monitor = Monitor(NoNode(), study, post=self.events.append)
        self.monitor.in_force(IN_FORCE)
        self.now = time.time_ns()
        self.monitor.clock.now = lambda: self.now

    def status(self, number, code):
        self.now += SECOND
        status = GoalStatus(status=code)
        status.goal_info.goal_id.uuid = [number] * 16
        message = GoalStatusArray(status_list=[status])
        self.monitor._missions.on_status(message, {'source_timestamp': self.now})

    def begin(self, number):
        self.status(number, GoalStatus.STATUS_EXECUTING)

    def succeed(self, number):
        self.now += SECOND
        message = Header(frame_id='succeeded')
        message.stamp.sec, message.stamp.nanosec = divmod(self.now, SECOND)
        self.monitor._missions.on_result(message, {'source_timestamp': self.now})
        self.status(number, GoalStatus.STATUS_SUCCEEDED)

    def windows(self):
        found = []
        while (window := self.monitor.poll()) is not None:
            found.append(window)
        return found


@pytest.fixture
def watched():
    watched = Watched()
    yield watched
    watched.monitor.close()


def outcomes(windows):
    return sorted((w.outcome, w.configuration == IN_FORCE) for w in windows)


SKIPPED = ('began before the last mission was evaluated', False)


def test_a_mission_is_a_window(watched):
    watched.begin(1)
    assert watched.windows() == []
    watched.succeed(1)
    (window,) = watched.windows()
    assert (window.outcome, window.configuration) == ('', IN_FORCE)
    assert window.metrics == {'mission_time': 1.0, 'success': 1.0}


def test_the_next_goal_does_not_cost_a_mission_that_has_just_succeeded(watched):
    watched.begin(1)
    watched.succeed(1)
    watched.begin(2)
    assert outcomes(watched.windows()) == [('', True), SKIPPED]
    watched.succeed(2)
    assert watched.windows() == []
    watched.begin(3)
    watched.succeed(3)
    assert outcomes(watched.windows()) == [('', True)]


def test_the_next_goal_may_come_while_the_last_mission_is_evaluated(watched, monkeypatch):
    recorder = watched.monitor._recorder
    monkeypatch.setattr(recorder, 'drain', lambda end: watched.begin(2))
    watched.begin(1)
    watched.succeed(1)
    assert outcomes(watched.windows()) == [('', True), SKIPPED]
    monkeypatch.undo()
    watched.begin(3)
    watched.succeed(3)
    assert outcomes(watched.windows()) == [('', True)]


def test_a_goal_that_is_replaced_is_no_failure(watched):
    watched.begin(1)
    watched.status(1, GoalStatus.STATUS_ABORTED)
    watched.begin(2)
    assert outcomes(watched.windows()) == [('another goal took its place', False)]
    watched.succeed(2)
    assert outcomes(watched.windows()) == [('', True)]


def test_a_system_clock_that_is_set_costs_the_mission(watched):
    watched.begin(1)
    watched.monitor.clock._offset -= 3600 * SECOND  # as if it had been an hour behind till now
    watched.monitor.clock.check()
    assert outcomes(watched.windows()) == [("the system's clock was set by +3600.0 s", False)]
    watched.monitor.clock.check()
    watched.begin(2)
    watched.succeed(2)
    assert outcomes(watched.windows()) == [('', True)]


def test_a_system_clock_that_is_set_costs_a_window_of_time():
    watched = Watched(window=4.0, stride=4.0)
    assert watched.windows() == []
    watched.now += 5 * SECOND
    (window,) = watched.windows()
    assert (window.configuration, window.sim_time) == (IN_FORCE, 4.0)
    watched.monitor.clock._offset += 3600 * SECOND
    watched.monitor.clock.check()
    watched.now -= 3600 * SECOND
    assert outcomes(watched.windows()) == [("the system's clock was set by -3600.0 s", False)]
    watched.now += 5 * SECOND
    (window,) = watched.windows()
    assert (window.configuration, window.sim_time) == (IN_FORCE, 4.0)
    watched.monitor.close()


SCAN = {'name': 'c', 'topic': 'scan', 'hold': 0.0}
HALL = {'hall': [[0, 0], [4, 0], [4, 4]]}


@pytest.mark.parametrize(('entry', 'why'), [
    ({'field': 'not_there'}, 'has no field not_there'),
    ({'field': 'nothing.here', 'edges': [1.0]}, 'has no field nothing.here'),
    ({'field': 'ranges', 'edges': [0.5]}, 'gives no number for ranges'),
    ({'field': 'header.frame_id', 'edges': [0.5]}, 'gives no number for header.frame_id'),
    ({'field': 'range_min / range_max', 'edges': [0.5]},
     'gives no number for range_min / range_max'),
    ({'field': 'header'}, 'gives no text, flag or integer for header'),
    ({'polygons': HALL}, 'has no position'),
])
@pytest.mark.parametrize('window', ['mission', 4.0])
def test_what_tells_no_context_is_named_and_the_limits_are_watched(entry, why, window):
    watched = Watched(contexts=[{**SCAN, **entry}], window=window)
    assert watched.monitor.doubts == {}
    heard(watched, 'scan', LaserScan(ranges=[1.0, 2.0]))
    assert watched.windows() == []
    assert watched.monitor.doubts == {'scan': f'context c: topic scan {why}'}
    if window == 'mission':
        watched.begin(1)
        watched.succeed(1)
    else:
        watched.now += 5 * SECOND
    (found,) = [each for each in watched.windows() if not each.overlapping]
    assert (found.unplaced, found.configuration, found.context) == (True, IN_FORCE, '')
    watched.monitor.close()


def test_a_field_that_is_misspelt_does_not_cost_the_others_of_the_topic():
    rule = {'topic': 'scan', 'field': 'range_min', 'op': '<', 'value': 1.0}
    watched = Watched(
        contexts=[{**SCAN, 'field': 'header.frame_id'}, {**SCAN, 'name': 'd', 'field': 'wrong'}],
        explore_when=rule,
    )
    heard(watched, 'scan', LaserScan(header=Header(frame_id='base')))
    watched.windows()
    assert watched.events == [Exploration(True)]
    assert watched.monitor.doubts == {'scan': 'context d: topic scan has no field wrong'}
    watched.monitor.close()


@pytest.mark.parametrize('field', ['wrong', 'ranges', 'header'])
def test_an_explore_when_that_can_not_be_judged_is_named(field):
    rule = {'topic': 'scan', 'field': field, 'op': '<', 'value': 1.0}
    watched = Watched(explore_when=rule)
    heard(watched, 'scan', LaserScan(ranges=[1.0, 2.0]))
    watched.windows()
    (said,) = watched.events
    assert not said.allowed and said.why in watched.monitor.doubts['scan']
    watched.monitor.close()


def test_a_context_that_has_become_known_is_no_doubt_any_more():
    watched = Watched(contexts=[{**SCAN, 'field': 'range_min', 'edges': [0.5]}])
    heard(watched, 'scan', LaserScan(range_min=float('nan')))
    watched.windows()
    assert 'gives no number' in watched.monitor.doubts['scan']
    heard(watched, 'scan', LaserScan(range_min=1.0))
    watched.windows()
    assert watched.events == [ContextChanged('c=1')]
    assert watched.monitor.doubts == {}
    heard(watched, 'scan', LaserScan(range_min=float('nan')))
    watched.windows()
    assert watched.monitor.doubts == {}, 'once is no reason to warn: the label holds'
    watched.monitor.close()


def test_a_context_that_never_lasts_is_told_after_a_while(monkeypatch):
    watched = Watched(contexts=[{**SCAN, 'field': 'range_min', 'edges': [0.5], 'hold': 9.0}])
    for value in (1.0, 0.0):
        heard(watched, 'scan', LaserScan(range_min=value))
        watched.windows()
        watched.now += 5 * SECOND
    assert watched.monitor.doubts == {}
    late = time.monotonic() + 24.0
    monkeypatch.setattr('tl_adapt.ros.situation.time.monotonic', lambda: late)
    assert watched.monitor.doubts == {
        'scan': 'context c: topic scan gives nothing that lasts 9 s'}
    watched.now += 5 * SECOND
    watched.windows()
    assert watched.monitor.doubts == {}
    watched.monitor.close()


def test_a_context_that_is_about_to_change_does_not_hide_a_broken_limit():
    watched = Watched(contexts=[{**SCAN, 'field': 'range_min', 'edges': [0.5], 'hold': 9.0}])
    for number, (value, unplaced) in enumerate(((1.0, True), (1.0, False), (0.0, True))):
        heard(watched, 'scan', LaserScan(range_min=value))
        watched.windows()
        if not unplaced:
            watched.now += 9 * SECOND
            assert watched.windows() == []
        watched.begin(number)
        watched.succeed(number)
        (window,) = watched.windows()
        assert (window.unplaced, window.configuration) == (unplaced, IN_FORCE)
    watched.monitor.close()


def test_a_topic_that_does_not_fit_is_told_also_while_a_mission_runs(watched, monkeypatch):
    def prepare(*, deadline):
        raise MeasurementError('several types')

    with monkeypatch.context() as patched:
        patched.setattr(watched.monitor._recorder, 'prepare', prepare)
        with pytest.raises(MeasurementError, match='several types'):
            watched.monitor.prepare()
    watched.begin(1)
    with pytest.raises(MeasurementError, match='several types'):
        watched.monitor.prepare()
    watched.succeed(1)
    assert len(watched.windows()) == 1
    assert 'scan' in watched.monitor.prepare()


def test_a_topic_is_silent_that_two_looks_find_so():
    class Recorder:
        times = range(0, 2 * SECOND, SECOND // 10)

        def heard(self, topic):
            return tuple(self.times)

    study = load_study('demo')
    recorder = Recorder()
    watch = TopicWatch(recorder, [study.metrics['clearance']])

    def look(now):
        return [text for _, text in watch.stopped(0, now)]

    assert look(5 * SECOND) == [], 'the machine was busy'
    recorder.times = range(SECOND, 6 * SECOND, SECOND // 10)
    assert look(6 * SECOND) == []
    assert look(9 * SECOND) == []
    (text,) = look(10 * SECOND)
    assert text.endswith(' (since 5.9 s)')
    assert look(11 * SECOND) == [text]
