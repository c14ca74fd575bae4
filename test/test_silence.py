# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np

from tl_adapt.silence import silent_since, usual_gap

SECOND = 1_000_000_000


def ticks(start, end, rate):
    return np.arange(start * SECOND, end * SECOND, SECOND // rate).tolist()


def test_a_topic_is_held_against_its_own_rate():
    end = 10 * SECOND
    assert silent_since(ticks(0, 10, 50), 0, end) is None
    assert silent_since(ticks(0, 10, 1), 0, end) is None
    stopped = ticks(0, 6, 50)
    assert silent_since(stopped, 0, end) == stopped[-1]
    assert silent_since(ticks(0, 8, 50), 0, end) is None, 'a number over most of it is one'


def test_a_topic_that_comes_late_or_came_back_was_silent():
    assert silent_since(ticks(4, 10, 50), 0, 10 * SECOND) == 0
    before = ticks(0, 3, 50)
    assert silent_since(before + ticks(7, 10, 50), 0, 10 * SECOND) == before[-1]


def test_no_message_and_few_messages():
    assert silent_since([], 3, 10) == 3
    few = [SECOND, 2 * SECOND]
    assert silent_since(few, 0, 10 * SECOND) is None, 'its rate is not known'
    assert silent_since(few, 0, 10 * SECOND, usual=0.02 * SECOND) == few[-1]
    assert usual_gap(few) is None
    assert usual_gap(ticks(0, 1, 50)) == 0.02 * SECOND
