# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for evaluating bags: each mission that was recorded becomes a measurement.

A bag is read once, from its begin to its end. Of each message only the fields that metrics read
are kept, and only as long as a mission needs them.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_adapt.bags import recorded
from tl_adapt.bags.clock import CLOCK, Times, clock_of, read_times
from tl_adapt.bags.configuration import (
    EVENTS,
    ConfigurationLog,
    GivenConfigurations,
    event_values,
)
from tl_adapt.bags.contents import Contents
from tl_adapt.bags.goals import RESULT_TYPE, STATUS_TYPE, read_result, read_status
from tl_adapt.bags.missions import GOAL_AGE, Drive, MissionLog, WholeLog
from tl_adapt.bags.processes import ProcessLog
from tl_adapt.bags.reading import Bag
from tl_adapt.bags.storage import Loss, Losses, Message
from tl_adapt.digests import digest
from tl_adapt.environments.base import BAG, COST_REPORTED, Measurement
from tl_adapt.errors import InputError
from tl_adapt.judging import SUCCEEDED, breaches
from tl_adapt.metrics import attempt
from tl_adapt.study_rules import resolved
from tl_adapt.trace import Trace

if TYPE_CHECKING:
    from tl_adapt.study import EnvironmentSpec, Study

_SEEDS = 2**30


@dataclasses.dataclass(frozen=True)
class Found:
    """
    Hold a mission of a bag: its measurement, or `refused`, why it gives none.

    What the trace holds of arrays may be reduced to what the metrics need.
    """

    drive: Drive
    measurement: Measurement | None
    trace: Trace | None = None
    refused: str = ''


class BagEvaluator:
    """Find the missions of a bag and measure them."""

    def __init__(
        self,
        study: Study,
        bag: Bag,
        spec: EnvironmentSpec,
        *,
        whole: bool = False,
        given: GivenConfigurations | None = None,
        namespace: str | None = None,
    ) -> None:
        """
        Prepare for the bag; its measurements are those of the environment `spec`.

        `whole` takes the bag as one mission; `given` goes before the configurations that were
        recorded; `namespace` (None: the environment's) is where relative names live.

        Raises InputError if the bag has nothing that the study's metrics or missions come from.
        """
        self.study, self.bag, self.spec = study, bag, spec
        self._namespace = (
            str(spec.options.get('namespace', '')) if namespace is None else namespace
        )
        self._given = given
        self._whole = whole
        self._losses = Losses()
        self._contents = Contents(study, bag, self._namespace)
        self.notes = self._contents.notes
        self._window = self._contents.window
        self._readers = self._contents.readers
        self._configurations = ConfigurationLog(study, self._namespace)
        self._processes = ProcessLog()
        self._recorded_since: dict[str, int] = {}
        self._log = self._mission_log()
        self._clock = clock_of(bag)
        self._handlers = self._event_handlers()
        # Parameters and process samples may come later: what lacks them tells so itself.
        self._needed = {CLOCK, *self._readers, *self._handlers} - {EVENTS, *recorded.TYPES}

    def _mission_log(self) -> MissionLog:
        mission = self.study.mission
        if self._whole:
            return WholeLog()
        if mission is None:
            raise InputError(
                'is required to tell missions apart; --whole takes a bag as one mission',
                file=self.study.path, key='mission',
            )
        outcome = resolved(mission.outcome_topic, self._namespace)
        if outcome not in self.bag.topics:
            raise InputError(
                f'must have topic {outcome}, which tells missions apart; --whole takes the bag '
                'as one mission', file=self.bag.path,
            )
        simulator = self.spec.options.get('simulator') or {}
        held = bool(simulator) and simulator.get('pause_for', 'start') == 'start'
        results = resolved(mission.result_topic or '', self._namespace) in self.bag.topics
        return MissionLog(
            mission, held=held and CLOCK in self.bag.topics,
            results=bool(mission.result_topic) and results,
        )

    @property
    def losses(self) -> list[Loss]:
        """Return what of the bag could not be used, as far as it was found by now."""
        return [*self.bag.losses, *self._losses]

    def _event_handlers(self) -> dict[str, Callable[[int, int, bytes], None]]:
        """Return what to do with the messages of topics that are read one by one."""
        mission = self.study.mission
        found: dict[str, Callable[[int, int, bytes], None]] = {}
        topics = self.bag.topics
        for topic, handler in (
            (EVENTS, functools.partial(self._on_parameters, event=True)),
            (recorded.PARAMETERS, self._on_parameters),
            (recorded.PROCESSES, self._on_processes), (recorded.RECORDING, self._on_recording),
        ):
            if topic in topics:
                found[topic] = handler
        if mission is None or self._whole:
            return found
        status = resolved(mission.outcome_topic, self._namespace)
        self.bag.require(status, STATUS_TYPE)
        found[status] = self._on_status
        goal = resolved(mission.goal_topic, self._namespace)
        if goal in topics:
            found[goal] = lambda log, time, raw: self._log.on_goal(log, time)
        initial = resolved(mission.initialpose_topic or '', self._namespace)
        if mission.initialpose_topic and initial in topics:
            found[initial] = lambda log, time, raw: self._log.on_initial_pose(log, time)
        result = resolved(mission.result_topic or '', self._namespace)
        if mission.result_topic and result in topics:
            self.bag.require(result, RESULT_TYPE)
            found[result] = self._on_result
        return found

    # --- reading --------------------------------------------------------------------------------

    def run(self, progress: Callable[[int], None] = lambda log: None) -> Iterator[Found]:
        """
        Return the missions of the bag, each as soon as it has been read.

        `progress` is told the log time [ns] up to which the bag was read. Raises InputError if
        the configuration of a mission is not known.
        """
        topics = {*self._readers, *self._handlers}
        if self._clock.running:
            topics.add(CLOCK)
        last = 0
        for bunch in self.bag.bunches(topics):
            by_topic: dict[str, list[Message]] = {topic: [] for topic in topics}
            for message in bunch:
                by_topic[message[0]].append(message)
            begin, last = bunch[0][1], bunch[-1][1]
            self._take(by_topic, begin, last)
            yield from self._found()
            needed = self._log.needed_since
            for kept in (self._window, self._processes):
                kept.forget_before(last - GOAL_AGE if needed is None else needed)
            progress(last)
        self._log.finish(last)
        yield from self._found()

    def _take(
        self, by_topic: Mapping[str, list[Message]], begin: int, last: int
    ) -> None:
        """Keep what metrics need of some messages, and follow what happened."""
        events: list[tuple[int, int, Callable[[], None]]] = []
        ticks: tuple[Times, Times] | None = None
        if self._clock.running and by_topic[CLOCK]:
            _, logs, raws = zip(*by_topic[CLOCK])
            kept, times = read_times(raws)
            ticks = np.asarray(logs, np.int64)[kept], times
            for index in self._clock.take(*ticks).tolist():
                at, time = int(ticks[0][index]), int(ticks[1][index])
                events.append((at, 0, functools.partial(self._log.on_jump, at, time)))
        for topic, messages in by_topic.items():
            if not messages:
                continue
            _, logs, raws = zip(*messages)
            log = np.asarray(logs, np.int64)
            if topic in self._readers:
                self._read(topic, log, raws, events)
            if topic in self._handlers:
                handler = self._handlers[topic]
                # A change that is told at the time of a snapshot came after it.
                order = 0 if topic == recorded.PARAMETERS else 1
                for at, time, raw in zip(logs, self._clock.at(log).tolist(), raws):
                    events.append((at, order, functools.partial(self._guarded, topic, handler, at,
                                                                time, raw)))
        events.sort(key=lambda event: event[:2])
        first, end = self._clock.at(np.array([begin, last], np.int64)).tolist()
        self._log.advance(begin, first)
        self._wait_for_tick(ticks)
        for _, _, act in events:
            act()
            self._wait_for_tick(ticks)
        self._log.advance(last, end)

    def _wait_for_tick(self, ticks: tuple[Times, Times] | None) -> None:
        """Tell when the open mission's time began to run, if that is known by now."""
        if ticks is None or not self._log.waits_for_tick:
            return
        index = int(np.searchsorted(ticks[0], self._log.begun, 'left'))
        if index < len(ticks[0]):
            self._log.on_tick(int(ticks[0][index]), int(ticks[1][index]))

    def _read(
        self, topic: str, log: Times, raws: Sequence[bytes],
        events: list[tuple[int, int, Callable[[], None]]],
    ) -> None:
        """Read the fields of messages; those that are damaged are lost."""
        columns = self._readers[topic].read(raws)
        if len(columns.kept) < len(log):
            bad = np.setdiff1d(np.arange(len(log)), columns.kept)
            self._losses.note(Loss(
                f'{self.bag.path}: {len(bad)} messages of {topic} can not be read as '
                f'{self.bag.topics[topic]}', int(log[bad[0]]) - 1, int(log[bad[-1]]) + 1,
                frozenset((topic,)),
            ))
            log = log[columns.kept]
        received = self._clock.at(log)
        self._window.add(topic, log, received, columns)
        stamps = received if columns.stamps is None else columns.stamps
        for name, rule in self._contents.rules:
            if name != topic:
                continue
            for index, why in breaches(rule, columns.fields, len(log)):
                at, time, stamp = (int(values[index]) for values in (log, received, stamps))
                events.append(
                    (at, 1, functools.partial(self._log.on_failure, at, time, stamp, why))
                )

    def _guarded(
        self, topic: str, handler: Callable[[int, int, bytes], None], log: int, time: int,
        raw: bytes,
    ) -> None:
        """Let a message be handled; one that is damaged is lost."""
        try:
            handler(log, time, raw)
        except (InputError, ValueError):
            self._losses.note(Loss(
                f'{self.bag.path}: a message of {topic} can not be read', log - 1, log + 1,
                frozenset((topic,)),
            ))

    # --- events ---------------------------------------------------------------------------------

    def _on_parameters(self, log: int, time: int, raw: bytes, *, event: bool = False) -> None:
        node, values = event_values(raw)
        self._configurations.take(log, node, values, event=event)

    def _on_processes(self, log: int, time: int, raw: bytes) -> None:
        self._processes.take(log, *recorded.decode_processes(raw))

    def _on_recording(self, log: int, time: int, raw: bytes) -> None:
        description = recorded.decode_recording(raw)
        since = description.get('since')
        if isinstance(since, dict):
            self._recorded_since.update({
                topic: at for topic, at in since.items() if isinstance(at, int)
            })
        notes = []
        lost = description.get('lost')
        if isinstance(lost, dict) and any(lost.values()):
            names = ', '.join(f'{count} of {topic}' for topic, count in lost.items() if count)
            notes.append(f'the recorder lost messages: {names}')
        where = str(description.get('environment', ''))
        if where != self.spec.name and where in self.study.environments:
            notes.append(
                f'it was recorded in environment {where}, and counts as {self.spec.name}: '
                '--environment chooses'
            )
        self.notes += [note for note in notes if note not in self.notes]

    def _on_status(self, log: int, time: int, raw: bytes) -> None:
        self._log.on_status(log, time, *read_status(raw))

    def _on_result(self, log: int, time: int, raw: bytes) -> None:
        self._log.on_result(log, time, *read_result(raw))

    # --- missions -------------------------------------------------------------------------------

    def _found(self) -> Iterator[Found]:
        drives, self._log.drives = self._log.drives, []
        for drive in drives:
            yield self._measure(drive)

    def _measure(self, drive: Drive) -> Found:
        """Return a mission with its measurement, or with why there is none."""
        lost = [
            loss for loss in self.losses
            if loss.start_ns < drive.ended and loss.end_ns > drive.begun
        ]
        refused = drive.cut
        if not refused and lost:
            refused = f'messages of it may be lost ({lost[0].text})'
        late = sorted(
            topic for topic in self._needed if self._recorded_since.get(topic, 0) > drive.begun
        )
        if not refused and late:
            refused = f'it had begun when the recording of {late[0]} did'
        changed = self._configurations.changed(drive.begun, drive.ended)
        if not refused and changed:
            refused = f'{", ".join(changed)} changed while it ran'
        doubt = self._doubt(drive)
        given = self._given is not None and self._given.covers(drive.number)
        if not refused and doubt and not given:
            refused = f'its configuration may have changed where messages are lost ({doubt})'
        if refused:
            return Found(drive, None, refused=refused)
        configuration = self._configuration(drive, certain=not doubt)
        if configuration is None:
            why = 'the configuration that it had was not recorded'
            return Found(drive, None, refused=why)
        try:
            configuration = dict(self.study.space.validate(configuration))
        except InputError as error:
            return Found(drive, None, refused=f"it is outside of the study's space ({error})")
        trace = self._window.trace(drive, self.bag.topics)
        topics, pids = self._processes.topics(drive)
        trace.topics.update(topics)
        trace.meta.update(
            environment=self.spec.name, configuration=configuration, pids=pids,
            bag=self.bag.path.name, mission=drive.number,
        )
        measurement = self._measurement(drive, configuration, trace)
        trace.meta['seed'] = measurement.seed
        return Found(drive, measurement, trace)

    def _doubt(self, drive: Drive) -> str:
        """Return what was lost before a mission and may have told of another configuration."""
        since = self._configurations.told(drive.ended)
        return next((
            loss.text for loss in self.losses
            if loss.start_ns < drive.begun and loss.end_ns > since
            and (loss.topics is None or loss.topics & {EVENTS, recorded.PARAMETERS})
        ), '')

    def _configuration(self, drive: Drive, *, certain: bool) -> dict[str, Any] | None:
        """
        Return the configuration of a mission, None if only that of later ones is known.

        Raises InputError if none is; what was recorded counts only if it is `certain`.
        """
        known = None
        if certain:
            known = self._configurations.at(drive.begun)
            if known is None:
                known = self._configurations.soon(drive.begun, drive.ended)
            if known is None and self._whole:
                known = self._configurations.first()
        if self._given is not None:
            return self._given.of(drive.number, known)
        if known is None and self._configurations.first() is None:
            missing = self._configurations.unknown()
            what = missing[0] if missing else 'what held when the mission began'
            raise InputError(
                f'must tell the configuration, but does not hold {what}: record it with '
                f'tl_adapt record, or write a YAML file and name it by --configuration',
                file=self.bag.path,
            )
        return known

    def _measurement(
        self, drive: Drive, configuration: dict[str, Any], trace: Trace
    ) -> Measurement:
        metrics = [
            metric for metric in self._contents.metrics
            if all(name in trace.topics for name in self._processes.wanted(metric))
        ]
        values, failure = attempt(metrics, trace)
        found = Measurement(
            self.spec.name, configuration,
            int(digest([drive.goal, drive.begun, drive.start_ns])[:12], 16) % _SEEDS + 1,
            metrics=values,
            sim_time=trace.duration, wall_time=(drive.ended - drive.begun) * 1e-9,
            started=_date(drive.begun), purpose=BAG,
            provenance={
                'bag': self.bag.path.name, 'mission': drive.number, 'goal': drive.goal,
                'begun_ns': drive.begun, 'start_ns': drive.start_ns, 'end_ns': drive.end_ns,
                'missing': sorted({*self.study.metrics} - {metric.name for metric in metrics}),
                COST_REPORTED: True,  # it was driven anyway
            },
        )
        if drive.outcome != SUCCEEDED:
            found.valid, found.reason = False, drive.outcome
        elif failure is not None:
            found.valid, found.reason = False, failure.reason
        return found


def _date(log: int) -> str:
    """Return a log time as a date in ISO 8601; '' for what is no system time."""
    try:
        moment = datetime.datetime.fromtimestamp(log * 1e-9, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        return ''
    return moment.isoformat()

