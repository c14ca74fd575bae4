# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for following a sim time that someone else pauses and resets."""

from __future__ import annotations

import bisect
import time

from tl_adapt.ros.recorder import SimClock

# A simulation whose clock stands still this long [s, wall] is paused.
_STANDSTILL = 0.5


class WatchedClock(SimClock):
    """Follow the sim time of a graph that someone else pauses and resets."""

    def first_since(self, sent: int) -> int | None:
        """Return the first time that was sent at or after `sent`; None if there is none yet."""
        with self._lock:
            index = bisect.bisect_left(self._sent, sent)
            return self._time[index] if index < len(self._time) else None

    def forget_before(self, sent: int) -> None:
        """Drop what was sent before `sent`, but for the newest."""
        with self._lock:
            index = min(bisect.bisect_left(self._sent, sent), max(len(self._sent) - 1, 0))
            del self._sent[:index], self._time[:index]

    @property
    def stands_still(self) -> bool:
        """Tell whether there is a clock which has not moved for a while."""
        with self._lock:
            return bool(self._sent) and (
                (time.time_ns() - self._sent[-1]) * 1e-9 > _STANDSTILL
            )
