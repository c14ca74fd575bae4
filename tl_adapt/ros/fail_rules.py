# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for watching the topics of the rules that end a mission early."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rclpy.node import Node

from tl_adapt.errors import InputError
from tl_adapt.judging import applies, unjudged
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.recorder import SimClock, matching_qos, message_type, sent_ns, stamp_of
from tl_adapt.ros.waiting import Waiter

if TYPE_CHECKING:
    from tl_adapt.study import FailRule

class WatchedRules:
    """Watch the topics that the rules are about, and note when a mission failed by one."""

    def __init__(
        self,
        node: Node,
        rules: Sequence[FailRule],
        clock: SimClock,
        inbox: Inbox,
        waiter: Waiter,
    ) -> None:
        """Use `node`, which another thread spins; what comes goes through the `inbox`."""
        self._node = node
        self._rules = rules
        self._clock = clock
        self._inbox = inbox
        self._waiter = waiter
        self._failures: list[tuple[int, str]] = []
        self._since = 0
        self._watched: dict[str, Any] = {}

    def connect(self) -> None:
        """Subscribe to each topic once its type is known; raises MeasurementError if it's not."""
        for rule in self._rules:
            if rule.topic not in self._watched:
                self._watch(rule.topic)

    def begin(self, sent: int) -> None:
        """Forget what came before; only what was sent since then [ns] counts."""
        with self._waiter.changed:
            self._since = sent
            self._failures.clear()

    def failures(self, start: int) -> list[tuple[int, str]]:
        """Return the failures since `start`: when [ns, sim time], and why."""
        with self._waiter.changed:
            return [failure for failure in self._failures if failure[0] >= start]

    def _watch(self, topic: str) -> None:
        find = functools.partial(self._node.get_publishers_info_by_topic, topic)
        self._waiter.until(lambda: bool(find()), f'no publisher on topic {topic}', poll=0.01)
        rules = [rule for rule in self._rules if rule.topic == topic]
        self._watched[topic] = self._inbox.subscribe(
            message_type(find()[0].topic_type),
            topic,
            functools.partial(self._on_message, rules),
            matching_qos(self._node, topic),
        )

    def _on_message(self, rules: Iterable[FailRule], message: Any, info: Any) -> None:
        sent = sent_ns(info)
        if sent < self._since:
            return
        for rule in rules:
            try:
                reason = rule.reason if applies(rule, message) else ''
            except (InputError, AttributeError, TypeError) as error:
                reason = unjudged(rule, error)
            if reason:
                stamp = stamp_of(message)
                at = self._clock.at(sent) if stamp is None else stamp
                with self._waiter.changed:
                    self._failures.append((at, reason))
        self._waiter.wake()
