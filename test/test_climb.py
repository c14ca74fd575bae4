# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_space import boolean, choice, double, integer, mixed, parameters

from tl_adapt.acquisition import Term
from tl_adapt.designs import fingerprint
from tl_adapt.expressions import Expression
from tl_adapt.models.model_set import Assessment
from tl_adapt.space import Space
from tl_adapt.tuning.climb import QUICK, THOROUGH, Climb, Moves, combined, effort_for
from tl_adapt.tuning.search import Search


def assessed(value):
    """Return a function that assesses points X (n, d) by their value(X) (n,), free of doubt."""

    def assess(X):
        mean, nothing, sure = value(X), np.zeros(len(X)), np.ones(len(X))
        return Assessment(
            mean, nothing, sure, sure, (Term(1.0, False, mean, nothing),), nothing, X
        )

    return assess


def low(found):
    return -found.mean


def climb(space, value, *, seed=0, start=64, rank=low):
    configurations = list({fingerprint(c): c for c in space.sample(start, seed=seed)}.values())
    places = space.encode(configurations)
    assess = assessed(value)
    run = Climb(
        space, assess, rank, np.random.default_rng(seed), configurations, places, assess(places),
        effort_for(space),
    )
    run.run()
    return run


def rugged(dim, seed):
    """Return a function of points (n, dim) with main effects, pairs and curvature."""
    rng = np.random.default_rng(seed)
    effects, middle = rng.standard_normal(dim), rng.random(dim)
    pairs, weight = rng.integers(0, dim, (dim, 2)), rng.standard_normal(dim)

    def value(X):
        products = (X[:, pairs[:, 0]] - 0.5) * (X[:, pairs[:, 1]] - 0.5)
        return np.sin(3.0 * (X - middle)) @ effects + products @ weight

    return value


@given(st.data(), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_all_that_is_looked_at_keeps_every_rule(data, dim, seed):
    space = mixed()
    if data.draw(st.booleans()):
        space = Space([data.draw(parameters(f'x{i}')) for i in range(dim)])
    value = rugged(space.dim, seed)
    run, again = (climb(space, value, seed=seed, start=8) for _ in range(2))
    assert run.configurations == again.configurations
    keys = {fingerprint(configuration) for configuration in run.configurations}
    assert len(keys) == len(run.configurations) == len(run.places) == len(run.found.mean)
    for configuration in run.configurations:
        assert space.validate(configuration) == configuration
    np.testing.assert_array_equal(space.encode(run.configurations), run.places)
    np.testing.assert_allclose(run.found.mean, value(run.places), rtol=1e-9, atol=1e-12)


SPACES = {
    'options': [boolean(f'b{i}') for i in range(12)],
    'numbers': [integer('a', 0, 7), integer('b', 0, 12), choice('c', 'string', *'uvwxyz'),
                choice('d', 'double', 0.1, 0.2, 0.7), integer('e', 0, 5)],
}


@pytest.mark.parametrize('name', SPACES)
@pytest.mark.parametrize('seed', range(4))
def test_a_finite_space_is_climbed_to_its_top(name, seed):
    space = Space(SPACES[name], [Expression('a + e <= 10')] if name == 'numbers' else [])
    value = rugged(space.dim, seed)
    every = value(space.encode(space.enumerate()))
    run = climb(space, value, seed=seed)
    gap = (run.found.mean.min() - every.min()) / (np.median(every) - every.min())
    assert gap <= 0.01
    assert len(run.configurations) < 0.25 * len(every)


@pytest.mark.parametrize('seed', range(3))
def test_many_mixed_parameters_are_climbed_to_the_top(seed):
    kinds = (lambda n: double(n, 0, 1), lambda n: integer(n, 0, 9), lambda n: boolean(n),
             lambda n: choice(n, 'string', 'a', 'b', 'c'))
    space = Space([kinds[i % 4](f'p{i}') for i in range(32)])
    rng = np.random.default_rng(seed)
    best, weight = space.encode(space.sample(1, seed=seed + 50))[0], rng.uniform(0.2, 1.0, 32)

    def value(X):
        return np.abs(X - best) @ weight

    run = climb(space, value, seed=seed)
    assert run.found.mean.min() < 0.01 * value(space.encode(space.sample(200, seed=1))).min()
    assert len(run.configurations) < 3000


def test_what_may_not_be_taken_is_climbed_around():
    space = Space([double('x', 0, 1), double('y', 0, 1)])

    def rank(found):
        return np.where(found.mean < 0.5, -np.inf, -found.mean)

    run = climb(space, lambda X: X.sum(axis=1), rank=rank)
    assert rank(run.found).max() == pytest.approx(-0.5, abs=0.02)
    nothing = climb(space, lambda X: X.sum(axis=1), rank=lambda f: np.full(len(f.mean), -np.inf))
    assert len(nothing.configurations) >= 64


def test_many_parameters_are_climbed_with_less_effort():
    few, many = (Space([double(f'p{i}', 0, 1) for i in range(n)]) for n in (24, 25))
    assert effort_for(few) == Search(few, 0).effort == THOROUGH
    assert effort_for(many) == Search(many, 0).effort == QUICK
    assert QUICK.pool < THOROUGH.pool and QUICK.rounds < THOROUGH.rounds


def test_values_without_an_order_are_tried_at_random_and_whole_numbers_move_by_one():
    names = [f's{i:02d}' for i in range(40)]
    space = Space([choice('name', 'string', *names), integer('n', 0, 20)])
    place = space.encode([{'name': 's00', 'n': 3}])[0]
    moves = Moves(space, np.random.default_rng(0))
    near = np.vstack([moves(place, 0.001) for _ in range(20)])
    names_tried = space.decode(near)
    assert len({one['name'] for one in names_tried}) > 30
    assert {one['n'] for one in names_tried} == {2, 3, 4}


def test_moves_change_one_parameter_each_and_join_where_they_differ():
    space = mixed(constraints=())
    place = space.encode([space.default()])[0]
    near = Moves(space, np.random.default_rng(0))(place, 0.1)
    assert ((near != place).sum(axis=1) == 1).all()
    assert set(np.flatnonzero(near != place) % space.dim) == set(range(space.dim))
    a, b, c = np.repeat(place[None], 3, axis=0)
    a[0], b[0], c[1] = 0.9, 0.8, 0.7
    joined = combined(place, np.array([a, b, c]))
    assert len(joined) == 1
    assert (joined[0, 0], joined[0, 1]) == (0.9, 0.7)
    assert combined(place, np.array([a])).shape == (0, space.dim)
