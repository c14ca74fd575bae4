# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for software that gets a recorded drive: bring it up, replay, compare with what is known.

The software runs in a ROS domain of its own, in which nothing publishes but it and the player. Its
outputs are renamed besides, so that neither it nor who looks on takes one for a recorded one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tl_adapt.bags.replayed import ReplayedBag
from tl_adapt.bags.replayed_missions import Recorded
from tl_adapt.errors import InputError, MeasurementError
from tl_adapt.metrics import evaluate
from tl_adapt.ros.idleness import Idleness
from tl_adapt.ros.isolation import acknowledge_promptly
from tl_adapt.ros.live_stack import LiveStack
from tl_adapt.ros.parameters import Assignment
from tl_adapt.ros.processes import Bringup, Sampler, is_launch
from tl_adapt.ros.replay_feed import LOCK_STEP, Feed, Pace
from tl_adapt.ros.replay_graph import ReplayGraph
from tl_adapt.study_replay import SHARED
from tl_adapt.study_rules import resolved
from tl_adapt.trace import Topic, Trace

if TYPE_CHECKING:
    from tl_adapt.ros.stack_graph import StackGraph
    from tl_adapt.study import Study

PREFIX = '/replayed'
_ANSWER_TIMEOUT = 10.0  # s


class ReplayStack(LiveStack):
    """Measure one environment that replays a bag, in the present ROS domain."""

    def __init__(self, study: Study, environment: str, folder: Path) -> None:
        """Open the bag and keep what is needed; raises InputError, see ReplayedBag."""
        super().__init__(study, environment, folder)
        options = self.spec.options
        self.replayed = ReplayedBag(study, self.spec)
        self._fresh = bool(options.get('fresh_start', True))
        launched = any(is_launch(entry['command']) for entry in options['bringup'])
        #: Full name of an output -> what it is called while it is replayed.
        self.renamed = {} if launched else self._renamings()
        # The software is to run as it does elsewhere.
        usual = acknowledge_promptly()
        entries = [
            _with_arguments(entry, self._arguments(), usual) for entry in options['bringup']
        ]
        self.bringup = Bringup(entries, folder, self.namespace)
        #: Name of an output as metrics have it -> its full name in the graph.
        self.outputs = {
            topic: self.renamed.get(full, full)
            for topic in self._output_names()
            for full in [resolved(topic, self.namespace)]
        }
        self._used = False

    @property
    def patience(self) -> float:
        """Return how long the software may take to become ready, in s."""
        return self._patience

    @property
    def sets_pose(self) -> bool:
        """Say whether the software is told where a mission starts."""
        return self.spec.options.get('initial_pose', 'auto') != 'none'

    @property
    def spent(self) -> bool:
        """Say no: another process would have to read the whole bag again."""
        return False

    @property
    def nodes(self) -> list[str]:
        """Return the full names of the nodes that are replayed, each once."""
        names = [*self.bringup.nodes, *self.spec.options.get('lifecycle_nodes', ())]
        return list(dict.fromkeys(resolved(name, self.namespace) for name in names))

    def start(self) -> None:
        """Bring the software up; as LiveStack, and raises InputError if it is in a closed loop."""
        try:
            super().start()
        except InputError:
            self.stop(gently=False)
            raise

    def _join(self) -> StackGraph:
        return cast('StackGraph', ReplayGraph(self))

    @property
    def _replay(self) -> ReplayGraph:
        if self._graph is None:
            raise MeasurementError('the software is not up')
        return cast('ReplayGraph', self._graph)

    def _settle_in(self, graph: StackGraph) -> None:
        replay = cast('ReplayGraph', graph)
        graph.parameters.wait_for_nodes(self.nodes, deadline=self._patience, alive=self.alive)
        # Before it has to listen to anything: a controller may listen to other things.
        self._refuse_loops(replay)
        super()._settle_in(graph)
        self._refuse_loops(replay)
        replay.require_outputs()

    def _refuse_loops(self, replay: ReplayGraph) -> None:
        key = f'environments.{self.spec.name}'
        replay.refuse_loops(self.bringup.nodes, key, self.study.sources.named(f'{key}.bringup'))

    def measure(
        self, configuration: Mapping[str, Any] | None, seed: int, trace_path: str | None = None
    ) -> Any:
        """Replay all missions; as LiveStack does with one."""
        if self._fresh and self._used:
            self.stop()
        self._used = True
        return super().measure(configuration, seed, trace_path)

    def _seeded(self, seed: int) -> list[Assignment]:
        return [item for item in super()._seeded(seed) if self._is_replayed(item)]

    def _assigned(self, configuration: Mapping[str, Any]) -> list[Assignment]:
        return [item for item in super()._assigned(configuration) if self._is_replayed(item)]

    def _is_replayed(self, item: Assignment) -> bool:
        return resolved(item.node, self.namespace) in self.bringup.nodes

    def _run(self, result: Any, configuration: Mapping[str, Any] | None, path: str | None) -> None:
        """Set the parameters, replay each mission, and average their metrics."""
        self._set(configuration, result.seed)
        replay = self._replay  # it may have been restarted
        result.provenance.update(
            parameters=replay.parameters.get_many(self._names), bag=self.replayed.source,
        )
        rows: list[dict[str, float]] = []
        told: list[dict[str, Any]] = []
        result.provenance['missions'] = told
        for mission in self.replayed.missions:
            trace, facts = self._play(replay, mission)
            result.sim_time += trace.duration
            if path is not None:
                alone = len(self.replayed.missions) == 1
                named = path if alone else _numbered(path, mission.drive.number)
                trace.meta.update(
                    environment=self.spec.name, seed=result.seed,
                    configuration=result.configuration,
                )
                trace.save(named)
                facts['trace'] = named
            rows.append(evaluate(self.study, trace))
            told.append({**facts, 'metrics': rows[-1]})
        result.metrics = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def _play(self, replay: ReplayGraph, mission: Recorded) -> tuple[Trace, dict[str, Any]]:
        """Replay one mission; return its trace and how it went."""
        options, drive = self.spec.options, mission.drive
        pids = replay.attribution.sampled(self.study.metrics.values())
        members = [pid for process in self.bringup.processes for pid in process.members()]
        with contextlib.closing(Idleness(members)) as software:
            feed = Feed(
                replay.player, self._pace(), self._newest(replay), software, self.alive
            )
            answers, sampler, took = self._answers(replay, mission, feed, pids)
        trace = Trace(dict(mission.trace.topics), dict(mission.trace.meta))
        for topic, full in self.outputs.items():
            trace.topics[topic] = answers.topics[full]
        self._align(trace, replay)
        trace.topics.update(sampler.topics(drive.start_ns))
        trace.meta.update(outcome='succeeded', pids=dict(pids))
        trace = trace.clip(drive.start_ns, drive.end_ns)
        share = feed.check(self._answer_stamps(answers))
        seconds = trace.duration
        return trace, {
            'mission': drive.number, 'start_ns': drive.start_ns, 'end_ns': drive.end_ns,
            'sent': dict(replay.player.sent), 'answered': feed.answered,
            'share_answered': round(share, 6), 'wall_time': round(took, 4),
            'speed': round(seconds / took, 3) if took > 0 else 0.0,
            'pace': options.get('rate', LOCK_STEP),
        }

    def _answers(
        self, replay: ReplayGraph, mission: Recorded, feed: Feed, pids: Mapping[str, list[int]]
    ) -> tuple[Trace, Sampler, float]:
        """Feed a mission to the software; return its outputs, what it used, and the wall time."""
        drive = mission.drive
        replay.player.restart()
        replay.pose = self._pose(mission)
        replay.player.tick(drive.start_ns)
        for topic, time_ns, raw in self.replayed.before(mission):
            replay.player.send(topic, min(time_ns, drive.start_ns), raw)
        feed.rest(at_most=_ANSWER_TIMEOUT)
        replay.announce_pose()
        feed.rest(at_most=_ANSWER_TIMEOUT)
        replay.recorder.prepare(alive=self.alive)
        replay.player.restart()
        sampler = Sampler(pids, replay.clock.now)
        replay.recorder.start()
        begin = time.monotonic()
        sampler.start()
        try:
            feed.run(self.replayed.messages(mission))
            replay.newest(next(iter(self.outputs.values())))
        finally:
            # Time has stopped at the last message: that is what the last sample belongs to.
            sampler.stop()
            took = time.monotonic() - begin
            answers = replay.recorder.stop()
        return answers, sampler, took

    def _newest(self, replay: ReplayGraph) -> Any:
        answer = self.spec.options.get('answer')
        name = answer['output'] if answer else next(iter(self.spec.options['outputs']))
        full = resolved(name, self.namespace)
        return lambda: replay.newest(self.renamed.get(full, full))

    def _answer_stamps(self, answers: Trace) -> list[int]:
        answer = self.spec.options.get('answer')
        if not answer:
            return []
        full = resolved(answer['output'], self.namespace)
        topic = answers.topics.get(self.renamed.get(full, full))
        return [] if topic is None else topic.stamp_ns.tolist()

    def _align(self, trace: Trace, replay: ReplayGraph) -> None:
        """Let what was played be received when it was sent, as the answers' clock has it."""
        for topic, stamps in replay.player.stamps.items():
            for name, recorded in trace.topics.items():
                if resolved(name, self.namespace) == topic and stamps:
                    trace.topics[name] = Topic(
                        recorded.stamp_ns,
                        np.array(
                            [stamps.get(int(stamp), int(received)) for stamp, received in zip(
                                recorded.stamp_ns, recorded.received_ns
                            )], dtype=np.int64,
                        ),
                        recorded.fields,
                    )

    def _pace(self) -> Pace:
        options = self.spec.options
        answer = options.get('answer', {})
        rate = options.get('rate', LOCK_STEP)
        asked = answer.get('input')
        return Pace(
            input=resolved(asked, self.namespace) if asked else None,
            ratio=float(answer.get('ratio', 1.0)),
            timeout=float(options.get('answer_timeout', _ANSWER_TIMEOUT)),
            wall_timeout=self.replayed.wall_timeout,
            rate=None if rate == LOCK_STEP else float(rate),
            any_order=bool(options.get('any_order', False)),
        )

    def _pose(self, recorded: Recorded) -> Any:
        """Return where a mission starts: a recorded message, or its time and pose."""
        mission, start = self.study.mission, recorded.drive.start_ns
        how = self.spec.options.get('initial_pose', 'auto')
        if mission is None or not mission.initialpose_topic or how == 'none':
            return None
        topic = resolved(mission.initialpose_topic, self.namespace)
        if how in ('auto', 'recorded'):
            raw = self.replayed.initial_pose(topic, recorded)
            if raw is not None:
                return raw
        if how in ('auto', 'reference'):
            for metric in self.study.metrics.values():
                if metric.reduction == 'pose_error' and metric.topic in self.outputs:
                    full = resolved(str(metric.reference), self.namespace)
                    pose = self.replayed.pose_of(full, recorded)
                    if pose is not None:
                        return start, pose
        if how in ('auto', 'start') and mission.start is not None:
            return start, mission.start
        raise MeasurementError(
            f'the bag does not tell where mission {recorded.drive.number} starts '
            f'(initial_pose: {how})'
        )

    def _output_names(self) -> list[str]:
        """Return the outputs under the names that metrics have for them."""
        names = {resolved(t, self.namespace): t for t in self.spec.options['outputs']}
        for metric in self.study.metrics.values():
            for topic in (metric.topic, metric.reference):
                if topic and resolved(topic, self.namespace) in names:
                    names[resolved(topic, self.namespace)] = topic
        return list(names.values())

    def _renamings(self) -> dict[str, str]:
        return {
            full: PREFIX + full for full in self.replayed.named('outputs') if full not in SHARED
        }

    def _arguments(self) -> list[str]:
        words = []
        if self.spec.options.get('use_sim_time', True):
            words += ['-p', 'use_sim_time:=true']
        for full, other in self.renamed.items():
            words += ['-r', f'{full}:={other}']
        return words


def _with_arguments(
    entry: Mapping[str, Any], words: list[str], variables: Mapping[str, str]
) -> dict[str, Any]:
    """Return the entry with arguments of ROS; launch files get `use_sim_time` their own way."""
    command = list(entry['command'])
    if is_launch(command):  # it takes no arguments of ROS
        more = ['use_sim_time:=true'] if 'use_sim_time:=true' in words else []
    else:
        more = ['--ros-args', *words] if words else []
    environment = {**variables, **entry.get('environment', {})}
    return {**entry, 'command': [*command, *more], 'environment': environment}


def _numbered(path: str, number: int) -> str:
    """Return the path of one mission's trace."""
    whole = Path(path)
    return str(whole.with_name(f'{whole.stem}-{number}{whole.suffix}'))
