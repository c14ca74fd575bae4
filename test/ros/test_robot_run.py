# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the robot to see the adapter at work with, without the robot."""

import argparse
import threading
import time
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue  # noqa: E402
from small_study import write  # noqa: E402

from tl_adapt.demo.adaptation_run import changed_environment, injected, watching  # noqa: E402
from tl_adapt.demo.robot_run import drive, run  # noqa: E402
from tl_adapt.errors import InputError  # noqa: E402
from tl_adapt.study import load_study  # noqa: E402


class Adapters:
    """Publish what adapters say, each from a node of its own."""

    def __init__(self, domain):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = None

    def start(self, windows):
        self.end()
        self.node = rclpy.create_node('adapter', context=self.context)
        self.output = self.node.create_publisher(DiagnosticArray, '~/status', 10)
        self.windows = windows

    def say(self):
        values = {'settled': 'true', 'windows': str(self.windows)}
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        text = f'{self.windows} windows'
        self.output.publish(DiagnosticArray(status=[DiagnosticStatus(message=text, values=pairs)]))

    def end(self):
        if self.node is not None:
            self.node.destroy_node()
            self.node = None


@pytest.fixture
def adapters(ros_domain):
    adapters = Adapters(ros_domain)
    yield adapters
    adapters.end()
    rclpy.shutdown(context=adapters.context)


@pytest.fixture
def watch(ros_domain):
    with watching({'ROS_DOMAIN_ID': str(ros_domain)}) as watch:
        yield watch


def met(adapters, watch):
    """Let the watch hear the adapter's last word."""

    def heard():
        adapters.say()
        return watch.present() and watch.message == f'{adapters.windows} windows'
    end = time.monotonic() + 10.0
    while not heard():
        assert time.monotonic() < end
        with watch._changed:
            watch._changed.wait(0.05)


def driven(watch, missions, measure, ended=None):
    """Drive, and return how long that took in s, and what was driven."""
    begun, seeds = time.monotonic(), []

    def each(_, seed):
        seeds.append(seed)
        measure(len(seeds))
        return SimpleNamespace(valid=True)

    drive(
        argparse.Namespace(missions=missions, change_after=0),
        SimpleNamespace(seeds=SimpleNamespace(evaluation=1)), 'robot', {},
        SimpleNamespace(measure=each), watch, ended or threading.Event(),
    )
    return time.monotonic() - begun, len(seeds)


def test_an_adapter_that_was_restarted_is_waited_for_no_longer_than_it_takes(
    adapters, watch, capsys
):
    adapters.start(7)
    met(adapters, watch)

    def measure(mission):
        if mission == 2:
            adapters.start(0)
        else:
            adapters.windows += 1
        met(adapters, watch)

    seconds, missions = driven(watch, 4, measure)
    assert (seconds < 15.0, missions) == (True, 4)
    told = [line.rpartition('adapter: ')[2] for line in capsys.readouterr().out.splitlines()[1:]]
    assert told == ['8 windows', '0 windows', '1 windows', '2 windows']


def test_an_adapter_that_has_ended_is_not_waited_for(adapters, watch, capsys):
    adapters.start(0)
    met(adapters, watch)

    def measure(mission):
        if mission == 1:
            adapters.end()

    seconds, missions = driven(watch, 2, measure)
    assert (seconds < 15.0, missions) == (True, 2)
    assert capsys.readouterr().out.splitlines()[-1].endswith('adapter: not there')


def test_ctrl_c_ends_the_waiting(adapters, watch):
    ended = threading.Event()
    clock = threading.Timer(0.2, ended.set)
    clock.start()
    seconds, missions = driven(watch, 0, None, ended)  # for an adapter
    assert (seconds < 5.0, missions) == (True, 0)
    adapters.start(0)
    met(adapters, watch)
    ended.clear()

    def measure(_):
        threading.Timer(0.2, ended.set).start()

    seconds, missions = driven(watch, 0, measure, ended)  # for it to judge the mission
    assert (seconds < 5.0, missions) == (True, 1)


STUDY = '''
extends: demo
name: two
environments:
  changed_robot:
  as_before: {extra}
  heavier: {kind: stack, role: test, bringup: [], node_parameters: {simulator: {payload: 2.5}}}
'''
AS_BEFORE = '{kind: stack, role: test, bringup: [], node_parameters: {simulator: {payload: 1.2}}}'


def test_the_robot_becomes_the_first_environment_that_differs_from_it(tmp_path):
    study = load_study(write(tmp_path, STUDY.replace('{extra}', AS_BEFORE)))
    assert changed_environment(study).name == 'heavier'
    assert injected(study) == {'simulator': {'payload': 2.5}}
    assert changed_environment(study, 'heavier').name == 'as_before'
    assert injected(study, 'heavier') == {'simulator': {'payload': 1.2}}


def test_where_nothing_can_change_that_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '0')
    text = '\n'.join(STUDY.replace('{extra}', AS_BEFORE).splitlines()[:-1])
    path = write(tmp_path, text)
    arguments = argparse.Namespace(study=str(path), environment='', missions=1, change_after=1)
    with pytest.raises(InputError) as error:
        run(arguments, threading.Event())
    assert str(error.value) == (
        f'{path}: environments: none with the role test has other node_parameters than robot: '
        'nothing changes')
