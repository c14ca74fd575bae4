# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for recording topics of a live graph into a trace.

Only the serialised messages are kept, and taken out of the middleware's queues now and then: in
lock-step the recorder runs while the robot's software computes, and must not slow it down. They
are taken apart after the mission.
"""

from __future__ import annotations

import bisect
import importlib
import re
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock

from tl_adapt.cdr import header_stamp
from tl_adapt.errors import MeasurementError
from tl_adapt.ros.damage import Damage, DamagedError
from tl_adapt.ros.inbox import Inbox
from tl_adapt.trace import POSITION, Topic, Trace, extract, make_topic

_DEPTH = 1000
_CLOCK_DEPTH = 4000  # a simulation may be many times faster than real time
_SETTLE = 0.2
_TYPE = re.compile(r'([A-Za-z]\w*)/msg/([A-Za-z]\w*)')


class TraceError(MeasurementError):
    """Say that what was recorded does not fit the metrics; the stack itself is well."""


def message_type(name: str) -> Any:
    """
    Return the class of a message type such as `sensor_msgs/msg/LaserScan`.

    Raises MeasurementError if its package can't be imported here.
    """
    match = _TYPE.fullmatch(name)
    if match is None:
        raise MeasurementError(f'{name} is not the name of a message type')
    try:
        return getattr(importlib.import_module(f'{match[1]}.msg'), match[2])
    except (ImportError, AttributeError) as error:
        raise MeasurementError(f'message type {name} is not installed here ({error})') from error


def matching_qos(node: Node, topic: str, depth: int = _DEPTH) -> QoSProfile:
    """Return a profile that matches all publishers of the topic and loses as little as it may."""
    infos = node.get_publishers_info_by_topic(topic)
    reliable = all(i.qos_profile.reliability == ReliabilityPolicy.RELIABLE for i in infos)
    latched = bool(infos) and all(
        i.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for i in infos
    )
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def sent_ns(info: Any) -> int:
    """Return when a message was sent (system clock), or now if the middleware doesn't say."""
    return int(info.get('source_timestamp') or 0) or time.time_ns()


def stamp_of(message: Any) -> int | None:
    """Return the header stamp of a message in ns; None if it has none."""
    stamp = getattr(getattr(message, 'header', message), 'stamp', None)
    return None if stamp is None else stamp.sec * 1_000_000_000 + stamp.nanosec


class SimClock:
    """Follow `/clock`, and turn sending times into sim time; wall time where there is no clock."""

    def __init__(self, node: Node, inbox: Inbox | None = None) -> None:
        """Subscribe on `node`, which another thread spins, or through an inbox of it."""
        self._inbox = inbox or Inbox(node, open=True)
        self._lock = threading.Lock()
        self._sent: list[int] = []
        self._time: list[int] = []
        self.damage = Damage('/clock')
        self._inbox.subscribe(
            Clock, '/clock', self._on_clock, QoSProfile(depth=_CLOCK_DEPTH), raw=True
        )
        self.changed: Callable[[], None] = lambda: None

    @property
    def running(self) -> bool:
        """Say whether any clock message came since `restart`."""
        return bool(self._time)

    @property
    def ticks(self) -> int:
        """Return how many clock messages came since `restart`."""
        return len(self._time)

    def restart(self) -> None:
        """Forget the past: the simulation is reset."""
        self._inbox.take()
        with self._lock:
            self._sent.clear()
            self._time.clear()

    def first(self) -> int | None:
        """Return the first time since `restart` in ns."""
        with self._lock:
            return self._time[0] if self._time else None

    def now(self) -> int:
        """Return the present sim time in ns."""
        with self._lock:
            return self._time[-1] if self._time else time.time_ns()

    def at(self, sent: int) -> int:
        """Return the sim time that held when a message was sent."""
        with self._lock:
            if not self._time:
                return sent
            return self._time[max(bisect.bisect_right(self._sent, sent) - 1, 0)]

    def _on_clock(self, message: bytes, info: Any) -> None:
        try:
            stamp = header_stamp(message)
        except struct.error:
            self.damage.note(DamagedError(message, Clock))
            return
        with self._lock:
            self._sent.append(sent_ns(info))
            self._time.append(stamp)
        self.changed()


class Channel:
    """Hold the subscription to one topic and what came in."""

    def __init__(self, topic: str, fields: Iterable[str]) -> None:
        """Keep `fields`, dotted paths, of what comes on the topic."""
        self.topic = topic
        self.fields = sorted(fields)
        self.type: Any = None
        self.has_header = False
        self.subscription: Subscription | None = None
        self.messages: list[tuple[int, bytes]] = []
        self.recording = False
        self.last = 0.0

    def on_message(self, message: bytes, info: Any) -> None:
        """Take note of a serialised message."""
        if self.recording:
            self.messages.append((sent_ns(info), message))
            self.last = time.monotonic()

    @property
    def matched(self) -> bool:
        """Say whether a publisher is connected."""
        if self.subscription is None:
            return False
        count = getattr(self.subscription, 'get_publisher_count', None)
        return True if count is None else count() > 0

    def newest(self) -> int:
        """Return the stamp of the message that came last, 0 if there is none."""
        return header_stamp(self.messages[-1][1]) if self.messages else 0


class Recorder:
    """Record the given fields of topics, over one mission after the other."""

    def __init__(
        self,
        node: Node,
        topics: Mapping[str, Iterable[str]],
        clock: SimClock,
        inbox: Inbox | None = None,
    ) -> None:
        """
        Record `topics` (topic -> dotted paths) through `node`, which another thread spins.

        What comes into an `inbox` has to be taken while a trace is recorded.
        """
        self._node = node
        self._inbox = inbox or Inbox(node, open=True)
        self._clock = clock
        self._channels = [Channel(topic, fields) for topic, fields in topics.items()]
        self._missing: set[str] = set()
        self._begun = 0

    def prepare(self, *, deadline: float = 5.0, alive: Callable[[], None] | None = None) -> None:
        """
        Wait until every topic has a publisher and is connected with it.

        A topic without publisher at the end of the deadline is left alone (its metrics will say
        so), and not waited for again. Raises MeasurementError for the first topic that has several
        types or one that isn't installed; all others are connected by then.
        """
        end = time.monotonic() + deadline
        before = self._subscribed()
        misfits = []
        for channel in self._channels:
            while (found := self._try_to_connect(channel)) is False:
                if channel.topic in self._missing:
                    break
                if time.monotonic() > end:
                    self._missing.add(channel.topic)
                    break
                if alive is not None:
                    alive()
                time.sleep(0.01)
            else:
                self._missing.discard(channel.topic)
                misfits += [found] if isinstance(found, MeasurementError) else []
        if self._subscribed() > before:
            # This side knows the publishers; they still have to learn of the subscription.
            time.sleep(_SETTLE)
        if misfits:
            raise misfits[0]

    def _subscribed(self) -> int:
        return sum(channel.subscription is not None for channel in self._channels)

    def _try_to_connect(self, channel: Channel) -> bool | MeasurementError:
        """Connect, or return why that is no use."""
        try:
            return self._connect(channel)
        except MeasurementError as error:
            return error

    def _connect(self, channel: Channel) -> bool:
        """Subscribe if the topic has a publisher; return True once that is connected."""
        if channel.subscription is None:
            infos = self._node.get_publishers_info_by_topic(channel.topic)
            if not infos:
                return False
            types = {info.topic_type for info in infos}
            if len(types) > 1:
                raise MeasurementError(
                    f'topic {channel.topic} has publishers of several types: '
                    f'{", ".join(sorted(types))}'
                )
            channel.type = message_type(types.pop())
            channel.has_header = has_header(channel.type)
            channel.subscription = self._inbox.subscribe(
                channel.type,
                channel.topic,
                channel.on_message,
                matching_qos(self._node, channel.topic),
                raw=True,
            )
        return channel.matched

    def start(self) -> None:
        """Begin a new trace; messages that were sent before do not count."""
        self._begun = time.time_ns()
        for channel in self._channels:
            channel.messages = []
            channel.recording = True

    def received(self, topic: str) -> int:
        """Return how many messages of the topic came since `start`."""
        return sum(len(channel.messages) for channel in self._channels if channel.topic == topic)

    def newest(self, topic: str) -> int:
        """Return the stamp of the topic's message that came last since `start`, 0 without one."""
        return next((c.newest() for c in self._channels if c.topic == topic), 0)

    def drain(self, end_ns: int, *, quiet: float = 0.04, deadline: float = 0.5) -> None:
        """Wait until nothing older than `end_ns` can still be on its way, or all is quiet."""
        end = time.monotonic() + deadline
        waiting = [c for c in self._channels if c.has_header and c.messages]
        begun = time.monotonic()
        while waiting and time.monotonic() < end:
            self._inbox.take()
            waiting = [c for c in waiting if c.newest() < end_ns]
            if time.monotonic() - max([begun, *(c.last for c in waiting)]) > quiet:
                break
            time.sleep(0.002)

    def stop(self) -> Trace:
        """
        End the recording and return its trace.

        Raises TraceError if a message type lacks a field that a metric needs.
        """
        self._inbox.take()
        trace = Trace()
        for channel in self._channels:
            channel.recording = False
            if channel.subscription is not None:
                trace.topics[channel.topic] = self._take_apart(channel)
            channel.messages = []
        return trace

    def _take_apart(self, channel: Channel) -> Topic:
        """Deserialise what came in on one topic."""
        stamps: list[int] = []
        received: list[int] = []
        columns: dict[str, list[Any]] = {field: [] for field in channel.fields}
        for sent, raw in channel.messages:
            if sent < self._begun:
                continue
            message = deserialize_message(raw, channel.type)
            at = self._clock.at(sent)
            received.append(at)
            stamp = stamp_of(message) if channel.has_header else None
            stamps.append(at if stamp is None else stamp)
            for field, column in columns.items():
                try:
                    column.append(extract(message, field))
                except AttributeError as error:
                    raise lacking(channel.topic, [field], error) from error
        return make_topic(stamps, received, columns)

    def close(self) -> None:
        """Destroy the subscriptions."""
        for channel in self._channels:
            channel.recording = False
            if channel.subscription is not None:
                self._inbox.unsubscribe(channel.subscription)
                channel.subscription = None


def lacking(topic: str, fields: Iterable[str], error: AttributeError) -> TraceError:
    """Return the error for a topic whose type does not have all the fields."""
    names = ', '.join('position' if f == POSITION else f'field {f}' for f in sorted(fields))
    return TraceError(f'topic {topic} has no {names} ({error})')


def has_header(kind: Any) -> bool:
    """Say whether messages of a class begin with a header."""
    slots: Mapping[str, str] = kind.get_fields_and_field_types()
    return next(iter(slots.items()), None) == ('header', 'std_msgs/Header')
