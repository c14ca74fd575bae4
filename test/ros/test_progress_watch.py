# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of noticing a simulation that stands still."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_adapt.errors import InputError, SimulatorFailedError
from tl_adapt.ros.progress_watch import ProgressWatch


class Times:
    """Be both clocks."""

    def __init__(self):
        self.wall, self.sim = 100.0, 0

    def watch(self, **options):
        return ProgressWatch(lambda: self.sim, wall=lambda: self.wall, **options)

    def run(self, watch, seconds, factor, stride=0.05):
        for _ in range(round(seconds / stride)):
            self.wall += stride
            self.sim += round(stride * factor * 1e9)
            watch.look()


@given(st.floats(0.02, 50.0), st.floats(0.01, 0.5))
def test_a_simulation_that_runs_is_left_alone(factor, stride):
    times = Times()
    times.run(times.watch(), 20.0, factor, stride)


@given(st.floats(0.0, 30.0))
def test_a_standstill_is_noticed_soon(before):
    times = Times()
    watch = times.watch(stall_timeout=4.0)
    times.run(watch, before, 10.0)
    stood = times.wall
    with pytest.raises(SimulatorFailedError, match='stands still'):
        times.run(watch, 10.0, 0.0)
    assert times.wall - stood < 4.5


def test_a_collapse_is_noticed_and_says_how_slow():
    times = Times()
    watch = times.watch(minimum=0.5)
    times.run(watch, 5.0, 1.0)
    with pytest.raises(SimulatorFailedError, match=r'runs at 0\.\d+ times real time'):
        times.run(watch, 10.0, 0.1)


def test_a_reset_begins_anew():
    times = Times()
    watch = times.watch()
    times.run(watch, 10.0, 5.0)
    times.sim = 0
    times.run(watch, 10.0, 5.0)


@pytest.mark.parametrize('options', [{'stall_timeout': 0.0}, {'minimum': float('nan')}])
def test_bad_bounds(options):
    with pytest.raises(InputError, match='must be a positive number'):
        Times().watch(**options)
