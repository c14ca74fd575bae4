# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the time of a replay: when the bag says it is, and how that goes with wall time."""

from __future__ import annotations

import bisect
import threading


class ReplayClock:
    """
    Turn the time at which something was sent into the bag's time.

    Between two messages of the bag time goes on as wall time does, so that an answer comes so much
    after what it answers as the software took for it, however fast the bag is replayed.
    """

    def __init__(self) -> None:
        """Begin at 0."""
        self._lock = threading.Lock()
        self._sent: list[int] = []
        self._time: list[int] = []

    def restart(self) -> None:
        """Forget the past: the bag is replayed from elsewhere."""
        with self._lock:
            self._sent.clear()
            self._time.clear()

    def note(self, sent: int, time_ns: int) -> None:
        """Take note that a message of the bag's time `time_ns` is sent now, at `sent` (wall)."""
        with self._lock:
            self._sent.append(sent)
            self._time.append(time_ns)

    def now(self) -> int:
        """Return the time of the last message in ns, 0 before the first."""
        with self._lock:
            return self._time[-1] if self._time else 0

    def at(self, sent: int) -> int:
        """Return the bag's time at which something was sent, in ns."""
        with self._lock:
            if not self._time:
                return 0
            index = max(bisect.bisect_right(self._sent, sent) - 1, 0)
            return self._time[index] + max(sent - self._sent[index], 0)
