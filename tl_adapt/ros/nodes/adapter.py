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
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import (
    Parameter,
    ParameterDescriptor,
    ParameterEvent,
    SetParametersResult,
)
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_srvs.srv import Trigger

from tl_adapt.adaptation.background import BackgroundPlanner, Worker
from tl_adapt.adaptation.changing import NOTHING_LEFT
from tl_adapt.adaptation.contexts import Refusal
from tl_adapt.adaptation.events import (
    Event,
    Level,
    Paused,
    Resumed,
    RollbackRequested,
    Rules,
    State,
)
from tl_adapt.adaptation.making import make_policy
from tl_adapt.adaptation.model_planner import ModelPlanner, load_choice
from tl_adapt.adaptation.records import ADAPTER, Journal, Record
from tl_adapt.adaptation.refused import refused_before
from tl_adapt.errors import InputError, StoreError, TlAdaptError
from tl_adapt.journal import StoreJournal
from tl_adapt.journal_place import adapter_lock, journal_store, store_name
from tl_adapt.memory_journal import NullJournal
from tl_adapt.models.model_set import ModelSet
from tl_adapt.own_namespace import with_namespace
from tl_adapt.parameter_file import value_text
from tl_adapt.ros.apply import Applier
from tl_adapt.ros.diagnostics import Diagnostics
from tl_adapt.ros.enduring import EnduringExecutor, one_line
from tl_adapt.ros.engine import Engine
from tl_adapt.ros.execution import fate
from tl_adapt.ros.monitor import Monitor
from tl_adapt.ros.node_processes import NodeProcesses
from tl_adapt.ros.parameter_watch import ParameterWatch
from tl_adapt.ros.parameters import ParameterClient
from tl_adapt.ros.report import Report
from tl_adapt.ros.restart import Restarts
from tl_adapt.ros.settings import Settings, SettingsChanged, declare_of_study, declare_own
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
    'diagnostics': (True, 'publish the status on /diagnostics, too'),
    'deadline': (30.0, 'time for which the robot may be missing; then the status is an error, and '
                 'the adapter waits on [s]'),
}
_NOTE = 1.0  # s that noting a change may take, before the change is put off
_FINISH = 15.0  # s that a change may take to end when the adapter ends
_LEAVE = 0.05  # s between looks whether the engine has ended


class Adapter(LifecycleNode):
    """Join the policy to a ROS graph; everything that blocks is in the engine's thread."""

    def __init__(self, **kwargs: Any) -> None:
        """Declare the parameters; nothing else happens before `configure`."""
        super().__init__('adapter', **kwargs)
        for name, (default, text) in _PARAMETERS.items():
            descriptor = ParameterDescriptor(description=text, read_only=True)
            self.declare_parameter(name, default, descriptor)
        declare_own(self)
        self.add_on_set_parameters_callback(self._on_parameters)
        self.error = ''
        self._settings: Settings | None = None
        self._outputs: list[Publisher] = []
        self._engine: Engine | None = None
        self._overdue: Engine | None = None  # it did not end in time
        self._restarts: Restarts | None = None
        self._monitor: Monitor | None = None
        self._client: ParameterClient | None = None
        self._study: Study | None = None
        self._changed_at_start = ''
        self._undo: list[Callable[[], Any]] = []

    # --- lifecycle ----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load study and model and join the graph; nothing is set yet."""
        if not self._configured():
            self._clean_up()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to set and to watch."""
        if self._engine is None:
            return TransitionCallbackReturn.FAILURE
        if self._changed_at_start:
            self._journal.add(Record(
                ADAPTER, 'setting', f'given at the start: {self._changed_at_start}'
            ))
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
        if not self._configured():
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
        if self._restarts is not None:
            self._restarts.stop()
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
        """
        End the engine, while the node is still being spun, so that it can finish a change.

        A command that restarts a node is ended: it may take longer than anybody waits. A change
        that does not end in time is waited for, and told of, once.
        """
        if self._restarts is not None:
            self._restarts.stop()
        engine = self._engine
        if engine is None or engine.stop(_FINISH if engine is not self._overdue else 0.0):
            return
        if engine is not self._overdue:
            self._overdue = engine
            what = fate(self._journal)
            self.get_logger().error(f'a change did not end in time and is cut short; {what}')

    def say_end(self) -> None:
        """Say in one line what the robot is left with, once the engine has ended."""
        engine = self._engine
        if engine is None or engine is self._overdue:
            return
        report = engine.report()
        present = report.status.configuration
        if present is None:
            self.get_logger().info(f'the adapter ends; {report.waiting or report.message}')
            return
        values = ', '.join(f'{name} {value_text(value)}' for name, value in present.items())
        left = f'had ({report.waiting})' if report.waiting else 'keeps'
        self.get_logger().info(f'the adapter ends; the robot {left}: {values}')

    def _configured(self) -> bool:
        """Configure, or say in one line why that failed."""
        try:
            self._configure()
        except Exception as error:
            self.error = str(error) if isinstance(error, TlAdaptError) else one_line(error)
            self.get_logger().error(self.error)
            return False
        return True

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
        usual = Settings(Rules.of(study.adaptation))
        self._settings = settings = declare_of_study(self, usual.rules)
        self._changed_at_start = settings.differences(usual)
        store = journal_store(values['store'], values['model'], study)
        policy = make_policy(
            study, planner, chosen, settings.rules_in_force,
            self._refused(store, study, environment),
        )
        self.get_logger().info(f'chosen for {environment}: {why}')
        self._study = study
        self._applied = self.create_publisher(
            ParameterEvent, '~/adapted_parameters', _LATCHED
        )
        names = ['~/status', *(['/diagnostics'] if values['diagnostics'] else [])]
        self._outputs = [self.create_publisher(DiagnosticArray, name, 10) for name in names]
        self._undo += [
            functools.partial(self.destroy_publisher, each)
            for each in (self._applied, *self._outputs)
        ]
        self._client = client = ParameterClient(self)
        self._restarts = restarts = Restarts.of(self, study, environment, client)
        self._undo.append(restarts.close)
        watch = ParameterWatch(self, client, study.space, wake=self._wake)
        self._undo.append(watch.close)
        self._monitor = Monitor(
            self, study, wake=self._wake, pids=NodeProcesses(study, environment), post=self._post
        )
        if lock := adapter_lock(store, environment):
            self._undo.append(lock.close)
        self._journal = journal = self.make_journal(study, environment, store)
        self._undo.append(journal.close)
        broken = functools.partial(study.broken_limits, known=True)
        self._diagnostics = Diagnostics(
            study, node=self.get_fully_qualified_name(), store=store_name(store),
            hardware=str(spec.identity.get('hardware', environment)),
            broken=broken,
        )
        self._engine = Engine(
            policy,
            Applier(study.space, client, distribution=spec.options.get('distribution'),
                    restarts=restarts, listener=watch),
            self._monitor, watch=watch, journal=journal, broken=broken,
            report=self._publish_status, applied=self._publish_applied, log=self.get_logger(),
            prepare=policy.prepare, settings=settings,
            deadline=float(values['deadline']),
        )
        worker.urgent = self._engine.urgent
        model_planner.prepare()
        self._timer = self.create_timer(
            1.0 / settings.publish_rate, self._on_timer, clock=_wall()
        )
        self._undo.append(functools.partial(self.destroy_timer, self._timer))
        for name, event in (
            ('pause', Paused), ('resume', Resumed), ('rollback', RollbackRequested)
        ):
            # An answer that is awaited occupies its group: the rest of the node must go on.
            service = self.create_service(
                Trigger, f'~/{name}', self._serve(event), callback_group=ReentrantCallbackGroup()
            )
            self._undo.append(functools.partial(self.destroy_service, service))

    def _refused(
        self, store: str, study: Study, environment: str
    ) -> list[Refusal]:
        """Return what was refused before, as far as the store can be read."""
        try:
            warn = self.get_logger().warning
            return refused_before(store, study, environment, tell=warn) if store else []
        except StoreError as error:
            self.get_logger().warning(f'what was refused before is not known: {error}')
            return []

    def make_journal(self, study: Study, environment: str, store: str) -> Journal:
        """Return where records are kept; raises StoreError if that is no store of ours."""
        if not store:
            return NullJournal()
        return StoreJournal(
            store, study=study.name, environment=environment, sim_time=self._sim_time,
            keep_days=study.adaptation.get('journal_days'), deadline=_NOTE,
            tell=self.get_logger().warning,
        )

    def _sim_time(self) -> float | None:
        """Return the time of the simulation in s, None if there is none."""
        monitor = self._monitor
        if monitor is None or not monitor.clock.running:
            return None
        return float(monitor.clock.now()) * 1e-9

    def _clean_up(self) -> None:
        self.stop()
        for undo in reversed(self._undo):  # the journal's lock after its last entry
            undo()
        self._undo = []
        if self._monitor is not None:
            self._monitor.close()
        if self._client is not None:
            self._client.close()
        self._settings = None
        self._outputs = []
        self._engine = self._monitor = self._client = self._restarts = None

    # --- callbacks ----------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._engine is not None:
            self._engine.wake()

    def _post(self, event: Event) -> None:
        if self._engine is not None:
            self._engine.post(event)

    def _on_parameters(self, parameters: list[Any]) -> SetParametersResult:
        """Check values that an operator sets, and go by them from now on."""
        before = self._settings or Settings()
        known = before.values()
        values = {p.name: p.value for p in parameters if p.name in known}
        try:
            settings = before.changed(values)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._settings is not None and settings != before:
            self._settings = settings
            self._timer.timer_period_ns = round(1e9 / settings.publish_rate)
            if self._engine is not None:
                if settings.dry_run and not before.dry_run and self._engine.changing:
                    # An answer that is a yes has no room for it.
                    self.get_logger().info('a change under way is completed or undone first')
                self._engine.post(SettingsChanged(settings, settings.differences(before)))
        return SetParametersResult(successful=True)

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
            response.success = obeyed(kind, report)
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
        message = self._diagnostics.of(report)
        message.header.stamp = self.get_clock().now().to_msg()
        for publisher in self._outputs:
            publisher.publish(message)


def obeyed(kind: Callable[[], Event], report: Report) -> bool:
    """Tell whether what an operator asked for was done, or is under way."""
    state = report.status.state
    if kind is RollbackRequested:
        failed = report.level is Level.ERROR and report.message != report.unfit
        if failed or state is State.IDLE or report.status.level is Level.ERROR:
            return False
        if report.status.reason.startswith(NOTHING_LEFT) or report.settings.dry_run:
            return False
    return (state is State.PAUSED) is (kind is Paused)


def _wall() -> Clock:
    """Return a clock that runs on while simulated time stands still."""
    return Clock(clock_type=ClockType.STEADY_TIME)


def _refuse(error: object) -> int:
    """Say in one line what is wrong, and return the exit code."""
    print(f'tl_adapt: error: {" ".join(str(error).split())}', file=sys.stderr)
    return TlAdaptError.exit_code


def main(args: list[str] | None = None, *, make: Callable[[], Adapter] = Adapter) -> int:
    """Run the node until SIGINT or SIGTERM; return 0, or 2 if it can't be configured."""
    try:
        # The matrices are small, and the cores belong to the robot.
        importlib.import_module('threadpoolctl').threadpool_limits(1)
    except ImportError:
        pass
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        words = with_namespace(sys.argv if args is None else args)
        rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # what rclpy makes of arguments that are wrong
        return _refuse(error)
    try:
        node = make()
    except ParameterException as error:
        rclpy.try_shutdown()
        return _refuse(error)
    executor = EnduringExecutor(node.get_logger().error)
    executor.add_node(node)
    try:
        if node.get_parameter('autostart').value:
            if node.trigger_configure() is not TransitionCallbackReturn.SUCCESS:
                return _refuse(node.error)
            node.trigger_activate()
        while not ended.is_set():
            executor.spin_once(timeout_sec=0.5)
        # A change that is under way needs its answers: spin on until it has ended.
        finish = threading.Thread(target=node.stop)
        finish.start()
        while finish.is_alive():
            executor.spin_once(timeout_sec=0.05)
        node.say_end()
    finally:
        node.stop()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
