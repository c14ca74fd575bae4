# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for a bag as a replay needs it: what goes in, and what is known besides."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tl_adapt.bags.clock import CLOCK
from tl_adapt.bags.reading import Bag
from tl_adapt.bags.replayed_missions import Recorded, read_missions
from tl_adapt.cdr import header_stamp
from tl_adapt.closed_loop import commands, refusal
from tl_adapt.errors import InputError
from tl_adapt.study_replay import replayed_parameters
from tl_adapt.study_rules import resolved

if TYPE_CHECKING:
    from tl_adapt.study import EnvironmentSpec, Study

_LATCHED = (1, '1', 'transient_local')  # durability, in what rosbag2 says of QoS
_MARGIN = 60.0  # s
_SLOWEST = 20.0  # times as long as a drive took, a replay of it may take
_EARLY = 500_000_000  # ns that what overtook the clock's first message may be ahead of it
_AHEAD = 1_000_000_000  # ns that a stamp may be ahead of the recorded clock

#: A message to send: topic, time in ns, and the message in CDR.
Message = tuple[str, int, bytes]


class ReplayedBag:
    """Hold the bag of an environment that replays it, and what the study says of that."""

    def __init__(
        self, study: Study, spec: EnvironmentSpec,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """
        Open the bag and check that it fits; `progress` is told how far it was read, in ns.

        Raises InputError for a bag that is missing or broken, an input or a metric's topic that it
        lacks, software in a closed loop, and a mission that was not recorded whole.
        """
        self._study = study
        self._spec = spec
        self._key = f'environments.{spec.name}'
        self._progress = progress
        self._starts: dict[tuple[str, int], Any] = {}
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
            self.missions = self._chosen()
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
    def wall_timeout(self) -> float:
        """Return how long the replay of one mission may take in s of wall time."""
        longest = max(mission.seconds for mission in self.missions)
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
            'damage': self.losses,
        }

    def named(self, option: str) -> list[str]:
        """Return the full names of the topics that an option of the environment lists."""
        return [resolved(topic, self.namespace) for topic in self._spec.options.get(option, ())]

    def messages(self, mission: Recorded) -> Iterator[Message]:
        """
        Return the messages to be sent in a mission, with the time at which they came [ns].

        That is the recorded `/clock`'s, if there is one, else the recorder's. What has a header
        belongs to the mission by its stamp, as for metrics.
        """
        drive = mission.drive
        wanted = set(self.named('inputs'))
        for topic, log, at, stamp, raw in self._timed(wanted, drive.since, drive.until):
            moment = at if stamp is None else stamp
            if log < drive.ticked and moment > drive.start_ns + _EARLY:
                continue  # left from the time before this one
            if drive.start_ns <= moment <= drive.end_ns:
                yield topic, max(at, drive.start_ns), raw

    def before(self, mission: Recorded) -> list[Message]:
        """Return the latched messages that were sent before a mission began."""
        return self._once('latched', mission, self._before)

    def _before(self, mission: Recorded) -> list[Message]:
        drive = mission.drive
        latched = {full for full, _, latched in self.inputs if latched}
        found = []
        if latched:
            for topic, log, at, stamp, raw in self._timed(latched, 0, drive.begun):
                if log < drive.since or (at if stamp is None else stamp) < drive.start_ns:
                    found.append((topic, at, raw))
        return found

    def initial_pose(self, topic: str, mission: Recorded) -> bytes | None:
        """Return the last message of a topic that told where the mission starts, or None."""
        def last_message(mission: Recorded) -> bytes | None:
            return self._last(topic, mission)

        return self._once(f'last {topic}', mission, last_message)

    def _last(self, topic: str, mission: Recorded) -> bytes | None:
        last = None
        if topic in self.bag.topics:
            for _, _, raw in self.bag.messages(
                [topic], start_ns=mission.fresh, end_ns=mission.drive.begun
            ):
                last = raw
        return last

    def pose_of(self, topic: str, mission: Recorded) -> tuple[float, float, float] | None:
        """Return x [m], y [m], yaw [rad] of a topic's first message in a mission, or None."""
        def first_pose(mission: Recorded) -> tuple[float, float, float] | None:
            return self._first_pose(topic, mission)

        return self._once(f'first {topic}', mission, first_pose)

    def _first_pose(self, topic: str, mission: Recorded) -> tuple[float, float, float] | None:
        drive = mission.drive
        if topic in self.bag.topics:
            for _, _, at, stamp, raw in self._timed({topic}, drive.since, drive.until):
                if (at if stamp is None else stamp) >= drive.start_ns:
                    kind = self.bag.topics[topic]
                    return _pose(self.bag.types.store.deserialize_cdr(raw, kind))
        return None

    def _once(self, what: str, mission: Recorded, read: Callable[[Recorded], Any]) -> Any:
        """Read what a mission starts with, but not again for each measurement."""
        key = what, mission.drive.number
        if key not in self._starts:
            self._starts[key] = read(mission)
        return self._starts[key]

    def close(self) -> None:
        """Close the bag."""
        self.bag.close()

    def _timed(
        self, topics: set[str], since: int, until: int
    ) -> Iterator[tuple[str, int, int, int | None, bytes]]:
        """
        Return topic, log time, time, stamp (None without a header) and message.

        Of what was recorded from `since` on and before `until` (log times); all times in ns.
        """
        clocked = CLOCK in self.bag.topics
        stamped = {topic for topic in topics if self._has_header(topic)}
        now: int | None = None
        wanted = topics | {CLOCK} if clocked else topics
        for topic, log, raw in self.bag.messages(wanted, start_ns=since, end_ns=until):
            at = log
            if clocked:
                if topic == CLOCK:
                    now = header_stamp(raw)
                    continue
                at = 0 if now is None else now
            stamp = header_stamp(raw) if topic in stamped else None
            if clocked and stamp is not None and (now is None or 0 < stamp - at <= _AHEAD):
                at = stamp  # it overtook the clock's message
            yield topic, log, at, stamp, raw

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
                known = ', '.join(sorted(self.bag.topics)) or 'no topics'
                damage = ''.join(f'; {loss.text}' for loss in self.bag.losses[:1])
                raise self._wrong(
                    f'inputs[{number}]',
                    f'is not in the bag {self.path}; it has {known}{damage}', value=topic,
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

    def _chosen(self) -> list[Recorded]:
        """Return the missions that the study wants."""
        read = read_missions(self._study, self._spec, self.bag, self.path, self._progress)
        found, refused, self.losses = read.missions, read.refused, read.losses
        wanted = self._spec.options.get('missions')
        if wanted is None:
            if not found:
                why = next(iter(refused.values()), 'it has none')
                raise self._wrong('bag', f'no mission of {self.path} can be replayed: {why}')
            return found
        known = {mission.drive.number: mission for mission in found}
        for index, number in enumerate(wanted):
            if number not in known:
                rule = refused.get(number) or (
                    f'the bag {self.path} has {len(found) + len(refused)} missions'
                )
                raise self._wrong(f'missions[{index}]', rule, value=number)
        return [known[number] for number in wanted]

    def _held(self) -> dict[str, Any]:
        """
        Return what the parameters of nodes that are not replayed were, by their names.

        Raises InputError if the bag does not tell, or missions differ in them.
        """
        space = self._study.space
        nodes = {
            resolved(n, self.namespace)
            for process in self._spec.options['bringup'] for n in process['nodes']
        }
        away = sorted(
            {p.name for p in space.parameters} - replayed_parameters(space, nodes, self.namespace)
        )
        held: dict[str, Any] = {}
        for mission in self.missions:
            for name in away:
                if name not in mission.configuration:
                    node = space[name].targets[0].node
                    rule = (
                        f'{self.path} does not tell the value of {name}, and node {node} is not '
                        'replayed: write it into a YAML file beside the bag (BAG.yaml), or leave '
                        'the parameter out of the study'
                    )
                    raise self._wrong('bag', rule)
                value = mission.configuration[name]
                if held.setdefault(name, value) != value:
                    rule = (
                        f'its missions must have one value of {name}, whose node is not replayed, '
                        f'but have {held[name]!r} and {value!r}: choose some by missions'
                    )
                    raise self._wrong('bag', rule)
        return held


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

