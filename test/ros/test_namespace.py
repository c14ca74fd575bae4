# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for a stack whose nodes are all in one namespace."""

import pytest

pytest.importorskip('rclpy')

from tl_adapt.environments.stack import StackEnvironment  # noqa: E402

pytestmark = pytest.mark.ros


def in_namespace(content):
    environment = content['environments']['simulation']
    environment['namespace'] = '/robot1'
    for process in environment['bringup']:
        process['command'] = [*process['command'], '--ros-args', '-r', '__ns:=/robot1']
    environment['node_parameters'] = {'/robot1/world': {'slip': 0.2}, 'driver': {'beams': 16}}


def test_all_names_are_in_the_namespace(small_study):
    study = small_study(in_namespace)
    environment = StackEnvironment(study, 'simulation')
    try:
        configuration = {**study.space.default(), 'bias': 2.0, 'horizon': 7}
        measurement = environment.measure(configuration, 5)
        as_is = environment.measure(None, 5)
    finally:
        environment.close()
    for result in (measurement, as_is):
        assert (result.valid, result.reason) == (True, '')
        assert set(result.metrics) == set(study.metrics)
        parameters = result.provenance['parameters']
        assert set(parameters) == {'/robot1/world', '/robot1/driver'}
        # A restart of its process; an element of an array; what is not tuned.
        assert parameters['/robot1/driver']['horizon'] == 7
        assert parameters['/robot1/driver']['gains'] == [1.0, 2.0]
        assert parameters['/robot1/driver']['beams'] == 16
        assert parameters['/robot1/world']['slip'] == 0.2
    assert as_is.configuration == configuration
