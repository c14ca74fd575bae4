# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for what goes on after errors: the adapter's executor, and how it is configured."""

import types

import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip('rclpy')

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue  # noqa: E402
from rcl_interfaces.srv import SetParameters  # noqa: E402
from rclpy.executors import ExternalShutdownException  # noqa: E402
from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402

from tl_adapt.errors import InputError  # noqa: E402
from tl_adapt.ros.enduring import EnduringExecutor, Repeats, one_line  # noqa: E402
from tl_adapt.ros.nodes.adapter import Adapter  # noqa: E402


@pytest.fixture
def context(ros_domain):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    yield context
    rclpy.try_shutdown(context=context)


def test_a_malformed_request_is_logged_and_the_next_one_is_answered(context):
    said = []
    node = rclpy.create_node('small', context=context)
    node.declare_parameter('size', 1)
    executor = EnduringExecutor(said.append, context=context)
    executor.add_node(node)
    client = node.create_client(SetParameters, '/small/set_parameters')

    def ask(value):
        request = SetParameters.Request(parameters=[Parameter(name='size', value=value)])
        return client.call_async(request)

    def spin(condition):
        for _ in range(400):
            if condition():
                return
            executor.spin_once(timeout_sec=0.05)
        raise AssertionError(said)

    spin(client.service_is_ready)
    for _ in range(2):
        ask(ParameterValue(type=77))
    spin(lambda: said)
    answer = ask(ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=2))
    spin(answer.done)
    assert answer.result().results[0].successful
    assert node.get_parameter('size').value == 2
    (text,) = said
    assert text.startswith('a callback failed: ValueError: ') and '\n' not in text
    executor.shutdown()
    node.destroy_node()


def test_an_executor_ends_with_its_context(context):
    executor = EnduringExecutor(lambda text: None, context=context)
    executor.add_node(rclpy.create_node('small', context=context))
    rclpy.shutdown(context=context)
    with pytest.raises((ExternalShutdownException, RuntimeError)):
        executor.spin_once(timeout_sec=1.0)


def test_an_error_is_new_once_and_again_after_long():
    now = [0.0]
    repeats = Repeats(lambda: now[0])
    assert [repeats.new(text) for text in 'abab'] == [True, True, False, False]
    now[0] = 50.0
    assert not repeats.new('a')
    now[0] = 100.0
    assert (repeats.new('a'), repeats.new('b')) == (False, True)
    for number in range(1000):
        repeats.new(str(number))
    assert repeats.new('a'), 'not all are remembered for ever'


@pytest.mark.parametrize(('error', 'text'), [
    (InputError('must be given', key='study'), 'study: must be given'),
    (OverflowError('cannot convert\nfloat'), 'OverflowError: cannot convert float'),
    (KeyError(), 'KeyError'),
])
def test_whatever_goes_wrong_in_configure_is_one_line(error, text):
    said = []

    def fail():
        raise error

    node = types.SimpleNamespace(
        error='', _configure=fail, _clean_up=lambda: said.append('clean'),
        get_logger=lambda: types.SimpleNamespace(error=said.append),
    )
    node._configured = types.MethodType(Adapter._configured, node)
    assert Adapter.on_configure(node, None) is TransitionCallbackReturn.FAILURE
    assert (node.error, said) == (text, [text, 'clean'])


def test_one_line_names_an_error_without_a_text():
    assert one_line(ValueError()) == 'ValueError'
