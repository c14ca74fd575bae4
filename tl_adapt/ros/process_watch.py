# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for sampling the processes of nodes that come, go and restart."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Mapping, Sequence

from tl_adapt.ros.processes import Sampler
from tl_adapt.trace import Topic, make_topic

Pids = Callable[[], Mapping[str, Sequence[int]]]

_LOOK = 10.0  # s of wall time between looks for processes that are not there
_COVERED = 0.8  # share of a window that its samples must span: CPU time comes in steps of 10 ms
_PERIOD = 1.0  # s of wall time between samples; each window takes one at its end, too


class _Samples(Sampler):
    """Keep only the samples that are needed; without the times of threads."""

    def start(self, period: float = _PERIOD) -> None:
        """Take the first sample now and further ones each `period` s of wall time."""
        self.start_thread(period)

    @property
    def ended(self) -> set[str]:
        """Return the keys of which a process has ended."""
        return {
            key for key, processes in self._processes.items()
            if not processes or not all(process.is_running() for process in processes)
        }

    def between(self, start: int, end: int) -> dict[str, Topic]:
        """Return the samples that frame two sim times [ns], by key; none where most is missed."""
        self.sample()
        found = {}
        for key, rows in self._rows.items():
            stamps = [row[0] for row in rows]
            first = max(bisect.bisect_right(stamps, start) - 1, 0)
            part = rows[first: bisect.bisect_left(stamps, end) + 1]
            if part and part[-1][0] - part[0][0] >= _COVERED * (end - start):
                stamps, cpu_time, rss, threads = (list(column) for column in zip(*part))
                found[key] = make_topic(
                    stamps, stamps, {'cpu_time': cpu_time, 'rss': rss, 'threads': threads})
        return found

    def forget_before(self, time_ns: int) -> None:
        """Drop what was taken before a sim time, but for the last that was."""
        for rows in self._rows.values():
            index = bisect.bisect_right([row[0] for row in rows], time_ns) - 1
            del rows[: max(index, 0)]


class ProcessWatch:
    """Sample CPU time and memory of the processes that `pids` gives, over one window or many."""

    def __init__(self, pids: Pids, now: Callable[[], int]) -> None:
        """Keep the parts; `now` gives the sim time in ns."""
        self._pids = pids
        self._now = now
        self._samples: _Samples | None = None
        self._found: dict[str, list[int]] = {}
        self._looked = 0.0

    def start(self) -> None:
        """Begin anew, with the processes that are there now."""
        self.stop()
        self._looked = time.monotonic()
        self._found = self._find()
        if self._found:
            self._samples = _Samples(self._found, self._now)
            self._samples.start()

    def refresh(self) -> None:
        """Begin anew if a node has got another process; looking for one costs time."""
        ended = self._samples is not None and bool(self._samples.ended)
        if not ended and time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        if self._find() != self._found:
            self.start()

    def topics(self, start: int, end: int) -> dict[str, Topic]:
        """Return the samples between two sim times [ns], of processes that lived all along."""
        if self._samples is None:
            return {}
        found = self._samples.between(start, end)
        ended = self._samples.ended
        return {name: topic for name, topic in found.items() if name not in ended}

    def forget_before(self, time_ns: int) -> None:
        """Drop samples that no window from this sim time on needs."""
        if self._samples is not None:
            self._samples.forget_before(time_ns)

    def stop(self) -> None:
        """End the sampling."""
        if self._samples is not None:
            self._samples.stop()
        self._samples = None

    def _find(self) -> dict[str, list[int]]:
        return {topic: list(found) for topic, found in self._pids().items() if found}
