# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the node `adapter`: keep the parameters of a running robot adapted.

It sets the configuration that was chosen with a transferred model, watches the study's metrics,
and answers a changed environment or a broken limit; what it decides is in `tl_adapt.policy`.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import Parameter, ParameterDescriptor, ParameterEvent
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_srvs.srv import Trigger

from tl_adapt.adaptation.background import BackgroundPlanner, Worker
from tl_adapt.adaptation.events import (
    Event,
    Level,
    Paused,
    Resumed,
    RollbackRequested,
    Rules,
    State,
)
from tl_adapt.adaptation.judge import relevance
from tl_adapt.adaptation.model_planner import ModelPlanner, load_choice
from tl_adapt.adaptation.planner import Planner
from tl_adapt.adaptation.records import Journal
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.journal import StoreJournal
from tl_adapt.memory_journal import NullJournal
from tl_adapt.models.model_set import ModelSet
from tl_adapt.policy import Policy
from tl_adapt.ros.apply import Applier
from tl_adapt.ros.engine import Engine
from tl_adapt.ros.monitor import Monitor
from tl_adapt.ros.node_processes import NodeProcesses
from tl_adapt.ros.parameter_watch import ParameterWatch
from tl_adapt.ros.parameters import ParameterClient
from tl_adapt.ros.report import Report
from tl_adapt.ros.restart import Restarts
from tl_adapt.ros.values import to_message
from tl_adapt.study import Study, load_study

_LATCHED = QoSProfile(
    depth=64,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
_PARAMETERS: dict[str, tuple[Any, str]] = {
    'study': ('', 'study file, or the name of a shipped one'),
    'model': ('', 'folder with the transferred model and choice.json'),
    'environment': ('', "environment of the study that is adapted; empty: the study's choice"),
    'store': ('', "the journal's SQLite file or URL; none: keep nothing; empty: beside the model"),
    'autostart': (True, 'configure and activate without a lifecycle manager'),
    'dry_run': (False, 'only advise: nothing is ever sent'),
    'deadline': (30.0, 'time after which a missing node is an error [s]'),
}
_NOTE = 1.0  # s that noting a change may take, before the change is put off
_LEAVE = 0.05  # s between looks whether the engine has ended


class Adapter(LifecycleNode):
    """Join the policy to a ROS graph; everything that blocks is in the engine's thread."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; nothing else happens before `configure`."""
        super().__init__('adapter', **kwargs)
        for name, (default, text) in _PARAMETERS.items():
            descriptor = ParameterDescriptor(description=text, read_only=True)
            self.declare_parameter(name, default, descriptor)
        self.error = ''
        self._engine: Engine | None = None
        self._monitor: Monitor | None = None
        self._client: ParameterClient | None = None
        self._study: Study | None = None
        self._undo: list[Callable[[], Any]] = []

    # --- lifecycle ----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load study and model and join the graph; nothing is set yet."""
        try:
            self._configure()
        except TlAdaptError as error:
            self.error = str(error)
            self.get_logger().error(self.error)
            self._clean_up()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to set and to watch."""
        if self._engine is None:
            return TransitionCallbackReturn.FAILURE
        self._engine.start()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """
        End what is being done and send nothing more.

        What was learnt since `configure` is lost: `activate` starts from the saved model. While
        parameters are being set this fails: the answers could not be waited for here.
        """
        if self._engine is not None and self._engine.changing:
            return TransitionCallbackReturn.FAILURE
        self._clean_up()
        try:
            self._configure()
        except TlAdaptError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.ERROR
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leave the graph."""
        self._clean_up()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """
        End what is being done and leave the graph.

        A change under way needs answers that come through the executor, which waits for this
        callback: so the graph is left as soon as the engine has ended, not here.
        """
        self._leave_timer = self.create_timer(_LEAVE, self._leave, clock=_wall())
        self._leave()
        return super().on_shutdown(state)

    def _leave(self) -> None:
        """Leave the graph if the engine has ended."""
        if self._engine is None or self._engine.stop(0.0):
            self.destroy_timer(self._leave_timer)
            self._clean_up()

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Leave the graph; the node can be configured anew."""
        self._clean_up()
        return TransitionCallbackReturn.SUCCESS

    def stop(self) -> None:
        """End the engine, while the node is still being spun, so that it can finish a change."""
        if self._engine is not None and not self._engine.stop():
            self.get_logger().error('a change did not end in time')

    def _configure(self) -> None:
        values = {name: self.get_parameter(name).value for name in _PARAMETERS}
        for name in ('study', 'model'):
            if not values[name]:
                raise InputError('must be given', key=name, value=values[name])
        study = load_study(values['study'])
        environment = values['environment'] or study.adaptation.get('environment')
        if not environment:
            raise InputError('must be given, as the study names none', key='environment')
        spec = study.environment(environment)
        model_planner = ModelPlanner(study, ModelSet.load(values['model'], study))
        worker = Worker()
        self._undo.append(worker.close)
        planner = BackgroundPlanner(model_planner, worker)
        chosen, why = load_choice(values['model'], study)
        policy = make_policy(study, planner, chosen, advise=bool(values['dry_run']))
        self.get_logger().info(f'chosen for {environment}: {why}')
        self._study = study
        self._applied = self.create_publisher(
            ParameterEvent, '~/adapted_parameters', _LATCHED
        )
        self._statuses = self.create_publisher(DiagnosticArray, '~/status', 10)
        self._hardware = spec.identity.get('hardware', environment)
        self._client = client = ParameterClient(self)
        restarts = Restarts.of(self, study, environment, client)
        self._undo.append(restarts.close)
        watch = ParameterWatch(self, client, study.space, wake=self._wake)
        self._undo.append(watch.close)
        self._monitor = Monitor(
            self, study, wake=self._wake, pids=NodeProcesses(study, environment), post=self._post
        )
        journal = self.make_journal(study, environment, values)
        self._undo.append(journal.close)
        self._engine = Engine(
            policy,
            Applier(study.space, client, distribution=spec.options.get('distribution'),
                    restarts=restarts),
            self._monitor, watch=watch, journal=journal, broken=broken_limits(study),
            report=self._publish_status, applied=self._publish_applied, log=self.get_logger(),
            prepare=policy.prepare, dry_run=bool(values['dry_run']),
            deadline=float(values['deadline']),
        )
        worker.urgent = self._engine.urgent
        model_planner.prepare()
        timer = self.create_timer(1.0, self._on_timer, clock=_wall())
        self._undo.append(functools.partial(self.destroy_timer, timer))
        for name, event in (
            ('pause', Paused), ('resume', Resumed), ('rollback', RollbackRequested)
        ):
            # An answer that is awaited occupies its group: the rest of the node must go on.
            service = self.create_service(
                Trigger, f'~/{name}', self._serve(event), callback_group=ReentrantCallbackGroup()
            )
            self._undo.append(functools.partial(self.destroy_service, service))

    def make_journal(
        self, study: Study, environment: str, values: Mapping[str, Any]
    ) -> Journal:
        """Return where records are kept; raises StoreError if that is no store of ours."""
        if values['store'] == 'none':
            return NullJournal()
        store = values['store'] or Path(values['model']).parent / f'{study.name}.sqlite'
        return StoreJournal(
            store, study=study.name, environment=environment, sim_time=self._sim_time,
            keep_days=study.adaptation.get('journal_days'), deadline=_NOTE,
        )

    def _sim_time(self) -> float | None:
        """Return the time of the simulation in s, None if there is none."""
        monitor = self._monitor
        if monitor is None or not monitor.clock.running:
            return None
        return float(monitor.clock.now()) * 1e-9

    def _clean_up(self) -> None:
        self.stop()
        for undo in self._undo:
            undo()
        self._undo = []
        if self._monitor is not None:
            self._monitor.close()
        if self._client is not None:
            self._client.close()
        if self._engine is not None:
            self.destroy_publisher(self._applied)
            self.destroy_publisher(self._statuses)
        self._engine = self._monitor = self._client = None

    # --- callbacks ----------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._engine is not None:
            self._engine.wake()

    def _post(self, event: Event) -> None:
        if self._engine is not None:
            self._engine.post(event)

    def _on_timer(self) -> None:
        if self._engine is not None:
            self._publish_status(self._engine.report())

    def _serve(self, kind: Callable[[], Event]) -> Any:
        """Return the callback of a service; it answers once the engine has dealt with it."""

        async def serve(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            engine = self._engine
            if engine is None or not engine.running:
                response.success, response.message = False, 'the adapter is not active'
                return response
            done: Future = Future()
            executor = self.executor
            # As a task of the executor it wakes it up, too.
            engine.post(kind(), lambda report: executor.create_task(done.set_result, report))
            report: Report = await done
            paused = report.status.state is State.PAUSED
            response.success = paused is (kind is Paused)
            if kind is RollbackRequested and report.level is Level.ERROR:
                response.success = False
            response.message = f'{report.status.state.value}: {report.message}'
            return response

        return serve

    # --- what is published; also called from the engine's thread -------------------------------

    def _publish_applied(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Publish all that each node has of the study, so that its last message tells all."""
        for node, parameters in values.items():
            self._applied.publish(ParameterEvent(
                stamp=self.get_clock().now().to_msg(), node=node,
                changed_parameters=[
                    Parameter(name=name, value=to_message(value))
                    for name, value in parameters.items()
                ],
            ))

    def _publish_status(self, report: Report) -> None:
        status = DiagnosticStatus(
            level=bytes([int(report.level)]), name=f'{self.get_name()}: {self._study_name()}',
            message=report.message, hardware_id=self._hardware,
            values=[KeyValue(key=k, value=v) for k, v in status_values(report).items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._statuses.publish(message)

    def _study_name(self) -> str:
        return self._study.name if self._study is not None else ''


def _wall() -> Clock:
    """Return a clock that runs on while simulated time stands still."""
    return Clock(clock_type=ClockType.STEADY_TIME)


def broken_limits(study: Study) -> Callable[[Mapping[str, float]], list[str]]:
    """Return a function that names the limits which metrics break, of those that are there."""

    def broken(metrics: Mapping[str, float]) -> list[str]:
        return [
            limit.text for limit in study.limits
            if limit.metric in metrics and not limit.kept(metrics[limit.metric])
        ]

    return broken


def make_policy(
    study: Study, planner: Planner, chosen: Mapping[str, Any], *, advise: bool = False
) -> Policy:
    """Return the policy for a study; one that only `advise`s does not explore."""
    rules = Rules.of(study.adaptation if not advise else {**study.adaptation, 'explore': 0})
    limits = {limit.metric: limit for limit in study.limits}
    judged = [o.metric for o in study.objectives]
    judged += [name for name in limits if name not in judged]

    def objective(metrics: Mapping[str, float]) -> float:
        known = all(o.metric in metrics for o in study.objectives)
        return study.objective(metrics) if known else math.nan

    return Policy(
        planner=planner, chosen=dict(chosen), fallback=study.space.default(),
        contains=study.space.contains, broken=broken_limits(study), matters=judged, rules=rules,
        relevant=relevance(study, rules.minimum_gain), objective=objective,
        risk=study.tuning.risk,
    )


def status_values(report: Report) -> dict[str, str]:
    """Return the key-values of a status, as texts."""
    status = report.status
    values = {
        'state': status.state.value,
        'settled': str(report.settled).lower(),
        'windows': str(status.windows),
        'judged': str(status.judged),
        'reason': status.reason,
        'waiting': report.waiting,
        'silent_topics': ', '.join(report.silent),
        'configuration': json.dumps(status.configuration),
        'changes': str(status.changes),
        'replans': str(status.replans),
        'explored': str(status.explored),
        'quarantined': str(status.quarantined),
        'outcome': status.outcome,
        'advice': report.advice,
        'journal': report.trouble,
    }
    for name, value in status.metrics.items():
        values[f'metric.{name}'] = f'{value:.6g}'
        if name in status.bands:
            low, high = status.bands[name]
            values[f'band.{name}'] = f'{low:.6g} .. {high:.6g}'
        residual = status.residuals.get(name, math.nan)
        if not math.isnan(residual):
            values[f'residual.{name}'] = f'{residual:+.2f}'
    return values


def main(args: list[str] | None = None, *, make: Callable[[], Adapter] = Adapter) -> int:
    """Run the node until SIGINT or SIGTERM; return 0, or 2 if it can't be configured."""
    try:
        # The matrices are small, and the cores belong to the robot.
        importlib.import_module('threadpoolctl').threadpool_limits(1)
    except ImportError:
        pass
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    node = make()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.get_parameter('autostart').value:
            if node.trigger_configure() is not TransitionCallbackReturn.SUCCESS:
                print(f'tl_adapt: error: {node.error}', file=sys.stderr)
                return 2
            node.trigger_activate()
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.2)
        # A change that is under way needs its answers: spin on until it has ended.
        finish = threading.Thread(target=node.stop)
        finish.start()
        while finish.is_alive():
            executor.spin_once(timeout_sec=0.05)
    finally:
        node.stop()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
