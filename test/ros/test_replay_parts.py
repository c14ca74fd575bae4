# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a replay: its clock, its pace, and telling whether software has done."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

pytest.importorskip('rclpy')

from tl_adapt.errors import MeasurementError  # noqa: E402
from tl_adapt.ros.idleness import Idleness  # noqa: E402
from tl_adapt.ros.replay_clock import ReplayClock  # noqa: E402
from tl_adapt.ros.replay_feed import Feed, LostError, Pace  # noqa: E402

pytestmark = pytest.mark.ros

WORKER = (
    'import sys, time\n'
    'for line in sys.stdin:\n'
    '    end = time.thread_time() + float(line)\n'
    '    while time.thread_time() < end: pass\n'
    '    print("done", flush=True)\n'
)


@contextlib.contextmanager
def worker():
    process = subprocess.Popen(
        [sys.executable, '-c', WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def work(seconds):
        process.stdin.write(f'{seconds}\n')
        process.stdin.flush()

    try:
        work(0.0)
        assert process.stdout.readline() == 'done\n'
        yield process, work
    finally:
        process.kill()
        process.wait()


def test_software_has_done_when_its_threads_sleep():
    with worker() as (process, work), contextlib.closing(Idleness([process.pid])) as idleness:
        assert idleness.wait(5.0)
        work(0.3)
        assert not idleness.wait(0.05)
        assert idleness.wait(10.0)
        # It has done what it was asked for: the answer is there already.
        os.set_blocking(process.stdout.fileno(), False)
        assert process.stdout.readline() == 'done\n'


def test_software_that_was_stopped_has_not_done():
    with worker() as (process, work), contextlib.closing(Idleness([process.pid])) as idleness:
        process.send_signal(signal.SIGSTOP)
        assert not idleness.wait(0.05)
        process.send_signal(signal.SIGCONT)
        assert idleness.wait(5.0)


def test_software_that_has_died_is_told_by_who_looks_after_it():
    with worker() as (process, work), contextlib.closing(Idleness([process.pid])) as idleness:
        work(60.0)

        def alive():
            raise MeasurementError('it died')

        with pytest.raises(MeasurementError, match='it died'):
            idleness.wait(60.0, alive)
        process.kill()
        process.wait()
        assert idleness.wait(5.0)


def test_no_file_stays_open():
    def count():
        return len(os.listdir('/proc/self/fd'))

    before = count()
    with worker() as (process, _):
        during = count()
        idleness = Idleness([process.pid])
        assert idleness.wait(5.0)
        assert count() > during
        idleness.close()
        idleness.close()
        assert count() == during
    assert count() <= before + 2  # the pipes are closed by and by


def test_answers_come_so_much_later_as_the_software_took():
    clock = ReplayClock()
    assert (clock.now(), clock.at(5)) == (0, 0)
    clock.note(1_000, 50_000)
    clock.note(9_000, 60_000)
    assert clock.now() == 60_000
    assert clock.at(1_700) == 50_700
    assert clock.at(9_250) == 60_250
    assert clock.at(10) == 50_000  # before anything was sent
    clock.restart()
    assert clock.now() == 0


class FakePlayer:
    """Send to a function instead of a graph."""

    def __init__(self, take=lambda topic, raw: None):
        self.log = []
        self._take = take

    def tick(self, time_ns):
        self.log.append(('tick', time_ns))

    def send(self, topic, time_ns, raw):
        self.log.append((topic, time_ns))
        self._take(topic, raw)

    def settle(self):
        self.log.append(('settle', 0))


class FakeSoftware:
    """Count how often somebody waits for the software."""

    def __init__(self, log, rests=True):
        self.log, self.rests = log, rests

    def wait(self, deadline, alive):
        self.log.append(('rest', 0))
        return self.rests


def stamped(seconds):
    return bytes([0, 1, 0, 0]) + seconds.to_bytes(4, 'little') + bytes(4)


def drive(topics):
    return [(topic, i * 10**9, stamped(i)) for i, topic in enumerate(topics, 1)]


def make_feed(pace, *, answers=lambda topic: topic == '/scan', rests=True, alive=lambda: None):
    newest = [0]

    def take(topic, raw):
        if answers(topic):
            newest[0] = int.from_bytes(raw[4:8], 'little') * 10**9

    player = FakePlayer(take)
    software = FakeSoftware(player.log, rests)
    return Feed(player, pace, lambda: newest[0], software, alive), player.log


def names(log):
    return [name for name, _ in log if name != 'tick']


def test_topics_do_not_overtake_each_other():
    feed, log = make_feed(Pace(input='/scan'))
    feed.run(drive(['/odom', '/odom', '/scan', '/odom', '/scan']))
    assert names(log) == [
        '/odom', '/odom', 'rest', '/scan', '/odom', 'rest', '/scan', 'settle',
    ]
    assert feed.check([3 * 10**9, 5 * 10**9]) == 1.0


def test_topics_may_overtake_each_other_where_that_does_not_matter():
    feed, log = make_feed(Pace(input='/scan', any_order=True))
    feed.run(drive(['/odom', '/scan', '/odom', '/scan']))
    assert names(log) == ['/odom', '/scan', '/odom', '/scan', 'settle']


def test_no_more_is_under_way_than_a_queue_holds():
    feed, log = make_feed(Pace(input='/scan', any_order=True))
    feed.run(drive(['/odom'] * 10 + ['/scan']))
    flights = ' '.join(names(log)).split('rest')
    assert max(flight.count('/odom') for flight in flights) == 4


def test_where_nothing_answers_rest_does():
    feed, log = make_feed(Pace(), answers=lambda topic: False)
    feed.run(drive(['/scan', '/scan']))
    assert names(log) == ['/scan', 'rest', '/scan', 'rest', 'settle', 'rest']
    assert feed.check([]) == 1.0


def test_an_answer_that_does_not_come_is_a_loss():
    feed, _ = make_feed(Pace(input='/scan', timeout=0.02), answers=lambda topic: False)
    with pytest.raises(LostError, match=r'no answer to message 1 on topic /scan \(stamp 1.000 s'):
        feed.run(drive(['/scan']))


def test_too_few_answers_are_a_loss():
    feed, _ = make_feed(Pace(input='/scan', ratio=0.5))
    feed.run(drive(['/scan'] * 4))
    assert feed.check([10**9, 2 * 10**9]) == 0.5
    with pytest.raises(LostError, match='answered 1 of 4 messages on topic /scan, fewer than 0.5'):
        feed.check([10**9])


def test_a_drive_without_a_question_is_no_measurement():
    feed, _ = make_feed(Pace(input='/scan'))
    feed.run(drive(['/odom']))
    with pytest.raises(LostError, match='no message on input topic /scan was recorded'):
        feed.check([])


def test_software_that_never_rests_is_told():
    feed, _ = make_feed(Pace(timeout=3.0), rests=False)
    with pytest.raises(MeasurementError, match='does not come to rest within 3 s'):
        feed.run(drive(['/scan']))


def test_a_replay_has_a_deadline():
    feed, _ = make_feed(Pace(input='/scan', wall_timeout=0.0))
    slow = threading.Event()

    def messages():
        for message in drive(['/scan'] * 10):
            slow.wait(0.06)
            yield message

    with pytest.raises(MeasurementError, match='wall time-out: the replay is not done within 0 s'):
        feed.run(messages())


def test_a_gap_in_the_bag_is_not_waited_for_past_the_deadline():
    gap = [('/scan', 10**9, stamped(1)), ('/scan', 3600 * 10**9, stamped(3600))]
    feed, _ = make_feed(Pace(input='/scan', rate=1.0, wall_timeout=0.3))
    with pytest.raises(MeasurementError, match='the replay is not done within 0.3 s'):
        feed.run(gap)

    def dead():
        raise MeasurementError('node /localizer died')

    feed, _ = make_feed(Pace(input='/scan', rate=1.0), alive=dead)
    with pytest.raises(MeasurementError, match='node /localizer died'):
        feed.run(gap)
