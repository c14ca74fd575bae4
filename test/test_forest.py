# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestRegressor

from tl_adapt.models import forest as forests
from tl_adapt.models import ranking
from tl_adapt.models.collapsed import collapse
from tl_adapt.models.forest import LEAVES, TREES, Blend, Forest, stacked
from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.measured import Measured
from tl_adapt.models.pool import Pool
from tl_adapt.models.transfer import TransferModel
from tl_adapt.parameter import Parameter
from tl_adapt.space import Space

LEVELS = [[0.0, 0.5, 1.0]] * 6


def steps(X):
    """Return values (n,) that jump where two or three options meet."""
    return (
        2.0 * ((X[:, 0] > 0.6) & (X[:, 1] < 0.4)) - 1.5 * ((X[:, 2] > 0.2) & (X[:, 3] < 0.6))
        + 1.0 * ((X[:, 1] > 0.6) & (X[:, 4] > 0.6)) + 0.1 * X[:, 5]
    )


def grid_runs(rng, rows, factor=1.0, dim=6):
    X = rng.integers(0, 3, (rows, dim)) / 2
    return X, np.exp(factor * steps(X) + 0.05 * rng.standard_normal(rows))


def stepped(known=8, seed=1):
    """Return a model of a source that jumps, and of a target that jumps a little farther."""
    rng = np.random.default_rng(seed)
    target = grid_runs(rng, known, 1.2) if known else None
    return TransferModel(log=True).fit(grid_runs(rng, 120), target)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 5), st.booleans())
def test_its_boxes_add_up(seed, rows, dim, grid):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 3, (rows, dim)) / 2 if grid else rng.random((rows, dim))
    forest, _ = Forest.grow(X, rng.standard_normal(rows), seed)
    points = np.vstack([X, rng.random((30, dim)), [[-1.0] * dim, [1e300] * dim]])
    assert_allclose(forest.each(points).mean(axis=1), forest(points), rtol=1e-12, atol=1e-12)
    # Each point is in one leaf of each tree, which every column alone leaves, too.
    words = np.full((len(points), TREES), ~np.uint64(0))
    for column in range(dim):
        words &= forest.reached(points, [column])
    boxes = Forest.spread_out(words)
    assert_array_equal(boxes.sum(axis=1), TREES)
    assert_allclose(boxes @ forest.leaves.ravel() / TREES, forest(points), rtol=1e-12, atol=1e-12)


def test_rows_not_seen_judge_it():
    rng = np.random.default_rng(0)
    X, y = rng.random((60, 3)), rng.standard_normal(60)
    forest, outside = Forest.grow(X, y, seed=4)
    assert np.mean((outside - y) ** 2) > 2.0 * np.mean((forest(X) - y) ** 2)
    assert_array_equal(Forest.grow(X, y, seed=4)[0](X), forest(X))
    assert (Forest.grow(X, y, seed=5)[0](X) != forest(X)).any()
    grown = RandomForestRegressor(
        TREES, max_leaf_nodes=LEAVES, oob_score=True, random_state=4
    ).fit(X, y)
    assert np.corrcoef(outside, grown.oob_prediction_)[0, 1] > 0.8
    assert_allclose(np.std(outside), np.std(grown.oob_prediction_), rtol=0.2)


def test_arrays_bring_it_back_and_broken_ones_are_refused():
    rng = np.random.default_rng(0)
    X = rng.random((60, 3))
    forest, _ = Forest.grow(X, X[:, 0] + X[:, 1])
    arrays = forest.to_arrays()
    assert_array_equal(Forest.from_arrays(arrays)(X), forest(X))
    with pytest.raises(ValueError, match='one shape'):
        Forest.from_arrays({**arrays, 'left': arrays['left'][:, 1:]})
    looped = arrays['left'].copy()
    looped[0, 0] = 0
    with pytest.raises(ValueError, match='nodes in order'):
        Forest.from_arrays({**arrays, 'left': looped})
    with pytest.raises(KeyError):
        Forest.from_arrays({name: a for name, a in arrays.items() if name != 'value'})


def test_the_share_is_what_the_rows_tell_drawn_to_a_half():
    rng = np.random.default_rng(0)
    off = rng.standard_normal(20_000)
    for share in (0.0, 0.3, 1.0):
        mean, variance = stacked(share * off + 0.1 * rng.standard_normal(len(off)), off)
        assert abs(mean - share) < 0.01
        assert variance < 1e-3
    assert stacked(np.zeros(5), np.zeros(5)) == (0.5, 0.0625)
    # As normal regression with a quarter of the rows.
    error, off = rng.standard_normal((2, 50))
    mean, variance = stacked(error, off)
    fitted = off @ error / (off @ off)
    told = 0.25 * (off @ off) / np.mean((error - fitted * off) ** 2)
    assert_allclose(variance, 1 / (16 + told))
    assert_allclose(mean, (8 + told * fitted) * variance)


def test_a_smooth_or_small_source_stays_as_it_is():
    rng = np.random.default_rng(0)
    X = rng.random((80, 3))
    smooth = GaussianProcess(log=False).fit(X, np.sin(3 * X[:, 0]) + X[:, 1])
    assert Blend.of(smooth) is None
    few = grid_runs(rng, forests.FEWEST - 1)
    assert Blend.of(GaussianProcess(log=True).fit(*few)) is None
    X[3, 0] = 1e60
    assert Blend.of(GaussianProcess(log=False).fit(X, X[:, 1])) is None


def test_steps_are_learnt_better_with_it(monkeypatch):
    everything = np.array(list(itertools.product(*LEVELS)))
    true = 1.2 * steps(everything)

    def error(forest):
        models = [stepped(seed=seed) for seed in (1, 2, 3)]
        assert all((model.sources[0].blend is not None) == forest for model in models)
        return np.mean([
            np.sqrt(np.mean((np.log(model.predict(everything)) - true) ** 2)) for model in models
        ])

    both = error(forest=True)
    monkeypatch.setattr(Blend, 'of', lambda process, seed=0: None)
    assert both < 0.95 * error(forest=False)


def test_what_a_source_says_is_the_process_and_a_part_of_the_rest():
    source = stepped().sources[0]
    blend, process = source.blend, source.process
    X = np.random.default_rng(2).random((15, 6))
    mean, V = process.project(process.features(X))
    off = blend.forest(X) - mean
    seen = source.at(X)
    assert_allclose(seen.mean, mean + blend.share * off, atol=1e-9)
    A = process.features(X)
    covariance = process.covariance(A, A) - V.T @ V + blend.variance * np.outer(off, off)
    assert_allclose(source.covariance(seen, seen), covariance, atol=1e-8)
    assert_allclose(seen.variance, np.diag(covariance), atol=1e-8)


def test_target_points_tell_how_much_it_counts():
    # Where the target follows the forest alone, or the process alone, each gets its say.
    source = stepped(0).sources[0]
    rng = np.random.default_rng(3)
    X, new = rng.integers(0, 3, (2, 40, 6)) / 2
    forest = source.blend.forest
    process = source.process

    def behind(points, share):
        mean = process.project(process.features(points))[0]
        return np.exp(process.location + process.spread * (
            mean + share * (forest(points) - mean)
        ))

    source_runs = grid_runs(np.random.default_rng(1), 120)
    for share in (0.0, 1.0):
        model = TransferModel(log=True).fit(source_runs, (X, behind(X, share)))
        said = collapse(model).sources[0]
        kept = source.blend.share
        assert (said.leaves.factor > kept) == (share > kept)
        error = np.log(model.predict(new)) - np.log(behind(new, share))
        assert np.sqrt(np.mean(error**2)) < 0.1


@pytest.mark.parametrize('known', [0, 8])
def test_the_ranking_is_what_brute_force_finds(known, monkeypatch):
    model = stepped(known)
    everything = np.array(list(itertools.product(*LEVELS)))
    true = model.predict(everything)
    for low, high in ((2048, 256), (27, 5), (3, 4)):
        monkeypatch.setattr(ranking, '_LOW', low)
        monkeypatch.setattr(ranking, '_HIGH', high)
        points, predicted = ranking.rank_grid(model, LEVELS, 30)
        assert_allclose(predicted, np.sort(true)[:30], rtol=1e-9)
        assert_allclose(model.predict(points), predicted, rtol=1e-9)


def test_the_collapsed_mean_and_a_pool_are_the_models():
    model = stepped()
    rng = np.random.default_rng(3)
    X = rng.random((50, 6))
    pools = [Pool(model, X), Pool(model, X, memory=0.0)]
    model.update(*grid_runs(rng, 3, 1.2))
    collapsed = collapse(model)
    assert any(said.leaves for said in collapsed.sources)
    parts = [part for said in collapsed.sources
             for part in (said.spelled_mean(), said.spelled_prior(), said.spelled_pull())]
    constant, kernels = collapsed.spelled(*parts)
    got = constant + sum(one.at(one.view.see(X)) for one in kernels)
    got += sum(said.leaves.at(X) for said in collapsed.sources if said.leaves)
    assert_allclose(np.clip(got, model.low, model.high), model.latent(X)[0], atol=1e-9)
    for pool in pools:
        assert_allclose(pool.mean(), model.predict(X), rtol=1e-5)


def test_a_source_in_a_space_of_its_own():
    numbers = {'low': 0.0, 'high': 1.0}
    theirs = Space([Parameter(f'o{j}', 'double', default=0.5, **numbers) for j in range(6)])
    ours = Space([
        Parameter('o3', 'double', default=0.0, **numbers),
        Parameter('other', 'bool', default=False),
        Parameter('o0', 'double', low=0.0, high=2.0, default=0.5),
        Parameter('o1', 'double', default=0.5, **numbers),
    ])
    rng = np.random.default_rng(0)
    X, y = grid_runs(rng, 120)
    Xt = rng.integers(0, 3, (9, 4)) / 2
    yt = np.exp(2.0 * ((Xt[:, 2] > 0.2) & (Xt[:, 3] < 0.4)) - Xt[:, 0])
    model = TransferModel(ours, log=True).fit([Measured(X, y, theirs)], (Xt, yt))
    assert model.sources[0].blend is not None
    levels = [[0.0, 0.25, 1.0], [0.0, 1.0], [0.0, 0.2, 0.4, 0.9], [0.0, 0.5, 1.0]]
    everything = np.array(list(itertools.product(*levels)))
    true = np.sort(model.predict(everything))
    assert_allclose(ranking.rank_grid(model, levels, 10)[1], true[:10], rtol=1e-9)
    assert_allclose(Pool(model, everything).mean(), model.predict(everything), rtol=1e-5)


def test_a_model_is_kept_with_it_and_one_without_loads():
    model = stepped()
    X = np.random.default_rng(2).random((20, 6))
    arrays = model.to_arrays()
    again = TransferModel.from_arrays(arrays)
    for ours, theirs in zip(model.latent(X), again.latent(X)):
        assert_allclose(ours, theirs, rtol=1e-9)
    old = {name: a for name, a in arrays.items() if '.forest.' not in name}
    assert len(old) < len(arrays)
    loaded = TransferModel.from_arrays(old)
    assert loaded.sources[0].blend is None
    assert np.isfinite(loaded.predict(X)).all()
    broken = {**arrays, 'source0.forest.share': np.array([0.5, -1.0])}
    with pytest.raises(ValueError, match='variance'):
        TransferModel.from_arrays(broken)


def test_a_growing_source_has_the_same_forest_whatever_was_fitted_before():
    rng = np.random.default_rng(1)
    X, y = grid_runs(rng, 110)
    target = grid_runs(rng, 6, 1.2)
    grown = TransferModel(log=True, growing=True)
    for n in (70, 90, 100, 110):
        grown.fit((X[:n], y[:n]), target)
    fresh = TransferModel(log=True, growing=True).fit((X, y), target)
    points = rng.random((20, 6))
    assert grown.sources[0].blend is not None
    assert_allclose(grown.predict(points), fresh.predict(points), rtol=1e-9)


def test_a_forest_keeps_its_values_when_a_growing_source_changes_its_units():
    rng = np.random.default_rng(1)
    X, y = grid_runs(rng, 110)
    before = GaussianProcess(log=True).fit(X[:90], y[:90])
    blend = Blend.of(before)
    after = before.extended(X[90:], 3.0 * y[90:])
    moved = blend.moved(before, after)
    assert after.spread != before.spread
    assert_allclose(after.location + after.spread * moved.forest(X),
                    before.location + before.spread * blend.forest(X), rtol=1e-9)
