# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for a bag as a replay needs it: what goes in, and what is known besides."""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tl_adapt.bags.reading import Bag
from tl_adapt.closed_loop import commands, refusal
from tl_adapt.errors import InputError
from tl_adapt.metrics import needed_fields
from tl_adapt.study_replay import replayed_parameters
from tl_adapt.study_rules import resolved
from tl_adapt.trace import Trace, extract, make_topic

if TYPE_CHECKING:
    from tl_adapt.study import EnvironmentSpec, Study

CLOCK = '/clock'
_LATCHED = (1, '1', 'transient_local')  # durability, in what rosbag2 says of QoS
_MARGIN = 60.0  # s
_SLOWEST = 20.0  # times as long as a drive took, a replay of it may take
_AHEAD = 1_000_000_000  # ns that a stamp may be ahead of the recorded clock

#: A message to send: topic, time in ns, and the message in CDR.
Message = tuple[str, int, bytes]


@dataclasses.dataclass(frozen=True)
class Window:
    """Hold a mission's number in the bag, from 1 on, and its first and last moment in ns."""

    number: int
    start_ns: int
    end_ns: int


class ReplayedBag:
    """Hold the bag of an environment that replays it, and what the study says of that."""

    def __init__(self, study: Study, spec: EnvironmentSpec) -> None:
        """
        Open the bag and check that it fits.

        Raises InputError for a bag that is missing or broken, an input or a metric's topic that it
        lacks, software in a closed loop, and a mission that was not recorded whole.
        """
        self._study = study
        self._spec = spec
        self._key = f'environments.{spec.name}'
        self.namespace: str = spec.options.get('namespace', '')
        self.path = study.folder(f'{self._key}.bag') / Path(str(spec.options['bag'])).expanduser()
        try:
            self.bag = Bag(self.path)
        except InputError as error:
            raise self._wrong('bag', str(error)) from None
        try:
            self._check_inputs()
            self._check_outputs()
            self._check_metrics()
            self.windows = self._chosen()
            self.held = self._held()
        except BaseException:
            self.bag.close()
            raise

    @property
    def inputs(self) -> list[tuple[str, str, bool]]:
        """Return full name, type and whether it is latched, of every topic to be played."""
        return [
            (full, self.bag.topics[full], self._latched(full))
            for full in self.named('inputs')
        ]

    @property
    def seconds(self) -> float:
        """Return how long the missions take in s, by the bag's time."""
        return sum(window.end_ns - window.start_ns for window in self.windows) * 1e-9

    @property
    def wall_timeout(self) -> float:
        """Return how long the replay of one mission may take in s of wall time."""
        longest = max(window.end_ns - window.start_ns for window in self.windows) * 1e-9
        rate = self._spec.options.get('rate', 1.0)
        slowest = _SLOWEST / (rate if isinstance(rate, int | float) and rate < 1.0 else 1.0)
        return float(self._spec.options.get('wall_timeout', _MARGIN + slowest * longest))

    @property
    def source(self) -> dict[str, Any]:
        """Return what tells this bag from another one."""
        files = [self.path] if self.path.is_file() else sorted(self.path.iterdir())
        return {
            'path': str(self.path),
            'files': {file.name: file.stat().st_size for file in files if file.is_file()},
            'start_ns': self.bag.start_ns, 'end_ns': self.bag.end_ns,
        }

    def named(self, option: str) -> list[str]:
        """Return the full names of the topics that an option of the environment lists."""
        return [resolved(topic, self.namespace) for topic in self._spec.options.get(option, ())]

    def messages(self, window: Window) -> Iterator[Message]:
        """
        Return the messages to be sent in a mission, with the time at which they came [ns].

        That is the recorded `/clock`'s, if there is one, else the recorder's. What has a header
        belongs to the mission by its stamp, as for metrics.
        """
        wanted = set(self.named('inputs'))
        for topic, time_ns, stamp, raw in self._timed(wanted):
            at = time_ns if stamp is None else stamp
            if window.start_ns <= at <= window.end_ns:
                yield topic, time_ns, raw

    def before(self, window: Window) -> list[Message]:
        """Return the latched messages that were sent before a mission began."""
        latched = {full for full, _, latched in self.inputs if latched}
        found = []
        if latched:
            for topic, time_ns, stamp, raw in self._timed(latched):
                at = time_ns if stamp is None else stamp
                if at < window.start_ns:
                    found.append((topic, time_ns, raw))
        return found

    def last_before(self, topic: str, time_ns: int) -> bytes | None:
        """Return the last message of a topic that was sent until a time, None without one."""
        last = None
        if topic in self.bag.topics:
            for _, at, _, raw in self._timed({topic}):
                if at > time_ns:
                    break
                last = raw
        return last

    def pose_of(self, topic: str, time_ns: int) -> tuple[float, float, float] | None:
        """Return x [m], y [m], yaw [rad] of a topic's first message from a time on, or None."""
        if topic not in self.bag.topics:
            return None
        for _, at, stamp, raw in self._timed({topic}):
            if (at if stamp is None else stamp) >= time_ns:
                return _pose(self.bag.typestore.deserialize_cdr(raw, self.bag.topics[topic]))
        return None

    def recorded(self, window: Window) -> Trace:
        """Return what the metrics read of the recorded topics, clipped to a mission."""
        outputs = set(self.named('outputs'))
        trace = Trace()
        for topic, fields in needed_fields(self._study.metrics.values()).items():
            full = resolved(topic, self.namespace)
            if full in outputs:
                continue
            kind = self.bag.topics[full]
            stamps, received = [], []
            columns: dict[str, list[Any]] = {field: [] for field in fields}
            for _, at, stamp, raw in self._timed({full}):
                message = self.bag.typestore.deserialize_cdr(raw, kind)
                received.append(at)
                stamps.append(at if stamp is None else stamp)
                for field, column in columns.items():
                    column.append(extract(message, field))
            trace.topics[topic] = make_topic(stamps, received, columns)
        return trace.clip(window.start_ns, window.end_ns)

    def close(self) -> None:
        """Close the bag."""
        self.bag.close()

    def _timed(self, topics: set[str]) -> Iterator[tuple[str, int, int | None, bytes]]:
        """Return topic, time [ns], stamp [ns] (None without a header) and message."""
        clocked = CLOCK in self.bag.topics
        stamped = {topic for topic in topics if self._has_header(topic)}
        now: int | None = None
        for topic, time_ns, raw in self.bag.messages(topics | {CLOCK} if clocked else topics):
            if clocked:
                if topic == CLOCK:
                    now = _time(raw)
                    continue
                if now is None:
                    continue  # nobody knew what time it was
                time_ns = now
            stamp = _time(raw) if topic in stamped else None
            if clocked and stamp is not None and 0 < stamp - time_ns <= _AHEAD:
                time_ns = stamp  # it overtook the clock's message
            yield topic, time_ns, stamp, raw

    def _has_header(self, topic: str) -> bool:
        try:
            fields = self.bag.types.fields(self.bag.topics[topic])
        except LookupError:
            return False
        return bool(fields) and fields[0][0] == 'header' and 'std_msgs/msg/Header' in str(fields)

    def _latched(self, topic: str) -> bool:
        if topic == '/tf_static':
            return True
        try:
            profiles = yaml.safe_load(self.bag.info(topic).qos) or ()
            return any(profile['durability'] in _LATCHED for profile in profiles)
        except (yaml.YAMLError, TypeError, KeyError):
            return False

    def _wrong(self, key: str, rule: str, **value: Any) -> InputError:
        full = f'{self._key}.{key}'
        return InputError(rule, file=self._study.sources.named(full), key=full, **value)

    def _check_inputs(self) -> None:
        given = self._spec.options['inputs']
        for number, (full, topic) in enumerate(zip(self.named('inputs'), given)):
            if full not in self.bag.topics:
                known = ', '.join(sorted(self.bag.topics))
                raise self._wrong(
                    f'inputs[{number}]', f'is not in the bag {self.path}; it has {known}',
                    value=topic,
                )
        asking = self._spec.options.get('answer', {}).get('input')
        if asking and not self._has_header(resolved(asking, self.namespace)):
            rule = 'must have messages with a header, whose stamp tells which answer is its own'
            raise self._wrong('answer.input', rule, value=asking)

    def _check_outputs(self) -> None:
        excused = set(self.named('open_loop'))
        nodes = [node for process in self._spec.options['bringup'] for node in process['nodes']]
        for number, full in enumerate(self.named('outputs')):
            kind = self.bag.topics.get(full)
            why = commands(full, [kind] if kind else []) if full not in excused else ''
            if why:
                raise self._wrong(
                    f'outputs[{number}]', refusal(', '.join(nodes), why),
                    value=self._spec.options['outputs'][number],
                )

    def _check_metrics(self) -> None:
        outputs = set(self.named('outputs'))
        for metric in self._study.metrics.values():
            for part in ('topic', 'reference'):
                topic = getattr(metric, part)
                full = resolved(topic, self.namespace) if topic else ''
                if topic and full not in outputs and full not in self.bag.topics:
                    key = f'metrics.{metric.name}.{part}'
                    raise InputError(
                        f'is neither in the bag {self.path} nor among {self._key}.outputs',
                        file=self._study.sources.named(key), key=key, value=topic,
                    )

    def _chosen(self) -> list[Window]:
        """Return the missions that the study wants."""
        windows = self._windows()
        wanted = self._spec.options.get('missions')
        if wanted is not None:
            known = {window.number: window for window in windows}
            for index, number in enumerate(wanted):
                if number not in known:
                    rule = f'there are {len(windows)} missions in the bag {self.path}'
                    raise self._wrong(f'missions[{index}]', rule, value=number)
            windows = [known[number] for number in wanted]
        return windows

    def _windows(self) -> list[Window]:
        return [Window(1, self.bag.start_ns, self.bag.end_ns)]

    def _held(self) -> Mapping[str, Any]:
        """Return what the parameters of nodes that are not replayed were, by their names."""
        space = self._study.space
        nodes = {
            resolved(n, self.namespace)
            for process in self._spec.options['bringup'] for n in process['nodes']
        }
        away = {p.name for p in space.parameters} - replayed_parameters(
            space, nodes, self.namespace
        )
        return dict.fromkeys(away)


def _time(raw: bytes) -> int:
    """Return the time in ns at the beginning of a message in CDR (byte 1: its order)."""
    seconds, nanoseconds = struct.unpack_from('<iI' if raw[1] & 1 else '>iI', raw, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _pose(message: Any) -> tuple[float, float, float] | None:
    """Return the pose that a message holds, wherever its type keeps it."""
    for path in ('pose.pose', 'pose', 'transform'):
        value = message
        for name in path.split('.'):
            value = getattr(value, name, None)
        place = getattr(value, 'position', None) or getattr(value, 'translation', None)
        turn = getattr(value, 'orientation', None) or getattr(value, 'rotation', None)
        if place is not None and turn is not None:
            yaw = math.atan2(
                2.0 * (turn.w * turn.z + turn.x * turn.y),
                1.0 - 2.0 * (turn.y * turn.y + turn.z * turn.z),
            )
            return float(place.x), float(place.y), yaw
    return None

