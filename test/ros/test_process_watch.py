# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for sampling processes that come and go."""

import itertools
import subprocess
import sys
import time

import pytest

pytest.importorskip('rclpy')

from tl_adapt.metrics import evaluate  # noqa: E402
from tl_adapt.ros.process_watch import ProcessWatch  # noqa: E402
from tl_adapt.study import Metric  # noqa: E402
from tl_adapt.trace import Trace  # noqa: E402

SECOND = 1_000_000_000
CPU = Metric(name='cpu', reduction='cpu', nodes=('busy',), unit='s/s', direction='minimize')


@pytest.fixture
def busy():
    process = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
    yield process
    process.kill()
    process.wait()


def used(watch, start, end):
    trace = Trace(dict(watch.topics(start, end)), {'start_ns': start, 'end_ns': end})
    return evaluate([CPU], trace, strict=False).get('cpu')


def test_cpu_time_is_that_of_the_window_and_ends_with_the_process(busy):
    now = [0]
    watch = ProcessWatch(lambda: {'process/busy': [busy.pid]}, lambda: now[0])
    watch.start()
    assert used(watch, 0, SECOND) is None, 'sampled at one time only'
    end = time.monotonic() + 20.0
    while (cpu := used(watch, 0, now[0])) is None or cpu < 0.001:
        assert time.monotonic() < end
        now[0] += SECOND
    first = now[0]
    now[0] += 1000 * SECOND  # much of the simulation's time, and little of the process'
    assert used(watch, first, now[0]) < 0.01
    watch.forget_before(first)
    assert min(watch.topics(first, now[0])['process/busy'].stamp_ns) <= first
    busy.kill()
    busy.wait()
    assert watch.topics(first, now[0]) == {}
    watch.stop()


def test_samples_that_miss_most_of_a_window_say_nothing(busy):
    now = [9 * SECOND]
    watch = ProcessWatch(lambda: {'process/busy': [busy.pid]}, lambda: now[0])
    watch.start()  # late: the window began at 0
    now[0] += SECOND
    assert used(watch, 0, now[0]) is None
    assert used(watch, 9 * SECOND, now[0]) is not None
    watch.stop()


def test_a_node_that_restarts_is_followed(busy):
    found = {}
    ticks = itertools.count()
    watch = ProcessWatch(lambda: found, lambda: next(ticks) * SECOND)
    watch.start()
    assert watch.topics(0, 9 * SECOND) == {}
    found['process/busy'] = [busy.pid]
    watch.refresh()
    assert watch.topics(0, SECOND) == {}, 'looking for processes has its cost: not so soon'
    watch._looked -= 60.0
    watch.refresh()
    assert set(watch.topics(0, SECOND)) == {'process/busy'}
    with subprocess.Popen([sys.executable, '-c', 'while True: pass']) as other:
        found['process/busy'] = [other.pid]
        busy.kill()
        busy.wait()
        watch.refresh()
        assert set(watch.topics(2 * SECOND, 3 * SECOND)) == {'process/busy'}
        watch.stop()
        other.kill()
