# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for the main function that the nodes share."""

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip('rclpy')

from tl_adapt.errors import InputError  # noqa: E402
from tl_adapt.ros.node_main import run_node  # noqa: E402

CODE = '''
import sys
from rclpy.node import Node
from tl_adapt.ros.node_main import run_node

class Small(Node):
    def __init__(self):
        super().__init__('small')
        self.declare_parameter('size', 1)
        self.create_timer(0.0, self.tell)

    def tell(self):
        print('spins', flush=True)
        if 'fail' in sys.argv:
            raise ZeroDivisionError('a defect')

sys.exit(run_node(Small, sys.argv))
'''


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, '-c', CODE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(ros_domain, number):
    with start() as process:
        assert process.stdout.readline() == 'spins\n'
        process.send_signal(number)
        _, errors = process.communicate(timeout=20.0)
    assert (process.returncode, errors) == (0, '')


def test_a_defect_keeps_its_traceback(ros_domain):
    with start('fail') as process:
        _, errors = process.communicate(timeout=20.0)
    assert process.returncode == 1
    assert 'ZeroDivisionError: a defect' in errors


def test_a_parameter_of_the_wrong_type_is_one_line(ros_domain):
    with start('--ros-args', '-p', 'size:=large') as process:
        _, errors = process.communicate(timeout=20.0)
    assert process.returncode == 2
    assert errors.startswith('tl_adapt: error: ')
    assert 'size' in errors
    assert 'Traceback' not in errors


def test_an_error_for_the_user_is_one_line(ros_domain, capsys):
    def refuse():
        raise InputError('must be given', key='study')

    assert run_node(refuse, []) == 2
    assert capsys.readouterr().err == 'tl_adapt: error: study: must be given\n'
