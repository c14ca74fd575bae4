# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the windows that the monitor makes of goals, without any message being sent."""

import dataclasses
import itertools
import time

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from action_msgs.msg import GoalStatus, GoalStatusArray  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from sensor_msgs.msg import BatteryState, LaserScan  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from tl_adapt.adaptation.events import ContextChanged, Exploration  # noqa: E402
from tl_adapt.errors import MeasurementError  # noqa: E402
from tl_adapt.ros.field_reader import FieldReader  # noqa: E402
from tl_adapt.ros.monitor import Monitor  # noqa: E402
from tl_adapt.ros.topic_watch import TopicWatch  # noqa: E402
from tl_adapt.study import FailRule, load_study  # noqa: E402

IN_FORCE = {'max_vel_x': 0.3}
SECOND = 1_000_000_000
DAMAGED = b'\x00\x01\x00\x00'


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


def damaged(watched, topic):
    """Let something come, after a message, that can not be read."""
    watched.monitor._situation._latest[topic]._on_message(DAMAGED + bytes(1), None)


def later(monkeypatch, seconds):
    """Let wall time pass."""
    now = time.monotonic() + seconds
    monkeypatch.setattr('tl_adapt.ros.situation.time.monotonic', lambda: now)


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


WHY = 'topic scan sends what can not be read (5 bytes that are no LaserScan)'
FREE = {'topic': 'scan', 'field': 'range_min', 'op': '<', 'value': 2.0}


def test_a_context_whose_messages_are_damaged_is_named_and_after_a_while_unknown(monkeypatch):
    watched = Watched(contexts=[{**SCAN, 'field': 'range_min', 'edges': [0.5]}], window=4.0)
    heard(watched, 'scan', LaserScan(range_min=1.0))
    watched.windows()
    damaged(watched, 'scan')
    watched.windows()
    assert watched.monitor.doubts == {'scan': WHY}
    assert watched.events == [ContextChanged('c=1')], 'one that is damaged is as if it never came'
    for seconds in (4.0, 4.0):
        later(monkeypatch, seconds)
        damaged(watched, 'scan')
        watched.windows()
    assert watched.events[1:] == [ContextChanged('')]
    assert watched.monitor.doubts == {'scan': f'context c: {WHY}'}
    watched.now += 5 * SECOND
    (window,) = [each for each in watched.windows() if not each.overlapping]
    assert (window.unplaced, window.configuration) == (True, IN_FORCE), 'limits are watched on'
    heard(watched, 'scan', LaserScan(range_min=1.0))
    later(monkeypatch, 16.0)
    watched.windows()
    assert watched.events[2:] == [ContextChanged('c=1')]
    assert watched.monitor.doubts == {}
    watched.monitor.close()


def test_one_message_that_is_damaged_does_not_end_a_context_that_is_told_once(monkeypatch):
    watched = Watched(contexts=[{**SCAN, 'field': 'range_min', 'edges': [0.5]}])
    heard(watched, 'scan', LaserScan(range_min=1.0))
    watched.windows()
    for seconds in (100.0, 2.0, 98.0):
        later(monkeypatch, seconds)
        if seconds == 100.0:
            damaged(watched, 'scan')
        watched.windows()
    assert watched.events == [ContextChanged('c=1')] and watched.monitor.doubts == {}
    watched.monitor.close()


def test_an_explore_when_whose_messages_are_damaged_allows_nothing_and_is_named():
    watched = Watched(explore_when=FREE)
    heard(watched, 'scan', LaserScan(range_min=1.0))
    watched.windows()
    watched.now += 6 * SECOND
    damaged(watched, 'scan')
    watched.windows()
    assert watched.events == [Exploration(True), Exploration(False, WHY)]
    assert watched.monitor.doubts == {'scan': WHY}
    watched.monitor.close()


def test_a_context_grows_old_also_after_a_clock_that_goes_back():
    watched = Watched(contexts=[{**SCAN, 'field': 'range_min', 'edges': [0.5], 'age': 4.0}])
    heard(watched, 'scan', LaserScan(range_min=1.0))
    watched.windows()
    watched.now -= 900 * SECOND
    watched.windows()
    watched.now += 3 * SECOND
    watched.windows()
    assert watched.events == [ContextChanged('c=1')]
    watched.now += 2 * SECOND
    watched.windows()
    assert watched.events == [ContextChanged('c=1'), ContextChanged('')]
    watched.monitor.close()


@pytest.mark.parametrize('raw', [b'', b'\x00', DAMAGED, DAMAGED + bytes(7)])
def test_a_time_that_is_damaged_is_passed_over_and_named(watched, raw):
    del watched.monitor.clock.now
    clock = watched.monitor.clock
    clock._on_clock(DAMAGED + (5).to_bytes(4, 'little') + bytes(4), {})
    clock._on_clock(raw, {})
    assert (clock.now(), clock.jumped) == (5 * SECOND, 0)
    assert watched.monitor.doubts == {'/clock': (
        f'topic /clock sends what can not be read ({len(raw)} bytes that are no Clock)')}


def test_messages_that_are_damaged_are_not_counted_among_those_that_came_with_them(watched):
    recorder, scan = watched.monitor._recorder, serialize_message(LaserScan(ranges=[1.0, 2.0]))
    recorder.start()
    kinds = {'scan': LaserScan, 'battery_state': BatteryState}
    for channel in recorder._channels:
        if channel.topic in kinds:
            channel.type, channel.has_header = kinds[channel.topic], True
            battery = serialize_message(BatteryState())
            good = scan if channel.topic == 'scan' else battery
            for raw in (good, good[:-30], good, good, good, good, DAMAGED, b'', good):
                channel.on_message(raw, {})
    recorder.take()
    assert {topic: recorder.received(topic) for topic in kinds} == {
        'scan': 6, 'battery_state': 6}
    rows = recorder._rows['scan']
    assert {len(column) for column in (rows.stamps, rows.received, *rows.columns.values())} == {6}
    assert set(watched.monitor.doubts) == set(kinds)
    assert 'bytes that are no LaserScan' in watched.monitor.doubts['scan']


@pytest.mark.parametrize('field', ['ranges', 'header', 'wrong', 'range_min / range_max'])
def test_a_rule_that_can_not_be_judged_ends_no_mission(watched, field):
    missions = watched.monitor._missions
    rule = FailRule('scan', field, '<', 2.0, 'near')
    missions._on_watched([rule], LaserScan(ranges=[1.0, 2.0]), {})
    assert missions._failures == []
    missions._on_watched([dataclasses.replace(rule, field='range_min')], LaserScan(), {})
    assert [why for _, _, why in missions._failures] == ['near']


def test_what_goes_wrong_with_one_subscription_costs_no_other_and_no_window(watched):
    inbox = watched.monitor._inbox
    came = []

    class Subscription(NoSubscription):
        def __init__(self, *messages):
            self.messages = [*messages]

        def take_message(self, *_):
            if not self.messages:
                return None
            message = self.messages.pop(0)
            if message is None:
                raise RuntimeError('no such\nmessage')
            return message, {}

    def refuse(message, info):
        came.append(message)
        raise KeyError('unheard of')

    inbox._subscriptions[:0] = [
        (Subscription(b'1', None, b'3'), lambda message, info: came.append(message)),
        (Subscription(b'4', b'5'), refuse),
        (Subscription(b'6'), lambda message, info: came.append(message)),
    ]
    watched.begin(1)
    watched.succeed(1)
    assert len(watched.windows()) == 1
    watched.monitor._recorder.take()
    assert came == [b'1', b'4', b'5', b'6', b'3']
    with pytest.raises(MeasurementError, match='RuntimeError: no such message'):
        watched.monitor.prepare()
    watched.monitor.prepare()


@pytest.mark.parametrize('window', ['mission', 4.0])
def test_windows_are_of_no_known_configuration_while_a_node_is_away(window):
    watched = Watched(window=window)
    numbers = itertools.count(1)

    def full(away=False, back=False):
        watched.windows()
        number = next(numbers)
        if window == 'mission':
            watched.begin(number)
        if away or back:
            watched.monitor.certain(back)
            watched.windows()
        if window == 'mission':
            watched.succeed(number)
        else:
            watched.now += 5 * SECOND
        (found,) = [each for each in watched.windows() if not each.overlapping]
        return found.configuration

    assert full() == IN_FORCE
    watched.monitor.certain(True)
    assert full() == IN_FORCE
    assert full(away=True) is None
    assert full() is None
    if window == 'mission':
        assert full(back=True) is None, 'it was away when the mission began'
    else:
        assert full(back=True) == IN_FORCE
    assert full() == IN_FORCE
    watched.monitor.close()
