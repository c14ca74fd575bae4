# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the samples of processes that a recording holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tl_adapt.bags.missions import Drive
from tl_adapt.bags.recorded import ProcessSample
from tl_adapt.metrics import process_topic
from tl_adapt.trace import Topic, make_topic

if TYPE_CHECKING:
    from tl_adapt.study import Metric


class ProcessLog:
    """Keep the samples of processes over a bag."""

    def __init__(self) -> None:
        """Begin with none."""
        self._rows: list[tuple[int, int, dict[str, ProcessSample]]] = []

    def take(self, log: int, stamp: int, samples: Mapping[str, ProcessSample]) -> None:
        """Take note of the samples of one moment, by the names of their topics in a trace."""
        self._rows.append((log, stamp, dict(samples)))

    def forget_before(self, log: int) -> None:
        """Drop what was recorded before a log time."""
        if self._rows and self._rows[0][0] < log:
            self._rows = [row for row in self._rows if row[0] >= log]

    @staticmethod
    def wanted(metric: Metric) -> list[str]:
        """Return the names of the topics that a metric needs."""
        return [process_topic(node) for node in metric.nodes]

    def topics(self, drive: Drive) -> tuple[dict[str, Topic], dict[str, list[int]]]:
        """
        Return the topics of a mission, and the ids of the processes of each.

        Only what was sampled while the mission ran counts: before it the clock may have stood
        still, and work that was done then took no time.
        """
        rows: dict[str, list[tuple[int, ProcessSample]]] = {}
        # Until the mission's time ran, a clock may have shown a time that the mission has, too.
        since = max(drive.since, drive.ticked)
        for log, stamp, samples in self._rows:
            if not (since <= log < drive.until and drive.start_ns <= stamp <= drive.end_ns):
                continue
            for name, sample in samples.items():
                before = rows.setdefault(name, [])
                # CPU time that falls is that of another process, which has taken its place.
                if not before or sample.cpu_time >= before[-1][1].cpu_time:
                    before.append((stamp, sample))
        topics = {}
        for name, found in rows.items():
            stamps = [stamp for stamp, _ in found]
            topics[name] = make_topic(stamps, stamps, {
                'cpu_time': [sample.cpu_time for _, sample in found],
                'rss': [sample.rss for _, sample in found],
                'threads': [sample.threads for _, sample in found],
            })
        return topics, {name: list(found[-1][1].pids) for name, found in rows.items()}
