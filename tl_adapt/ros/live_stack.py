# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Module for a stack in its own ROS graph: bring it up, measure on it, end it."""

from __future__ import annotations

import datetime
import functools
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_adapt.apparatus import MISMATCH, reference_loop
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import (
    ApparatusError,
    InputError,
    MeasurementError,
    SimulatorFailedError,
)
from tl_adapt.metrics import attempt
from tl_adapt.ros.entity_watch import EntityWatch
from tl_adapt.ros.goals import RejectedError
from tl_adapt.ros.mission import Ending
from tl_adapt.ros.parameters import (
    Assignment,
    ParameterError,
    assignments,
)
from tl_adapt.ros.processes import Bringup, Process, ProcessDiedError, Sampler, stop_processes
from tl_adapt.ros.progress_watch import MINIMUM, STALL_TIMEOUT, ProgressWatch
from tl_adapt.ros.recorder import TraceError
from tl_adapt.ros.required_types import require_types
from tl_adapt.ros.simulator_control.base import ControlError
from tl_adapt.ros.stack_graph import StackGraph
from tl_adapt.ros.values import fixed_assignments
from tl_adapt.simulators.own_node import check_parameters, make_ready
from tl_adapt.snapshot import present_configuration
from tl_adapt.study_rules import resolved
from tl_adapt.study_software import study_nodes
from tl_adapt.trace import Trace

if TYPE_CHECKING:
    from tl_adapt.study import Study

_STARTUP = 60.0
_TOPICS = 3.0  # s that a topic of a stack which is ready may still stay away
_GONE = 3.0  # s that a node which has ended may stay in the graph
_LAST_WORDS = 4.0  # s for our own simulator to find out why it stands still, and to end
_SEEDS = 2**31 - 1
_START_POSE = 'start_pose'


class BrokenStackError(ApparatusError):
    """Say why the stack is not up, so that it has to be brought up anew."""


class LiveStack:
    """Measure one environment of a study on a live graph, in the present ROS domain."""

    def __init__(self, study: Study, environment: str, folder: Path) -> None:
        """
        Keep what is needed; `folder` takes the processes' output.

        Raises InputError if the study needs a ROS type that is not installed, or gives our own
        simulator a parameter that it would refuse; TlAdaptError if its engine is not installed.
        """
        self.study = study
        self.spec = study.environment(environment)
        self.namespace: str = self.spec.options.get('namespace', '')
        self.bringup = Bringup(self.spec.options.get('bringup', ()), folder, self.namespace)
        require_types(study, self.spec)
        self._check_own_simulator()
        self.broken = False
        self._simulator = self._simulator_process()
        self._graph: StackGraph | None = None
        self._names: dict[str, list[str]] = {}
        self._watches: list[ProgressWatch | EntityWatch] = []  # while a mission is simulated

    @property
    def spent(self) -> bool:
        """
        Say whether the stack, and with it this process, has to be replaced.

        Fast DDS does not always survive leaving a graph whose other members were killed.
        """
        return self.broken and bool(self.bringup.processes)

    @property
    def nodes(self) -> list[str]:
        """Return the full names of all nodes that the study names, each once."""
        return study_nodes(self.study, self.spec, self.namespace)

    def start(self) -> None:
        """
        Bring the stack up and wait until it is ready; if it is up already, check that only.

        Raises BrokenStackError if it does not come up.
        """
        if self._graph is not None:
            try:
                self.alive()
            except SimulatorFailedError:
                raise
            except MeasurementError as error:
                raise BrokenStackError(error.reason) from error
            return
        graph = self._graph = self._join()
        try:
            if self.bringup.processes:
                graph.refuse_strangers()
                self.bringup.start(self.spec.options.get('node_parameters', {}))
            self._settle_in(graph)
        except MeasurementError as error:
            raise BrokenStackError(f'the stack did not come up: {error}') from error

    def _join(self) -> StackGraph:
        """Join the stack's graph."""
        return StackGraph(self)

    def measure(
        self, configuration: Mapping[str, Any] | None, seed: int, trace_path: str | None = None
    ) -> Measurement:
        """
        Run one mission; with `configuration` None the parameters stay as they are.

        What goes wrong with the stack's software is in the measurement; raises ApparatusError if
        nothing could be measured. `broken` then says whether the stack has to be ended and
        brought up anew.
        """
        started = datetime.datetime.now(datetime.timezone.utc).isoformat()
        begun = time.monotonic()
        result = Measurement(
            self.spec.name, dict(configuration or {}), seed, cost=self.spec.cost, started=started
        )
        result.provenance.update(load=list(os.getloadavg()), reference_loop=reference_loop())
        try:
            self.start()
            self._run(result, configuration, trace_path)
        except ApparatusError as error:
            self.broken = True
            if isinstance(error, ControlError) and error.code == 'silent':
                raise SimulatorFailedError(error.reason) from error
            raise
        except MeasurementError as error:
            self._blame_simulator(error)
            self._note(result, error)
            # A node that refuses a value is well; one that is gone, silent or twice there isn't.
            fine = isinstance(error, (TraceError, RejectedError)) or (
                isinstance(error, ParameterError) and not self._ailing()
            )
            self.broken = not fine
        result.wall_time = time.monotonic() - begun
        return result

    def alive(self) -> None:
        """
        Raise if the stack can not go on.

        SimulatorFailedError if its simulator has ended or come to a standstill, otherwise
        ProcessDiedError for a process that has ended.
        """
        if self._simulator is not None:
            # First: other software may have ended because of it.
            _check_simulator(self._simulator)
        self.bringup.check()
        for watch in self._watches:
            try:
                watch.look()
            except SimulatorFailedError:
                if isinstance(watch, ProgressWatch):
                    self._hear_our_simulator()
                raise

    def _hear_our_simulator(self) -> None:
        """Raise SimulatorFailedError with its own reason if our own simulator ends."""
        for process in self.bringup.processes:
            if process.is_our_simulator and process.wait(_LAST_WORDS):
                _check_simulator(process)

    def _blame_simulator(self, error: MeasurementError) -> None:
        """
        Raise SimulatorFailedError if it was the simulator that made a run fail.

        Our own simulator ends where it can't go on. One that others bring up may be dead behind a
        launch file that lives: there the failure may be the first that is seen of it.
        """
        try:
            self.alive()
            ours = any(process.is_our_simulator for process in self.bringup.processes)
            if self._graph is not None and not ours and not error.mismatch:
                self._graph.runner.check_simulator()
        except ControlError as silent:
            self.broken = True
            raise SimulatorFailedError(f'{silent.reason} (after: {error.reason})') from None
        except SimulatorFailedError:
            self.broken = True
            raise
        except MeasurementError:
            pass  # other software of the stack has ended: that is in the error

    def _check_own_simulator(self) -> None:
        """Find mistakes, and compile what is missing, before anything is brought up."""
        for process in self.bringup.processes:
            if not process.is_our_simulator:
                continue
            for node, values in self.spec.options.get('node_parameters', {}).items():
                if resolved(node, self.namespace) in process.nodes:
                    try:
                        make_ready(check_parameters(values))
                    except InputError as error:
                        key = f'environments.{self.spec.name}.node_parameters.{node}'
                        raise error.at(file=self.study.path, key=key) from None

    def _simulator_process(self) -> Process | None:
        """Return the process that is the simulator and nothing else that counts."""
        name = self.spec.options.get('simulator', {}).get('node')
        process = self.bringup.process_of(name) if name else None
        if process is None:
            return None
        count = {t.node for p in self.study.space.parameters for t in p.targets}
        count |= {node for m in self.study.metrics.values() for node in m.nodes}
        count = {resolved(node, self.namespace) for node in count - {name}}
        return None if count & set(process.nodes) else process

    def stop(self, *, gently: bool = True) -> None:
        """End the stack's processes and leave the graph."""
        self.broken = False
        self.bringup.stop(gently=gently)
        if self._graph is not None:
            self._graph.close()
            self._graph = None

    def _settle_in(self, graph: StackGraph) -> None:
        """Wait until all nodes are there and connected, and give them what isn't tuned."""
        alive = self.alive
        graph.parameters.wait_for_nodes(self.nodes, deadline=self._patience, alive=alive)
        living = graph.lifecycle.names
        self._set_node_parameters(node for node in self.nodes if node not in living)
        if living:
            # What becomes active waits for time to run, and often for a pose.
            graph.runner.connect()
            graph.runner.resume()
            graph.lifecycle.wait_until_active(self._patience, graph.runner.announce_pose)
            self._set_node_parameters(living)
        self._names = graph.parameters.names_of(self.nodes)
        graph.attribution.check(self.study.metrics.values())
        graph.runner.wait_until_ready()
        graph.recorder.prepare(deadline=_TOPICS, alive=alive)
        graph.runner.warm_up()

    @property
    def _patience(self) -> float:
        """Return how long the stack may take to become ready, in s."""
        return float(self.spec.options.get('startup_timeout', _STARTUP))

    def _ailing(self) -> bool:
        """Say whether the nodes are not all there, once each, and answering."""
        if self._graph is None:
            return True
        try:
            self.alive()
            self._graph.parameters.names_of(self.nodes)
            self._graph.lifecycle.wait_until_active(0.0)
        except MeasurementError:
            return True
        return False

    def _run(
        self, result: Measurement, configuration: Mapping[str, Any] | None, path: str | None
    ) -> None:
        """Do everything from pause to metrics, and fill the measurement."""
        graph, mission = self._graph, self.study.mission
        if graph is None or mission is None:
            raise MeasurementError('the study has no mission')
        graph.runner.goals.wait_until_idle()
        graph.runner.pause()
        self._set(configuration, result.seed)
        graph.runner.reset()
        snapshot = graph.parameters.get_many(self._names)
        result.provenance['parameters'] = snapshot
        if configuration is None:
            result.configuration = present_configuration(
                self.study.space, snapshot, self.namespace
            )
        graph.runner.prepare()
        graph.runner.initialise_pose()
        graph.preparation.run()
        graph.recorder.prepare(alive=self.alive)
        pids = graph.attribution.sampled(self.study.metrics.values())
        sampler = Sampler(pids, graph.now)
        graph.recorder.start()
        ready = time.monotonic()
        try:
            ending = graph.runner.run(functools.partial(self._begin, sampler, graph))
            driven = time.monotonic()
        finally:
            for watch in self._watches:
                watch.stop()
            self._watches = []
            sampler.stop()
        trace = self._finish(graph, ending, sampler, pids)
        result.sim_time = trace.duration
        result.provenance.update(
            mission_wall_time=round(driven - ready, 4),
            start_ns=trace.meta['start_ns'],
            end_ns=trace.meta['end_ns'],
            threads=sampler.threads,
            goal_interface=graph.runner.goals.interface,
        )
        if path is not None:
            trace.meta.update(
                environment=self.spec.name, seed=result.seed, configuration=result.configuration
            )
            trace.save(path)
            result.provenance['trace'] = str(path)
        outcome = trace.meta['outcome']
        if outcome != 'succeeded':
            if not ending.broken:  # else the watches would have told
                self._blame_simulator(MeasurementError(outcome))
            result.valid, result.reason = False, outcome
        result.metrics, failure = attempt(self.study, trace)
        if result.valid and failure is not None:
            self._note(result, failure)
        self.broken = ending.broken

    def _begin(self, sampler: Sampler, graph: StackGraph) -> None:
        """Start what has to watch the mission from its first moment on."""
        sampler.start()
        simulator = self.spec.options.get('simulator')
        if simulator is not None:
            # A node that waits for slow software longer than that is no standstill.
            own = self.spec.options.get('node_parameters', {}).get(simulator['node'], {})
            patience = max(STALL_TIMEOUT, float(own.get('answer_timeout', 0.0)) + 2.0)
            self._watches.append(ProgressWatch(
                graph.now,
                stall_timeout=float(simulator.get('stall_timeout', patience)),
                minimum=float(simulator.get('minimum_real_time_factor', MINIMUM)),
            ))
            if entity := simulator.get('entity'):
                self._watches.append(EntityWatch(graph.runner.connect(), entity))

    @staticmethod
    def _note(result: Measurement, error: MeasurementError) -> None:
        """Call the measurement invalid."""
        result.valid, result.reason = False, error.reason
        if error.mismatch:
            result.provenance[MISMATCH] = True

    def _finish(
        self, graph: StackGraph, ending: Ending, sampler: Sampler, pids: Mapping[str, list[int]]
    ) -> Trace:
        """Stop the simulation and the recording, and cut the trace to the mission."""
        if not ending.broken:
            graph.runner.pause()
            graph.recorder.drain(ending.end_ns)
            ending = graph.runner.settle_ending(ending)
        trace = graph.recorder.stop()
        trace.topics.update(sampler.topics(ending.start_ns))
        trace.meta.update(outcome=ending.outcome, pids=dict(pids))
        return trace.clip(ending.start_ns, ending.end_ns)

    def _set(self, configuration: Mapping[str, Any] | None, seed: int) -> None:
        """Set seeds, the start pose and the configuration; everything stands still now."""
        graph, mission = self._graph, self.study.mission
        if graph is None:
            return
        wanted = self._seeded(seed)
        simulator = self.spec.options.get('simulator', {}).get('node')
        if simulator and mission is not None and mission.start is not None:
            full = graph.parameters.full_name(simulator)
            if _START_POSE in self._names.get(full, ()):
                wanted.append(Assignment(simulator, _START_POSE, list(mission.start)))
        if configuration is not None:
            values = self._assigned(configuration)
            self._restart_for(values)
            wanted += values
        graph.parameters.apply(wanted)

    def _seeded(self, seed: int) -> list[Assignment]:
        """Return the parameters that take a run's seed."""
        mission = self.study.mission
        targets = mission.seed_targets if mission else ()
        return [Assignment(node, name, seed & _SEEDS) for node, name in targets]

    def _assigned(self, configuration: Mapping[str, Any]) -> list[Assignment]:
        """Return the parameters that a configuration sets."""
        distribution = self.spec.options.get('distribution')
        return assignments(self.study.space, configuration, distribution=distribution)

    def _restart_for(self, assigned: list[Assignment]) -> None:
        """Restart the nodes that take some of the values only when they start or configure."""
        graph = self._graph
        wanted = [item for item in assigned if item.mode == 'restart']
        if graph is None or not wanted:
            return
        changed, _ = graph.parameters.changes(wanted)
        anew = [node for node in graph.lifecycle.names if changed.pop(node, None)]
        if anew:
            # All of their values at once: between two of them there may be none that is sound.
            every, _ = graph.parameters.changes(assigned)
            news = {node: every[node] for node in anew}
            graph.runner.resume()
            graph.lifecycle.configure_anew(
                anew,
                functools.partial(graph.parameters.set_many, news),
                self._patience,
                graph.runner.announce_pose,
            )
            graph.runner.pause()
        if not changed:
            return
        # A new process knows nothing: it needs the values that stay the same, too.
        values = {n: each for n, each in graph.parameters.merged(wanted).items() if n in changed}
        processes = {}
        for node in changed:
            process = self.bringup.process_of(node)
            if process is None:
                raise MeasurementError(f'{node} has to be restarted, but is not of this bringup')
            processes[process.name] = process
        nodes = [node for process in processes.values() for node in process.nodes]
        stop_processes(list(processes.values()))
        end = time.monotonic() + _GONE
        while any(graph.parameters.count(node) for node in nodes):
            if time.monotonic() > end:
                # Its end was too rough to be announced; who joins now doesn't know of it.
                graph.close()
                graph = self._graph = self._join()
                break
            time.sleep(0.01)
        self.bringup.start_again(list(processes.values()), values)
        self._settle_in(graph)

    def _set_node_parameters(self, nodes: Iterable[str]) -> None:
        """Set what belongs to the environment and is not tuned, on these nodes."""
        graph = self._graph
        if graph is not None:
            given = self.spec.options.get('node_parameters', {})
            graph.parameters.apply(fixed_assignments(given, set(nodes), self.namespace))


def _check_simulator(process: Process) -> None:
    """Raise SimulatorFailedError if the simulator's process has ended."""
    try:
        process.check()
    except ProcessDiedError as error:
        raise SimulatorFailedError(error.reason) from None
