# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for subscriptions that don't wake their process with each message.

An executor builds a new wait set for every callback that it runs, which costs more than taking
the message does. Where nothing has to happen at once, messages are better left in the middleware's
queue and taken together.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from tl_adapt.ros.message_info import with_info

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # the name in Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

# Each event callback is one more thing to wait for in every turn of the executor.
PUBLISHER_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
SUBSCRIPTION_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)


class Inbox(CallbackGroup):
    """
    Hold subscriptions of a node whose messages wait until `take` is called.

    While it is `open`, the node's executor calls the callbacks, as it does for any other group.
    """

    def __init__(self, node: Node, *, open: bool = False) -> None:  # noqa: A002
        """Subscribe through `node`."""
        super().__init__()
        self.open = open
        self._node = node
        self._subscriptions: list[tuple[Subscription, Callable[[Any, Any], None]]] = []
        self._taking = threading.RLock()

    def subscribe(
        self,
        kind: Any,
        topic: str,
        callback: Callable[[Any, Any], None],
        qos: QoSProfile | int,
        *,
        raw: bool = False,
    ) -> Subscription:
        """Subscribe; `callback` gets the message (serialised if `raw`) and the info on it."""
        subscription = self._node.create_subscription(
            kind,
            topic,
            with_info(callback),
            qos,
            raw=raw,
            callback_group=self,
            event_callbacks=SUBSCRIPTION_EVENTS,
        )
        self._subscriptions.append((subscription, callback))
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        with self._taking:
            self._subscriptions = [s for s in self._subscriptions if s[0] is not subscription]
            self._node.destroy_subscription(subscription)

    def close(self) -> None:
        """End all subscriptions."""
        for subscription, _ in list(self._subscriptions):
            self.unsubscribe(subscription)

    def take(self) -> None:
        """
        Call the callbacks for all that has come, from any thread; not while it is `open`.

        The first error of taking or of a callback is raised once all else has been dealt with.
        """
        if self.open:
            return
        found: list[Exception] = []
        with self._taking:
            for subscription, callback in self._subscriptions:
                for message, info in _waiting(subscription, found):
                    try:
                        callback(message, info)
                    except Exception as error:
                        found.append(error)
        if found:
            raise found[0]

    def can_execute(self, entity: Any) -> bool:
        """Tell the executor whether to wait for the subscriptions."""
        return self.open

    def beginning_execution(self, entity: Any) -> bool:
        """Tell the executor whether it may call a callback."""
        return True

    def ending_execution(self, entity: Any) -> None:
        """Take note of a callback's end: nothing waits for it."""


def _waiting(subscription: Subscription, errors: list[Exception]) -> list[tuple[Any, Any]]:
    """Return the messages that wait, each with the info on it, up to an error, which is noted."""
    found: list[tuple[Any, Any]] = []
    handle, kind, raw = subscription.handle, subscription.msg_type, subscription.raw
    try:
        with contextlib.suppress(InvalidHandle), handle:
            while (taken := handle.take_message(kind, raw)) is not None:
                found.append((taken[0], taken[1]))
    except Exception as error:  # not every middleware drops what it can not read
        errors.append(error)
    return found
