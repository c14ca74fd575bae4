# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_space import boolean, choice, double, integer, mixed, parameters

from tl_adapt.errors import InputError
from tl_adapt.expressions import Expression
from tl_adapt.space import Space

METHODS = ('sobol', 'lhs', 'random')


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
