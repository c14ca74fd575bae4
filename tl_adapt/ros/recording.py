# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for recording a study's environment into a bag, from the first message to the last."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.signals import SignalHandlerOptions

from tl_adapt.bags import recorded
from tl_adapt.bags.configuration import event_values
from tl_adapt.bags.writing import LATCHED, BagWriter, FullDiskError
from tl_adapt.progress import Progress
from tl_adapt.ros.bag_recorder import BagRecorder
from tl_adapt.ros.inbox import Inbox
from tl_adapt.ros.mission_watch import MissionWatch
from tl_adapt.ros.parameter_services import EVENTS
from tl_adapt.ros.parameters import ParameterClient
from tl_adapt.ros.recorded_nodes import ParameterSnapshots, ProcessSamples
from tl_adapt.ros.spinning import Spinner
from tl_adapt.ros.watched_clock import WatchedClock
from tl_adapt.study_rules import resolved
from tl_adapt.study_software import study_nodes

if TYPE_CHECKING:
    from tl_adapt.study import EnvironmentSpec, Study

_TAKE = 0.05  # s between two looks into the inbox
_SAMPLE = 0.2  # s between samples of processes, as in a live measurement
_FLUSH = 1.0  # s of which a kill may take what was recorded
_AFTER = 0.5  # s that is recorded after the last mission: what belongs to it may come late
_LINES = 30.0  # s between lines about the progress where there is no terminal
_MEMORY = 20.0  # s of which the clock's messages are kept


@dataclasses.dataclass(frozen=True)
class Options:
    """
    Say what is recorded, and how long.

    `topics` come on top of the study's, `everything` means all of the graph; `inputs` what the
    tuned nodes subscribe to, which a replay needs. `duration` is wall time [s] and `missions` a
    number of missions after which the recording ends.
    """

    output: Path
    topics: tuple[str, ...] = ()
    everything: bool = False
    inputs: bool = True
    sim_time: bool = False
    duration: float | None = None
    missions: int | None = None
    compression: str = 'zstd'
    namespace: str = ''


@dataclasses.dataclass
class Result:
    """
    Say what was recorded.

    `missing` are the topics that never came and `missing_nodes` those of which no parameters were
    read; `lost` is None where the middleware does not number messages. `error` is why recording
    ended early, '' if it did not; `interrupted` tells that a signal came before the planned end.
    """

    path: Path
    messages: int = 0
    size: int = 0
    seconds: float = 0.0
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    outcomes: list[str] = dataclasses.field(default_factory=list)
    lost: dict[str, int] | None = None
    missing: list[str] = dataclasses.field(default_factory=list)
    missing_nodes: list[str] = dataclasses.field(default_factory=list)
    missing_processes: list[str] = dataclasses.field(default_factory=list)
    error: str = ''
    interrupted: bool = False


def record(
    study: Study, spec: EnvironmentSpec, options: Options, say: Callable[[str], None]
) -> Result:
    """
    Record until SIGINT or SIGTERM, or until what `options` says; the bag is whole in any case.

    `say` gets what the user should know meanwhile. Raises InputError if the bag can't be begun.
    """
    ended = threading.Event()
    with _signals(ended):
        writer = BagWriter(
            options.output, compression=options.compression,
            distribution=os.environ.get('ROS_DISTRO', ''),
        )
        recording = _Recording(study, spec, options, writer, ended, say)
        try:
            with contextlib.suppress(FullDiskError):  # the result has it
                recording.run()
        finally:
            recording.close()
    return recording.result


class _Recording:
    """Hold everything that records, in this process' ROS graph."""

    def __init__(
        self, study: Study, spec: EnvironmentSpec, options: Options, writer: BagWriter,
        ended: threading.Event, say: Callable[[str], None],
    ) -> None:
        self._study, self._spec, self._options = study, spec, options
        self._writer, self._ended, self._say = writer, ended, say
        self.result = Result(writer.path)
        self._wake = threading.Event()
        self._begun = time.monotonic()
        context = rclpy.Context()
        rclpy.init(
            context=context, signal_handler_options=SignalHandlerOptions.NO,
            domain_id=spec.options.get('domain_id'),
        )
        node = rclpy.create_node(
            f'tl_adapt_recorder_{os.getpid()}', context=context,
            namespace=options.namespace or None, use_global_arguments=False,
            enable_rosout=False, start_parameter_services=False,
        )
        inbox = Inbox(node)
        self._clock = WatchedClock(node, inbox)
        tuned = {t.node for p in study.space.parameters for t in p.targets}
        namespace = options.namespace
        self._recorder = BagRecorder(
            node, inbox, self._clock, writer,
            [*recorded.needed_topics(study), *options.topics],
            optional=recorded.OPTIONAL_TOPICS, events=recorded.event_topics(study),
            everything=options.everything,
            readers={resolved(n, namespace) for n in tuned} if options.inputs else (),
            sim_time=options.sim_time, note=say, begin=self._write_pending,
        )
        self._watch = None if study.mission is None else MissionWatch(
            node, study.mission, self._clock, inbox, wake=self._wake.set, begin=self._wake.set,
        )
        self._samples = ProcessSamples(study, spec.name)
        self._spinner = Spinner(node)
        self._spinner.start()
        self._snapshots = ParameterSnapshots(
            ParameterClient(node), study_nodes(study, spec, namespace)
        )
        self._next = {'sample': 0.0, 'flush': time.monotonic() + _FLUSH}
        self._started: int | None = None  # sim time at which the mission under way began
        self._pending: list[tuple[str, bytes, int]] = []  # until the sim time runs
        self._writes = False
        self._ready = False  # all that the study names is there and recorded
        self._described: dict[str, int] = {}  # since when topics are recorded, as last told
        self._planned = options.duration is not None or options.missions is not None

    def run(self) -> None:
        """Record until the end; raises FullDiskError."""
        for topic in recorded.TYPES:
            kind, text, type_hash = recorded.type_description(topic)
            self._writer.add_topic(topic, kind, text, qos=[LATCHED], type_hash=type_hash)
        self._describe(complete=False)
        try:
            line = _Line(self)
            with line:
                while not self._is_over():
                    self._step()
                    line.show()
                    self._wake.wait(_TAKE)
            self._recorder.finish()
            self._write_pending()
            self._keep_parameters()
            self._sample()
            self._describe(complete=True)
            self._writer.close()
        except FullDiskError as error:
            self.result.error = str(error)
            raise

    def close(self) -> None:
        """Leave the graph, close the bag and complete the result."""
        self._fill_result()
        with contextlib.suppress(FullDiskError):
            self._writer.close()
        self._snapshots.close()
        self._spinner.close()

    def text(self) -> str:
        """Return the line that shows how far the recording is."""
        seconds = time.monotonic() - self._begun
        parts = [
            f'recording: {seconds:.0f} s', f'{self._writer.messages} messages',
            f'{self._writer.size / 1e6:.1f} MB', f'{len(self.result.outcomes)} missions',
        ]
        lost = sum((self._recorder.lost or {}).values())
        parts += [f'{lost} lost'] * bool(lost)
        missing = self._recorder.missing
        if missing and seconds > 2.0:
            parts.append(f'no publisher of {", ".join(missing[:3])}'
                         + (' ...' if len(missing) > 3 else ''))
        return ', '.join(parts)

    def _step(self) -> None:
        hurry = self._wake.is_set()
        self._wake.clear()
        now = time.monotonic()
        self._clock.check()
        self._recorder.take()
        self._clock.forget_before(time.time_ns() - round(_MEMORY * 1e9))
        if self._recorder.since != self._described:
            self._describe(complete=False)
        if not self._ready and self._recorder.settled and self._snapshots.settled:
            self._ready = True
            self._say(
                f'ready: {len(self._recorder.since)} topics, and the parameters of all nodes'
            )
        self._keep_parameters()
        if hurry or now >= self._next['sample']:
            self._next['sample'] = now + _SAMPLE
            self._sample()
        if now >= self._next['flush']:
            self._next['flush'] = now + _FLUSH
            self._writer.flush()
        self._follow_missions()

    def _is_over(self) -> bool:
        options, now = self._options, time.monotonic()
        if self._ended.is_set():
            self.result.interrupted = self._planned
            return True
        jump = self._recorder.jump
        if options.duration is not None and now - self._begun >= options.duration:
            return True
        if options.missions is not None and len(self.result.outcomes) >= options.missions:
            return jump is not None or now >= self._next.setdefault('end', now + _AFTER)
        if jump is not None:
            self.result.error = (
                f'{jump.text}: a bag on sim time ends there; without --use-sim-time it goes on'
            )
        return jump is not None

    def _follow_missions(self) -> None:
        if self._watch is None:
            return
        self._watch.connect()
        while reason := self._watch.lost():
            self._say(f'a mission is not whole: {reason}')
        started = self._watch.started()
        if started != self._started:
            # The mission's time begins to run: what was used before does not count.
            self._started = started
            if started is not None:
                self._sample()
        ending = self._watch.poll()
        if ending is not None:
            self._watch.close()
            self.result.outcomes.append(ending.outcome)
            seconds = (ending.end - ending.start) * 1e-9
            self._say(
                f'mission {len(self.result.outcomes)}: {ending.outcome} after {seconds:.1f} s'
            )

    def _keep_parameters(self) -> None:
        for node, values, asked in self._snapshots.take():
            raw = recorded.encode_parameters(node, values, self._clock.at(asked))
            self._write(recorded.PARAMETERS, raw, asked)

    def _sample(self) -> None:
        samples = self._samples.sample()
        if samples and (self._clock.running or not self._options.sim_time):
            raw = recorded.encode_processes(samples, self._clock.now(), socket.gethostname())
            self._write(recorded.PROCESSES, raw)

    def _describe(self, *, complete: bool) -> None:
        study, sim_time = self._study, self._options.sim_time
        description: dict[str, Any] = {
            'study': study.name, 'digest': study.digest, 'metric_digest': study.metric_digest,
            'environment': self._spec.name, 'namespace': self._options.namespace,
            'time': recorded.SIM_TIME if sim_time else recorded.SYSTEM_TIME,
            'host': socket.gethostname(), 'complete': complete,
            'since': dict(self._recorder.since),
        }
        self._described = dict(self._recorder.since)
        if complete:
            description.update(
                lost=self._recorder.lost, missing=self._recorder.missing,
                outcomes=self.result.outcomes,
            )
        self._write(recorded.RECORDING, recorded.encode_recording(description))

    def _write(self, topic: str, raw: bytes, at: int | None = None) -> None:
        """Write a message of ours, by default of now [ns, system]; on sim time once that runs."""
        self._pending.append((topic, raw, time.time_ns() if at is None else at))
        if self._writes or not self._options.sim_time:
            self._write_pending()

    def _write_pending(self) -> None:
        """Write our messages that wait: those from before all others have their first time."""
        pending, self._pending = self._pending, []
        for topic, raw, at in pending:
            written = self._clock.at(at) if self._options.sim_time else at
            if self._options.sim_time and not self._writes:
                raw = self._updated(raw, at) if topic == recorded.PARAMETERS else raw
                first = self._clock.first()
                written = at if first is None else first
            self._writer.write(topic, raw, written, sent_ns=at)
        self._writes = True

    def _updated(self, raw: bytes, asked: int) -> bytes:
        """Return a node's parameters with what changed until the sim time began."""
        node, values, stamp = recorded.decode_parameters(raw)
        for at, event in self._recorder.held(EVENTS):
            name, changed = event_values(event)
            if name == node and at > asked:
                values.update(changed)
        return recorded.encode_parameters(node, values, stamp)

    def _fill_result(self) -> None:
        result, writer = self.result, self._writer
        result.messages, result.size = writer.messages, writer.size
        result.seconds = time.monotonic() - self._begun
        result.counts, result.lost = writer.counts, self._recorder.lost
        result.missing = self._recorder.missing
        result.missing_nodes = self._snapshots.missing
        result.missing_processes = self._samples.missing


class _Line(Progress):
    """Show how far a recording is, which has no total."""

    def __init__(self, recording: _Recording) -> None:
        self._recording = recording
        self._next = 0.0
        super().__init__('recording', 1)

    def show(self) -> None:
        """Show it, if it is time."""
        if self._live is not None or time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINES
            self.advance(steps=0)

    def text(self, note: str = '') -> str:
        """Return the line."""
        return self._recording.text()


@contextlib.contextmanager
def _signals(ended: threading.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the recording instead of this process."""
    before = {
        number: signal.signal(number, lambda *_: ended.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def outcomes_text(outcomes: list[str]) -> str:
    """Return how missions ended, such as `3 (2 succeeded, 1 collision)`."""
    if not outcomes:
        return '0'
    counts = ', '.join(f'{n} {outcome}' for outcome, n in Counter(outcomes).most_common())
    return f'{len(outcomes)} ({counts})'
