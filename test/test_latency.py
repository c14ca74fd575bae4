# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from tl_adapt.simulators.base import Command
from tl_adapt.simulators.latency import Answer, CommandQueue, LatencyModel

MS = 1_000_000
PERIOD = 100 * MS


def effective(model, stamp, localizer, navigator, **kwargs):
    compute = {'localizer': localizer * MS, 'navigator': navigator * MS}
    time = model.effective(stamp * MS, compute, period_ns=PERIOD, **kwargs)
    return None if time is None else time / MS


@pytest.fixture
def model():
    return LatencyModel(['localizer', 'navigator'])


def test_latency_is_the_sum_times_the_factor(model):
    assert effective(model, 100, 10, 5) == 115
    assert effective(model, 200, 10, 5, cpu_factor=3.0) == 245
    assert effective(model, 300, 10, 5, command_latency_ns=7 * MS) == 322


def test_no_sources_no_latency():
    assert LatencyModel().effective(5, {'other': 9}, period_ns=PERIOD) == 5


def test_missing_compute_time_counts_as_none(model):
    assert model.effective(0, {'localizer': 3}, period_ns=PERIOD) == 3


def test_nodes_work_side_by_side(model):
    # Each needs 80 ms: the chain takes 160 ms, and still answers every scan.
    assert [effective(model, t, 80, 80) for t in (0, 100, 200, 300)] == [160, 260, 360, 460]


def test_a_busy_node_begins_late_and_drops_what_is_replaced(model):
    times = [effective(model, t, 150, 10) for t in range(0, 1000, 100)]
    assert times[:5] == [160, 310, None, 460, 610]
    delays = [t - s for s, t in zip(range(0, 1000, 100), times) if t is not None]
    assert max(delays) <= 100 + 150 + 10
    assert 6 <= len(delays) <= 8  # 1 s has room for 1000 / 150
    model.reset()
    assert effective(model, 0, 150, 10) == 160


def test_delay_is_bounded_however_slow(model):
    for stamp in range(0, 10_000, 100):
        time = effective(model, stamp, 340, 210)
        assert time is None or time - stamp <= 100 + 340 + 100 + 210


def test_queue_gives_each_command_once_in_order():
    queue = CommandQueue()
    a, b = Command(0.1, 0.0), Command(0.2, 0.0)
    queue.put(150 * MS, a)
    queue.put(120 * MS, b)  # can not overtake
    assert queue.take(100 * MS) == []
    assert queue.take(200 * MS) == [(150 * MS, a), (150 * MS, b)]
    assert queue.take(300 * MS) == []


def test_watchdog_stops_once():
    queue = CommandQueue()
    stop = Command(0.0, 0.0)
    queue.put(0, Command(0.1, 0.0))
    assert len(queue.take(100 * MS)) == 1
    assert queue.take(500 * MS) == []
    assert queue.take(600 * MS) == [(500 * MS, stop)]
    assert queue.take(700 * MS) == []
    queue.put(700 * MS, Command(0.1, 0.0))
    queue.clear()
    assert queue.take(5000 * MS) == []


def test_watchdog_fires_before_a_late_command():
    queue = CommandQueue()
    first, second = Command(0.1, 0.0), Command(0.2, 0.0)
    queue.put(0, first)
    queue.put(900 * MS, second)
    stop = Command(0.0, 0.0)
    assert queue.take(1000 * MS) == [(0, first), (500 * MS, stop), (900 * MS, second)]


def test_answer_is_complete_with_command_and_times():
    answer = Answer(0)
    assert answer.give_compute_time('localizer', 0.01)
    assert not answer.complete(['localizer'])
    assert answer.give_command(0.1, 0.2, received_ns=3)
    assert answer.complete(['localizer'])
    assert not answer.complete(['localizer', 'navigator'])
    assert (answer.command, answer.received_ns) == (Command(0.1, 0.2), 3)
    assert answer.compute_ns == {'localizer': 10 * MS}


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_bad_answers_are_refused(value):
    answer = Answer(0)
    assert not answer.give_command(value, 0.0)
    assert not answer.give_command(0.0, value)
    assert answer.command is None
    assert answer.answered
    assert answer.refused == 2
    assert not answer.give_compute_time('localizer', value)
    assert not answer.give_compute_time('localizer', -1.0)
