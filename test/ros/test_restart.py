# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for setting what a node takes only by a restart, and for putting it back."""

import contextlib
import json
import os
import select
import signal
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

import rclpy  # noqa: E402
from fake_robot import FakeServer  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter as RosParameter  # noqa: E402

from tl_adapt.errors import MeasurementError  # noqa: E402
from tl_adapt.ros import restart  # noqa: E402
from tl_adapt.ros.apply import Applier  # noqa: E402
from tl_adapt.ros.inbox import Inbox  # noqa: E402
from tl_adapt.ros.lifecycle import Lifecycle  # noqa: E402
from tl_adapt.ros.parameters import ParameterClient  # noqa: E402
from tl_adapt.ros.restart import Hook, Restarts  # noqa: E402
from tl_adapt.ros.waiting import Waiter  # noqa: E402
from tl_adapt.space import Parameter, RosTarget, Space  # noqa: E402

HERE = Path(__file__).parent


def space(**modes):
    return Space([
        Parameter(name=name, type='double', low=0.0, high=1.0, default=0.5,
                  targets=(RosTarget(node='server', name=name, apply={'default': mode}),))
        for name, mode in modes.items()
    ])


class Rig:
    server = None

    def __init__(self, make):
        self.client = ParameterClient(make('adapter'))
        self.node = self.client._node

    def lifecycle(self, make, **options):
        parent = make('parent')
        self.server = FakeServer(
            'server', {'parameters': {'v': 0.25, 'w': 0.25}, **options}, context=parent.context)
        parent.executor.add_node(self.server)
        lifecycle = Lifecycle(
            self.node, ['/server'], Waiter(Inbox(self.node), lambda: None, 10.0))
        self.client.wait_for_nodes(['server'], deadline=10.0)
        restarts = Restarts(self.client, lifecycle=lifecycle, timeout=10.0)
        return Applier(space(v='live', w='restart'), self.client, restarts=restarts)

    def values(self):
        return self.client.get('server', ['v', 'w', 'used.v', 'used.w'])


@pytest.fixture
def rig(graph):
    rig = Rig(graph)
    yield rig
    rig.client.close()
    if rig.server is not None:
        rig.server.destroy_node()


BEFORE, AFTER = ({'/server': {'v': value, 'w': value}} for value in (0.25, 0.5))


def test_only_what_needs_it_is_a_restart(rig, graph):
    applier = rig.lifecycle(graph)
    assert applier.apply({'v': 0.5, 'w': 0.25}).ok
    assert rig.values() == {'v': 0.5, 'w': 0.25, 'used.v': 0.25, 'used.w': 0.25}
    assert applier.waits_for_idle({'v': 0.5, 'w': 0.5})
    assert not applier.waits_for_idle({'v': 0.75, 'w': 0.25})
    assert applier.apply({'v': 0.75, 'w': 0.5}).ok
    assert rig.values() == {'v': 0.75, 'w': 0.5, 'used.v': 0.75, 'used.w': 0.5}


def test_a_set_that_is_refused_while_it_is_down_brings_it_up_as_before(rig, graph):
    applier = rig.lifecycle(graph, refuse={'w': 0.3})
    outcome = applier.apply({'v': 0.75, 'w': 0.5})
    assert (outcome.ok, outcome.refused) == (False, True)
    assert 'too much for me' in outcome.reason
    assert rig.values() == {'v': 0.25, 'w': 0.25, 'used.v': 0.25, 'used.w': 0.25}
    assert rig.server._state_machine.current_state[1] == 'active'


@pytest.mark.parametrize('was_set', [False, True])
@pytest.mark.parametrize('configured', [False, True])
def test_a_restart_that_was_cut_short_is_undone(rig, graph, was_set, configured):
    applier = rig.lifecycle(graph)
    rig.server.trigger_deactivate()
    rig.server.trigger_cleanup()
    if was_set:
        rig.server.set_parameters([RosParameter(n, value=0.5) for n in ('v', 'w')])
    if configured:
        rig.server.trigger_configure()
    assert applier.disturbs_mission(BEFORE, AFTER)
    outcome = applier.put_back(BEFORE, AFTER)
    assert outcome.configuration == {'v': 0.25, 'w': 0.25}
    assert rig.values() == {'v': 0.25, 'w': 0.25, 'used.v': 0.25, 'used.w': 0.25}
    assert rig.server._state_machine.current_state[1] == 'active'


def test_what_is_not_in_the_space_is_not_put_back(rig, graph):
    applier = rig.lifecycle(graph)
    rig.server.set_parameters([RosParameter('v', value=0.5)])
    outcome = applier.put_back(
        {'/server': {'v': 0.25, 'used.v': 0.125}, '/other': {'x': 1.0}},
        {'/server': {'v': 0.5, 'used.v': 0.25}, '/other': {'x': 2.0}},
    )
    assert outcome.reason == 'restored /server v'
    assert rig.values()['used.v'] == 0.25


def test_a_node_whose_restart_was_cut_short_is_started(rig, tmp_path):
    pid = tmp_path / 'pid'
    command = (sys.executable, str(HERE / 'restart_node.py'), str(pid), '{parameters}', 'server',
               json.dumps({'v': 0.5, 'w': 0.5}))
    hook = Hook(command, tmp_path, tmp_path / 'server.yaml')
    restarts = Restarts(rig.client, hooks={'/server': hook}, timeout=60.0)
    applier = Applier(space(v='live', w='restart'), rig.client, restarts=restarts)
    try:
        applier.start_gone(BEFORE, AFTER)
        assert applier.put_back(BEFORE, AFTER).configuration == {'v': 0.25, 'w': 0.25}
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_file_of_parameters_holds_text_as_it_is(tmp_path):
    path = tmp_path / 'server.yaml'
    text = 'rød 🤖 "a\\b" \u2028 \x7f'
    restart._write(path, '/server', {'name': text, 'list': [text, 'b']})
    context = Context()
    rclpy.init(context=context, args=['--ros-args', '--params-file', str(path)])
    try:
        node = Node(
            'server', context=context, automatically_declare_parameters_from_overrides=True)
        assert node.get_parameter('name').value == text
        assert node.get_parameter('list').value == [text, 'b']
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


@pytest.mark.parametrize('script, why', [
    ('echo no such unit; exit 3', 'ended with exit status 3: no such unit'),
    ('sleep 30', 'did not end within 0.5 s'),
])
def test_a_command_that_fails_or_does_not_end_is_told(tmp_path, script, why):
    with pytest.raises(MeasurementError, match=why):
        restart._call(['/bin/sh', '-c', script], tmp_path, 0.5, threading.Event())


@pytest.mark.parametrize('trap', ['', 'trap "" TERM; '])
def test_a_command_that_runs_when_the_adapter_ends_is_ended_with_all_it_started(
    tmp_path, wait_until, monkeypatch, trap
):
    monkeypatch.setattr(restart, '_GRACE', 0.2)
    pid = tmp_path / 'pid'
    script = f'{trap}sleep 60 & echo $! > {pid}.new; mv {pid}.new {pid}; wait'
    hook = Hook(('/bin/sh', '-c', script), tmp_path, tmp_path / 'server.yaml')
    restarts = Restarts(None, hooks={'/server': hook}, timeout=60.0)
    values, errors = {'/server': {'v': 0.5}}, {}
    thread = threading.Thread(target=lambda: errors.update(restarts.give(values, values)))
    thread.start()
    wait_until(pid.exists)
    child = os.pidfd_open(int(pid.read_text()))
    try:
        restarts.stop()
        thread.join(10.0)
        assert 'was ended: the adapter ends' in errors['/server'].reason
        assert select.select([child], [], [], 5.0)[0], 'what it started still runs'
    finally:
        os.close(child)
    pid.unlink()
    assert 'the adapter ends' in restarts.give(values, values)['/server'].reason
    assert not pid.exists(), 'nothing begins any more'
