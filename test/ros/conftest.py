# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests over real ROS processes."""

import threading
import time

import pytest
import yaml


@pytest.fixture
def wait_until():
    """Wait until a condition holds; fail at the deadline."""

    def wait(condition, deadline=10.0):
        end = time.monotonic() + deadline
        while not condition():
            assert time.monotonic() < end, f'not within {deadline} s'
            time.sleep(0.01)

    return wait


@pytest.fixture
def graph(ros_domain):
    """Make nodes in a graph of their own; they are spun by a thread."""
    rclpy = pytest.importorskip('rclpy')
    from rclpy.executors import MultiThreadedExecutor

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    executor = MultiThreadedExecutor(2, context=context)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()

    def make(name, **options):
        node = rclpy.create_node(name, context=context, **options)
        executor.add_node(node)
        return node

    yield make
    executor.shutdown(timeout_sec=2.0)
    thread.join(5.0)
    rclpy.shutdown(context=context)


PYTHON = ['{python}', '-m', 'tl_adapt.testing.nodes']


def stack_study():
    """Return the content of a study of the small stack in tl_adapt.testing.nodes."""
    return {
        'version': 1,
        'name': 'small',
        'parameters': {
            'speed': {
                'type': 'double', 'range': [0.1, 1.0], 'default': 0.5,
                'targets': [{'node': 'driver', 'apply': 'live'}],
            },
            'bias': {
                'type': 'double', 'range': [0.0, 5.0], 'default': 0.0,
                'targets': [{'node': 'driver', 'name': 'gains', 'index': 1, 'apply': 'idle'}],
            },
            'horizon': {
                'type': 'int', 'range': [1, 9], 'default': 4,
                'targets': [{'node': 'driver', 'apply': 'restart'}],
            },
            'behaviour': {
                'type': 'string', 'default': 'reach',
                'choices': [
                    'reach', 'die', 'idle', 'deaf', 'abort', 'not_a_number', 'collide', 'freeze',
                ],
                'targets': [{'node': 'driver', 'apply': 'live'}],
            },
        },
        'metrics': {
            'mission_time': {'reduction': 'time_to_goal', 'unit': 's', 'direction': 'minimize'},
            'error': {
                'reduction': 'pose_error', 'topic': 'pose', 'reference': 'ground_truth',
                'unit': 'm', 'direction': 'minimize',
            },
            'energy': {
                'reduction': 'integral', 'topic': 'battery_state', 'field': '-voltage * current',
                'unit': 'J', 'direction': 'minimize',
            },
            'cpu': {
                'reduction': 'cpu', 'nodes': ['driver'], 'unit': 's/s', 'direction': 'minimize',
            },
            'success': {
                'reduction': 'success', 'unit': '1', 'direction': 'maximize', 'failed': 0.0,
            },
        },
        'objectives': [{'metric': 'mission_time', 'weight': 1.0, 'reference': 1.0}],
        'mission': {
            'start': [0.25, 0.0, 0.0],
            'goals': [[2.0, 0.0, 0.0]],
            'timeout': 30.0,
            'wall_timeout': 10.0,
            'initialpose_topic': 'initialpose',
            'result_topic': 'driver/result',
            'fail_when': [
                {'topic': 'collision', 'field': 'data', 'op': '>=', 'value': 1,
                 'reason': 'collision'},
            ],
            'seed_targets': [
                {'node': 'world', 'name': 'seed'}, {'node': 'driver', 'name': 'seed'},
            ],
        },
        'environments': {
            'simulation': {
                'kind': 'stack',
                'role': 'source',
                'cost': 2.0,
                'bringup': [
                    {'name': 'world', 'command': [*PYTHON, 'world'], 'nodes': ['world']},
                    {'name': 'driver', 'command': [*PYTHON, 'driver'], 'nodes': ['driver']},
                ],
                'simulator': {
                    'node': 'world', 'pause': 'pause_physics', 'unpause': 'unpause_physics',
                    'reset': 'reset_simulation',
                    'stall_timeout': 30.0,  # it waits for a frozen driver as long as that takes
                },
                'node_parameters': {'world': {'slip': 0.2}, 'driver': {'beams': 16}},
            },
        },
    }


@pytest.fixture(scope='session')
def small_study(tmp_path_factory):
    """Make studies of the small stack: `small_study(change)`, where `change` edits the content."""
    from tl_adapt.study import load_study

    def make(change=lambda content: None):
        content = stack_study()
        change(content)
        path = tmp_path_factory.mktemp('study') / 'small.yaml'
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return load_study(path)

    return make
