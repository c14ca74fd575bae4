# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""
Module for the demo's last part: missions beside a running adapter, and a change in mid-way.

The adapter is an ordinary node in a process of its own, in the graph of the stand-in robot. The
missions leave all parameters as they are: whatever changes, the adapter did it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterEvent
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions

from tl_adapt.comparison import compare, objective_values, worst_values
from tl_adapt.demo.job import OURS, Job, evaluate_in, show_comparison
from tl_adapt.environments.base import Measurement
from tl_adapt.environments.stack import StackEnvironment
from tl_adapt.errors import InputError, TlAdaptError
from tl_adapt.report.tables import adaptation_rows, format_table
from tl_adapt.ros.isolation import child_environment, spawn
from tl_adapt.ros.parameters import ParameterClient
from tl_adapt.ros.spinning import Spinner
from tl_adapt.seeds import run_seed
from tl_adapt.space import Configuration
from tl_adapt.study import EnvironmentSpec, Study
from tl_adapt.transfer import TransferResult

BEFORE = 3  # missions before the change
MOST_AFTER = 16  # missions after it in which the adapter may find its way
CALM = 3  # missions in a row with nothing to do that end it
ADAPTED = 'adapted'
_JUDGE = 30.0  # s of wall time that the adapter gets to judge a mission


class AdapterWatch:
    """Follow an adapter in its graph: its last status and the parameters it says it has set."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Join the graph that the environment variables `variables` lead to."""
        with _environment(variables):
            context = rclpy.Context()
            rclpy.init(
                context=context, domain_id=int(variables['ROS_DOMAIN_ID']),
                signal_handler_options=SignalHandlerOptions.NO,
            )
            self._node = rclpy.create_node('adapter_watch', context=context)
        self._changed = threading.Condition()
        self.status: dict[str, str] = {}
        self.message = ''
        self.adapted: dict[str, dict[str, Any]] = {}
        self._node.create_subscription(DiagnosticArray, 'adapter/status', self._on_status, 10)
        lasting = QoSProfile(depth=64, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._node.create_subscription(
            ParameterEvent, 'adapter/adapted_parameters', self._on_parameters, lasting
        )
        self.parameters = ParameterClient(self._node)
        self._spinner = Spinner(self._node)
        self._spinner.start()

    def wait(self, what: str, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until `condition` holds; raises TlAdaptError that says `what` was waited for."""
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise TlAdaptError(
                    f'the adapter was not {what} within {seconds:g} s; it says: '
                    f'{self.message or "nothing"}'
                )

    def ready_for(self, windows: int) -> bool:
        """Tell whether the adapter has dealt with that many missions."""
        return (
            self.status.get('settled') == 'true' and int(self.status.get('windows', -1)) >= windows
        )

    @property
    def windows(self) -> int:
        """Return how many windows the adapter has met since it started."""
        return int(self.status.get('windows', 0))

    def present(self) -> tuple[bytes, ...]:
        """Return who publishes a status now: another one after a restart, nobody without one."""
        infos = self._node.get_publishers_info_by_topic('adapter/status')
        return tuple(sorted(bytes(info.endpoint_gid) for info in infos))

    def close(self) -> None:
        """Leave the graph."""
        self._spinner.close()

    def _on_status(self, message: DiagnosticArray) -> None:
        with self._changed:
            status = message.status[0]
            self.status = {pair.key: pair.value for pair in status.values}
            self.message = status.message
            self._changed.notify_all()

    def _on_parameters(self, message: ParameterEvent) -> None:
        with self._changed:
            self.adapted[message.node] = {
                p.name: rclpy.parameter.parameter_value_to_python(p.value)
                for p in [*message.new_parameters, *message.changed_parameters]
            }
            self._changed.notify_all()


def changed_environment(study: Study, name: str = '') -> EnvironmentSpec:
    """
    Return what the robot meets later.

    That is the first environment with the role `test` that differs in `node_parameters` from the
    one of that `name`, or from the target. Raises InputError if there is none.
    """
    before = study.environment(name or study.target.name)
    for spec in study.environments.values():
        if spec.role == 'test' and _differing(before, spec):
            return spec
    rule = f'none with the role test has other node_parameters than {before.name}: nothing changes'
    raise InputError(rule, file=study.path, key='environments')


def injected(study: Study, name: str = '') -> dict[str, dict[str, Any]]:
    """Return the node parameters that make the environment of that name the changed one."""
    before = study.environment(name or study.target.name)
    return _differing(before, changed_environment(study, name))


def _differing(before: EnvironmentSpec, after: EnvironmentSpec) -> dict[str, dict[str, Any]]:
    """Return the node parameters of `after` that `before` has not."""
    known = before.options.get('node_parameters', {})
    changes: dict[str, dict[str, Any]] = {}
    for node, values in after.options.get('node_parameters', {}).items():
        old = known.get(node, {})
        differing = {k: v for k, v in values.items() if old.get(k) != v}
        if differing:
            changes[node] = differing
    return changes


def adaptation(job: Job, ours: TransferResult) -> dict[str, Any]:
    """
    Drive missions beside the adapter, change the environment, and see what it does.

    Afterwards the configuration that it kept and the one from before are compared in the changed
    environment, with evaluation seeds.
    """
    study = job.study
    if ours.choice is None:
        raise TlAdaptError('no configuration was chosen, so there is nothing to adapt')
    change = injected(study)
    environment = StackEnvironment(study, job.target, worker=0)
    missions: list[dict[str, Any]] = []
    runs: list[Measurement] = []
    try:
        variables = environment.environment()
        with watching(variables) as watch, running_adapter(study, job.output, variables):
            watch.wait('ready', lambda: watch.ready_for(0), 60.0)
            first = _drive(job, environment, watch, missions, runs, job.target)
            job.say(f'  adapter: {watch.message}')
            for _ in range(BEFORE - 1):
                _drive(job, environment, watch, missions, runs, job.target)
            changed = changed_environment(study).name
            watch.parameters.set_many(change)
            job.say(f'  -- the environment changes: {_described(change)}')
            calm = 0
            for _ in range(MOST_AFTER):
                _drive(job, environment, watch, missions, runs, changed)
                calm = calm + 1 if watch.status.get('state') == 'watching' else 0
                if calm >= CALM:
                    break
            else:
                job.say(f'  the adapter had not settled after {MOST_AFTER} missions')
            final = runs[-1].configuration
            parameters = watch.adapted
    finally:
        environment.close()
    job.say(f'  its journal: tl_adapt journal {job.output / study.name}.sqlite')
    _fill_objectives(job, missions, runs)
    job.say(format_table(adaptation_rows({'missions': missions}), text=(0, 1, 2, 3, 5)))
    result: dict[str, Any] = {
        'change': change,
        'missions': missions,
        'before': dict(first.configuration),
        'after': dict(final),
        'adapted_parameters': parameters,
    }
    if _key(final) == _key(first.configuration):
        job.say('The adapter kept its configuration.')
        return result
    result['comparison'] = _compare_after(job, first.configuration, final)
    return result


def _compare_after(job: Job, before: Configuration, after: Configuration) -> dict[str, Any]:
    """Compare both configurations in the changed environment and print the table."""
    found = evaluate_in(
        job, changed_environment(job.study).name, {ADAPTED: dict(after), OURS: dict(before)},
        max(2, job.seeds // 2),
    )
    table = compare(job.study, found, ADAPTED).to_dict()
    job.say(f'In the changed environment ({OURS}: as tuned before the change):')
    show_comparison(job, table)
    return table


def _drive(
    job: Job, environment: StackEnvironment, watch: AdapterWatch,
    missions: list[dict[str, Any]], runs: list[Measurement], name: str,
) -> Measurement:
    """Run one mission as it is and wait until the adapter has judged it."""
    number = len(missions)
    run = environment.measure(None, run_seed(job.study.seeds.evaluation, 'adaptation', number))
    watch.wait(
        f'done with mission {number + 1}', lambda: watch.ready_for(number + 1), _JUDGE
    )
    state, note = watch.status.get('state', ''), watch.message
    missions.append({
        'mission': number + 1, 'environment': name, 'state': state, 'valid': run.valid,
        'reason': run.reason, 'objective': None, 'note': note,
        'configuration': run.configuration, 'metrics': run.metrics,
    })
    runs.append(run)
    got = 'success' if run.valid else f'failed: {run.reason}'
    job.say(f'  mission {number + 1} ({name}): {got}; adapter: {note}')
    return run


def _fill_objectives(
    job: Job, missions: list[dict[str, Any]], runs: list[Measurement]
) -> None:
    values = objective_values(job.study, runs, worst_values(job.study, runs))
    for row, value in zip(missions, values):
        row['objective'] = None if value != value else float(value)


def _described(change: Mapping[str, Mapping[str, Any]]) -> str:
    return ', '.join(
        f'{node} {name} = {value}' for node, values in change.items()
        for name, value in values.items()
    )


def _key(configuration: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(configuration.items()))


@contextlib.contextmanager
def watching(variables: Mapping[str, str]) -> Iterator[AdapterWatch]:
    """Follow the graph that the environment variables lead to, as long as the block runs."""
    watch = AdapterWatch(variables)
    try:
        yield watch
    finally:
        watch.close()


@contextlib.contextmanager
def running_adapter(
    study: Study, output: Path, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the adapter's process; its output goes to a file in `output`, where its model is."""
    command = [
        sys.executable, '-m', 'tl_adapt.ros.nodes.adapter', '--ros-args',
        '-p', f'study:={Path(study.path).absolute()}',
        '-p', f'model:={(output / "model").absolute()}',
        '-p', f'environment:={study.target.name}',
    ]
    with (output / 'adapter.log').open('wb') as log:
        process = spawn(
            command, stdout=log, stderr=subprocess.STDOUT,
            env=child_environment(variables),
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while: the middleware reads them when it starts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
