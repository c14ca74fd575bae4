# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from small_transfer import fitted, runs

from tl_adapt.errors import InputError
from tl_adapt.expressions import Expression
from tl_adapt.models import ranking
from tl_adapt.models.collapsed import collapse
from tl_adapt.models.measured import Measured
from tl_adapt.models.transfer import TransferModel
from tl_adapt.parameter import Parameter
from tl_adapt.space import Space


def every(levels):
    return np.array(list(itertools.product(*levels)), dtype=float)


def check(model, levels, top=20, **more):
    """Compare with a prediction of the whole grid."""
    points, predicted = ranking.rank_grid(model, levels, top, **more)
    everything = every(levels)
    true = model.predict(everything)
    assert_allclose(predicted, np.sort(true)[:top], rtol=1e-9)
    assert_allclose(model.predict(points), predicted, rtol=1e-9)
    assert len(np.unique(points, axis=0)) == len(points) == min(top, len(everything))
    return points


@pytest.mark.parametrize(
    ('sources', 'known'), [(1, 0), (3, 0), (0, 1), (1, 1), (0, 12), (1, 12), (3, 12)]
)
def test_it_is_what_brute_force_finds(sources, known):
    check(fitted(9, sources=sources, known=known), [[0.0, 1.0]] * 9)


def test_the_configurations_are_binary_and_the_order_is_that_of_predictions():
    model = fitted(10)
    configurations, predicted = ranking.rank_binary(model, 10, top=30)
    assert configurations.shape == (30, 10)
    assert configurations.dtype == np.uint8
    assert set(np.unique(configurations)) <= {0, 1}
    assert_array_equal(predicted, np.sort(predicted))
    assert_allclose(predicted, np.sort(model.predict(every([[0, 1]] * 10)))[:30], rtol=1e-9)


@pytest.mark.parametrize('workers', [1, 3])
def test_many_slabs_and_any_number_of_threads_give_the_same(workers, monkeypatch):
    monkeypatch.setattr(ranking, '_LOW', 8)
    monkeypatch.setattr(ranking, '_HIGH', 5)
    model = fitted(8)
    points = check(model, [[0.0, 1.0]] * 8, workers=workers)
    monkeypatch.undo()
    assert_array_equal(points, ranking.rank_grid(model, [[0.0, 1.0]] * 8, 20)[0])


def test_a_source_with_more_rows_than_its_covariance_uses(monkeypatch):
    monkeypatch.setattr('tl_adapt.models.source.ROWS', 40)
    model = fitted(8, rows=120)
    assert len(model.sources[0].A) == 40
    check(model, [[0.0, 1.0]] * 8)


def test_categorical_columns_and_levels_that_nobody_measured():
    mask = np.array([True, False] * 4)
    check(fitted(8, categorical=mask, sources=2), [[0.0, 1.0]] * 8)
    levels = [[0.0, 0.5, 1.0], [0.0, 0.3], [1 / 3, 2 / 3], [0.7], [0.0, 0.25, 1.0]]
    check(fitted(5, categorical=np.arange(5) % 2 == 0, levels=4), levels)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6), sources=st.integers(0, 2), known=st.integers(1, 8),
    sizes=st.lists(st.integers(1, 5), min_size=4, max_size=6),
    mask=st.lists(st.booleans(), min_size=6, max_size=6), low=st.integers(1, 40),
)
def test_any_grid(seed, sources, known, sizes, mask, low):
    dim = len(sizes)
    model = fitted(dim, sources=sources, known=known, seed=seed, levels=3, rows=15,
                   categorical=mask[:dim])
    levels = [np.arange(size) / max(size - 1, 1) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, '_LOW', low)
        patch.setattr(ranking, '_HIGH', 7)
        check(model, levels, top=15)


def test_predictions_stay_in_the_bounds_of_the_model():
    model = fitted(8)
    model.low = float(np.median(model.latent(every([[0, 1]] * 8))[0]))
    _, predicted = ranking.rank_binary(model, 8, top=40)
    assert_allclose(predicted, np.exp(model.low))


def test_only_allowed_points_are_returned():
    model = fitted(8)
    asked = []

    def allowed(points):
        asked.append(len(points))
        return points[:, 0] + points[:, 3] == 1.0

    points, predicted = ranking.rank_grid(model, [[0.0, 1.0]] * 8, 10, allowed=allowed)
    everything = every([[0, 1]] * 8)
    kept = everything[everything[:, 0] + everything[:, 3] == 1.0]
    assert_allclose(predicted, np.sort(model.predict(kept))[:10], rtol=1e-9)
    assert (points[:, 0] + points[:, 3] == 1.0).all()
    none, nothing = ranking.rank_grid(
        model, [[0.0, 1.0]] * 8, 10, allowed=lambda points: np.zeros(len(points), dtype=bool)
    )
    assert none.shape == (0, 8)
    assert nothing.shape == (0,)


def space_of(*constraints, last=3):
    return Space(
        [
            Parameter('turbo', 'bool', default=False),
            Parameter('mode', 'string', choices=('a', 'b', 'c'), default='a'),
            Parameter('depth', 'int', low=1, high=8, default=2, log=True),
            Parameter('width', 'int', low=0, high=last, default=0,
                      condition=Expression('turbo')),
        ],
        [Expression(text) for text in constraints],
    )


def test_a_space_is_ranked_with_its_constraints_and_conditions():
    space = space_of('depth + width <= 8')
    rng = np.random.default_rng(0)
    everything = space.enumerate()
    values = np.exp(0.1 * rng.standard_normal(len(everything)) + [
        c['depth'] / 8 - c['turbo'] + (c['mode'] == 'b') for c in everything
    ])
    some = rng.permutation(len(everything))[:30]
    model = TransferModel(space, log=True).fit(
        ([everything[i] for i in some], values[some]), ([everything[0]], values[:1])
    )
    best, predicted = ranking.rank_space(model, top=25)
    assert_allclose(predicted, np.sort(model.predict(everything))[:25], rtol=1e-9)
    assert all(space.contains(configuration) for configuration in best)
    assert len({str(configuration) for configuration in best}) == 25


def test_a_source_in_a_space_of_its_own():
    space, other = space_of(), space_of(last=6)
    there, here = other.enumerate(), space.enumerate()
    source = Measured(there, [1.0 + c['depth'] + c['width'] for c in there], other)
    model = TransferModel(space, log=True).fit(source, (here[:3], [3.0, 4.0, 5.0]))
    _, predicted = ranking.rank_space(model, top=10)
    assert_allclose(predicted, np.sort(model.predict(here))[:10], rtol=1e-9)


def test_progress_is_reported_and_an_exception_in_it_ends_the_work(monkeypatch):
    monkeypatch.setattr(ranking, '_LOW', 4)
    monkeypatch.setattr(ranking, '_HIGH', 4)
    model = fitted(8)
    told = []
    ranking.rank_binary(model, 8, 5, progress=lambda done, total: told.append((done, total)))
    assert len(told) == 16
    assert told[-1] == (256, 256)
    assert [done for done, _ in told] == sorted(done for done, _ in told)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ranking.rank_binary(model, 8, 5, progress=stop)


def test_what_can_not_be_ranked_is_named(monkeypatch):
    model = fitted(8)
    with pytest.raises(ValueError, match='fit must be called first'):
        ranking.rank_binary(TransferModel(), 8)
    with pytest.raises(InputError, match='8 columns'):
        ranking.rank_binary(model, 7)
    with pytest.raises(InputError, match=r'levels\[1\]'):
        ranking.rank_grid(model, [[0.0, 1.0], [np.nan]] + [[0.0]] * 6)
    with pytest.raises(InputError, match='at most'):
        ranking.rank_grid(model, [np.linspace(0, 1, 100)] * 8)
    with pytest.raises(InputError, match='top >= 1'):
        ranking.rank_binary(model, 8, top=0)
    with pytest.raises(InputError, match='whole numbers'):
        ranking.rank_binary(model, 8, top=1.5)
    with pytest.raises(ValueError, match=r'allowed must return shape \(\d+,\), got \(1,\)'):
        ranking.rank_grid(model, [[0.0, 1.0]] * 8, allowed=lambda points: [True])
    with pytest.raises(InputError, match='no space'):
        ranking.rank_space(model)
    space = Space([Parameter('gain', 'double', low=0.0, high=1.0, default=0.5)])
    endless = TransferModel(space).fit(None, ([{'gain': 0.1}], [1.0]))
    with pytest.raises(InputError, match=r'parameters\.gain\.range'):
        ranking.rank_space(endless)
    monkeypatch.setattr(ranking, 'every_value', None)  # must not list them to find that out
    space = Space([Parameter('rows', 'int', low=0, high=10**9, default=0)])
    wide = TransferModel(space).fit(None, ([{'rows': 1}], [1.0]))
    with pytest.raises(InputError, match=r'parameters\.rows\.range.*1000000001'):
        ranking.rank_space(wide)


def test_collapsed_mean_is_the_models():
    model = fitted(6, sources=2, known=9, levels=5)
    model.update(*runs(np.random.default_rng(9), 3, 6, 0.4, 5))
    collapsed = collapse(model)
    parts = [part for said in collapsed.sources
             for part in (said.spelled_mean(), said.spelled_prior(), said.spelled_pull())]
    constant, kernels = collapsed.spelled(*parts)
    X = np.random.default_rng(3).random((50, 6))
    got = constant + sum(one.at(one.view.see(X)) for one in kernels)
    got += sum(said.leaves.at(X) for said in collapsed.sources if said.leaves is not None)
    assert_allclose(np.clip(got, model.low, model.high), model.latent(X)[0], atol=1e-9)
