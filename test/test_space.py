# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_space import boolean, choice, double, integer, mixed, numbers, parameters

from tl_adapt.errors import InputError
from tl_adapt.expressions import Expression
from tl_adapt.lattice import Lattice
from tl_adapt.space import Space


@settings(max_examples=300, deadline=None)
@given(parameters(), st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_every_value_survives_the_cube_exactly(parameter, places, data):
    space = Space([parameter])
    configurations = space.decode(np.array(places)[:, None])
    if parameter.choices is not None:
        configurations += [{'x': v} for v in parameter.choices]
    elif parameter.type == 'int':
        low, high = int(parameter.low), int(parameter.high)
        configurations += [{'x': data.draw(st.integers(low, high))} for _ in range(5)]
    elif parameter.type == 'double':
        drawn = st.floats(parameter.low, parameter.high)
        configurations += [space.validate({'x': data.draw(drawn)}) for _ in range(5)]
    encoded = space.encode(configurations)
    assert encoded.shape == (len(configurations), 1)
    assert np.all((encoded >= 0) & (encoded <= 1))
    decoded = space.decode(encoded)
    assert decoded == configurations
    for before, after in zip(configurations, decoded):
        assert type(before['x']) is type(after['x'])
        assert space.validate(after) == after
        assert json.loads(json.dumps(after)) == after


@given(numbers, numbers, st.floats(0, 1))
def test_the_grid_of_a_double_is_fine(low, width, place):
    low, high = sorted((low, low + abs(width)))
    assume(high - low > 1e-3 * max(abs(low), abs(high), 1e-50))
    parameter = double('x', low, high)
    value = low + place * (high - low)
    value = min(max(value, low), high)
    assert abs(parameter.canonical(value) - value) <= 1e-10 * (high - low)


@pytest.mark.parametrize('value', [0.3, 0.12, 0.6, 0.55, 0.1234567, 1 / 4])
def test_numbers_that_people_write_stay_as_they_are(value):
    assert double('x', 0.12, 0.6).canonical(value) == value
    assert double('x', 0.01, 100.0, log=True).canonical(value) == value
    assert double('x', -1000.0, 1000.0).canonical(value) == value


def test_minus_zero_becomes_zero():
    parameter = double('x', -1.0, 1.0)
    assert math.copysign(1, parameter.canonical(-0.0)) == 1
    assert math.copysign(1, parameter.decode(np.array([0.5]))[0]) == 1
    assert math.copysign(1, parameter.canonical(-1e-30)) == 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1), min_size=10, max_size=10), min_size=1, max_size=5))
def test_any_place_gives_a_valid_configuration(places):
    space = mixed(constraints=())
    configurations = space.decode(np.array(places))
    for configuration in configurations:
        assert space.validate(configuration) == configuration
    assert space.decode(space.encode(configurations)) == configurations


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1), min_size=10, max_size=10), min_size=1, max_size=9))
def test_many_places_settle_as_each_alone(places):
    space = mixed()
    each = space.decode(np.array(places))
    kept = [i for i, configuration in enumerate(each) if space.satisfied(configuration)]
    configurations, settled, rows = space.settle(np.array(places))
    assert rows.tolist() == kept
    assert configurations == [each[i] for i in kept]
    assert np.array_equal(settled, space.encode(configurations))


@settings(max_examples=200, deadline=None)
@given(st.lists(
    st.lists(st.one_of(st.floats(-0.1, 1.1), st.sampled_from([0.5, math.nan, math.inf])),
             min_size=10, max_size=10),
    min_size=1, max_size=5,
))
def test_places_settle_as_each_parameter_says(places):
    parameters = [
        *mixed(constraints=()).parameters[:3], double('wide', -7e6, 3.2e9),
        double('vast', -1e20, 3e22), double('narrow', 0.1, 0.1001), double('point', 2.0, 2.0),
        double('log', 0.01, 50, log=True), integer('many', -3, 2**40), integer('one', 4, 4),
    ]
    parameters = [dataclasses.replace(one, condition=None) for one in parameters]
    places = np.array(places)
    lattice = Lattice(parameters)
    columns = lattice.decode(places)
    own = lattice.encode(columns)
    for number, parameter in enumerate(parameters):
        values = parameter.decode(places[:, number])
        assert columns[parameter.name].tolist() == values.tolist()
        assert columns[parameter.name].dtype == values.dtype
        assert own[:, number].tobytes() == parameter.encode(values).tobytes()


def test_places_outside_of_the_cube_are_clipped():
    space = mixed(constraints=())
    low, high, strange = space.decode([[-1.0] * 10, [2.0] * 10, [math.nan] * 10])
    assert (low['v'], high['v']) == (0.12, 0.6)
    assert (low['n'], high['n'], low['planner'], high['planner']) == (3, 15, 'grid', 'straight')
    assert space.contains(strange)
    with pytest.raises(InputError, match=r'shape \(n, 10\)'):
        space.decode(np.zeros((2, 9)))
    assert space.decode(np.zeros((0, 10))) == []
    assert space.encode([]).shape == (0, 10)


def test_the_scales_of_the_cube():
    space = Space(
        [
            double('a', 1, 100, log=True),
            integer('n', 0, 4),
            boolean('b'),
            boolean('c'),
            choice('s', 'string', 'x', 'y', 'z'),
            choice('k', 'int', 1, 10, 100),
        ]
    )
    row = {'a': 10.0, 'n': 1, 'b': True, 'c': False, 's': 'y', 'k': 100}
    np.testing.assert_allclose(space.encode([row])[0], [0.5, 0.25, 1, 0, 0.5, 1])
    assert space.categorical.tolist() == [False, False, False, False, True, False]
    assert (space.dim, space.names) == (6, ('a', 'n', 'b', 'c', 's', 'k'))


def test_text_with_a_trailing_zero_survives():
    space = Space([choice('s', 'string', 'a', 'a\0', '')], [Expression("s != 'b'")])
    assert [c['s'] for c in space.enumerate()] == ['a', 'a\0', '']
    assert space.decode(space.encode([{'s': 'a\0'}])) == [{'s': 'a\0'}]


def test_conditions():
    space = mixed()
    inactive = space.validate({**space.default(), 'radius': 0.9, 'depth': 9})
    assert (inactive['radius'], inactive['depth']) == (0.5, 2)
    active = {**space.default(), 'smooth': True, 'radius': 0.9, 'depth': 9}
    assert space.validate(active)['radius'] == 0.9
    assert space.validate(active)['depth'] == 2
    full = {**active, 'planner': 'lattice'}
    assert space.validate(full) == full
    assert space.active(full)['depth'] and not space.active(active)['depth']
    without = {k: v for k, v in space.default().items() if k not in ('radius', 'depth')}
    assert space.validate(without) == space.default()
    with pytest.raises(InputError, match='radius: a value is missing'):
        space.validate({**without, 'smooth': True})
    np.testing.assert_array_equal(
        space.encode([{**space.default(), 'radius': 0.9}]), space.encode([space.default()])
    )


def test_a_condition_on_an_inactive_parameter_does_not_hold():
    space = Space(
        [
            integer('c', 0, 3, condition=Expression('b')),
            boolean('b', default=True, condition=Expression('a')),
            boolean('a', default=False),
        ]
    )
    assert space.validate({'a': False, 'b': False, 'c': 3}) == {'a': False, 'b': True, 'c': 0}
    assert space.decode([[1.0, 1.0, 0.0]]) == [{'c': 0, 'b': True, 'a': False}]
    assert space.size == 1 + 1 + 4


# --- validation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'change, message',
    [
        ({'speed': 1}, 'f.yaml: speed: unknown parameter; known are v, acc'),
        ({'v': 0.7}, 'f.yaml: v: must be in [0.12, 0.6], got 0.7'),
        ({'v': 'fast'}, "f.yaml: v: must be a number, got 'fast'"),
        ({'v': None}, 'f.yaml: v: must be a number, got None'),
        ({'v': [0.3]}, 'f.yaml: v: must be a number, got [0.3]'),
        ({'v': math.nan}, 'f.yaml: v: must be finite, got nan'),
        ({'n': 3.5}, 'f.yaml: n: must be a whole number, got 3.5'),
        ({'n': True}, 'f.yaml: n: must be a whole number, got True'),
        ({'smooth': 1}, 'f.yaml: smooth: must be true or false, got 1'),
        ({'planner': 'magic'}, "planner: must be one of grid, lattice, straight, got 'magic'"),
        ({'rate': 7}, 'f.yaml: rate: must be one of 5, 10, 50, got 7'),
        ({'acc': 0.2, 'v': 0.6}, "f.yaml: v <= 1.5 * acc must hold, got {'acc': 0.2, 'v': 0.6}"),
    ],
)
def test_a_bad_configuration_is_one_error(change, message):
    space = mixed()
    configuration = {**space.default(), **change}
    with pytest.raises(InputError) as caught:
        space.validate(configuration, file='f.yaml')
    assert message in str(caught.value)
    assert not space.contains(configuration)


def test_missing_values_and_other_types():
    space = mixed()
    with pytest.raises(InputError, match='n: a value is missing'):
        space.validate({k: v for k, v in space.default().items() if k != 'n'})
    with pytest.raises(InputError, match='n: a value is missing'):
        space.encode([{k: v for k, v in space.default().items() if k != 'n'}])
    with pytest.raises(InputError, match='maps names'):
        space.validate([1, 2])
    with pytest.raises(InputError, match=r'v: must be in \[0.12, 0.6\], got 0.7'):
        space.encode([{**space.default(), 'v': 0.7}])
    with pytest.raises(InputError, match="planner: must be one of .* got 'magic'"):
        space.encode([{**space.default(), 'planner': 'magic'}])
    with pytest.raises(InputError, match='unknown parameter'):
        space['speed']
    numpy_values = {**space.default(), 'v': np.float32(0.5), 'n': np.int64(4), 'smooth': np.True_}
    canonical = space.validate(numpy_values)
    assert [type(canonical[k]) for k in ('v', 'n', 'smooth')] == [float, int, bool]
    assert space.validate({**space.default(), 'acc': 1, 'n': 4.0})['acc'] == 1.0


def test_a_constraint_that_can_not_be_evaluated_does_not_hold():
    space = Space([integer('a', 0, 3, 1), integer('b', 0, 3, 1)], [Expression('a / b <= 1')])
    assert not space.satisfied({'a': 1, 'b': 0})
    assert all(c['b'] > 0 for c in space.sample(9, seed=0))


@pytest.mark.parametrize(
    'make, message',
    [
        (lambda: Space([]), 'parameters: a space needs a parameter'),
        (lambda: Space([boolean('a'), boolean('a')]), "a name may be used once, got 'a'"),
        (
            lambda: Space([boolean('a')], [Expression('a == b')]),
            "constraints[0]: unknown name 'b'; known are a, got 'a == b'",
        ),
        (
            lambda: Space([integer('a', 0, 1)], [Expression('a + 1')]),
            "constraints[0]: a constraint must give true or false, got 'a + 1'",
        ),
        (
            lambda: Space([choice('s', 'string', 'x', 'y')], [Expression('s < 3')]),
            'constraints[0]: can not be evaluated',
        ),
        (
            lambda: Space([boolean('a', condition=Expression('zz'))]),
            "parameters.a.condition: unknown name 'zz'",
        ),
        (
            lambda: Space(
                [boolean('a', condition=Expression('b')), boolean('b', condition=Expression('a'))]
            ),
            'parameters.a.condition: conditions must not depend on each other in a loop',
        ),
    ],
)
def test_a_bad_space_is_one_error(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)
