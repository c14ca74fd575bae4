# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for seeing what others do with the parameters that a study tunes.

`/parameter_events` does not say who made a change. So what we send is noted, and what is neither
that nor in force already was someone else. A node that has a new publisher of these events, whose
name was gone, or that declares a tuned parameter, was restarted. Messages can get lost: now and
then all tuned parameters are read and compared.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rcl_interfaces.msg import ParameterEvent
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.qos import qos_profile_parameter_events

from tl_adapt.adaptation.events import Event, ForeignChange, NodeRestarted
from tl_adapt.ros.calls import Call
from tl_adapt.ros.change import Listener
from tl_adapt.ros.parameter_services import EVENTS
from tl_adapt.ros.parameters import ParameterClient, ParameterError
from tl_adapt.ros.tuned import Elements, Tuned, same
from tl_adapt.ros.values import Snapshot, from_message
from tl_adapt.space import Space

_OWN = 15.0  # s after a sending in which its event may come
_GRAPH = 0.5  # s between looks at the graph, each of which takes a ms
_READ = 3.0  # s between readings of all tuned parameters
_CONFIRM = 0.5  # s until a reading that is not as expected is repeated
_GIVE_UP = 2.0  # s that the answer to a reading may take
_MUTE = 2  # readings in a row without an answer, after which a node is as good as gone


@dataclasses.dataclass
class _Node:
    """Hold what is known of one node."""

    tuned: dict[str, Elements]
    values: dict[str, Any] | None = None  # in force; None if not known
    ours: dict[str, Any] = dataclasses.field(default_factory=dict)  # after our last change
    found: dict[str, Any] = dataclasses.field(default_factory=dict)  # someone else's, to be told
    met: bool = False  # its values were known once
    sent: list[tuple[str, Any, float]] = dataclasses.field(default_factory=list)
    publishers: frozenset[bytes] = frozenset()
    gone: bool = False
    coming: bool = False  # it was restarted and is not yet up
    calm: float = 0.0  # until when declarations are those of a restart that is known
    reading: tuple[Call, float] | None = None
    next_reading: float = 0.0
    doubt: dict[str, Any] | None = None  # what the last reading gave instead
    unanswered: int = 0  # readings, since it answered last


class ParameterWatch(Listener):
    """
    Tell restarts of nodes, and changes that others made, as events for the policy.

    Everything but the callback is called from one thread. Nothing here waits.
    """

    def __init__(
        self,
        node: Node,
        client: ParameterClient,
        space: Space,
        *,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """Subscribe on `node`, which another thread spins; `wake` is called when events came."""
        self._node = node
        self._client = client
        self._wake = wake
        elements = Tuned(space, client.full_name).elements
        self._nodes = {name: _Node(tuned) for name, tuned in elements.items()}
        self._lock = threading.Lock()
        self._events: list[tuple[ParameterEvent, float]] = []
        self._next_graph = 0.0
        client.on_set = self.sending
        self._subscription = node.create_subscription(
            ParameterEvent, EVENTS, self._on_event, qos_profile_parameter_events
        )

    @property
    def unsettled(self) -> tuple[str, ...]:
        """
        Return the nodes that are not there, or restarted and not yet up, or give no answer.

        One that was killed stays in the graph for long.
        """
        return tuple(
            name for name, node in self._nodes.items()
            if node.met and (node.gone or node.coming or node.unanswered >= _MUTE)
        )

    def sending(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Note what we are about to send."""
        now = time.monotonic()
        for name, each in values.items():
            if name in self._nodes:
                self._nodes[name].sent += [(key, value, now) for key, value in each.items()]

    def told(self, name: str, key: str, value: Any) -> bool:
        """Tell whether a node said, since the last `poll`, that a parameter got this value."""
        tuned = self._nodes[name].tuned[key]
        with self._lock:
            return any(
                parameter.name == key and same(tuned, from_message(parameter.value), value)
                for message, _ in self._events if message.node == name
                for parameter in message.changed_parameters
            )

    def limited(self, name: str, key: str, value: Any) -> None:
        """Note that a node made this value of what we sent last: it is nobody else's."""
        node = self._nodes[name]
        since = max((at for sent, _, at in node.sent if sent == key), default=time.monotonic())
        node.sent.append((key, value, since))

    def in_force(
        self,
        values: Snapshot,
        *,
        restarted: Sequence[str] = (),
        foreign: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        """
        Note what the nodes have after a change of ours; those that are left out are not known.

        `restarted` are the nodes that we ourselves restarted for it. What is in `foreign`, with
        the values before, was someone else: `poll` tells it, be it that its events got lost.
        """
        now = time.monotonic()
        for name, node in self._nodes.items():
            if node.values is None:
                # Its events may have come late: it gave no answer in between.
                node.sent = [(key, value, now) for key, value, _ in node.sent]
            node.values = dict(values[name]) if name in values else None
            node.found = {}
            node.ours = dict(values.get(name, {}))
            if node.values is not None and name in foreign:
                node.found = {key: node.values[key] for key in foreign[name]}
                node.values.update(foreign[name])
                node.ours.update(foreign[name])
            node.met = node.met or name in values
            self._drop_reading(node)
            node.unanswered = 0
            if name in restarted:
                node.calm = now + _OWN
                node.gone = node.coming = False
                node.publishers = frozenset()
        self._next_graph = 0.0

    def poll(self) -> list[Event]:
        """Return what happened since; not to be called while a change of ours is under way."""
        now = time.monotonic()
        with self._lock:
            events, self._events = self._events, []
        self._look_at_graph(now)
        found: list[Event] = []
        for message, at in events:
            found += self._judge(message, at)
        for name, node in self._nodes.items():
            if not (node.coming or node.gone):
                # Events tell it better, with what was in between.
                left = list(node.found.items())
                found += [self._foreign(name, node, key, value) for key, value in left]
            if node.coming or node.values is not None:
                found += self._read(name, node, now)
            if node.values is not None:
                node.sent = [entry for entry in node.sent if now - entry[2] < _OWN]
        return found

    def close(self) -> None:
        """End the subscription."""
        for node in self._nodes.values():
            self._drop_reading(node)
        self._client.on_set = lambda values: None
        self._node.destroy_subscription(self._subscription)

    def _on_event(self, message: ParameterEvent) -> None:
        if message.node in self._nodes:
            with self._lock:
                self._events.append((message, time.monotonic()))
            self._wake()

    def _judge(self, message: ParameterEvent, at: float) -> list[Event]:
        """Return what one message tells."""
        name, node = message.node, self._nodes[message.node]
        for parameter in [*message.new_parameters, *message.deleted_parameters]:
            if parameter.name in node.tuned and at > node.calm:
                self._comes(node)
        if node.coming or node.gone or node.values is None:
            return []
        found: list[Event] = []
        for parameter in message.changed_parameters:
            key, value = parameter.name, from_message(parameter.value)
            if key not in node.tuned or same(node.tuned[key], value, node.values.get(key)):
                continue
            ours = any(
                sent == key and same(None, value, other) and since <= at < since + _OWN
                for sent, other, since in node.sent
            )
            if not ours:
                found.append(self._foreign(name, node, key, value))
            elif key in node.ours and same(node.tuned[key], value, node.ours[key]):
                # We set it again after what someone else had set: that is in force no more.
                node.values = {**node.values, key: value}
        return found

    def _foreign(self, name: str, node: _Node, key: str, value: Any) -> ForeignChange:
        known = node.values or {}
        event = ForeignChange(f'{name} {key}: {known.get(key)!r} -> {value!r}')
        node.values = {**known, key: value}
        node.found.pop(key, None)
        return event

    def _look_at_graph(self, now: float) -> None:
        """Find nodes that are gone, came back, or have a new publisher of events."""
        if now < self._next_graph:
            return
        self._next_graph = now + _GRAPH
        publishers = self._client.identities()
        for name, node in self._nodes.items():
            there = self._client.count(name)
            if not there:
                node.gone = True
            elif node.gone:
                node.gone = False
                self._comes(node)
            seen = publishers.get(name, frozenset())
            if node.publishers and seen - node.publishers:
                self._comes(node)
            # While the node is away its old publishers are still what a new one is told from.
            node.publishers = seen or node.publishers

    def _comes(self, node: _Node) -> None:
        """Note that a node was restarted."""
        if node.met and not node.coming:
            self._drop_reading(node)
            node.coming, node.found = True, {}

    def _read(self, name: str, node: _Node, now: float) -> list[Event]:
        """Read a node's parameters now and then; return what that tells."""
        if node.reading is None:
            if now >= node.next_reading or node.coming:
                self._ask(name, node, now)
            return []
        call, since = node.reading
        if not call.wait(0.0):
            if now - since > _GIVE_UP:
                self._drop_reading(node)
                node.unanswered += 1
                node.next_reading = now + _GRAPH
            return []
        node.unanswered = 0
        read = [from_message(value) for value in call.answer().values]
        doubt, node.reading, node.doubt = node.doubt, None, None
        node.next_reading = now + _READ
        values = dict(zip(node.tuned, read))
        if len(read) != len(node.tuned) or any(value is None for value in read):
            # It has yet to declare them.
            node.next_reading = now + _GRAPH
            return []
        if node.coming:
            # What the graph will tell of this restart later is no other one.
            node.coming = node.gone = False
            node.publishers = self._client.identities().get(name, frozenset())
            node.values = None if node.values is None else values
            node.calm = now + _OWN  # what it declared may still be on its way
            return [NodeRestarted(name)]
        known = node.values or {}
        off = {
            key: value for key, value in values.items()
            if not same(node.tuned[key], value, known.get(key))
        }
        if not off:
            return []
        if doubt != off:
            # Its event may still come, or the news that it is another process.
            node.doubt = off
            node.next_reading = now + _CONFIRM
            return []
        return [self._foreign(name, node, key, value) for key, value in off.items()]

    def _ask(self, name: str, node: _Node, now: float) -> None:
        """Send a reading, if the node is there, once."""
        node.next_reading = now + _GRAPH
        try:
            self._client.wait_for_nodes([name], deadline=0.0)
        except ParameterError:
            return
        request = GetParameters.Request(names=list(node.tuned))
        node.reading = (Call(self._client.service(GetParameters, name), request), now)

    def _drop_reading(self, node: _Node) -> None:
        if node.reading is not None:
            node.reading[0].forget()
        node.reading = node.doubt = None
