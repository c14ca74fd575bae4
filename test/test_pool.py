# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from small_transfer import fitted, runs

from tl_adapt.models.pool import Pool
from tl_adapt.models.transfer import Measured, TransferModel
from tl_adapt.parameter import Parameter
from tl_adapt.space import Space

DIM = 6


def candidates(n=300, seed=5):
    return np.random.default_rng(seed).random((n, DIM))


def new_points(n, seed=7):
    return runs(np.random.default_rng(seed), n, DIM, 0.4, 9)


def same(pool, rtol=1e-5):
    assert_allclose(pool.mean(), pool.model.predict(pool.X), rtol=rtol)


@pytest.mark.parametrize('memory', [128.0, 0.0])
@pytest.mark.parametrize('sources', [0, 1, 3])
def test_it_predicts_as_the_model_after_each_new_point(sources, memory):
    model = fitted(DIM, sources=sources, known=4, levels=9)
    pool = Pool(model, candidates(), memory=memory)
    same(pool)
    for x, y in zip(*new_points(5)):
        model.update(x[None], [y])
        same(pool, 1e-5 if memory else 1e-9)


def test_the_best_come_first():
    model = fitted(DIM, known=5, levels=9)
    pool = Pool(model, candidates())
    for x, y in zip(*new_points(3)):
        model.update(x[None], [y])
        best = pool.rank(8)
        true = model.predict(pool.X)
        assert len(set(best.tolist())) == 8
        assert_allclose(true[best], np.sort(true)[:8], rtol=1e-5)
        assert_array_equal(pool.mean()[best], np.sort(pool.mean())[:8])
    assert len(pool.rank(1000)) == len(pool) == 300
    assert len(pool.rank(0)) == 0


def test_it_notices_another_fit():
    model = fitted(DIM, known=5, levels=9)
    pool = Pool(model, candidates())
    rng = np.random.default_rng(1)
    source, target = runs(rng, 50, DIM, 0.2, 9), new_points(6)
    model.fit(source, target)  # everything is another
    same(pool)
    model.fit(source, new_points(9))  # the source's model stays
    same(pool)
    model.fit(source, new_points(12), quick=True)
    same(pool)
    model.fit(None, target)
    same(pool)
    model.fit(source)  # no target point at all
    same(pool)


def test_what_a_source_says_is_asked_for_once(monkeypatch):
    model = fitted(DIM, known=5, levels=9)
    pool = Pool(model, candidates())
    asked = []
    inner = type(model.sources[0]).at
    monkeypatch.setattr(
        type(model.sources[0]), 'at', lambda self, X: asked.append(len(X)) or inner(self, X)
    )
    for x, y in zip(*new_points(3)):
        model.update(x[None], [y])
        pool.rank()
    assert set(asked) == {1}


def test_nothing_is_computed_again_before_the_model_changes(monkeypatch):
    model = fitted(DIM, known=5, levels=9)
    pool = Pool(model, candidates())
    monkeypatch.setattr('tl_adapt.models.pool.collapse', None)
    pool.rank()
    pool.mean()


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6), sources=st.integers(0, 2), known=st.integers(1, 6),
    mask=st.lists(st.booleans(), min_size=DIM, max_size=DIM),
)
def test_mixed_columns(seed, sources, known, mask):
    model = fitted(
        DIM, sources=sources, known=known, seed=seed, levels=3, rows=15, categorical=mask
    )
    X = np.random.default_rng(seed).integers(0, 5, (80, DIM)) / 4
    pool = Pool(model, X)
    same(pool)
    model.update(*runs(np.random.default_rng(seed + 1), 2, DIM, 0.4, 3))
    same(pool)


def test_a_source_in_a_space_of_its_own():
    def space(high, *more):
        shared = [Parameter('speed', 'double', low=0.0, high=high, default=0.5),
                  Parameter('mode', 'string', choices=('a', 'b', 'c'), default='a')]
        return Space([*shared, *more])

    target, source = space(1.0), space(3.0, Parameter('extra', 'bool', default=False))
    there, here = source.sample(30, seed=0), target.sample(12, seed=1)
    value = {'a': 0.0, 'b': 1.0, 'c': 0.5}
    model = TransferModel(target, log=True).fit(
        Measured(there, [1.0 + c['speed'] + value[c['mode']] for c in there], source),
        (here[:4], [1.2 + c['speed'] for c in here[:4]]),
    )
    pool = Pool(model, target.encode(target.sample(200, seed=2)))
    same(pool)
    model.update(here[4:7], [1.3 + c['speed'] for c in here[4:7]])
    same(pool)


def test_progress_is_reported():
    told = []
    model = fitted(DIM, sources=2, levels=9)
    Pool(model, candidates(600), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (1200, 1200)
    assert len(told) == 6


def test_an_empty_pool_is_empty():
    pool = Pool(fitted(DIM, levels=9), np.empty((0, DIM)))
    assert len(pool.rank()) == 0
    assert pool.mean().shape == (0,)


def test_candidates_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='shape'):
        Pool(fitted(DIM, levels=9), np.zeros((5, DIM + 1)))
    with pytest.raises(ValueError, match='finite'):
        Pool(fitted(DIM, levels=9), np.full((5, DIM), np.nan))
    with pytest.raises(ValueError, match='fit must be called first'):
        Pool(TransferModel(), np.zeros((5, DIM)))
