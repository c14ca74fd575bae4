# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for playing recorded messages into a graph, dropping none.

The messages are sent as they were recorded, byte by byte, by reliable publishers. None is sent
before the software listens, and no more of them are under way than a queue of it may hold.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from rosgraph_msgs.msg import Clock

from tl_adapt.cdr import header_stamp
from tl_adapt.errors import MeasurementError
from tl_adapt.ros.inbox import PUBLISHER_EVENTS
from tl_adapt.ros.recorder import has_header, message_type
from tl_adapt.ros.replay_clock import ReplayClock

_LATCHED_DEPTH = 100
_TICK_NS = 20_000_000  # of the bag's time between two messages of /clock
_SETTLE = 0.3  # s that the other side may need to know what this side knows
CLOCK = '/clock'


@dataclasses.dataclass(frozen=True)
class Input:
    """Describe a recorded topic that is played: its full name and type, and if it is latched."""

    topic: str
    type: str
    latched: bool = False


class DeafError(MeasurementError):
    """Say that nothing listens to what is played."""

    mismatch = True


class Player:
    """Publish recorded messages on the topics that they were recorded from."""

    def __init__(
        self,
        node: Node,
        inputs: Sequence[Input],
        clock: ReplayClock,
        *,
        ticks: bool,
        drop_transforms: Collection[str] = (),
    ) -> None:
        """
        Publish through `node`; with `ticks` also the bag's time, on `/clock`.

        Transforms to the frames `drop_transforms` are left out of what is played: the software
        under test sends its own. Raises MeasurementError for a type that is not installed.
        """
        self._node = node
        self._clock = clock
        self._dropped = {frame.lstrip('/') for frame in drop_transforms}
        self._types = {item.topic: message_type(item.type) for item in inputs}
        self._inputs = list(inputs)
        self._stamped = {item.topic for item in inputs if has_header(self._types[item.topic])}
        self._publishers = {item.topic: self._publisher(item) for item in inputs}
        self._ticker: Publisher | None = None
        if ticks:
            self._ticker = node.create_publisher(Clock, CLOCK, 10,
                                                 event_callbacks=PUBLISHER_EVENTS)
        self._ticked: int | None = None
        self.sent: dict[str, int] = {}
        #: Topic -> stamp of a message [ns] -> the bag's time at which it was sent [ns].
        self.stamps: dict[str, dict[int, int]] = {}

    def _publisher(self, item: Input) -> Publisher:
        # Reliable goes with subscriptions of either kind; what was recorded may not have.
        qos = QoSProfile(
            depth=_LATCHED_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE,
            history=HistoryPolicy.KEEP_LAST if item.latched else HistoryPolicy.KEEP_ALL,
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if item.latched else DurabilityPolicy.VOLATILE
            ),
        )
        return self._node.create_publisher(
            self._types[item.topic], item.topic, qos, event_callbacks=PUBLISHER_EVENTS
        )

    def wait_until_heard(self, seconds: float, alive: Callable[[], None]) -> None:
        """Wait until something listens on every topic; raises DeafError that names one."""
        end = time.monotonic() + seconds
        for topic, publisher in self._publishers.items():
            while not publisher.get_subscription_count():
                if time.monotonic() > end:
                    raise DeafError(
                        f'nothing of the software listens on input topic {topic} '
                        f'within {seconds:g} s'
                    )
                alive()
                time.sleep(0.01)
        time.sleep(_SETTLE)

    def restart(self) -> None:
        """Begin a replay: count from 0, and let time go back."""
        self.sent = {item.topic: 0 for item in self._inputs}
        self.stamps = {topic: {} for topic in self._stamped}
        self._ticked = None
        self._clock.restart()

    def tick(self, time_ns: int) -> None:
        """
        Let time run up to `time_ns`, in steps.

        A gap between two messages is no reason for the software's timers to miss their turns.
        """
        if self._ticker is None or (self._ticked is not None and time_ns <= self._ticked):
            return
        begin = time_ns if self._ticked is None else self._ticked + _TICK_NS
        for each in [*range(begin, time_ns, _TICK_NS), time_ns]:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(each, 1_000_000_000)
            self._ticker.publish(message)
        self._ticked = time_ns

    def send(self, topic: str, time_ns: int, raw: bytes) -> None:
        """Send one message of the bag's time `time_ns`."""
        if self._dropped and topic in ('/tf', '/tf_static'):
            raw = self._without(topic, raw)
        self._clock.note(time.time_ns(), time_ns)
        self._publishers[topic].publish(raw)
        self.sent[topic] += 1
        if topic in self._stamped:
            self.stamps[topic].setdefault(header_stamp(raw), time_ns)

    def settle(self, seconds: float = 5.0) -> None:
        """
        Wait until all that was sent has arrived; raises MeasurementError if it does not.

        Who listens without asking for reliability does not say whether it has.
        """
        for topic in self._publishers:
            if not self._publishers[topic].wait_for_all_acked(Duration(seconds=seconds)):
                raise MeasurementError(
                    f'messages on input topic {topic} were lost: not all of {self.sent[topic]} '
                    f'have arrived within {seconds:g} s'
                )

    def _without(self, topic: str, raw: bytes) -> bytes:
        message: Any = deserialize_message(raw, self._types[topic])
        kept = [
            each for each in message.transforms
            if each.child_frame_id.lstrip('/') not in self._dropped
        ]
        if len(kept) == len(message.transforms):
            return raw
        message.transforms = kept
        return bytes(serialize_message(message))
