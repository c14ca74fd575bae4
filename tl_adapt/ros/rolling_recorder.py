# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for recording topics for days, of which only the last part is kept.

Messages are taken out of the middleware's queues in bunches, and of each only the fields that
metrics read are kept, until no window needs them any more.
"""

from __future__ import annotations

import bisect
import struct
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from rclpy.node import Node

from tl_adapt.cdr import header_stamp
from tl_adapt.ros.damage import Damage, DamagedError
from tl_adapt.ros.enduring import one_line
from tl_adapt.ros.field_reader import FieldReader
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.recorder import Channel, Recorder, TraceError, lacking
from tl_adapt.ros.watched_clock import WatchedClock
from tl_adapt.trace import Topic, Trace, make_topic


class _Rows:
    """Hold what is kept of one topic, in the order of arrival; times in ns."""

    def __init__(self, fields: Iterable[str]) -> None:
        self.sent: list[int] = []
        self.received: list[int] = []
        self.stamps: list[int] = []
        self.columns: dict[str, list[Any]] = {field: [] for field in fields}
        self.last = 0.0  # wall time at which the newest came

    def forget(self, index: int) -> None:
        """Drop the first `index` rows."""
        for column in (self.sent, self.received, self.stamps, *self.columns.values()):
            del column[:index]

    def topic(self, until: int | None) -> Topic:
        """Return those that were sent before `until`."""
        n = len(self.sent) if until is None else bisect.bisect_left(self.sent, until)
        columns = {field: column[:n] for field, column in self.columns.items()}
        return make_topic(self.stamps[:n], self.received[:n], columns)


class RollingRecorder(Recorder):
    """
    Record the given fields of topics, and forget what is old.

    `take` has to be called now and then, from any thread, or the middleware's queues run over.
    """

    def __init__(
        self, node: Node, topics: Mapping[str, Iterable[str]], clock: WatchedClock, inbox: Inbox
    ) -> None:
        """Record `topics` (topic -> dotted paths) through the `inbox` of `node`."""
        super().__init__(node, topics, clock, inbox)
        self._rows = {channel.topic: _Rows(channel.fields) for channel in self._channels}
        self._readers: dict[str, FieldReader] = {}
        self._damage = {channel.topic: Damage(channel.topic) for channel in self._channels}
        self._taking = threading.RLock()
        self._trouble: TraceError | None = None
        self.mishap = ''  # what went wrong with some of what came, until somebody clears it

    def start(self) -> None:
        """Begin anew; messages that were sent before do not count."""
        with self._taking:
            self._empty_inbox()  # what waits in the queues is older
            super().start()
            self._clear()

    def take(self) -> None:
        """Take what has come out of the queues, and keep the fields of it."""
        with self._taking:
            self._empty_inbox()
            for channel in self._channels:
                messages, channel.messages = channel.messages, []
                if messages:
                    self._keep(channel, messages)

    def forget_before(self, time_ns: int) -> None:
        """Drop what came before a sim time."""
        with self._taking:
            for rows in self._rows.values():
                rows.forget(bisect.bisect_left(rows.received, time_ns))

    def heard(self, topic: str) -> tuple[int, ...]:
        """Return when the last few messages of a topic came [ns, sim time]."""
        with self._taking:
            return tuple(self._rows[topic].received[-20:])

    def matched(self, topic: str) -> bool:
        """Tell whether a publisher is connected."""
        return any(channel.matched for channel in self._channels if channel.topic == topic)

    @property
    def damaged(self) -> dict[str, str]:
        """Return the topics of which lately messages came that can not be read, with a text."""
        return {topic: damage.text for topic, damage in self._damage.items() if damage.text}

    def received(self, topic: str) -> int:
        """Return how many messages of the topic are kept."""
        return len(self._rows[topic].sent)

    def drain(self, end_ns: int, *, quiet: float = 0.04, deadline: float = 0.5) -> None:
        """Wait until nothing older than `end_ns` can still be on its way, or all is quiet."""
        end = time.monotonic() + deadline
        begun = time.monotonic()
        self.take()
        waiting = [self._rows[c.topic] for c in self._channels if c.has_header]
        waiting = [rows for rows in waiting if rows.stamps]
        while waiting and time.monotonic() < end:
            waiting = [rows for rows in waiting if rows.stamps and rows.stamps[-1] < end_ns]
            if time.monotonic() - max([begun, *(rows.last for rows in waiting)]) > quiet:
                break
            time.sleep(0.005)
            self.take()

    def trace(
        self, start_ns: int, end_ns: int, *, topics: Collection[str] | None = None,
        until: int | None = None,
    ) -> Trace:
        """
        Return the part between two sim times of what is kept, of all topics or of some.

        What was sent at or after `until` [ns] is left out. Raises TraceError if a message type
        lacks a field that a metric needs.
        """
        with self._taking:
            self.take()
            if self._trouble is not None:
                raise self._trouble
            found = {
                channel.topic: self._rows[channel.topic].topic(until)
                for channel in self._channels
                if channel.subscription is not None
                and (topics is None or channel.topic in topics)
            }
        return Trace(found).clip(start_ns, end_ns)

    def stop(self) -> Trace:
        """End the recording and drop what is kept; returns an empty trace."""
        with self._taking:
            for channel in self._channels:
                channel.recording = False
                channel.messages = []
            self._clear()
        return Trace()

    def _empty_inbox(self) -> None:
        """Take what waits; what goes wrong with one subscription must not cost the others."""
        try:
            self._inbox.take()
        except Exception as error:
            self.mishap = one_line(error)

    def _clear(self) -> None:
        self._rows = {channel.topic: _Rows(channel.fields) for channel in self._channels}
        self._trouble = None

    def _keep(self, channel: Channel, messages: list[tuple[int, bytes]]) -> None:
        rows = self._rows[channel.topic]
        reader = self._readers.get(channel.topic)
        if reader is None:
            reader = self._readers[channel.topic] = FieldReader(channel.type, channel.fields)
        for sent, raw in messages:
            if sent < self._begun:
                continue
            at = self._clock.at(sent)
            try:
                values = reader.read(raw) if channel.fields else {}
                stamp = header_stamp(raw) if channel.has_header else at
            except AttributeError as error:
                self._trouble = lacking(channel.topic, channel.fields, error)
                return
            except (DamagedError, struct.error):
                # It counts as none: a topic of which nothing else comes is silent.
                self._damage[channel.topic].note(DamagedError(raw, channel.type))
                continue
            for field, value in values.items():
                rows.columns[field].append(value)
            rows.sent.append(sent)
            rows.received.append(at)
            rows.stamps.append(stamp)
            rows.last = channel.last
