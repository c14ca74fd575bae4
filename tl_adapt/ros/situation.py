# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for the situation that a robot is in: its context, and whether it may try things out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from rclpy.node import Node
from rclpy.serialization import deserialize_message

from tl_adapt.adaptation.context_source import (
    ContextSource,
    Lasting,
    context_id,
    context_sources,
)
from tl_adapt.adaptation.events import ContextChanged, Event, Exploration
from tl_adapt.errors import InputError
from tl_adapt.judging import met, needed
from tl_adapt.ros.damage import Damage, DamagedError
from tl_adapt.ros.field_reader import FieldReader
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.recorder import matching_qos, message_type
from tl_adapt.ros.watched_clock import WatchedClock
from tl_adapt.study import FailRule, Study
from tl_adapt.trace import POSITION, extract

_GATE = 'explore_when'
_AGE = 5.0  # s after which a message no longer allows anything
_GONE = 5.0  # s of wall time after which a topic that nobody publishes tells nothing any more


class _Latest:
    """Hold the newest message of a topic that can be read, and when it came [ns, sim time]."""

    def __init__(self, topic: str, clock: WatchedClock) -> None:
        self.topic = topic
        self.fields: set[str] = set()
        self.missing: set[str] = set()  # those that the messages' type lacks
        self.heard: int | None = None
        self.damage = Damage(topic)
        self._fine = 0.0  # when the last one was read that can be [s, wall]
        self._clock = clock
        self._newest: tuple[bytes, int] = (b'', 0)  # and when it came
        self._seen = b''
        self._kind: Any = None
        self._reader: FieldReader | None = None
        self._values: dict[str, Any] | None = None
        self._gone: float | None = None  # since when nobody publishes [s, wall]

    @property
    def gone(self) -> bool:
        """Tell whether nobody has published the topic for long."""
        return self._gone is not None and time.monotonic() - self._gone > _GONE

    @property
    def absent(self) -> bool:
        """Tell whether nobody publishes the topic, which is said elsewhere."""
        return self._reader is None or self._gone is not None

    def connect(self, node: Node, inbox: Inbox) -> None:
        """Subscribe once somebody publishes; raises MeasurementError for an unknown type."""
        if self._reader is not None:
            if node.count_publishers(self.topic):
                self._gone = None
            elif self._gone is None:
                self._gone = time.monotonic()
            return
        infos = node.get_publishers_info_by_topic(self.topic)
        if infos:
            kind = message_type(infos[0].topic_type)
            # Only the newest counts: the middleware drops what came before it.
            inbox.subscribe(
                kind, self.topic, self._on_message, matching_qos(node, self.topic, 1), raw=True
            )
            self._kind, self._reader = kind, FieldReader(kind, self.fields)

    def read(self) -> dict[str, Any] | None:
        """Return what the message holds for those fields that it has, None without a message."""
        raw, came = self._newest
        if raw is not self._seen and self._reader is not None:
            self._seen = raw
            try:
                self._values = self._take_apart(self._reader, raw)
            except DamagedError as error:
                self.damage.note(error)
            else:
                self.heard, self._fine = came, time.monotonic()
        if self.damage.lasts(self._fine):
            self._values = self.heard = None  # what the last good one said may hold no longer
        return self._values

    def _take_apart(self, reader: FieldReader, raw: bytes) -> dict[str, Any]:
        try:
            return reader.read(raw)
        except AttributeError:
            # One field that is misspelt must not cost the others of the topic.
            return self._leave_out(deserialize_message(raw, self._kind)).read(raw)

    def _leave_out(self, message: Any) -> FieldReader:
        """Read only fields that the message has from now on."""
        for field in self.fields - self.missing:
            try:
                extract(message, field)
            except AttributeError:
                self.missing.add(field)
        self._reader = FieldReader(self._kind, self.fields - self.missing)
        return self._reader

    def lacks(self, fields: Iterable[str]) -> str:
        """Return what is to be said of the topic if its messages lack one of the fields."""
        missing = sorted(self.missing.intersection(fields))
        if not missing:
            return ''
        what = 'position' if missing == [POSITION] else f'field {", ".join(missing)}'
        return f'topic {self.topic} has no {what}'

    def forget(self) -> None:
        """Drop what was heard."""
        self._seen = self._newest[0]
        self._values = self.heard = None

    def _on_message(self, raw: bytes, info: Any) -> None:
        self._newest = raw, self._clock.now()


class Situation:
    """
    Follow a study's `adaptation.contexts` and `adaptation.explore_when`.

    `context` is the present one's id, empty where the study names none or a part is unknown: no
    message has come yet, nobody publishes the topic any more, or the last message is too old or
    lacks what is needed of it. `doubts` tells why.
    """

    def __init__(self, node: Node, study: Study, clock: WatchedClock, inbox: Inbox) -> None:
        """Subscribe through the `inbox` of `node`, which someone else empties."""
        self._node = node
        self._clock = clock
        self._inbox = inbox
        self._sources = context_sources(study.adaptation)
        self._labels = {s.name: Lasting(round(s.hold * 1e9)) for s in self._sources}
        self._gate = explore_rule(study.adaptation)
        wanted = [(s.topic, s.field.names if s.field else {POSITION}) for s in self._sources]
        if self._gate is not None:
            wanted.append((self._gate[0].topic, needed(self._gate[0].field)))
        self._latest = {topic: _Latest(topic, clock) for topic, _ in wanted}
        for topic, fields in wanted:
            self._latest[topic].fields |= fields
        # By what can not be told: its topic, why, since when and how long it may be so [s, wall].
        self._faults: dict[str, tuple[str, str, float, float]] = {}
        self._said: Exploration | None = None
        self._jumped = clock.jumped
        self.context = ''
        self.moved = False  # whether the last `update` changed the context

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the topics that are needed."""
        return tuple(self._latest)

    @property
    def doubts(self) -> dict[str, str]:
        """Return why a part of the context, or explore_when, can not be told, by the topic."""
        now = time.monotonic()
        found: dict[str, list[str]] = {}
        for what, (topic, why, since, patience) in self._faults.items():
            if now - since >= patience:
                found.setdefault(topic, []).append(f'{what}: {why}')
        for topic, latest in self._latest.items():
            if topic not in found and latest.damage.text:
                found[topic] = [latest.damage.text]
        return {topic: '; '.join(texts) for topic, texts in found.items()}

    @property
    def steady(self) -> bool:
        """Tell whether the context is known and not about to change."""
        return all(label.steady for label in self._labels.values())

    def connect(self) -> None:
        """Subscribe to topics that have got a publisher since; see which have lost theirs."""
        for latest in self._latest.values():
            latest.connect(self._node, self._inbox)

    def update(self) -> list[Event]:
        """Look at what has come; return what has changed since the last call."""
        if self._clock.jumped != self._jumped:
            self._jumped = self._clock.jumped
            if self._gate is not None:
                self._latest[self._gate[0].topic].forget()
        now = self._clock.now()
        events: list[Event] = []
        for source in self._sources:
            self._follow(source, now)
        labels = {name: v.label for name, v in self._labels.items()}
        context = '' if None in labels.values() else context_id(labels)
        self.moved = context != self.context
        if self.moved:
            self.context = context
            events.append(ContextChanged(self.context))
        if self._gate is not None:
            said = self._judge(*self._gate)
            if said != self._said:
                self._said = said
                events.append(said)
        return events

    def _follow(self, source: ContextSource, now: int) -> None:
        """Bring the source's label up to date."""
        lasting, latest = self._labels[source.name], self._latest[source.topic]
        values, what = latest.read(), f'context {source.name}'
        if values is None:
            lasting.forget()
            damage = latest.damage.text
            why = '' if latest.absent else damage or f'no message on topic {source.topic}'
            self._doubt(what, source.topic, why, 0.0 if damage else _GONE)
            return
        # A clock that goes back makes nothing younger than it was.
        heard = latest.heard = now if latest.heard is None else min(latest.heard, now)
        if latest.gone or (now - heard) * 1e-9 > source.age:
            # What a dead node said last would be believed for ever.
            lasting.forget()
            why = f'no message on topic {source.topic} for {source.age:g} s'
            why = latest.damage.text or why
            self._doubt(what, source.topic, '' if latest.absent else why)
            if latest.gone:
                latest.forget()
            return
        label = source.label(_value(source, values), lasting.label)
        lasting.update(label, now)
        if label is None:
            why = latest.lacks(source.field.names if source.field else {POSITION})
            why = why or f'topic {source.topic} {source.lack}'
            self._doubt(what, source.topic, why, 0.0 if lasting.label is None else _GONE)
        elif lasting.label is None:
            why = f'topic {source.topic} gives nothing that lasts {source.hold:g} s'
            # The simulation may be slower than the world.
            self._doubt(what, source.topic, why, _GONE + 2.0 * source.hold)
        else:
            self._doubt(what, source.topic, '')

    def _doubt(self, what: str, topic: str, why: str, patience: float = 0.0) -> None:
        """Note why something can not be told, the empty text if it can."""
        if why:
            before = self._faults.get(what)
            since = before[2] if before and before[1] == why else time.monotonic()
            self._faults[what] = topic, why, since, patience
        else:
            self._faults.pop(what, None)

    def _judge(self, rule: FailRule, age: float) -> Exploration:
        latest = self._latest[rule.topic]
        values, heard, damage = latest.read(), latest.heard, latest.damage.text
        if heard is None or values is None:
            return Exploration(False, damage or f'no message on topic {rule.topic}')
        why = latest.lacks(needed(rule.field))
        if why:
            self._doubt(_GATE, rule.topic, why)
            return Exploration(False, why)
        if not 0.0 <= (self._clock.now() - heard) * 1e-9 <= age:
            return Exploration(False, damage or f'no message on topic {rule.topic} for {age:g} s')
        try:
            allowed = met(rule, values)
        except (InputError, TypeError, ValueError) as error:
            why = f'topic {rule.topic} can not be judged ({error})'
            self._doubt(_GATE, rule.topic, why)
            return Exploration(False, why)
        self._doubt(_GATE, rule.topic, '')
        return Exploration(allowed, '' if allowed else f'not {rule.reason}')


def _value(source: ContextSource, values: Mapping[str, Any]) -> Any:
    """Return the value that the source makes a label of; NaN if it has none."""
    if source.field is None:
        return values.get(POSITION)
    try:
        return source.field.evaluate(values)
    except InputError:
        return math.nan


def explore_rule(adaptation: Any) -> tuple[FailRule, float] | None:
    """Return when exploration is allowed, and how old [s] a message may be that says so."""
    entry = adaptation.get('explore_when')
    if entry is None:
        return None
    text = f'{entry["topic"]} {entry["field"]} {entry["op"]} {entry["value"]}'
    rule = FailRule(entry['topic'], entry['field'], entry['op'], entry['value'], text)
    return rule, float(entry.get('age', _AGE))
