# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for an operator who answers a transfer in another process by services."""

import itertools
import json
import signal
import subprocess
import sys

import pytest
import yaml

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from tl_adapt.cli import main  # noqa: E402
from tl_adapt.ros.calls import Call  # noqa: E402
from tl_adapt.store import Store  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402

CONTENT = {
    'version': 1, 'name': 'recorded',
    'parameters': {
        'speed': {'type': 'double', 'range': [0.1, 1.0], 'default': 0.3, 'unit': 'm/s'},
        'samples': {'type': 'int', 'range': [1, 20], 'default': 5},
    },
    'metrics': {'time': {'unit': 's', 'direction': 'minimize', 'scale': 'log'}},
    'objectives': [{'metric': 'time', 'reference': 20.0}],
    'environments': {
        'old': {'kind': 'table', 'role': 'source', 'file': 'old.csv'},
        'new': {'kind': 'table', 'role': 'target', 'file': 'new.csv', 'cost': 30,
                'identity': {'hardware': 'stand-in'}},
    },
    'budget': {'source': 12, 'target': 4, 'cost': 120},
}


def table(slow):
    rows = itertools.product((0.2, 0.35, 0.9), (1, 7, 12, 20))
    return '\n'.join(['speed,samples,time', *(f'{v},{n},{slow / v + n}' for v, n in rows)]) + '\n'


@pytest.fixture
def folder(tmp_path, monkeypatch, capfd):
    """Return a folder with a study of two tables and a store with the source's measurements."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'study.yaml').write_text(yaml.safe_dump(CONTENT, sort_keys=False))
    (tmp_path / 'old.csv').write_text(table(4.0))
    (tmp_path / 'new.csv').write_text(table(6.0))
    assert main(['campaign', 'study.yaml', '--no-traces']) == 0
    return tmp_path


@pytest.fixture
def start():
    """Start transfers; what is left of them is killed."""
    processes = []

    def begin(*words):
        process = subprocess.Popen(
            [sys.executable, '-m', 'tl_adapt', 'transfer', 'study.yaml', '--confirm', 'service',
             *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Person:
    """Watch the proposals of one transfer, and answer."""

    def __init__(self, node, name='/transfer'):
        self.values = {}
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(DiagnosticArray, f'{name}/proposal', self.note, latched)
        self.clients = {verb: node.create_client(Trigger, f'{name}/{verb}')
                        for verb in ('confirm', 'skip', 'abort')}

    def note(self, message):
        status, = message.status
        self.values = {value.key: value.value for value in status.values}
        self.values['hardware'] = status.hardware_id

    def sees(self, state, run):
        return (self.values.get('state'), self.values.get('run')) == (state, str(run))

    def call(self, verb):
        client = self.clients[verb]
        assert client.wait_for_service(20.0)
        call = Call(client, Trigger.Request())
        assert call.wait(20.0)
        return call.answer()


def kept(folder):
    path = folder / 'output' / 'recorded.sqlite'
    with Store(path, study=load_study(folder / 'study.yaml'), write=False) as store:
        return store.count(environment='new')


def test_an_operator_confirms_skips_and_aborts_from_another_process(
    graph, folder, start, wait_until
):
    node = graph('person')
    person = Person(node)
    process = start('--seed', '')
    wait_until(lambda: person.sees('waiting', 1), 60.0)
    first = person.values
    assert json.loads(first['configuration']).keys() == {'speed', 'samples'}
    assert first['parameter.speed'].endswith('m/s')
    assert (first['of'], first['left.runs'], first['left.cost']) == ('4', '4', '120')
    assert (first['cost'], first['hardware']) == ('30', 'stand-in')

    answer = person.call('confirm')
    assert answer.success, answer.message
    wait_until(lambda: person.sees('waiting', 2), 60.0)
    second = person.values
    assert second['last.valid'] == 'true'
    assert float(second['last.metric.time']) > 0
    assert float(second['incumbent.std']) >= 0
    assert float(second['expected_improvement']) > 0
    assert second['left.cost'] == '90'

    answer = person.call('skip')
    assert answer.success, answer.message
    wait_until(lambda: person.values['configuration'] != second['configuration'], 60.0)
    wait_until(lambda: person.sees('waiting', 2), 60.0)

    # It is interrupted and goes on: what was refused stays refused.
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60.0)
    assert process.returncode == 130, out
    assert 'interrupted: 1 target measurements are kept' in out
    assert kept(folder) == 1
    person.values = {}
    process = start()
    wait_until(lambda: person.sees('waiting', 2), 60.0)
    assert person.values['configuration'] != second['configuration']
    assert person.call('confirm').success
    wait_until(lambda: person.sees('waiting', 3), 60.0)
    answer = person.call('abort')
    assert answer.success, answer.message
    out, _ = process.communicate(timeout=60.0)
    assert process.returncode == 0, out
    assert 'stopped: the operator ended it' in out
    assert '2/4: objective' in out
    assert kept(folder) == 2
    history = json.loads((folder / 'output' / 'transfer.json').read_text())
    assert [run['number'] for run in history['runs']] == [1, 2]
    assert history['refused'] == [json.loads(second['configuration'])]
    assert (folder / 'output' / 'model' / 'choice.json').exists()


def test_a_run_under_way_can_be_given_up_and_nobody_is_waited_for_for_ever(
    graph, folder, start, wait_until
):
    content = dict(CONTENT)
    content['environments'] = {
        **CONTENT['environments'],
        'new': {'kind': 'command', 'role': 'target', 'timeout': 600,
                'command': ['{python}', '-c', 'import time; time.sleep(600)']},
    }
    (folder / 'study.yaml').write_text(yaml.safe_dump(content, sort_keys=False))
    assert main(['campaign', 'study.yaml', '--no-traces']) == 0
    person = Person(graph('person'), '/robot/transfer')
    process = start('--namespace', 'robot')
    wait_until(lambda: person.sees('waiting', 1), 60.0)
    assert person.call('confirm').success
    wait_until(lambda: person.sees('running', 1), 60.0)
    answer = person.call('skip')
    assert (answer.success, answer.message) == (False, 'no run waits for an answer: running')
    assert person.call('abort').success
    out, _ = process.communicate(timeout=60.0)
    assert process.returncode == 2, out
    assert 'stopped: the operator ended it' in out
    assert 'no target measurement was taken' in out
    assert kept(folder) == 0

    process = start('--confirm-timeout', '0.1')
    out, _ = process.communicate(timeout=60.0)
    assert process.returncode == 130, out
    assert 'the operator gave no answer: 0 target measurements are kept' in out
