# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tl_adapt.errors import InputError
from tl_adapt.expressions import Expression
from tl_adapt.space import Parameter, RosTarget, Space

METHODS = ('sobol', 'lhs', 'random')


def double(name, low, high, default=None, **more):
    return Parameter(
        name, 'double', low, high, default=low if default is None else default, **more
    )


def integer(name, low, high, default=None, **more):
    more['default'] = low if default is None else default
    return Parameter(name, 'int', low, high, **more)


def boolean(name, default=False, **more):
    return Parameter(name, 'bool', default=default, **more)


def choice(name, type, *choices, **more):  # noqa: A002
    return Parameter(name, type, choices=choices, default=choices[0], **more)


def mixed(constraints=('v <= 1.5 * acc',)):
    return Space(
        [
            double('v', 0.12, 0.6, 0.3, unit='m/s'),
            double('acc', 0.2, 3.0, 1.0, log=True),
            integer('n', 3, 15, 7),
            integer('particles', 20, 1000, 300, log=True),
            boolean('smooth'),
            choice('planner', 'string', 'grid', 'lattice', 'straight'),
            choice('rate', 'int', 5, 10, 50),
            choice('gain', 'double', 0.1, 1 / 3, 2.0),
            double('radius', 0.1, 1.0, 0.5, condition=Expression('smooth')),
            integer('depth', 1, 9, 2, condition=Expression("smooth and planner == 'lattice'")),
        ],
        [Expression(text) for text in constraints],
    )


# --- parameters ---------------------------------------------------------------------------------


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


# --- round trips --------------------------------------------------------------------------------

numbers = st.floats(-1e6, 1e6, allow_nan=False, allow_infinity=False)


@st.composite
def parameters(draw, name='x'):
    kind = draw(st.sampled_from(['double', 'log', 'int', 'logint', 'bool', 'string', 'choices']))
    if kind == 'bool':
        return boolean(name)
    if kind == 'string':
        words = draw(
            st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6, unique=True)
        )
        return choice(name, 'string', *words)
    if kind == 'choices':
        values = draw(st.lists(numbers, min_size=1, max_size=7, unique_by=lambda v: v + 0.0))
        return choice(name, 'double', *values)
    if kind == 'double':
        low, high = sorted((draw(numbers), draw(numbers)))
        assume(high == low or high - low > max(1e-90, 1e-5 * max(abs(low), abs(high))))
        return double(name, low, high)
    if kind == 'log':
        low = draw(st.floats(1e-12, 1e6))
        return double(name, low, low * draw(st.floats(1.001, 1e9)), log=True)
    low = draw(st.integers(1 if kind == 'logint' else -(10**9), 10**9))
    return integer(name, low, low + draw(st.integers(0, 10**9)), log=kind == 'logint')


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


# --- designs ------------------------------------------------------------------------------------


def keys(configurations):
    return [json.dumps(c, sort_keys=True) for c in configurations]


@pytest.mark.parametrize('method', METHODS)
def test_designs_keep_every_rule(method):
    space = mixed()
    design = space.sample(300, seed=3, method=method)
    assert len(design) == len(set(keys(design))) == 300
    for configuration in design:
        assert space.validate(configuration) == configuration
    assert space.decode(space.encode(design)) == design
    assert design == space.sample(300, seed=3, method=method)
    assert design != space.sample(300, seed=4, method=method)


@pytest.mark.parametrize('method', ['sobol', 'random'])
def test_a_longer_design_begins_with_the_shorter(method):
    space = mixed()
    assert space.sample(700, seed=1, method=method)[:20] == space.sample(20, seed=1, method=method)


@pytest.mark.parametrize('method', METHODS)
def test_discrete_values_get_equal_shares(method):
    space = Space([integer('n', 0, 3), choice('s', 'string', 'a', 'b', 'c'), double('x', 0, 1)])
    design = space.sample(1200, seed=0, method=method)
    for name, share in (('n', 300), ('s', 400)):
        values = [c[name] for c in design]
        for value in set(values):
            assert abs(values.count(value) - share) < 0.2 * share


@pytest.mark.parametrize('method', METHODS)
def test_small_spaces(method):
    space = Space(
        [integer('a', 0, 5), integer('b', 0, 5, 5), boolean('c')], [Expression('a + b >= 5')]
    )
    assert space.combinations == 72
    assert space.size == len(space.enumerate()) == 42
    for n in (1, 40, 42):
        assert len(set(keys(space.sample(n, seed=1, method=method)))) == n
    twice = keys(space.sample(100, seed=1, method=method))
    assert len(twice) == 100 and len(set(twice)) == len(set(twice[:42])) == 42
    assert space.sample(0, seed=0, method=method) == []


def test_a_tight_constraint_in_a_finite_space():
    space = Space(
        [integer('a', 0, 99), integer('b', 0, 99), integer('c', 0, 5)], [Expression('a == b')]
    )
    design = space.sample(590, seed=1)
    assert len(set(keys(design))) == 590
    assert all(c['a'] == c['b'] for c in design)


@pytest.mark.parametrize('method', (*METHODS, 'factorial'))
@pytest.mark.parametrize('make', [lambda: double('x', 0, 1), lambda: integer('x', 0, 10)])
def test_an_unsatisfiable_constraint_is_an_error(method, make):
    space = Space([make()], [Expression('x > 2 * x + 1')])
    with pytest.raises(InputError, match='constraints: unsatisfiable'):
        space.sample(5, seed=0, method=method)


def test_sizes():
    assert Space([integer('a', 0, 9), boolean('b')]).size == 20
    assert Space([double('a', 0, 9), boolean('b')]).size is None
    assert Space([integer('a', 1, 10**6)], [Expression('a < 3')]).size == 10**6
    with pytest.raises(InputError, match='only up to 65536 combinations'):
        Space([integer('a', 1, 10**6)]).enumerate()


def test_full_factorial():
    space = Space([double('x', 0, 1), integer('n', 1, 3), boolean('b')])
    design = space.sample(40, seed=0, method='factorial')
    assert len(design) == 36  # 6 places of x
    assert sorted({c['x'] for c in design}) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert {c['n'] for c in design} == {1, 2, 3}
    constrained = Space(space.parameters, [Expression('x <= 0.5 or b')])
    assert len(constrained.sample(40, seed=0, method='factorial')) == 27
    assert len(Space([boolean('a'), boolean('b')]).sample(99, seed=0, method='factorial')) == 4
    with pytest.raises(InputError, match='needs at least 8 configurations, got 7'):
        space.sample(7, seed=0, method='factorial')


def test_bad_designs():
    space = mixed()
    with pytest.raises(InputError, match='a design is one of sobol, lhs, random, factorial'):
        space.sample(3, seed=0, method='grid')
    for n in (-1, 2.5, True):
        with pytest.raises(InputError, match='0 or more'):
            space.sample(n, seed=0)


def test_neighbours():
    space = mixed()
    start = space.sample(1, seed=5)[0]
    near = space.neighbours(start, np.random.default_rng(0), 50)
    assert len(set(keys(near))) == 50 and keys([start])[0] not in keys(near)
    for configuration in near:
        assert space.validate(configuration) == configuration
    assert near == space.neighbours(start, np.random.default_rng(0), 50)
    ordered = ~space.categorical
    distance = [
        np.linalg.norm((space.encode(space.neighbours(start, np.random.default_rng(1), 80, s))
                        - space.encode([start]))[:, ordered], axis=1).mean()
        for s in (0.02, 0.3)
    ]  # fmt: skip
    assert distance[0] < distance[1]
    tiny = Space([boolean('a'), boolean('b')])
    assert len(tiny.neighbours(tiny.default(), np.random.default_rng(0), 10)) == 3
    single = Space([double('a', 1, 1)])
    assert single.neighbours(single.default(), np.random.default_rng(0), 10) == []


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(1, 4), st.sampled_from(METHODS), st.integers(0, 2**31 - 1))
def test_designs_of_any_space(data, dim, method, seed):
    space = Space([data.draw(parameters(f'x{i}')) for i in range(dim)])
    n = 12
    design = space.sample(n, seed=seed, method=method)
    assert len(design) == n
    assert len(set(keys(design))) == (n if space.size is None else min(n, space.size))
    assert [space.validate(c) for c in design] == design
    assert space.decode(space.encode(design)) == design
