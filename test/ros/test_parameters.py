# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.ros.parameters over real services."""

import time

import pytest

pytest.importorskip('rclpy')

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult  # noqa: E402

from tl_adapt.ros.parameters import (  # noqa: E402
    Assignment,
    ParameterClient,
    ParameterError,
    assignments,
)
from tl_adapt.ros.values import coerce, from_message, to_message  # noqa: E402

pytestmark = pytest.mark.ros


def plain(value):
    return list(value) if hasattr(value, 'tolist') else value


@pytest.fixture
def nodes(graph):
    """Give a client and two nodes with parameters; what they are sent is in `calls`."""
    calls = []
    for name in ('navigator', 'localizer'):
        node = graph(name)
        node.declare_parameter('speed', 0.5, ParameterDescriptor(description='forward'))
        node.declare_parameter('samples', 3)
        node.declare_parameter('weights', [1.0, 2.0])
        node.declare_parameter('mode', 'fast')
        node.declare_parameter('on', False)

        def check(parameters, name=name):
            calls.append((name, {p.name: plain(p.value) for p in parameters}))
            bad = [p.name for p in parameters if p.value == 0.99]
            return SetParametersResult(successful=not bad, reason=f'{bad} too fast')

        node.add_on_set_parameters_callback(check)
    client = ParameterClient(graph('client'))
    client.wait_for_nodes(['navigator', 'localizer'], deadline=20.0)
    return client, calls


def test_read(nodes):
    client, _ = nodes
    assert client.get('navigator', ['speed', 'weights']) == {'speed': 0.5, 'weights': [1.0, 2.0]}
    assert {'speed', 'samples', 'weights', 'mode', 'on'} <= set(client.names('/navigator'))
    assert client.describe('navigator', ['speed'])['speed'].description == 'forward'
    snapshot = client.snapshot(['navigator', 'localizer'])
    assert set(snapshot) == {'/navigator', '/localizer'}
    assert snapshot['/localizer']['mode'] == 'fast'


def test_apply_sends_only_what_differs_and_restore_undoes_it(nodes):
    client, calls = nodes
    wanted = [
        Assignment('navigator', 'speed', 1),
        Assignment('navigator', 'samples', 3),
        Assignment('navigator', 'weights', 7, index=1),
        Assignment('localizer', 'samples', 4.0),
    ]
    before = client.apply(wanted)
    assert before == {
        '/navigator': {'speed': 0.5, 'weights': [1.0, 2.0]},
        '/localizer': {'samples': 3},
    }
    assert sorted(calls) == [
        ('localizer', {'samples': 4}),
        ('navigator', {'speed': 1.0, 'weights': [1.0, 7.0]}),
    ]
    assert client.apply(wanted) == {}
    client.set('navigator', {'speed': 0.5})
    calls.clear()
    assert client.restore(before) == {
        '/navigator': {'weights': [1.0, 2.0]}, '/localizer': {'samples': 3},
    }
    assert len(calls) == 2


def test_a_refusal_sets_nothing_anywhere(nodes):
    client, _ = nodes
    wanted = [
        Assignment('localizer', 'speed', 0.7),
        Assignment('navigator', 'speed', 0.99),
        Assignment('navigator', 'samples', 9),
    ]
    with pytest.raises(ParameterError, match=r"set of /navigator speed refused: \['speed'\] too"):
        client.apply(wanted)
    for node in ('navigator', 'localizer'):
        assert client.get(node, ['speed', 'samples']) == {'speed': 0.5, 'samples': 3}


@pytest.mark.parametrize(
    ('item', 'message'),
    [
        (Assignment('navigator', 'wings', 2), 'node /navigator has no parameter wings'),
        (Assignment('navigator', 'samples', 0.5), '/navigator samples is of type int, not 0.5'),
        (Assignment('navigator', 'on', 1), '/navigator on is of type bool, not 1'),
        (Assignment('navigator', 'weights', 1.0, index=2), 'has 2 elements, so there is none at'),
        (Assignment('navigator', 'speed', 1.0, index=0), 'is no array'),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_sent(nodes, item, message):
    client, calls = nodes
    with pytest.raises(ParameterError, match=message):
        client.apply([Assignment('localizer', 'speed', 0.6), item])
    assert calls == []


def test_a_node_that_changes_the_value_is_found_out(graph):
    from rclpy.parameter import Parameter

    node = graph('rounder')
    node.declare_parameter('speed', 0.5)
    node.add_pre_set_parameters_callback(
        lambda parameters: [Parameter(p.name, value=float(round(p.value))) for p in parameters]
    )
    client = ParameterClient(graph('client'))
    client.wait_for_nodes(['rounder'], deadline=20.0)
    with pytest.raises(ParameterError, match=r'not taken: set 0\.7, reads 1\.0'):
        client.set('rounder', {'speed': 0.7})


def test_two_nodes_of_one_name_and_none(graph, nodes):
    client, _ = nodes
    graph('localizer')
    end = time.monotonic() + 10
    while client.count('localizer') < 2 and time.monotonic() < end:
        time.sleep(0.01)
    with pytest.raises(ParameterError, match='2 nodes have the name /localizer'):
        client.get('localizer', ['speed'])
    client.deadline = 0.2
    with pytest.raises(ParameterError, match=r'node /ghost is not there \(ROS domain \d+\)'):
        client.get('ghost', ['speed'])


def test_a_node_that_never_answers(graph):
    import rclpy

    client = ParameterClient(graph('client'), deadline=20.0)
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node('mute', context=context)  # nobody spins it
        client.wait_for_nodes([node.get_name()], deadline=20.0)
        client.deadline = 0.3
        begun = time.monotonic()
        with pytest.raises(ParameterError, match=r'node /mute gave no answer within 0\.3 s'):
            client.get('mute', ['speed'])
        assert time.monotonic() - begun < 2.0
    finally:
        rclpy.shutdown(context=context)


def test_assignments_come_from_the_space(small_study):
    study = small_study()
    configuration = {**study.space.default(), 'bias': 2.0}
    found = {item.parameter: item for item in assignments(study.space, configuration)}
    assert found['bias'] == Assignment('driver', 'gains', 2.0, 1, 'idle', 'bias')
    assert found['horizon'].mode == 'restart'


@pytest.mark.parametrize(
    'value', [True, 3, 0.5, 'text', [True, False], [1, 2], [0.5, 1.5], ['a', 'b'], [b'\x01']]
)
def test_values_go_through_messages(value):
    back = from_message(to_message(value))
    assert back == value
    assert type(back) is type(value)


def test_types():
    assert coerce(2, 0.5) == 2.0 and isinstance(coerce(2, 0.5), float)
    assert coerce([1, 2], [0.5]) == [1.0, 2.0]
    with pytest.raises(TypeError):
        coerce('1', 1)
    with pytest.raises(TypeError):
        coerce(True, 1)
    with pytest.raises(TypeError):
        to_message({'a': 1})
