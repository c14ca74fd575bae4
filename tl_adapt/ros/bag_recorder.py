# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for recording topics of a live graph into a bag.

Messages stay serialised. Each gets the time at which it was sent, the same that a live trace gets
it by, so that both give the same metrics; where that can't be (the sender's clock is another one,
or the message waited for us), it is the time at which it came, as `ros2 bag record` has it.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from tl_adapt.bags.writing import BagWriter, qos_profile
from tl_adapt.errors import MeasurementError
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.message_definitions import definition
from tl_adapt.ros.parameter_services import EVENTS
from tl_adapt.ros.recorder import matching_qos, message_type
from tl_adapt.ros.watched_clock import Jump, WatchedClock

_LOOK = 0.25  # s between looks for topics that came
_SETTLE = 0.2  # s until a publisher certainly knows of a subscription
_WAIT = 0.5  # s of wall time that a message waits for the clock to pass the time of its sending
_LATE = 1_000_000_000  # ns between sending and coming beyond which the former is not believed


@dataclasses.dataclass
class _Channel:
    """Hold the subscription to one topic, and what is counted of it."""

    topic: str
    type: str = ''
    subscription: Subscription | None = None
    publishers: frozenset[bytes] = frozenset()
    reliable: bool = False
    latched: bool = False
    numbers: dict[bytes, int] = dataclasses.field(default_factory=dict)  # last, by publisher
    lost: int = 0


@dataclasses.dataclass(frozen=True)
class _Message:
    """Hold one message until it is written; times in ns of the system's clock."""

    at: int
    sent: int
    topic: str
    raw: bytes
    number: int


class BagRecorder:
    """
    Record topics into a bag, from when they are there.

    `take` has to be called often, and all of the methods from one thread. `since` tells from
    when on [ns, of the bag] all messages of a topic are in it.
    """

    def __init__(
        self,
        node: Node,
        inbox: Inbox,
        clock: WatchedClock,
        writer: BagWriter,
        topics: Iterable[str],
        *,
        optional: Collection[str] = (),
        events: Iterable[str] = (),
        everything: bool = False,
        readers: Collection[str] = (),
        sim_time: bool = False,
        note: Callable[[str], None] = lambda text: None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Record `topics` (relative names are in the node's namespace) through `inbox`.

        Nobody misses the `optional` ones of them. With `everything` all topics of the graph, and
        what the nodes `readers` subscribe to in any case. With `sim_time` the bag's times are
        those of `/clock`, and `jump` tells when that goes back; of what comes before it runs
        only what is latched and `events` get its first time. `note` gets what the user should
        know; `begin` is called before the first message is written.
        """
        self._node = node
        self._inbox = inbox
        self._clock = clock
        self._writer = writer
        self._optional = optional
        self._events = set(map(node.resolve_topic_name, events))
        self._everything = everything
        self._readers = readers
        self._sim_time = sim_time
        self._note = note
        self._begin: Callable[[], None] | None = begin
        self._channels = {
            name: _Channel(name) for name in dict.fromkeys(map(node.resolve_topic_name, topics))
        }
        self._held: list[_Message] = []
        self._next_look = 0.0
        self._noted: set[str] = set()
        self._numbered: bool | None = None
        self.since: dict[str, int] = {}
        self._settling: dict[str, int] = {}  # the same for what is new, in system time
        self._jumped = 0
        self._time_began: int | None = None  # when the sim time's first message was sent
        self.jump: Jump | None = None

    @property
    def missing(self) -> list[str]:
        """Return the topics that have had no publisher yet, but for the optional ones."""
        return [
            c.topic for c in self._channels.values()
            if c.subscription is None and c.topic not in self._optional
        ]

    @property
    def settled(self) -> bool:
        """Tell whether all of what has a publisher is recorded by now."""
        return bool(self.since) and not self._settling

    @property
    def lost(self) -> dict[str, int] | None:
        """Return the number of lost messages by topic; None if the middleware does not tell."""
        if self._numbered is False:
            return None
        return {c.topic: c.lost for c in self._channels.values() if c.lost}

    def held(self, topic: str) -> list[tuple[int, bytes]]:
        """Return the messages of a topic that wait, and when they were sent [ns]."""
        return [(m.at, m.raw) for m in self._held if m.topic == topic]

    def take(self) -> None:
        """Take what came and write what can be written; look for new topics now and then."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK
            self._look()
        self._inbox.take()
        if self._sim_time and self.jump is None:
            self.jump = self._step_back()
        self._settle()
        self._write_ready()

    def finish(self) -> None:
        """Write what still waits."""
        self._inbox.take()
        self._write_ready(everything=True)

    # --- topics ---------------------------------------------------------------------------------

    def _look(self) -> None:
        """Subscribe to what has a publisher by now, and follow who publishes it."""
        self._add_more()
        for channel in self._channels.values():
            infos = self._node.get_publishers_info_by_topic(channel.topic)
            publishers = frozenset(bytes(info.endpoint_gid) for info in infos)
            if not infos or publishers == channel.publishers:
                continue
            types = sorted({info.topic_type for info in infos})
            if channel.type and channel.type not in types or len(types) > 1:
                self._once(f'{channel.topic} has several types ({", ".join(types)})')
                if not channel.type:
                    continue
            channel.publishers = publishers
            try:
                self._follow(channel, infos)
            except MeasurementError as error:
                self._once(f'{channel.topic} is not recorded: {error.reason}')

    def _add_more(self) -> None:
        """Add the topics that are wanted because of the graph."""
        names: set[str] = set()
        if self._everything:
            names |= {name for name, _ in self._node.get_topic_names_and_types()}
        elif self._readers:
            there = {
                f'{space.rstrip("/")}/{name}': (name, space)
                for name, space in self._node.get_node_names_and_namespaces()
            }
            for reader in self._readers:
                if reader in there:
                    found = self._node.get_subscriber_names_and_types_by_node(*there[reader])
                    names |= {name for name, _ in found}
        for name in sorted(names - set(self._channels)):
            self._channels[name] = _Channel(name)

    def _follow(self, channel: _Channel, infos: list[Any]) -> None:
        """Subscribe, or subscribe anew where the present subscription asks for too much."""
        qos = matching_qos(self._node, channel.topic)
        reliable = qos.reliability == ReliabilityPolicy.RELIABLE
        latched = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        if not self._writer.has_topic(channel.topic):
            kind = infos[0].topic_type
            message_type(kind)
            text = definition(kind)
            channel.type = kind
            type_hash = str(getattr(infos[0], 'topic_type_hash', '') or '')
            # Those that come later are not told: readers take a topic for two if the file's
            # description of it is not that of the metadata.
            offered = [_offered(info.qos_profile) for info in infos]
            self._writer.add_topic(channel.topic, kind, text, qos=offered, type_hash=type_hash)
        asked_for_more = channel.reliable > reliable or channel.latched > latched
        if channel.subscription is not None and not asked_for_more:
            return
        if channel.subscription is not None:
            self._inbox.take()
            self._inbox.unsubscribe(channel.subscription)
        channel.reliable, channel.latched = reliable, latched
        channel.subscription = self._subscribe(channel, qos)
        # The publisher has to learn of it, too.
        self._settling[channel.topic] = time.time_ns() + round(_SETTLE * 1e9)

    def _settle(self) -> None:
        """Note from when on topics are recorded, once that time has come."""
        now = time.time_ns()
        for topic, at in list(self._settling.items()):
            if at <= now:
                del self._settling[topic]
                if self._sim_time:
                    first = self._clock.first_since(0)
                    at = 0 if first is None or at < first[0] else self._clock.at(at)
                self.since[topic] = at

    def _subscribe(self, channel: _Channel, qos: QoSProfile) -> Subscription:
        callback = functools.partial(self._on_message, channel)
        return self._inbox.subscribe(
            message_type(channel.type), channel.topic, callback, qos, raw=True
        )

    def _once(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)

    # --- messages -------------------------------------------------------------------------------

    def _on_message(self, channel: _Channel, raw: bytes, info: Any) -> None:
        came = info.get('received_timestamp') or time.time_ns()
        sent = info.get('source_timestamp') or came
        number = info.get('publication_sequence_number')
        gid = (info.get('publisher_gid') or {}).get('data')
        if number is None or gid is None:
            self._numbered = bool(self._numbered)
        else:
            self._numbered = True
            last = channel.numbers.get(gid)
            if last is not None and number <= last:
                return  # a new subscription gets what was latched once more
            channel.numbers[gid] = number
            channel.lost += 0 if last is None else number - last - 1
        at = sent if 0 <= came - sent <= _LATE else came
        self._held.append(_Message(at, sent, channel.topic, raw, number or 0))

    def _write_ready(self, *, everything: bool = False) -> None:
        """Write the messages whose time is known, in the order of sending."""
        if not self._held:
            return
        self._held.sort(key=lambda message: message.at)
        if self._begin is not None and (self._clock.running or not self._sim_time):
            begin, self._begin = self._begin, None
            begin()
        if not self._sim_time:
            ready, self._held = self._held, []
            for message in ready:
                self._write(message, message.at)
            return
        now = time.time_ns()
        if self._time_began is None:
            first = self._clock.first_since(0)
            since = now - round(_WAIT * 1e9) if first is None else first[0]
            self._held = [m for m in self._held if m.at >= since or self._keep_before(m)]
            if first is None:
                return
            self._time_began = since
        # What changed before is in the parameters that `begin` wrote.
        self._held = [
            m for m in self._held
            if m.at >= self._time_began or self._keep_before(m) and m.topic != EVENTS
        ]
        # A later clock message may still say more about those that were sent just now.
        frontier = now if everything else max(
            self._clock.newest_sent, now - round(_WAIT * 1e9))
        until = frontier if self.jump is None else min(frontier, self.jump.sent - 1)
        count = sum(message.at <= until for message in self._held)
        ready, self._held = self._held[:count], self._held[count:]
        for message in ready:
            self._write(message, self._clock.at(message.at))

    def _step_back(self) -> Jump | None:
        """Return where the sim time went back since the last look, None if it did not."""
        while (jump := self._clock.jump_after(self._jumped)) is not None:
            self._jumped += 1
            if self._clock.at(jump.sent) < self._clock.at(jump.sent - 1):
                return jump
        return None

    def _keep_before(self, message: _Message) -> bool:
        """Tell whether a message is kept although the sim time has not begun."""
        return self._channels[message.topic].latched or message.topic in self._events

    def _write(self, message: _Message, at: int) -> None:
        self._writer.write(
            message.topic, message.raw, at, sent_ns=message.sent, sequence=message.number
        )


def _offered(qos: QoSProfile) -> dict[str, Any]:
    """Return a publisher's profile as bags have it."""
    def span(duration: Any) -> int | None:
        nanoseconds = duration.nanoseconds
        return None if not 0 < nanoseconds < 2**63 - 1 else nanoseconds

    return qos_profile(
        reliability=int(qos.reliability), durability=int(qos.durability),
        history=int(qos.history), depth=qos.depth, deadline_ns=span(qos.deadline),
        lifespan_ns=span(qos.lifespan), liveliness=int(qos.liveliness),
        lease_ns=span(qos.liveliness_lease_duration),
        namespaces=not qos.avoid_ros_namespace_conventions,
    )
