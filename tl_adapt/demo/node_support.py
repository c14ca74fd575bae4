# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for what the nodes of the robot software share: parameters, matching by stamp, main."""

from __future__ import annotations

import functools
import importlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import LaserScan, TimeReference

from tl_adapt.demo.settings import Tunable
from tl_adapt.errors import TlAdaptError
from tl_adapt.ros import node_main
from tl_adapt.ros.inbox import PUBLISHER_EVENTS, SUBSCRIPTION_EVENTS, Inbox

COMPUTE_TIME_MODES = ('modelled', 'measured')


def nanoseconds(stamp: Time) -> int:
    """Return a stamp in ns."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


class StampMatcher:
    """
    Collect messages of several topics until all of one stamp are there, in any order of arrival.

    The first topic leads: its stamps tell when time has gone back.
    """

    def __init__(self, topics: Sequence[str], depth: int = 50) -> None:
        """Take the topics, the leading one first, and how many stamps may wait."""
        self._topics = tuple(topics)
        self._depth = depth
        self.clear()

    def clear(self) -> None:
        """Forget all messages."""
        self._waiting: dict[int, dict[str, Any]] = {}
        self._last: int | None = None

    def went_back(self, topic: str, stamp: int) -> bool:
        """Return whether this message starts the time anew; later stamps are then dropped."""
        if topic != self._topics[0] or self._last is None or stamp > self._last:
            return False
        self._last = None
        self._waiting = {s: parts for s, parts in self._waiting.items() if s <= stamp}
        for parts in self._waiting.values():
            parts.pop(topic, None)
        return True

    def add(
        self, topic: str, stamp: int, message: Any
    ) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """
        Return the messages of `stamp` once they are complete, and older sets that never will be.

        Sets without a message of the leading topic are dropped in silence.
        """
        self._waiting.setdefault(stamp, {})[topic] = message
        if topic == self._topics[0]:
            self._last = stamp
        if len(self._waiting) > self._depth:
            del self._waiting[min(self._waiting)]
        if len(self._waiting[stamp]) < len(self._topics) if stamp in self._waiting else True:
            return None, []
        complete = self._waiting.pop(stamp)
        older = [self._waiting.pop(s) for s in sorted(self._waiting) if s < stamp]
        return complete, [parts for parts in older if self._topics[0] in parts]


class ScanReader:
    """Turn LaserScan messages into arrays; the beams' angles are kept from scan to scan."""

    def __init__(self) -> None:
        """Start without angles."""
        self._shape: tuple[int, float, float] | None = None
        self._angles: np.ndarray = np.zeros(0)

    def read(self, scan: LaserScan) -> tuple[np.ndarray, np.ndarray]:
        """Return angles and ranges (n,), inf where there is no valid reading."""
        ranges = np.array(scan.ranges, dtype=float)
        shape = (len(ranges), float(scan.angle_min), float(scan.angle_increment))
        if shape != self._shape:
            self._shape = shape
            self._angles = shape[1] + shape[2] * np.arange(shape[0])
        with np.errstate(invalid='ignore'):
            bad = ~((ranges >= scan.range_min) & (ranges <= scan.range_max))
        ranges[bad] = math.inf
        return self._angles, ranges


class SoftwareNode(Node):
    """Base of the robot software's nodes: parameters with ranges, and reports of compute time."""

    def __init__(
        self,
        name: str,
        tunables: Iterable[Tunable],
        others: Mapping[str, tuple[Any, ParameterDescriptor]],
        **kwargs: Any,
    ) -> None:
        """Declare the parameters; `others` are those that are not tuned."""
        super().__init__(name, **kwargs)
        self._tunables = {t.name: t for t in tunables}
        for t in self._tunables.values():
            self.declare_parameter(t.name, t.default, _descriptor(t))
        for other, (default, descriptor) in others.items():
            self.declare_parameter(other, default, descriptor)
        self.declare_parameter(
            'compute_time_mode',
            'modelled',
            ParameterDescriptor(
                description='what compute_time reports',
                additional_constraints=f'one of {COMPUTE_TIME_MODES}',
            ),
        )
        self._changed = True
        reason = self._reason(
            [self.get_parameter(n) for n in (*self._tunables, *others, 'compute_time_mode')]
        )
        if reason:
            raise TlAdaptError(reason)
        self.add_on_set_parameters_callback(self._on_set)
        self._compute_time = self.publisher(TimeReference, 'compute_time')

    def check(self, name: str, value: Any) -> str | None:
        """Return why a parameter that is not tuned is refused, or None."""
        return None

    def publisher(self, kind: Any, topic: str, qos: QoSProfile | int = 10) -> Publisher:
        """Return a publisher without events for the executor to wait for."""
        return self.create_publisher(kind, topic, qos, event_callbacks=PUBLISHER_EVENTS)

    def listen(self, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        """Subscribe without events for the executor to wait for."""
        self.create_subscription(kind, topic, callback, 10, event_callbacks=SUBSCRIPTION_EVENTS)

    def gather(self, topics: Mapping[str, Any], take: Callable[[str, Any], bool]) -> None:
        """
        Subscribe to topics (name -> type) that come together, as a rule in this order.

        `take` gets topic and message, and returns whether that made a set complete. Only the last
        topic wakes the node; while something is missing then, all of them do.
        """
        inbox = Inbox(self)
        *others, last = topics

        def on_message(topic: str, message: Any, _: object = None) -> None:
            if topic == last:
                inbox.take()
            complete = take(topic, message)
            if complete or topic == last:
                inbox.open = not complete

        for topic in others:
            inbox.subscribe(topics[topic], topic, functools.partial(on_message, topic), 10)
        self.listen(topics[last], last, lambda message: on_message(last, message))

    def values(self) -> dict[str, Any] | None:
        """Return the tunable parameters' values if any was set since the last call, else None."""
        if not self._changed:
            return None
        self._changed = False
        return {name: self.get_parameter(name).value for name in self._tunables}

    def report(self, stamp: Time, modelled: float, started: float) -> None:
        """Publish the compute time for a scan: the modelled one [s], or that since `started`."""
        measured = self.get_parameter('compute_time_mode').value == 'measured'
        duration = time.thread_time() - started if measured else modelled
        message = TimeReference(source=self.get_name())
        message.header.stamp = stamp
        sec, nanosec = divmod(round(duration * 1e9), 1_000_000_000)
        message.time_ref = Time(sec=sec, nanosec=nanosec)
        self._compute_time.publish(message)

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        reason = self._reason(parameters)
        if reason:
            return SetParametersResult(successful=False, reason=reason)
        # Read at the next scan: only then all checks, also rclpy's own, have passed.
        self._changed = True
        return SetParametersResult(successful=True)

    def _reason(self, parameters: Iterable[Parameter]) -> str | None:
        for parameter in parameters:
            if parameter.name in self._tunables:
                reason = self._tunables[parameter.name].check(parameter.value)
            elif parameter.name == 'compute_time_mode':
                known = parameter.value in COMPUTE_TIME_MODES
                reason = None if known else (
                    f'compute_time_mode: one of {COMPUTE_TIME_MODES} must be given, '
                    f'got {parameter.value!r}'
                )
            else:
                reason = self.check(parameter.name, parameter.value)
            if reason:
                return reason
        return None


def _descriptor(tunable: Tunable) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=tunable.description)
    if isinstance(tunable.default, int):
        descriptor.integer_range = [
            IntegerRange(from_value=int(tunable.low), to_value=int(tunable.high), step=1)
        ]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=float(tunable.low), to_value=float(tunable.high), step=0.0
            )
        ]
    return descriptor


def run_node(factory: Callable[[], Node], args: list[str] | None = None) -> int:
    """Spin a node until SIGINT or SIGTERM; return the exit code."""
    _limit_threads()
    return node_main.run_node(factory, args)


def _limit_threads() -> None:
    """Keep linear algebra on one thread: the matrices are small, and the cores are shared."""
    try:
        importlib.import_module('threadpoolctl').threadpool_limits(1)
    except ImportError:
        pass
