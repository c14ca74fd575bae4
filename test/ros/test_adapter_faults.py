# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for what the adapter does when nodes, the operator's hands or itself get in its way."""

import functools
import json
import math
import os
import signal
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

import yaml  # noqa: E402
from fake_robot import cost_of  # noqa: E402
from test_adapter import FAKE, Graph, settled, study_content  # noqa: E402

from tl_adapt.environments.base import Measurement  # noqa: E402
from tl_adapt.journal_table import BEGIN, END, RECORD, open_journal  # noqa: E402
from tl_adapt.models.model_set import ModelSet  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402

HERE = Path(__file__).parent
CHOSEN = {'v': 0.5, 'w': 0.25, 'u': 0.75}
INITIAL = {'v': 0.2, 'w': 0.5, 'u': 0.5}
NODES = {'v': 'alpha', 'w': 'beta', 'u': 'gamma'}


def three_nodes(w_mode='live', restart=None, lifecycle=False):
    content = study_content(w_mode=w_mode)
    content['parameters']['u'] = {
        'type': 'double', 'range': [0.0, 1.0], 'default': 0.5, 'targets': [{'node': 'gamma'}]}
    if restart is not None:
        content['adaptation']['restart'] = {'beta': list(restart)}
        content['adaptation']['restart_timeout'] = 30.0
    if lifecycle:
        content['environments']['robot']['lifecycle_nodes'] = ['beta']
    return content


class FaultyGraph(Graph):
    """Three nodes, an adapter with a journal, and what a test asks of them."""

    def __init__(self, folder, model):
        super().__init__()
        self.model = model
        self.store = folder / 'fake.sqlite'
        self.held = folder / 'journal.held'
        self.nodes = {}

    def begin(self, name, value=None, **options):
        """Start the node of a parameter in a process of its own."""
        value = INITIAL[name] if value is None else value
        self.nodes[name] = self.robot(NODES[name], {name: value, 'other': 1}, **options)
        return self.nodes[name]

    def begin_others(self, *names):
        """Start several nodes in one process: nothing happens to them."""
        options = [
            {'name': NODES[name], 'parameters': {name: INITIAL[name], 'other': 1}}
            for name in names
        ]
        self.start(sys.executable, str(FAKE), json.dumps(options))

    def end(self, name):
        self.nodes[name].terminate()
        assert self.nodes[name].wait(10.0) == 0

    def until(self, condition, seconds=120.0):
        super().until(condition, seconds)

    def adapt(self, wait_at='', **options):
        folder = self.model(**options)
        arguments = [
            '--ros-args', '-p', f'study:={folder / "fake.yaml"}',
            '-p', f'model:={folder / "model"}', '-p', f'store:={self.store}',
        ]
        if not wait_at:
            return self.adapter(arguments)
        return self.start(
            sys.executable, str(HERE / 'adapter_process.py'), wait_at, str(self.held), *arguments
        )

    def has(self, name):
        return self.get(NODES[name], name)

    def configuration(self):
        return {name: self.has(name) for name in CHOSEN}

    def kill(self, adapter):
        adapter.kill()
        adapter.wait(10.0)
        self.values = {}

    def entries(self, kind):
        with open_journal(self.store) as journal:
            return [entry for entry in journal.entries() if entry.kind == kind]

    def records(self, what):
        return [entry for entry in self.entries(RECORD) if entry.what == what]

    def until_told(self, what, count=1):
        """Wait until the journal has so many records of that kind, and return them."""
        self.until(lambda _: len(self.records(what)) >= count)
        found = self.records(what)
        assert len(found) == count
        return found

    def until_in_force(self, wanted):
        self.until(lambda v: settled(v) and json.loads(v['configuration']) == wanted)
        assert self.configuration() == wanted


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Return a function that gives a folder with a study and its model, each made once."""

    @functools.cache
    def make(**options):
        folder = tmp_path_factory.mktemp('model')
        (folder / 'fake.yaml').write_text(yaml.safe_dump(three_nodes(**options)))
        study = load_study(folder / 'fake.yaml')
        rng = np.random.default_rng(0)

        def measured(configuration):
            noise = math.exp(0.02 * rng.standard_normal())
            metrics = {'cost': cost_of(configuration['v']) * noise, 'duration': 2.0}
            return Measurement('', configuration, 0, metrics)

        source = [measured(c) for c in study.space.sample(12, seed=1)]
        ModelSet(study).fit(source, [measured(CHOSEN)]).save(folder / 'model')
        (folder / 'model' / 'choice.json').write_text(
            json.dumps({'configuration': CHOSEN, 'why': 'made up'}))
        return folder

    return make


@pytest.fixture
def graph(ros_domain, tmp_path, model):
    graph = FaultyGraph(tmp_path, model)
    yield graph
    graph.close()


@pytest.fixture
def robot(graph):
    """Start the three nodes, without faults."""
    graph.begin('w')
    graph.begin_others('v', 'u')
    return graph


# --- others change things ------------------------------------------------------------------------


def test_what_others_tune_is_left_to_them_until_resume(robot):
    robot.adapt()
    robot.until_in_force(CHOSEN)
    # Its own changes are nobody else's, nor is a parameter that is not tuned anybody's business.
    robot.parameters.set('beta', {'other': 2})
    robot.parameters.set('gamma', {'u': 0.625})
    robot.until(lambda v: v['state'] == 'paused')
    assert '/gamma u: 0.75 -> 0.625; standing back until resumed' in robot.message
    robot.parameters.set('alpha', {'v': 0.125})
    first, _ = robot.until_told('foreign change', 2)
    assert (first.who, first.why) == ('someone else', '/gamma u: 0.75 -> 0.625')
    assert robot.configuration() == {'v': 0.125, 'w': 0.25, 'u': 0.625}
    assert robot.call('resume').success
    robot.until_in_force(CHOSEN)
    assert len(robot.records('foreign change')) == 2
    assert robot.records('restart') == []


def test_a_node_that_restarts_gets_its_values_again(robot):
    robot.adapt()
    robot.until_in_force(CHOSEN)
    robot.end('w')
    robot.until(lambda v: '/beta' in v['waiting'])
    robot.begin('w')
    robot.until(lambda v: int(v['changes']) == 2)
    robot.until_in_force(CHOSEN)
    record, = robot.until_told('restart')
    assert (record.who, record.why) == ('node', '/beta restarted')
    assert robot.records('foreign change') == []


def test_what_others_set_in_mid_change_stays_and_bans_nothing(graph, tmp_path):
    graph.begin_others('v', 'u')
    graph.begin('w', hold={'w': str(tmp_path / 'go')})
    graph.adapt()
    graph.until(lambda _: (tmp_path / 'go.held').exists() and graph.has('v') == 0.5)
    graph.parameters.set('alpha', {'v': 0.375})
    (tmp_path / 'go').touch()
    graph.until(lambda v: v['state'] == 'paused')
    assert '/alpha v: 0.5 -> 0.375; standing back until resumed' in graph.message
    assert graph.values['quarantined'] == '0'
    assert graph.configuration() == {**CHOSEN, 'v': 0.375}
    assert graph.call('resume').success
    graph.until_in_force(CHOSEN)
    record, = graph.until_told('foreign change')
    assert record.why == '/alpha v: 0.5 -> 0.375'
    assert [entry.ok for entry in graph.entries(END)] == [True, True]


# --- a change goes wrong -------------------------------------------------------------------------


def test_one_of_three_refuses_and_the_others_are_restored(graph):
    graph.begin_others('v', 'u')
    graph.begin('w', 0.125, refuse={'w': 0.2})
    graph.adapt()
    graph.until(lambda _: graph.level == 2)
    assert 'too much for me' in graph.message
    assert graph.configuration() == {'v': 0.2, 'w': 0.125, 'u': 0.5}
    begun, = graph.entries(BEGIN)
    assert begun.node_values['before']['/beta'] == {'w': 0.125}
    assert begun.node_values['after']['/beta'] == {'w': 0.25}
    graph.until(lambda _: graph.entries(END))
    ended, = graph.entries(END)
    assert not ended.ok and 'too much for me' in ended.why


def test_what_was_outside_of_its_range_does_not_come_back_after_a_refusal(graph):
    graph.begin('v', 1.5)
    graph.begin_others('u')
    graph.begin('w', 0.125, refuse={'w': 0.2})
    graph.adapt()
    graph.until(lambda _: graph.level == 2)
    assert 'too much for me' in graph.message
    kept = {'v': CHOSEN['v'], 'w': 0.125, 'u': 0.5}
    assert graph.configuration() == kept == json.loads(graph.values['configuration'])


@pytest.mark.parametrize('crash', [False, True])
def test_a_node_dies_in_mid_change_and_gets_its_values_when_it_is_back(graph, crash):
    graph.begin_others('v', 'u')
    dying = graph.begin('w', die=['w'], crash=crash)
    graph.adapt()
    assert dying.wait(30.0) == 0
    graph.until(lambda v: '/beta' in v.get('waiting', ''))
    assert (graph.has('v'), graph.has('u')) == (0.2, 0.5)
    graph.begin('w', 0.375)
    graph.until_in_force(CHOSEN)
    record, = graph.until_told('restart')
    assert record.why == '/beta restarted'


def test_a_node_that_restarts_in_mid_change_did_not_refuse(graph, tmp_path):
    graph.begin('v', hold={'v': str(tmp_path / 'go')})
    graph.begin('w')
    graph.begin_others('u')
    graph.adapt()
    graph.until(lambda _: (tmp_path / 'go.held').exists() and graph.has('w') == 0.25)
    graph.end('w')
    graph.begin('w')
    graph.parameters.wait_for_nodes(['beta'], deadline=10.0)
    (tmp_path / 'go').touch()
    graph.until_in_force(CHOSEN)
    assert graph.values['quarantined'] == '0'
    record, = graph.until_told('restart')
    assert record.why == '/beta restarted'


def test_a_set_that_is_never_answered_is_bounded_and_undone_once_the_node_answers(
    graph, tmp_path
):
    graph.begin_others('v', 'u')
    graph.begin('w', hold={'w': str(tmp_path / 'go')})
    graph.adapt()
    graph.until(lambda v: 'waits for an answer of /beta' in v.get('waiting', ''))
    assert (graph.has('v'), graph.has('u')) == (0.2, 0.5)
    # It hangs with what we sent: that is done only now, and must not stay.
    (tmp_path / 'go').touch()
    graph.until(lambda v: settled(v) and v['waiting'] == '')
    assert graph.configuration() == INITIAL
    assert graph.records('foreign change') == []
    graph.until(lambda _: graph.entries(END))
    ended, = graph.entries(END)
    assert not ended.ok and 'restored later' in ended.why
    assert graph.call('resume').success
    graph.until_in_force(CHOSEN)


def test_a_change_waits_for_a_locked_store_and_a_rollback_does_not(robot):
    robot.adapt()
    robot.until_in_force(CHOSEN)
    other = sqlite3.connect(robot.store, isolation_level=None)
    other.execute('begin exclusive')
    robot.end('w')
    robot.begin('w')
    robot.until(lambda v: v['waiting'].startswith('waits for the store'))
    assert robot.level == 1
    assert robot.has('w') == 0.5
    # Safety does not wait.
    assert robot.call('rollback').success
    robot.until_in_force(INITIAL)
    other.execute('rollback')
    other.close()
    told, = (r for r in robot.until_told('rollback', 2) if 'not be noted' in r.effect)
    assert (told.configuration, told.effect.split(';')[0]) == (INITIAL, 'applied')
    assert robot.until_told('restart')


# --- the adapter is killed -----------------------------------------------------------------------


@pytest.mark.parametrize('place', ['begin', 'end'])
def test_killed_before_the_first_or_after_the_last_set_it_starts_from_what_was(
    robot, place
):
    adapter = robot.adapt(place)
    robot.until(lambda _: robot.held.exists())
    present = {name: robot.has(name) for name in CHOSEN}
    assert present == (INITIAL if place == 'begin' else CHOSEN)
    robot.kill(adapter)
    robot.adapt()
    robot.until_in_force(CHOSEN)
    check_recovery(robot, 'nothing was left' if place == 'begin' else 'restored /')


def test_killed_after_the_first_node_it_starts_from_what_was(graph, tmp_path):
    graph.begin_others('v', 'u')
    graph.begin('w', hold={'w': str(tmp_path / 'go')})
    adapter = graph.adapt()
    graph.until(lambda _: (tmp_path / 'go.held').exists() and graph.has('v') == 0.5)
    graph.kill(adapter)
    (tmp_path / 'go').touch()
    graph.adapt()
    graph.until_in_force(CHOSEN)
    check_recovery(graph, 'restored /')


def check_recovery(graph, effect):
    record, = graph.until_told('recovery')
    assert effect in record.effect, record
    assert record.configuration == INITIAL
    graph.until(lambda _: len(graph.entries(END)) == 2)
    assert [entry.ok for entry in graph.entries(END)] == [False, True]
    assert graph.records('start')[-1].configuration == INITIAL


def test_what_others_did_to_a_half_done_change_is_theirs(robot):
    adapter = robot.adapt('end')
    robot.until(lambda _: robot.held.exists())
    robot.kill(adapter)
    robot.parameters.set('gamma', {'u': 0.625})
    robot.adapt()
    robot.until_in_force(CHOSEN)
    record, = robot.until_told('recovery')
    assert record.configuration == {'v': 0.2, 'w': 0.5, 'u': 0.625}


# --- apply mode restart --------------------------------------------------------------------------


def test_a_lifecycle_node_is_configured_anew(graph):
    graph.begin_others('v', 'u')
    graph.begin('w', lifecycle=True)
    graph.adapt(w_mode='restart', lifecycle=True)
    graph.until_in_force(CHOSEN)
    assert graph.get('beta', 'used.w') == 0.25
    assert (graph.records('restart'), graph.records('foreign change')) == ([], [])


def test_a_lifecycle_node_that_does_not_configure_gets_its_old_values(graph):
    graph.begin_others('v', 'u')
    graph.begin('w', 0.125, lifecycle=True, refuse_configure={'w': 0.2})
    graph.adapt(w_mode='restart', lifecycle=True)
    graph.until(lambda _: graph.level == 2)
    assert 'does not configure' in graph.message
    assert graph.configuration() == {'v': 0.2, 'w': 0.125, 'u': 0.5}
    assert graph.get('beta', 'used.w') == 0.125
    assert graph.values['quarantined'] == '1'


def test_a_node_with_a_hook_is_restarted(graph, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    pid = tmp_path / 'pid'
    first = graph.begin('w')
    pid.write_text(str(first.pid))
    graph.begin_others('v', 'u')
    hook = [sys.executable, str(HERE / 'restart_node.py'), str(pid), '{parameters}', 'beta',
            json.dumps({'w': 0.5})]
    try:
        graph.adapt(w_mode='restart', restart=tuple(hook))
        graph.until_in_force(CHOSEN)
        assert first.wait(10.0) == 0
        assert (graph.records('restart'), graph.records('foreign change')) == ([], [])
    finally:
        if pid.read_text() != str(first.pid):
            os.kill(int(pid.read_text()), signal.SIGTERM)


def test_without_a_way_to_restart_it_is_refused(robot):
    robot.adapt(w_mode='restart')
    robot.until(lambda _: robot.level == 2)
    assert 'w can only be set by a restart of /beta' in robot.message
    assert robot.configuration() == INITIAL
