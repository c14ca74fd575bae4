# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the adapter node, against nodes in processes of their own."""

import contextlib
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

import rclpy  # noqa: E402
import yaml  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from fake_robot import cost_of  # noqa: E402
from geometry_msgs.msg import PoseStamped  # noqa: E402
from rcl_interfaces.msg import Parameter, ParameterEvent, ParameterValue  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from tl_adapt.environments.base import Measurement  # noqa: E402
from tl_adapt.journal_table import RECORD, open_journal  # noqa: E402
from tl_adapt.models.model_set import ModelSet  # noqa: E402
from tl_adapt.ros.calls import Call  # noqa: E402
from tl_adapt.ros.parameters import ParameterClient, ParameterError  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402

FAKE = Path(__file__).with_name('fake_robot.py')
CHOSEN = {'v': 0.5, 'w': 0.25}


def study_content(w_mode='live', window='mission'):
    return {
        'version': 1,
        'name': 'fake',
        'parameters': {
            'v': {'type': 'double', 'range': [0.0, 1.0], 'default': 0.2,
                  'targets': [{'node': 'alpha', 'apply': 'live'}]},
            'w': {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5,
                  'targets': [{'node': 'beta', 'apply': w_mode}]},
        },
        'metrics': {
            'cost': {'reduction': 'mean', 'topic': 'battery_state', 'field': 'voltage',
                     'unit': 'V', 'direction': 'minimize', 'scale': 'log'},
            'duration': {'reduction': 'time_to_goal', 'unit': 's', 'direction': 'minimize'},
        },
        'objectives': [{'metric': 'cost', 'weight': 1.0, 'reference': 10.0}],
        'limits': ['cost <= 60.0'],
        'mission': {
            'goals': [[1.0, 0.0, 0.0]], 'timeout': 20.0, 'wall_timeout': 30.0,
            'goal_topic': 'goal_pose', 'outcome_topic': 'goal_status',
            'result_topic': 'mission/result',
        },
        'environments': {
            'simulation': {'kind': 'stack', 'role': 'source'},
            'robot': {'kind': 'stack', 'role': 'target'},
        },
        'budget': {'source': 12, 'target': 4},
        'adaptation': {'environment': 'robot', 'window': window, 'band': 4.0, 'confirm': 2,
                       'explore': 4, 'minimum_gain': 0.02, 'dwell': 0},
    }


@pytest.fixture
def prepared(tmp_path):
    """Return a function that writes study and model, and gives the adapter's arguments."""

    def prepare(**options):
        path = tmp_path / 'fake.yaml'
        path.write_text(yaml.safe_dump(study_content(**options)))
        study = load_study(path)
        rng = np.random.default_rng(0)

        def measured(configuration):
            noise = math.exp(0.02 * rng.standard_normal())
            metrics = {'cost': cost_of(configuration['v']) * noise, 'duration': 2.0}
            return Measurement('', configuration, 0, metrics)

        source = [measured(c) for c in study.space.sample(12, seed=1)]
        target = [measured(c) for c in [CHOSEN, *study.space.sample(3, seed=2)]]
        ModelSet(study).fit(source, target).save(tmp_path / 'model')
        (tmp_path / 'model' / 'choice.json').write_text(
            json.dumps({'configuration': CHOSEN, 'why': 'made up'}))
        return ['--ros-args', '-p', f'study:={path}', '-p', f'model:={tmp_path / "model"}']

    return prepare


class Graph:
    """The processes of a test, and a node that watches them."""

    def __init__(self):
        self.processes = []
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('observer', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.changed = threading.Condition()
        self.values, self.statuses = {}, {}
        self.level = -1
        self.message = ''
        self.node.create_subscription(DiagnosticArray, '/adapter/status', self.on_status, 10)
        self.goal = self.node.create_publisher(PoseStamped, 'goal_pose', 10)
        self.parameters = ParameterClient(self.node, deadline=10.0)
        self.thread = threading.Thread(target=self.spin, daemon=True)
        self.thread.start()

    def spin(self):
        with contextlib.suppress(ExternalShutdownException):
            self.executor.spin()

    def on_status(self, message):
        with self.changed:
            status = message.status[0]
            self.level, self.message = status.level[0], status.message
            self.statuses = {each.name.partition(': ')[2]: each for each in message.status}
            self.values = {
                value.key: value.value for each in message.status for value in each.values
            }
            self.changed.notify_all()

    def until(self, condition, seconds=120.0):
        end = time.monotonic() + seconds
        with self.changed:
            while not condition(self.values):
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f'{self.level} {self.message}: {self.values}')
                self.changed.wait(min(left, 0.1))

    def robot(self, name, parameters, **options):
        argument = json.dumps({'name': name, 'parameters': parameters, **options})
        return self.start(sys.executable, str(FAKE), argument)

    def adapter(self, arguments, *more):
        return self.start(
            sys.executable, '-m', 'tl_adapt.ros.nodes.adapter', *arguments, *more)

    def start(self, *command):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def get(self, node, name):
        return self.parameters.get(node, [name])[name]

    def call(self, name):
        client = self.node.create_client(Trigger, f'/adapter/{name}')
        assert client.wait_for_service(10.0)
        call = Call(client, Trigger.Request())
        assert call.wait(15.0)
        return call.answer()

    def drive(self):
        """Let the robot drive one mission, and wait until the adapter has dealt with it."""
        before = int(self.values['windows'])
        self.goal.publish(PoseStamped())
        self.until(lambda v: int(v['windows']) > before and v['settled'] == 'true')

    def close(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stderr.close()
        self.executor.shutdown(1.0)
        self.thread.join(1.0)
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def graph(ros_domain):
    graph = Graph()
    yield graph
    graph.close()


def settled(values):
    return values.get('settled') == 'true'


def test_it_applies_watches_adapts_and_obeys(graph, prepared):
    graph.robot('alpha', {'v': 0.2, 'other': 7})
    graph.robot('beta', {'w': 0.5})
    adapter = graph.adapter(prepared())
    graph.until(settled)
    assert graph.get('alpha', 'v') == 0.5
    assert graph.get('alpha', 'other') == 7
    assert graph.get('beta', 'w') == 0.25
    assert json.loads(graph.values['configuration']) == CHOSEN

    # A late joiner sees what each node has.
    seen = {}
    latched = QoSProfile(depth=64, durability=DurabilityPolicy.TRANSIENT_LOCAL)

    def note(event):
        seen[event.node] = {p.name: p.value.double_value for p in event.changed_parameters}
        with graph.changed:
            graph.changed.notify_all()

    graph.node.create_subscription(
        ParameterEvent, '/adapter/adapted_parameters', note, latched)
    graph.until(lambda _: len(seen) == 2)
    assert seen == {'/alpha': {'v': 0.5}, '/beta': {'w': 0.25}}

    for _ in range(2):
        graph.drive()
    assert (graph.level, graph.values['judged']) == (0, '2')
    assert float(graph.values['metric.cost']) == pytest.approx(10.0, rel=0.02)
    low, _, high = graph.values['band.cost'].split()
    assert float(low) < 10.0 < float(high)
    assert float(graph.values['metric.duration']) == pytest.approx(1.9, abs=0.11)

    # The environment changes: within a handful of missions the adapter has found a better v.
    graph.parameters.set('alpha', {'payload': 1.0})
    for _ in range(9):
        graph.drive()
        if graph.values['replans'] == '1' and graph.values['state'] == 'watching':
            break
    assert graph.values['state'] == 'watching'
    v = graph.get('alpha', 'v')
    assert cost_of(v, 1.0) < 0.95 * cost_of(0.5, 1.0)
    assert seen['/alpha'] == {'v': v}

    answer = graph.call('pause')
    assert answer.success, answer.message
    graph.until(lambda v: v['state'] == 'paused')
    graph.parameters.set('alpha', {'payload': -1.0})
    for _ in range(3):
        graph.drive()
    assert not graph.call('rollback').success
    assert graph.get('alpha', 'v') == v
    answer = graph.call('resume')
    assert answer.success, answer.message
    answer = graph.call('rollback')
    assert answer.success, answer.message
    graph.until(settled)
    assert graph.get('alpha', 'v') != v

    kept = f'the robot keeps: v {graph.get("alpha", "v"):g}, w '
    adapter.send_signal(signal.SIGTERM)
    assert adapter.wait(10.0) == 0
    assert kept in adapter.stderr.read()


def test_a_refusal_of_one_node_restores_the_other(graph, prepared):
    graph.robot('alpha', {'v': 0.2})
    graph.robot('beta', {'w': 0.125}, refuse={'w': 0.2})
    graph.adapter(prepared())
    graph.until(settled)
    graph.until(lambda _: graph.level == 2)
    assert 'too much for me' in graph.message
    assert graph.get('alpha', 'v') == 0.2
    assert graph.get('beta', 'w') == 0.125
    assert json.loads(graph.values['configuration']) == {'v': 0.2, 'w': 0.125}


def test_two_nodes_of_one_name_are_not_touched_and_a_late_one_is_waited_for(graph, prepared):
    graph.robot('alpha', {'v': 0.2})
    adapter = graph.adapter(prepared(), '-p', 'deadline:=0.5')
    graph.until(lambda _: graph.level == 2 and '/beta' in graph.message)
    assert graph.values['settled'] == 'false'
    assert graph.get('alpha', 'v') == 0.2
    second = graph.robot('alpha', {'v': 0.3})
    graph.until(lambda _: graph.parameters.count('alpha') == 2)
    graph.robot('beta', {'w': 0.5})
    graph.until(lambda _: graph.level == 2 and '2 nodes have the name /alpha' in graph.message)
    assert graph.values['changes'] == '0'
    with pytest.raises(ParameterError, match='2 nodes'):
        graph.get('alpha', 'v')
    second.terminate()
    second.wait(10.0)
    graph.until(settled)
    assert graph.get('alpha', 'v') == 0.5
    adapter.send_signal(signal.SIGINT)
    assert adapter.wait(10.0) == 0


def test_an_idle_parameter_waits_for_the_mission_to_end(graph, prepared):
    graph.robot('alpha', {'v': 0.2})
    graph.robot('beta', {'w': 0.5})
    graph.parameters.wait_for_nodes(['alpha', 'beta'], deadline=10.0)
    graph.parameters.set('alpha', {'hold': True})
    graph.until(lambda _: graph.goal.get_subscription_count() > 0)
    graph.goal.publish(PoseStamped())
    graph.adapter(prepared(w_mode='idle'))
    graph.until(lambda v: v.get('waiting') == 'waits until no mission runs')
    assert (graph.get('alpha', 'v'), graph.get('beta', 'w')) == (0.2, 0.5)
    graph.parameters.set('alpha', {'hold': False})
    graph.until(settled)
    assert (graph.get('alpha', 'v'), graph.get('beta', 'w')) == (0.5, 0.25)
    assert graph.values['windows'] == '0', 'a mission that began before is no window'


def test_windows_of_sim_time_are_judged_in_mid_mission(graph, prepared):
    graph.robot('alpha', {'v': 0.2})
    graph.robot('beta', {'w': 0.5})
    graph.adapter(prepared(window=0.5))
    graph.until(settled)
    graph.parameters.set('alpha', {'hold': True})
    graph.goal.publish(PoseStamped())
    graph.until(lambda v: int(v['judged']) >= 3)
    assert float(graph.values['metric.cost']) == pytest.approx(10.0, rel=0.02)
    assert graph.values['metric.duration'] == ''
    assert graph.values['replans'] == '0'
    graph.parameters.set('alpha', {'payload': 3.0})
    graph.until(lambda v: int(v['quarantined']) >= 1 and settled(v))  # and the rollback was made
    assert graph.get('alpha', 'v') != 0.5


def test_a_dry_run_sends_nothing(graph, prepared):
    graph.robot('alpha', {'v': 0.2})
    graph.robot('beta', {'w': 0.5})
    graph.adapter(prepared(), '-p', 'dry_run:=true')
    graph.until(settled)
    assert "'v': 0.5" in graph.values['advice']
    assert (graph.get('alpha', 'v'), graph.get('beta', 'w')) == (0.2, 0.5)


def test_a_second_adapter_is_told_of_the_first_and_where_its_journal_is(graph, prepared, tmp_path):
    store = tmp_path / 'journal.sqlite'
    arguments = [*prepared(), '-p', f'store:={os.path.relpath(store)}']
    first = graph.adapter(arguments)
    graph.until(lambda v: v.get('store'))
    assert graph.values['store'] == os.path.realpath(store)
    second = graph.adapter(arguments)
    assert second.wait(30.0) == 2
    told = second.stderr.read()
    assert f'{os.path.realpath(store)}: another adapter of robot keeps its journal ' in told
    assert f'(pid {first.pid}): end that process, or give this adapter a store of its own' in told


def test_a_missing_model_is_said_and_ends_the_node(graph, tmp_path):
    adapter = graph.adapter(
        ['--ros-args', '-p', 'study:=demo', '-p', f'model:={tmp_path}'])
    assert adapter.wait(30.0) == 2
    assert 'no model here' in adapter.stderr.read()


def test_the_launch_file_compiles_and_names_its_arguments():
    path = Path(__file__).parents[2] / 'launch' / 'adapt.launch.py'
    compile(path.read_text(), str(path), 'exec')
    if not all(importlib.util.find_spec(name) for name in ('launch', 'launch_ros')):
        pytest.skip('launch is not installed')
    spec = importlib.util.spec_from_file_location('adapt_launch', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entities = module.generate_launch_description().entities
    arguments = {e.name: e.description for e in entities if hasattr(e, 'default_value')}
    assert {'study', 'model', 'environment', 'dry_run'} <= set(arguments)
    assert all(arguments.values())


def test_settings_change_at_runtime_and_diagnostics_tell_each_concern(graph, prepared, tmp_path):
    heard = {}

    def hear(message):
        heard.update({status.name: status for status in message.status})

    graph.node.create_subscription(DiagnosticArray, '/diagnostics', hear, 10)
    graph.robot('alpha', {'v': 0.2})
    graph.robot('beta', {'w': 0.5})
    graph.adapter(prepared(), '-p', 'dry_run:=true', '-p', 'explore:=3')
    graph.until(settled)
    assert graph.values['dry_run'] == 'true' and graph.values['explore'] == '3'
    assert graph.parameters.get('adapter', ['minimum_gain']) == {'minimum_gain': 0.02}

    client = graph.node.create_client(SetParameters, '/adapter/set_parameters')
    assert client.wait_for_service(10.0)
    strange = Parameter(name='explore', value=ParameterValue(type=77))
    client.call_async(SetParameters.Request(parameters=[strange]))  # it has no answer

    for name, value in (('explore', -1), ('minimum_gain', math.nan), ('publish_rate', 1e6),
                        ('study', 'other'), ('dwell', 0.5)):
        with pytest.raises(ParameterError, match=name):
            graph.parameters.set('adapter', {name: value})
    graph.parameters.set('adapter', {'minimum_gain': 0.25, 'explore': 0})
    graph.until(lambda v: (v['minimum_gain'], v['explore']) == ('0.25', '0'))
    assert (graph.get('alpha', 'v'), graph.get('beta', 'w')) == (0.2, 0.5)

    graph.parameters.set('adapter', {'dry_run': False})
    graph.until(lambda v: v['dry_run'] == 'false' and v['settled'] == 'true'
                and v['changes'] != '0' and json.loads(v['configuration']) == CHOSEN)
    assert (graph.get('alpha', 'v'), graph.get('beta', 'w')) == (0.5, 0.25)
    assert list(graph.statuses) == [
        'state', 'metrics', 'topics', 'parameters', 'journal', 'settings']
    graph.until(lambda _: 'adapter/fake: settings' in heard)
    assert {status.hardware_id for status in heard.values()} == {'robot'}

    with open_journal(tmp_path / 'fake.sqlite') as journal:
        told = [(e.who, e.what, e.why) for e in journal.entries() if e.kind == RECORD]
    assert ('adapter', 'setting',
            'given at the start: dry_run: false -> true, explore: 4 -> 3') in told
    assert told.count(('adapter', 'advice', 'chosen by the model')) == 1
    assert ('operator', 'setting', 'explore: 3 -> 0, minimum_gain: 0.02 -> 0.25') in told
    assert ('adapter', 'advice', 'chosen by the model') in told
    assert [what for _, what, _ in told].index('change') > told.index(
        ('operator', 'setting', 'dry_run: true -> false'))


@pytest.mark.parametrize('words, told', [
    (['-p', 'minimum_gain:=-1.0'], 'minimum_gain: must lie in [0, 1000], got -1.0'),
    (['-p', 'explore:=many'], 'explore'),
    (['-p', 'deadline:=soon'], 'deadline'),
    (['-p', 'store:={strange}'], 'strange.txt'),
    (['-p', 'study'], 'study'),
])
def test_bad_parameters_are_one_line_and_end_the_node(graph, prepared, tmp_path, words, told):
    strange = tmp_path / 'strange.txt'
    strange.write_text('no store')
    adapter = graph.adapter(prepared(), *(word.format(strange=strange) for word in words))
    assert adapter.wait(60.0) == 2
    error = [line for line in adapter.stderr.read().splitlines() if line.startswith('tl_adapt:')]
    assert len(error) == 1 and told in error[0]
