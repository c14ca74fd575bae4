# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for metrics whose topics stop: no number is given that only looks fine."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np

from tl_adapt.ros.rolling_recorder import RollingRecorder
from tl_adapt.silence import silent_since, usual_gap
from tl_adapt.study import Metric
from tl_adapt.trace import Trace

# A topic that has stopped is spoken of after this long at the earliest [ns, sim time], and one
# that never said anything after that long.
_SHORTEST = 1_000_000_000
_NEVER_HEARD = 5_000_000_000
_CALENDAR = 1_000_000_000  # times above this [s] are no simulation's


class TopicWatch:
    """Hold each topic against its own usual rate."""

    def __init__(self, recorder: RollingRecorder, metrics: Sequence[Metric]) -> None:
        """Watch the topics of `metrics` that are recorded by `recorder`."""
        self._recorder = recorder
        self.needed = sorted({t for metric in metrics for t in _topics(metric)})
        # Where events are counted, there may be none.
        self._expected = sorted({
            t for metric in metrics if not _counts_events(metric) for t in _topics(metric)
        })
        self._usual: dict[str, float] = {}
        self._last: dict[str, int] = {}
        self._suspects: set[str] = set()

    def forget(self) -> None:
        """Forget the rates: other parameters may mean others."""
        self._usual.clear()
        self._last.clear()
        self._suspects.clear()

    def fit(self, metrics: Sequence[Metric], trace: Trace) -> list[Metric]:
        """Return the metrics whose topics did not stop in the trace."""
        start, end = trace.meta['start_ns'], trace.meta['end_ns']
        silent = set()
        for name in {topic for metric in metrics for topic in _topics(metric)}:
            found = trace.topics.get(name)
            times = [] if found is None else np.sort(found.received_ns).tolist()
            if silent_since(times, start, end, self._usual.get(name)) is not None:
                silent.add(name)
            elif (usual := usual_gap(times)) is not None:
                self._usual[name] = usual
        return [metric for metric in metrics if self._fits(metric, silent)]

    def stopped(self, start: int, now: int) -> list[tuple[str, str]]:
        """
        Return topics that are silent now, each with a text that says so; times in ns.

        They were at the last look, too: after a spell in which the whole machine was busy none is
        heard of for a moment.
        """
        found = {}
        for topic in self._expected:
            heard = self._recorder.heard(topic)
            if heard:
                self._last[topic] = heard[-1]
                if topic not in self._usual and (usual := usual_gap(heard)) is not None:
                    self._usual[topic] = usual
            last = self._last.get(topic, start)
            if not start <= last <= now and not heard:
                last = self._last[topic] = start if last > now else last
            usual = self._usual.get(topic)
            if usual is None:
                longest = float('inf') if heard else _NEVER_HEARD
            else:
                longest = max(10.0 * usual, _SHORTEST)
            if now - last > longest:
                found[topic] = f'{topic} (since {_when(last)})'
        before, self._suspects = self._suspects, set(found)
        return [(topic, text) for topic, text in found.items() if topic in before]

    def _fits(self, metric: Metric, silent: set[str]) -> bool:
        if _counts_events(metric):
            return all(self._recorder.matched(topic) for topic in _topics(metric))
        return not silent.intersection(_topics(metric))


def _topics(metric: Metric) -> list[str]:
    """Return the topics that the metric reads."""
    return [str(topic) for topic in (metric.topic, metric.reference) if topic]


def _counts_events(metric: Metric) -> bool:
    return metric.reduction == 'count' and not metric.field


def _when(time_ns: int) -> str:
    """Return a time for people: of the day, or of the simulation."""
    seconds = time_ns * 1e-9
    if seconds < _CALENDAR:
        return f'{seconds:.1f} s'
    return datetime.datetime.fromtimestamp(seconds).isoformat(timespec='seconds')
