# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of `tl_adapt doctor`, and of what it finds out."""

import importlib.machinery
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from tl_adapt import cli, diagnosis
from tl_adapt.diagnosis import Finding, diagnose
from tl_adapt.errors import TlAdaptError

ROS = (
    'AMENT_PREFIX_PATH', 'GZ_CONFIG_PATH', 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_DISCOVERY_SERVER',
    'ROS_DISTRO', 'ROS_DOMAIN_ID', 'ROS_LOCALHOST_ONLY', 'TL_ADAPT_GAZEBO',
)


@pytest.fixture(autouse=True)
def shell(monkeypatch, tmp_path):
    """Be in a shell where no ROS is sourced, with an empty cache."""
    for name in ROS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(diagnosis, 'run_child', lambda command, deadline: (
        subprocess.CompletedProcess(command, 0, 'rmw_some_cpp\n', '')
    ))


@pytest.fixture
def modules(monkeypatch):
    """Make the modules importable that a test puts here, {name: folder}, and no others."""
    there = {}

    def find(name):
        if name not in there:
            return None
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations.append(str(there[name]))
        return spec

    monkeypatch.setattr(diagnosis.importlib.util, 'find_spec', find)
    return there


@pytest.fixture
def versions(monkeypatch):
    """Install the distributions that a test puts here, {name: version}, and no others."""
    there = dict.fromkeys(diagnosis._LIBRARIES, '1.0')
    monkeypatch.setattr(diagnosis, '_version', lambda name: there.get(name, ''))
    return there


def found():
    return {finding.name: finding for finding in diagnose()}


def test_a_bare_machine_gets_the_command_for_each_piece(modules, versions, monkeypatch):
    versions.clear()
    monkeypatch.setenv('PATH', '/nowhere')
    findings = found()
    for name in set(findings) - {'Python', 'discovery', 'middleware'}:
        assert findings[name].state == 'missing', name
        assert findings[name].command, name
    assert [name for name, finding in findings.items() if finding.stops] == [
        'libraries', 'ROS 2', 'MuJoCo'
    ]
    assert findings['MuJoCo'].command == 'pip install mujoco'
    assert findings['Gazebo classic'].command == 'make gazebo'
    assert findings['tf2_msgs'].command == 'make interfaces'
    assert findings['g++'].command == 'apt install g++'


@pytest.mark.parametrize('distribution, gazebo, messages', [
    ('humble', 'apt install ros-humble-gazebo-ros-pkgs', 'apt install ros-humble-gazebo-msgs'),
    ('jazzy', 'make gazebo', 'make interfaces'),
])
def test_a_sourced_ros_gets_its_own_packages(
    modules, versions, monkeypatch, tmp_path, distribution, gazebo, messages
):
    prefix = tmp_path / 'opt/ros'
    for package in ('ros_gz_bridge', 'gazebo_ros'):
        listed = prefix / 'share/ament_index/resource_index/packages' / package
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.touch()
    monkeypatch.setenv('PATH', '/nowhere')
    monkeypatch.setenv('ROS_DISTRO', distribution)
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/none:{prefix}')
    modules.update(rclpy=prefix / 'rclpy', tf2_msgs=prefix / 'lib/python3/tf2_msgs')
    findings = found()
    assert findings['ROS 2'] == Finding('ROS 2', 'found', distribution)
    assert findings['middleware'].detail == 'rmw_some_cpp'
    assert findings['tf2_msgs'].detail.startswith(f'ROS {distribution}, ')
    assert findings['nav2_msgs'].command == f'apt install ros-{distribution}-nav2-msgs'
    assert findings['gazebo_msgs'].command == messages
    assert findings['Gazebo classic'].command == gazebo
    assert findings['gazebo_ros'].detail == str(prefix)
    assert findings['modern Gazebo'].detail == 'ros_gz only'
    assert findings['launch'].command == f'apt install ros-{distribution}-launch-ros'


def test_where_interfaces_come_from(modules, versions, tmp_path):
    modules.update(
        tf2_msgs=os.path.join(sys.prefix, 'lib/tf2_msgs'), nav2_msgs=tmp_path / 'nav2_msgs'
    )
    findings = found()
    assert findings['tf2_msgs'].detail == "this Python's environment"
    assert findings['nav2_msgs'].detail == str(tmp_path / 'nav2_msgs')


def test_a_ros_that_is_sourced_for_another_python_is_broken(modules, versions, monkeypatch):
    modules['rclpy'] = '/opt/ros/rclpy'
    monkeypatch.setattr(diagnosis, 'run_child', lambda command, deadline: (
        subprocess.CompletedProcess(command, 1, '', "Traceback\nNo module named '_rclpy'\n")
    ))
    middleware = found()['middleware']
    assert middleware.stops and "No module named '_rclpy'" in middleware.detail
    assert 'Python' in middleware.command


def test_a_middleware_that_is_not_installed_is_named(modules, versions, monkeypatch):
    modules['rclpy'] = '/x/rclpy'
    monkeypatch.setattr(diagnosis, 'run_child', lambda command, deadline: (
        subprocess.CompletedProcess(command, 1, '', 'librmw_fastrtps_cpp.so: no such file')
    ))
    assert found()['middleware'].command == 'pip install ros-rmw-fastrtps-cpp'
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    assert found()['middleware'].command == 'apt install ros-jazzy-rmw-fastrtps-cpp'


@pytest.mark.parametrize('variables, state, text', [
    ({}, 'found', 'domain 0 (default), range SUBNET (default)'),
    ({'ROS_DOMAIN_ID': '7', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'OFF'}, 'found',
     'domain 7, range OFF'),
    ({'ROS_LOCALHOST_ONLY': '1'}, 'found', 'domain 0 (default), this machine only'),
    ({'ROS_DISCOVERY_SERVER': 'a:1'}, 'found', 'discovery server a:1'),
    ({'ROS_DOMAIN_ID': '-1'}, 'broken', "got '-1'"),
    ({'ROS_DOMAIN_ID': '233'}, 'broken', "got '233'"),
    ({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'WORLD'}, 'broken', "got 'WORLD'"),
])
def test_discovery_is_that_of_the_shell(variables, state, text, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    discovery = found()['discovery']
    assert discovery.state == state and text in discovery.detail


@pytest.mark.parametrize('version, state', [
    ('3.0.9', 'broken'), ('2.3', 'broken'), ('3.1.0', 'found'), ('4.0.0rc1', 'found'),
    ('4', 'found'),
])
def test_an_old_mujoco_does_not_do(version, state, versions):
    versions['mujoco'] = version
    assert found()['MuJoCo'].state == state


def test_modern_gazebo_is_found_by_its_files(tmp_path, monkeypatch):
    program = tmp_path / 'bin/gz'
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', str(program.parent))
    assert found()['modern Gazebo'].state == 'missing'  # classic has a `gz`, too
    share = tmp_path / 'share/gz'
    share.mkdir(parents=True)
    (share / 'sim8.yaml').write_text('---\nformat: 1.0.0\nlibrary_version: 8.9.0\n')
    (share / 'sim9.yaml').write_text('')
    modern = found()['modern Gazebo']
    assert modern.state == 'found' and modern.detail == 'gz sim 8.9.0, sim9, no ros_gz'
    assert 'ros-gz' in modern.command


def test_a_broken_gazebo_is_told_and_stops_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv('TL_ADAPT_GAZEBO', str(tmp_path))
    gazebo = found()['Gazebo classic']
    assert gazebo.state == 'broken' and 'no usr/bin/gzserver' in gazebo.detail
    assert not gazebo.stops


@pytest.mark.parametrize('error', [RuntimeError('odd'), TlAdaptError('clear'), KeyError()])
def test_a_check_that_fails_costs_only_itself(error, monkeypatch):
    def fail(name):
        raise error

    monkeypatch.setitem(diagnosis._CHECKS, 'MuJoCo', fail)
    findings = found()
    assert findings['MuJoCo'].state == 'broken'
    assert list(findings) == list(diagnosis._CHECKS)
    assert findings['Python'].state == 'found'


def test_a_check_that_hangs_is_unknown(monkeypatch):
    forever = threading.Event()
    monkeypatch.setitem(diagnosis._CHECKS, 'MuJoCo', lambda name: forever.wait())
    began = time.monotonic()
    findings = {finding.name: finding for finding in diagnose(0.5)}
    assert time.monotonic() - began < 3.0
    assert findings['MuJoCo'] == Finding('MuJoCo', 'unknown', 'not found out in 0.5 s')
    assert not findings['MuJoCo'].stops
    forever.set()


def test_the_table_has_each_finding_and_its_command(monkeypatch, capsys):
    monkeypatch.setattr('tl_adapt.verbs.doctor.diagnose', lambda: [
        Finding('one', 'found', '1.2', 'never shown'),
        Finding('two', 'missing', 'needed for x', 'apt install two'),
        Finding('three', 'missing', '', 'apt install three'),
    ])
    assert cli.main(['doctor']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        'one    found    1.2', 'two    missing  needed for x -> apt install two',
        'three  missing  apt install three',
    ]


@pytest.mark.parametrize('state, code', [
    ('found', 0), ('missing', 2), ('broken', 2), ('unknown', 0),
])
def test_what_the_demo_needs_decides_the_exit_code(state, code, monkeypatch, capsys):
    finding = Finding('one', state, 'why', 'command', required=True)
    monkeypatch.setattr('tl_adapt.verbs.doctor.diagnose', lambda: [finding])
    assert cli.main(['doctor', '--json']) == code
    said = capsys.readouterr()
    assert json.loads(said.out) == {'ready': code == 0, 'findings': [
        {'name': 'one', 'state': state, 'detail': 'why', 'command': 'command', 'required': True}
    ]}
    assert said.err == ('tl_adapt: error: the demo can not run here: one: why\n' if code else '')


def test_the_command_runs_where_ros_can_not_be_imported(tmp_path):
    (tmp_path / 'rclpy.py').write_text("raise ImportError('no rclpy in this test')\n")
    root = os.path.dirname(os.path.dirname(diagnosis.__file__))
    ended = subprocess.run(
        [sys.executable, '-m', 'tl_adapt', 'doctor'], timeout=60.0, capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{root}'}, cwd=tmp_path,
    )
    assert 'Traceback' not in ended.stderr
    # On a machine that is very busy this may not be found out in time.
    assert 'no rclpy in this test' in ended.stdout or 'not found out' in ended.stdout
    assert ended.returncode == 2 or 'not found out' in ended.stdout
