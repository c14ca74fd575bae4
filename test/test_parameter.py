# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_space import boolean, choice, double, integer, parameters

from tl_adapt.errors import InputError
from tl_adapt.space import Parameter, RosTarget


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda: double('v', 0.5, 0.1), 'v.range: low <= high must hold, got [0.5, 0.1]'),
        (lambda: double('v', 0.0, 1.0, log=True), 'v.range: low > 0 must hold on a log'),
        (lambda: double('v', 0, 1, 2), 'parameters.v.default: must be in [0.0, 1.0], got 2'),
        (lambda: double('v', 0, 1, math.nan), 'parameters.v.default: must be finite, got nan'),
        (lambda: double('v', 0, math.inf), 'parameters.v.range[1]: must be finite, got inf'),
        (lambda: double('v', 0, 1e200), 'parameters.v.range: a double must stay within'),
        (lambda: double('v', 1, 1.0000001), 'parameters.v.range: low and high must be equal or'),
        (lambda: double('v', 0, 1, 10**400), 'parameters.v.default: is far too large, got'),
        (lambda: double('v', 0, 1, -(10**5000)), "far too large, got 'a whole number of 16610 bi"),
        (lambda: integer('n', 0, 5, 1 << 1024), 'parameters.n.default: is far too large, got'),
        (lambda: double('v', 0, 1, 2**1023 - 1), 'parameters.v.default: must be in [0.0, 1.0]'),
        (lambda: double('v', 0, 1, True), 'parameters.v.default: must be a number, got True'),
        (lambda: double('v', 0, 1, '0.5'), 'parameters.v.default: must be a number'),
        (lambda: integer('n', 0, 2.5), 'parameters.n.range[1]: must be a whole number, got 2.5'),
        (lambda: integer('n', 0, 2**50), 'parameters.n.range: an int must stay within 2**40'),
        (lambda: integer('n', 0, 5, 6), 'parameters.n.default: must be in [0, 5], got 6'),
        (lambda: boolean('b', 1), 'parameters.b.default: must be true or false, got 1'),
        (lambda: Parameter('b', 'bool', 0, 1, default=True), 'parameters.b.range: a bool has no'),
        (lambda: Parameter('s', 'string', default='a'), 'parameters.s.choices: a string needs'),
        (lambda: choice('s', 'string', 'a', 'a'), 'parameters.s.choices: must not have one value'),
        (lambda: choice('s', 'string', 'a', 3), 'parameters.s.choices[1]: must be text, got 3'),
        (lambda: choice('s', 'string', 'a', True), 'put them in quotes), got True'),
        (lambda: choice('n', 'int', 1, 2, log=True), 'n.log: a log scale needs a range'),
        (lambda: Parameter('s', 'string', choices=('a',), default='b'), "one of a, got 'b'"),
        (lambda: Parameter('x', 'double', default=1.0), 'parameters.x: give either a range'),
        (
            lambda: Parameter('x', 'int', 0, 5, (1, 2), default=1),
            'parameters.x: give either a range or choices',
        ),
        (lambda: Parameter('x', 'float', 0, 1), 'parameters.x.type: must be one of bool, int'),
        (lambda: double('max', 0, 1), 'parameters.max: a name has letters'),
        (lambda: double('a b', 0, 1), 'parameters.a b: a name has letters'),
        (
            lambda: boolean('b', targets=(RosTarget('n', 'b', scale=2.0),)),
            'parameters.b.targets[0].scale: a bool can not be scaled, got 2.0',
        ),
        (
            lambda: integer('n', 0, 5, targets=(RosTarget('n', 'n', offset=0.5),)),
            'parameters.n.targets[0].offset: must be a whole number for an int, got 0.5',
        ),
        (
            lambda: integer('n', 0, 2**40, targets=(RosTarget('n', 'n', scale=2.0**23),)),
            'parameters.n.targets[0].scale: an int must stay within 64 bits, got 8388608.0',
        ),
        (
            lambda: double('v', 0, 1, targets=(RosTarget('n', 'v', offset=1e7),)),
            'parameters.v.targets[0].offset: the scaled range must be wider than a millionth of',
        ),
        (
            lambda: choice('v', 'double', 1.0, 1.0 + 1e-9,
                           targets=(RosTarget('n', 'v', offset=1e7),)),
            'parameters.v.targets[0].offset: two choices must not become one value, got 10000000',
        ),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_one_error(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)


def test_a_parameter_is_made_canonical():
    parameter = double('v', 0, 2, 1)
    assert [type(v) for v in (parameter.low, parameter.high, parameter.default)] == [float] * 3
    assert choice('n', 'int', 50, 5, 10).choices == (5, 10, 50)
    assert choice('s', 'string', 'b', 'a').choices == ('b', 'a')
    assert type(integer('n', 0.0, 4.0, 2.0).default) is int
    assert double('v', 0.12, 0.6).size is None
    assert (integer('n', 3, 15).size, boolean('b').size, double('c', 2, 2).size) == (13, 2, 1)


def test_targets(monkeypatch):
    target = RosTarget('navigator', 'v', apply={'default': 'live', 'humble': 'restart'})
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    assert [target.mode(d) for d in (None, 'kilted', 'humble')] == ['live', 'live', 'restart']
    monkeypatch.setenv('ROS_DISTRO', 'humble')
    assert target.mode() == 'restart'
    with pytest.raises(InputError, match='apply.humble: must be one of live, idle, restart'):
        RosTarget('n', 'v', apply={'default': 'live', 'humble': 'never'})
    with pytest.raises(InputError, match="needs a 'default' mode"):
        RosTarget('n', 'v', apply={'humble': 'live'})
    with pytest.raises(InputError, match='scale: must be a number other than 0'):
        RosTarget('n', 'v', scale=0.0)

    scaled = RosTarget('n', 'v', scale=1000.0, offset=5.0)
    assert scaled.to_ros(0.25) == 255.0 and scaled.from_ros(255.0) == 0.25
    assert scaled.to_ros(3) == 3005 and type(scaled.to_ros(3)) is int
    assert scaled.from_ros(3005) == 3 and type(scaled.from_ros(3005)) is int
    assert type(RosTarget('n', 'v', scale=2.0).to_ros(1.5)) is float
    for value in (True, 'fast', 3, 0.1):
        assert target.from_ros(target.to_ros(value)) is value
    with pytest.raises(InputError, match='scale: must stay within 1e-100 and 1e100, got 1e-200'):
        RosTarget('n', 'v', scale=1e-200)
    with pytest.raises(InputError, match='offset: must stay within 1e100, got inf'):
        RosTarget('n', 'v', offset=math.inf)


SCALES = st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3) | st.just(1.0)


@settings(deadline=None, max_examples=400)
@given(parameters(), st.data())
def test_what_was_sent_to_targets_is_read_back(parameter, data):
    ends = parameter.choices or (parameter.low, parameter.high)
    if parameter.type not in ('int', 'double'):
        targets = [RosTarget('n', 'v')]
    elif parameter.type == 'int':
        scales = st.integers(1, 1000) | st.integers(-1000, -1)
        targets = [RosTarget('n', 'v', scale=data.draw(scales), offset=data.draw(scales))]
    else:
        size = max(abs(end) for end in ends)
        offset = data.draw(st.just(0.0) | st.floats(-1e5, 1e5).map(lambda v: v * size))
        targets = [
            RosTarget('n', 'v', scale=data.draw(SCALES)), RosTarget('n', 'v', offset=offset),
            RosTarget('n', 'v', scale=data.draw(SCALES), offset=data.draw(SCALES) * size),
        ]
    try:
        scaled = dataclasses.replace(parameter, targets=tuple(targets))
    except InputError as error:
        assert 'wider than a millionth' in str(error) or 'become one value' in str(error)
        return
    places = data.draw(st.lists(st.floats(0.0, 1.0) | st.sampled_from([0.0, 1.0]), max_size=5))
    values = [*scaled.decode(np.array(places)).tolist(), scaled.default]
    if parameter.type in ('int', 'double'):
        values += [scaled.canonical(end) for end in ends]
    for value in values:
        for target in targets:
            found = scaled.read(target, target.to_ros(value))
            assert found == value and type(found) is type(value)
    assert [scaled.canonical(v) for v in values] == values
    assert scaled.decode(scaled.encode(values)).tolist() == values
    if parameter.choices is not None or parameter.type not in ('int', 'double'):
        return
    # One step outside is outside.
    step = 1 if parameter.type == 'int' else max(
        1e-11 * size, 1e-90, *(4.0 * target.error(size) for target in targets))
    for outside in (parameter.low - step, parameter.high + step):
        for target in targets:
            found = scaled.read(target, target.to_ros(outside))
            with pytest.raises(InputError, match='must be in'):
                scaled.canonical(found)


def test_what_no_value_of_a_parameter_means_is_read_as_it_is():
    target = RosTarget('n', 'v', scale=2.0)
    count = integer('v', 1, 4, targets=(target,))
    assert [count.read(target, value) for value in (2, 5, 8, 9, 1, 0)] == [1, 2, 4, 5, 0, 0]
    assert count.read(target, 6.0) == 3
    half = double('v', 0.0, 1.0, targets=(target,))
    assert half.read(target, 1) == 0.5 and type(half.read(target, 2)) is float
    assert half.read(target, 'x') == 'x' and half.read(target, True) is True
    assert math.isnan(half.read(target, math.nan)) and half.read(target, math.inf) == math.inf
    with pytest.raises(TypeError):
        half.read(target, [1.0])
    plain = RosTarget('n', 'v')
    assert half.read(plain, math.nextafter(1.0, 2.0)) > 1.0, 'nothing was rounded on this way'


@settings(deadline=None)
@given(parameters(), st.data())
def test_one_value_and_an_array_are_rounded_alike_bit_for_bit(parameter, data):
    if parameter.type != 'double' or parameter.choices is not None:
        return
    drawn = st.floats(parameter.low, parameter.high)
    values = data.draw(st.lists(drawn, min_size=1, max_size=20))
    rounded = parameter._grid(np.array(values)).tolist()
    assert [parameter.canonical(value) for value in values] == rounded
    assert [parameter.canonical(value) for value in rounded] == rounded
