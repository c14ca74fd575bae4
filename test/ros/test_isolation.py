# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.ros.isolation."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from xml.etree import ElementTree

import psutil
import pytest

import tl_adapt
from tl_adapt.errors import TlAdaptError
from tl_adapt.ros import isolation
from tl_adapt.ros.isolation import (
    child_environment,
    gazebo_port,
    hold_domain,
    runtime_folder,
    spawn,
)


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def three_domains(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(tmp_path))
    monkeypatch.setattr(isolation, 'LAST_DOMAIN', isolation.FIRST_DOMAIN + 2)


def test_every_holder_gets_another_domain(three_domains):
    held = [hold_domain() for _ in range(3)]
    assert sorted(domain.id for domain in held) == [60, 61, 62]
    with pytest.raises(TlAdaptError, match='no ROS domain id from 60 to 62 is free'):
        hold_domain(deadline=0.0)
    held[1].close()
    held[1].close()
    with hold_domain(deadline=0.0) as domain:
        assert domain.id == held[1].id
    for domain in held:
        domain.close()


def test_a_killed_holder_gives_its_domain_back(three_domains):
    code = (
        'import time\n'
        'from tl_adapt.ros import isolation\n'
        'isolation.LAST_DOMAIN = 62\n'
        'held = [isolation.hold_domain() for _ in range(3)]\n'
        'print(1, flush=True)\n'
        'time.sleep(60)\n'
    )
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(TlAdaptError):
            hold_domain(deadline=0.0)
        other.kill()
    hold_domain(deadline=5.0).close()


def test_environment_and_folder(three_domains, monkeypatch):
    names = {
        'humble': 'FASTRTPS_DEFAULT_PROFILES_FILE', 'kilted': 'FASTDDS_DEFAULT_PROFILES_FILE'
    }
    for name in names.values():
        monkeypatch.delenv(name, raising=False)
    with hold_domain() as domain:
        for distribution, name in names.items():
            monkeypatch.setenv('ROS_DISTRO', distribution)
            variables = domain.environment()
            assert ElementTree.parse(variables[name]).getroot().tag.endswith('profiles')
            assert len(variables) == 8
        monkeypatch.setenv(names['humble'], 'mine.xml')
        assert domain.environment() == {
            'ROS_DOMAIN_ID': str(domain.id),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'ROS_LOCALHOST_ONLY': '1',
            'GAZEBO_MASTER_URI': f'http://127.0.0.1:{gazebo_port(domain.id)}',
            'GAZEBO_IP': '127.0.0.1',
            'GZ_PARTITION': f'tl_adapt_{os.getuid()}_{domain.id}',
            'IGN_PARTITION': f'tl_adapt_{os.getuid()}_{domain.id}',
        }
    assert stat.S_IMODE(runtime_folder().stat().st_mode) == 0o700


def test_spawned_child_outlives_the_thread_that_asked_for_it():
    children = []
    thread = threading.Thread(target=lambda: children.append(spawn(['sleep', '60'])))
    thread.start()
    thread.join()
    assert children[0].poll() is None
    assert os.getsid(children[0].pid) == children[0].pid
    children[0].kill()
    children[0].wait()


def test_spawned_child_ends_with_a_killed_parent(wait_until):
    code = (
        'import time\n'
        'from tl_adapt.ros.isolation import spawn\n'
        'print(spawn(["sleep", "60"]).pid, flush=True)\n'
        'time.sleep(60)\n'
    )
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: gone(child))


def test_a_child_imports_the_same_package(monkeypatch, tmp_path):
    monkeypatch.setenv('PYTHONPATH', '/elsewhere')
    environment = child_environment({'ROS_DOMAIN_ID': '61'})
    assert environment['ROS_DOMAIN_ID'] == '61'
    assert environment['PATH'] == os.environ['PATH']
    assert environment['PYTHONPATH'].split(os.pathsep)[1:] == ['/elsewhere']
    code = 'import tl_adapt; print(tl_adapt.__file__)'
    shown = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path, env=environment, text=True, check=True,
        stdout=subprocess.PIPE,
    ).stdout
    assert shown.strip() == tl_adapt.__file__
    monkeypatch.delenv('PYTHONPATH')
    assert os.pathsep not in child_environment()['PYTHONPATH']


def test_a_domain_whose_gazebo_port_is_taken_is_left_alone(monkeypatch):
    monkeypatch.setattr(isolation, 'FIRST_DOMAIN', 100)
    monkeypatch.setattr(isolation, 'LAST_DOMAIN', 101)
    with socket.socket() as taken:
        with hold_domain(deadline=10.0) as first:
            number = first.id
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(('127.0.0.1', gazebo_port(number)))
        taken.listen()
        with hold_domain(deadline=10.0) as other:
            assert other.id != number
