# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the robot's clock as a bag tells it; times called `log` are the recorder's [ns]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tl_adapt.bags.reading import Bag

CLOCK = '/clock'
_TYPE = 'rosgraph_msgs/msg/Clock'

Times = NDArray[np.int64]


def read_times(raws: Sequence[bytes]) -> tuple[Times, Times]:
    """Return which of some messages on the clock can be read, and their times in ns."""
    kept = [i for i, raw in enumerate(raws) if len(raw) >= 12 and not raw[0] and raw[1] < 2]
    times = np.zeros(len(raws), np.int64)
    for flag, order in ((1, '<'), (0, '>')):
        rows = np.array([i for i in kept if raws[i][1] == flag], np.int64)
        joined = b''.join([raws[row][4:12] for row in rows])
        pairs = np.frombuffer(joined, np.dtype([('s', order + 'i4'), ('n', order + 'u4')]))
        times[rows] = pairs['s'].astype(np.int64) * 1_000_000_000 + pairs['n']
    index = np.array(kept, np.int64)
    return index, times[index]


def clock_of(bag: Bag) -> BagClock:
    """Return the clock of a bag; raises InputError if its topic is of another type."""
    if CLOCK not in bag.topics:
        return BagClock()
    bag.require(CLOCK, _TYPE)
    for _, log, raw in bag.messages([CLOCK]):
        kept, times = read_times([raw])
        if len(kept):
            return BagClock((log, int(times[0])))
    return BagClock()


class BagClock:
    """Say what the robot's clock showed when a message was recorded."""

    def __init__(self, first: tuple[int, int] | None = None) -> None:
        """Begin with the first message on the clock (log, time); None: there is no clock."""
        self.running = first is not None
        self._log = np.array([first[0]] if first else [], np.int64)
        self._time = np.array([first[1]] if first else [], np.int64)

    def take(self, log: Times, time: Times) -> Times:
        """
        Take the next messages on the clock, and forget all but the last of those before.

        Returns the indices of those at which the clock was put back.
        """
        before = self._time[-1:]
        self._log = np.concatenate([self._log[-1:], log])
        self._time = np.concatenate([before, time])
        return np.flatnonzero(np.diff(self._time) < 0)

    def at(self, log: Times) -> Times:
        """Return the times (n,) for log times, none of which is older than the last taken."""
        if not self.running:
            return log
        return self._time[np.maximum(np.searchsorted(self._log, log, 'right') - 1, 0)]
