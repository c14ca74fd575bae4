# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for what is kept of a bag's messages: the fields that metrics read, as long as needed.

Times called `log` are the recorder's [ns].
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tl_adapt.bags.clock import Times
from tl_adapt.bags.fields import Columns
from tl_adapt.bags.missions import Drive
from tl_adapt.metrics import fold, folded_name, needed_fields
from tl_adapt.study import Metric
from tl_adapt.trace import Topic, Trace, stacked


@dataclasses.dataclass
class _Batch:
    """Hold messages of one topic."""

    log: Times
    received: Times
    stamps: Times
    fields: dict[str, Any]


class Window:
    """Keep the wanted fields of topics, and give them as traces."""

    def __init__(self, metrics: Iterable[Metric], names: Mapping[str, str]) -> None:
        """
        Keep what the metrics need.

        `names` are the full names of topics by what the study calls them.
        """
        self._wanted = needed_fields(metrics)
        self._names = {name: names[name] for name in self._wanted}
        self._batches: dict[str, list[_Batch]] = {name: [] for name in self._wanted}
        # An array that is only wanted as one number per message is not kept.
        self._folds: dict[str, list[Metric]] = {}
        self._plain: dict[str, set[str]] = {}
        for name, metric in ((m.topic, m) for m in metrics if m.topic):
            if folded_name(metric):
                self._folds.setdefault(name, []).append(metric)
            else:
                self._plain.setdefault(name, set()).update(
                    needed_fields([metric]).get(name, ())
                )
        for metric in metrics:
            if metric.reference:
                self._plain.setdefault(metric.reference, set()).update(
                    needed_fields([metric])[metric.reference]
                )

    @property
    def fields(self) -> dict[str, set[str]]:
        """Return the fields that are wanted, by full names of topics."""
        found: dict[str, set[str]] = {}
        for name, fields in self._wanted.items():
            found.setdefault(self._names[name], set()).update(fields)
        return found

    def add(self, topic: str, log: Times, received: Times, columns: Columns) -> None:
        """Keep what was read of a topic's messages, by its full name."""
        stamps = received if columns.stamps is None else columns.stamps
        for name, full in self._names.items():
            if full == topic and len(log):
                self._batches[name].append(
                    _Batch(log, received, stamps, self._kept(name, columns))
                )

    def _kept(self, name: str, columns: Columns) -> dict[str, Any]:
        """Return the fields of one topic that have to be kept."""
        plain = self._plain.get(name, set())
        kept = {field: columns.fields[field] for field in plain}
        for metric in self._folds.get(name, ()):
            fields = needed_fields([metric])[name]
            arrays = {field: _array(columns.fields[field]) for field in fields}
            folded = fold(metric, arrays)
            if folded is None:
                kept.update((field, columns.fields[field]) for field in fields)
            else:
                kept[folded_name(metric) or ''] = folded
        return kept

    def forget_before(self, log: int) -> None:
        """Drop what was recorded before a log time, as far as whole batches go."""
        for name, batches in self._batches.items():
            if batches and batches[0].log[-1] < log:
                self._batches[name] = [batch for batch in batches if batch.log[-1] >= log]

    def trace(self, drive: Drive, recorded: Iterable[str]) -> Trace:
        """
        Return what belongs to a mission.

        `recorded` are the full names of the topics that the bag has, be it without messages.
        """
        there = set(recorded)
        trace = Trace({
            name: _topic([_part(batch, drive) for batch in batches], self._wanted[name])
            for name, batches in self._batches.items() if self._names[name] in there
        }, {'outcome': drive.outcome})
        return trace.clip(drive.start_ns, drive.end_ns)


def _part(batch: _Batch, drive: Drive) -> _Batch:
    keep = slice(
        int(np.searchsorted(batch.log, drive.since, 'left')),
        int(np.searchsorted(batch.log, drive.until, 'left')),
    )
    received, stamps = batch.received[keep], batch.stamps[keep]
    early = int(np.searchsorted(batch.log[keep], drive.ticked, 'left'))
    if early and drive.ticked > drive.since:
        # Before the clock ran it was the time of the start, whatever it had shown before.
        headless = batch.received is batch.stamps
        received = received.copy()
        received[:early] = drive.start_ns
        stamps = received if headless else stamps
    return _Batch(
        batch.log[keep], received, stamps,
        {field: values[keep] for field, values in batch.fields.items()},
    )


def _topic(batches: Sequence[_Batch], wanted: Iterable[str]) -> Topic:
    """Return the batches as one topic, sorted by stamp."""
    batches = [batch for batch in batches if len(batch.log)]
    if not batches:
        none = np.empty(0, np.int64)
        return Topic(none, none, {field: np.empty(0) for field in wanted})
    # A field that was folded in some batches only is told apart by what is there.
    names = set.intersection(*(set(batch.fields) for batch in batches))
    topic = Topic(
        np.concatenate([batch.stamps for batch in batches]),
        np.concatenate([batch.received for batch in batches]),
        {name: stacked([batch.fields[name] for batch in batches]) for name in names},
    )
    return topic.select(np.argsort(topic.stamp_ns, kind='stable'))


def _array(values: Any) -> NDArray[Any]:
    return values if isinstance(values, np.ndarray) else stacked([values])
