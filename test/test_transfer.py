# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tl_adapt.models import evidence
from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.refined import KINDS
from tl_adapt.models.transfer import TransferModel

DIM = 6


def source_truth(X):
    return np.exp(1.5 * X[:, 0] + np.sin(4 * X[:, 1]) + X[:, 2] * X[:, 3])


def shifted_truth(X):
    return np.exp(1.0 + 1.3 * np.log(source_truth(X)) + 0.6 * (X[:, 4] - 0.5))


def unrelated_truth(X):
    return np.exp(2.0 * np.cos(5 * X[:, 5]) - X[:, 4] ** 2)


def sample(truth, n, seed, noise=0.03):
    rng = np.random.default_rng(seed)
    X = rng.random((n, DIM))
    return X, truth(X) * np.exp(noise * rng.standard_normal(n))


def error(model, truth):
    X, y = sample(truth, 500, 999, noise=0.0)
    return np.sqrt(np.mean((np.log(model.predict(X)) - np.log(y)) ** 2)) / np.log(y).std()


SOURCE = sample(source_truth, 100, 0)


@pytest.mark.parametrize('n', [0, 1, 2, 3, 8])
def test_any_number_of_target_points_works(n):
    model = TransferModel().fit(SOURCE, sample(shifted_truth, n, 1))
    X = np.random.default_rng(0).random((50, DIM))
    mean, std = model.predict(X, return_std=True)
    assert np.isfinite(mean).all()
    assert (mean > 0).all()
    assert (std > 0).all()
    assert_allclose(sum(model.weights.values()), 1.0)
    assert model.chosen in model.weights


@pytest.mark.parametrize('room', [2**22, 0])
def test_points_that_are_remembered_are_predicted_alike(monkeypatch, room):
    monkeypatch.setattr('tl_adapt.models.source._KEPT', room)
    X = np.random.default_rng(0).random((1500, DIM))
    model, plain = (TransferModel().fit(SOURCE, sample(shifted_truth, 5, 1)) for _ in range(2))
    model.latent(X, keep=True)
    for one in (model, plain):
        one.update(*sample(shifted_truth, 1, 7))
    assert_array_equal(model.latent(X, keep=True), plain.latent(X))
    assert len(model.sources[0]._kept) == (2 if room else 0)


@pytest.mark.parametrize('n', [0, 1, 6])
def test_hypotheses_have_the_moments_of_the_latent_function(n):
    model = TransferModel().fit(SOURCE, sample(shifted_truth, n, 1))
    X = np.random.default_rng(0).random((1500, DIM))
    mean, variance, said = model.hypotheses(X)
    for mine, wanted in zip((mean, variance), model.latent(X, noise=False)):
        assert_array_equal(mine, wanted)
    assert said.mean.shape == said.variance.shape == (len(said.weight), 1500)
    assert_allclose(said.weight.sum(), 1.0)
    # The mean is that of all hypotheses, not of the heaviest alone.
    assert_allclose(said.weight @ said.mean, mean, atol=0.3)
    assert_allclose(said.weight @ (said.variance + (said.mean - mean) ** 2), variance, rtol=1e-9)
    few = said.at(np.arange(1490, 1500))
    assert_allclose(model.hypotheses(X[1490:])[2].mean, few.mean, rtol=1e-9)
    assert len(model.hypotheses(X[:0])[0]) == 0


def test_without_target_points_the_source_is_copied():
    model = TransferModel().fit(SOURCE)
    assert error(model, source_truth) < 0.2
    assert model.chosen == 'source copy'


def test_without_a_source_it_is_a_model_of_the_target():
    model = TransferModel().fit(None, sample(shifted_truth, 60, 1))
    assert list(model.weights) == ['target only']
    assert error(model, shifted_truth) < 0.5
    single = TransferModel().fit(None, sample(shifted_truth, 1, 1))
    mean, std = single.predict(np.random.default_rng(0).random((5, DIM)), return_std=True)
    assert np.isfinite(mean).all()
    assert (std > 0).all()


def test_few_target_points_beat_target_only_by_far():
    for seed in range(3):
        target = sample(shifted_truth, 6, 10 + seed)
        ours = error(TransferModel().fit(SOURCE, target), shifted_truth)
        alone = error(GaussianProcess(log=True).fit(*target), shifted_truth)
        copied = error(TransferModel().fit(SOURCE), shifted_truth)
        assert ours < 0.5 * alone
        assert ours < 0.5 * copied


@pytest.mark.parametrize(('n', 'bound'), [(5, 1.4), (10, 1.2), (30, 1.1)])
def test_an_unrelated_source_hurts_little_and_ever_less(n, bound):
    ratios = []
    for seed in range(6):
        target = sample(unrelated_truth, n, 20 + seed)
        model = TransferModel(log=True).fit(SOURCE, target)
        alone = TransferModel(log=True).fit(None, target)
        ratios.append(error(model, unrelated_truth) / error(alone, unrelated_truth))
    assert np.exp(np.mean(np.log(ratios))) < bound


def test_the_right_hypotheses_win():
    X, y = sample(source_truth, 15, 5)
    weights = TransferModel().fit(SOURCE, (X, y)).weights
    assert max(weights, key=weights.get) == 'source copy'
    assert weights['target only'] + weights['relevance only'] < 0.05
    shifted = TransferModel().fit(SOURCE, (X, 7.0 * y)).weights
    assert shifted['source copy'] < 0.5 * weights['source copy']
    assert shifted['target only'] + shifted['relevance only'] < 0.05


def test_wild_values_of_either_environment_do_little_harm():
    clean, wild_source, wild_target = [], [], []
    for seed in range(4):
        X, y = SOURCE
        wild = y.copy()
        wild[7 + seed] *= 1e4
        Xt, yt = sample(shifted_truth, 6, 40 + seed)
        off = yt.copy()
        off[2] *= 50
        clean.append(error(TransferModel(log=True).fit(SOURCE, (Xt, yt)), shifted_truth))
        model = TransferModel(log=True).fit((X, wild), (Xt, yt))
        wild_source.append(error(model, shifted_truth))
        model = TransferModel(log=True).fit(SOURCE, (Xt, off))
        wild_target.append(error(model, shifted_truth))
    assert np.mean(wild_source) < 1.5 * np.mean(clean)
    # One of six is much: no better than guessing the middle is all that may happen.
    assert np.median(wild_target) < 1.5


def test_heavy_tails_and_absurd_values_stay_bounded():
    X, y = SOURCE[0], SOURCE[1].copy()
    y[:3] = 1e12
    Xt, yt = sample(shifted_truth, 6, 1)
    yt[2] *= 50
    model = TransferModel().fit((X, y), (Xt, yt))
    mean, std = model.predict(np.random.default_rng(0).random((2000, DIM)), return_std=True)
    assert mean.max() < 1e3 * np.median(yt)
    assert np.isfinite(std).all()


def test_a_linear_scale_with_negative_values_works():
    X, y = SOURCE[0], np.log(SOURCE[1])
    Xt, yt = sample(source_truth, 6, 4)
    model = TransferModel().fit((X, y), (Xt, 3.0 - 2.0 * np.log(yt)))
    Z, truth = sample(source_truth, 300, 9, noise=0.0)
    assert not model.log_scale
    assert np.corrcoef(model.predict(Z), 3.0 - 2.0 * np.log(truth))[0, 1] > 0.8


def test_the_density_integrates_to_one_and_prefers_the_truth():
    model = TransferModel(log=True).fit(SOURCE, sample(shifted_truth, 8, 1))
    X = np.repeat(np.full((1, DIM), 0.4), 20001, axis=0)
    y = np.linspace(1e-6, 300.0, 20001)
    density = np.exp(model.log_predictive_density(X, y))
    assert_allclose(np.trapezoid(density, y) if hasattr(np, 'trapezoid')
                    else np.trapz(density, y), 1.0, atol=2e-2)
    truth = shifted_truth(X[:1])
    ours, wrong = model.log_predictive_density(X[:2], np.array([truth[0], 5 * truth[0]]))
    assert ours > wrong
    assert model.log_predictive_density(X[:1], [-1.0])[0] == -np.inf


def test_intervals_cover():
    hits = []
    for seed in range(4):
        model = TransferModel(log=True).fit(SOURCE, sample(shifted_truth, 12, 30 + seed))
        X, y = sample(shifted_truth, 400, 77)
        mean, var = model.latent(X)
        hits.append(np.abs(np.log(y) - mean) < 1.645 * np.sqrt(var))
    assert 0.75 < np.mean(hits) <= 1.0


def test_intervals_hold_their_share():
    inside = []
    for seed in range(4):
        model = TransferModel(log=True).fit(SOURCE, sample(shifted_truth, 12, 30 + seed))
        X, y = sample(shifted_truth, 400, 77)
        low, high = model.interval(X, 0.9)
        narrow = model.interval(X, 0.5)
        assert ((low < narrow[0]) & (narrow[0] < narrow[1]) & (narrow[1] < high)).all()
        inside.append((low <= y) & (y <= high))
    assert 0.75 < np.mean(inside) <= 1.0
    with pytest.raises(ValueError, match='level'):
        model.interval(X, 1.0)


@pytest.mark.parametrize('n', [0, 2, 12])
def test_draws_have_the_moments_of_the_latent_function(n):
    model = TransferModel(log=True).fit(SOURCE, sample(shifted_truth, n, 1))
    X = np.random.default_rng(2).random((8, DIM))
    drawn = np.log(model.sample(X, 4000, seed=1))
    mean, var = model.latent(X, noise=False)
    assert drawn.shape == (4000, 8)
    assert_allclose(drawn.mean(axis=0), mean, atol=0.15 * np.sqrt(var.max()))
    assert_allclose(drawn.std(axis=0), np.sqrt(var), rtol=0.15)
    assert_array_equal(model.sample(X, 20, seed=3), model.sample(X, 20, seed=3))


def test_a_draw_is_one_function():
    model = TransferModel(log=True).fit(SOURCE, sample(shifted_truth, 6, 1))
    X = np.random.default_rng(2).random((3, DIM))
    drawn = np.log(model.sample(np.vstack([X, X, X + 1e-4]), 200))
    spread = drawn.std(axis=0).min()
    assert np.abs(drawn[:, :3] - drawn[:, 3:6]).max() < 0.02 * spread
    assert np.abs(drawn[:, :3] - drawn[:, 6:]).max() < 0.1 * spread
    with pytest.raises(ValueError, match='at most'):
        model.sample(np.zeros((5000, DIM)), 1)


def test_a_source_is_fitted_once():
    other = sample(unrelated_truth, 50, 3)
    model = TransferModel(log=True).fit([SOURCE, other], sample(shifted_truth, 6, 1))
    kept = model.sources
    model.fit([SOURCE, other], sample(shifted_truth, 9, 1))
    assert model.sources is kept
    model.fit([other], sample(shifted_truth, 9, 1))
    assert model.sources == kept[1:]


@pytest.mark.parametrize('n', [0, 1, 5])
def test_an_update_is_a_quick_fit(n):
    X, y = sample(shifted_truth, 9, 1)
    Z = np.random.default_rng(0).random((40, DIM))
    updated = TransferModel(log=True).fit(SOURCE, (X[:n], y[:n])).update(X[n:], y[n:])
    quick = TransferModel(log=True).fit(SOURCE, (X[:n], y[:n]))
    quick.fit(SOURCE, (X, y), quick=True)
    slow = TransferModel(log=True).fit(SOURCE, (X, y))
    assert_allclose(updated.latent(Z), quick.latent(Z), rtol=1e-9)
    assert updated.weights == pytest.approx(quick.weights)
    assert np.abs(updated.latent(Z)[0] - slow.latent(Z)[0]).max() < 0.5
    # One by one is the same as all at once.
    model = TransferModel(log=True).fit(SOURCE, (X[:5], y[:5]))
    for point, value in zip(X[5:], y[5:]):
        model.update(point[None, :], [value])
    assert len(model.y) == 9
    together = TransferModel(log=True).fit(SOURCE, (X[:5], y[:5])).update(X[5:], y[5:])
    assert_allclose(model.latent(Z), together.latent(Z), rtol=1e-9)


def test_a_quick_fit_to_other_points_keeps_what_was_learnt():
    X, y = sample(shifted_truth, 9, 1)
    model = TransferModel(log=True).fit(SOURCE, (X, y))
    thetas = [theta.copy() for theta in model._thetas]
    model.fit(SOURCE, (X[::-1], y[::-1]), quick=True)
    assert_allclose(model._thetas, thetas)
    again = TransferModel(log=True).fit(SOURCE, (X, y))
    Z = np.random.default_rng(0).random((40, DIM))
    assert_allclose(model.latent(Z), again.latent(Z), rtol=0.05, atol=0.02)


def test_an_unrelated_source_beside_a_good_one_does_not_hurt():
    other = sample(unrelated_truth, 100, 3)
    ratios = []
    for seed in range(6):
        target = sample(shifted_truth, 10, 50 + seed)
        both = error(TransferModel(log=True).fit([other, SOURCE], target), shifted_truth)
        good = error(TransferModel(log=True).fit(SOURCE, target), shifted_truth)
        ratios.append(both / good)
    assert np.exp(np.mean(np.log(ratios))) < 1.1


def test_the_order_of_the_sources_does_not_matter():
    other = sample(unrelated_truth, 100, 3)
    target = sample(shifted_truth, 6, 1)
    X = np.random.default_rng(0).random((40, DIM))
    one = TransferModel(log=True).fit([SOURCE, other], target)
    two = TransferModel(log=True).fit([other, SOURCE], target)
    assert one.weights == pytest.approx(two.weights, abs=0.02)
    assert_allclose(one.latent(X)[0], two.latent(X)[0], atol=0.05)


def test_a_scale_with_a_far_zero_is_exact():
    X, y = sample(shifted_truth, 8, 1)
    Z = np.random.default_rng(0).random((40, DIM))
    near = TransferModel(log=False).fit((SOURCE[0], SOURCE[1]), (X, y))
    far = TransferModel(log=False).fit((SOURCE[0], SOURCE[1] + 1e6), (X, y + 1e6))
    assert far.weights.keys() == near.weights.keys()
    truth = shifted_truth(Z)
    assert np.std(far.predict(Z) - 1e6 - truth) < 1.5 * np.std(near.predict(Z) - truth) + 0.1


@pytest.mark.parametrize(('source', 'target'), [
    ((SOURCE[0], np.full(100, 3.0)), (SOURCE[0][:6], np.full(6, 4.0))),
    (SOURCE, (SOURCE[0][:6], np.full(6, 4.0))),
    ((SOURCE[0], np.full(100, 3.0)), (SOURCE[0][:6], SOURCE[1][:6])),
    ((SOURCE[0], np.zeros(100)), (SOURCE[0][:6], np.zeros(6))),
    (None, (SOURCE[0][:6], np.zeros(6))),
    ((np.repeat(SOURCE[0][:5], 20, axis=0), np.repeat(SOURCE[1][:5], 20)),
     (np.repeat(SOURCE[0][:2], 5, axis=0), np.repeat(SOURCE[1][:2], 5))),
    ((SOURCE[0], np.where(np.arange(100) % 2, 1e9, -1e9)), (SOURCE[0][:4], SOURCE[1][:4])),
])
@pytest.mark.parametrize('log', ['auto', False])
def test_constants_repeats_and_wide_ranges_work(source, target, log):
    model = TransferModel(log=log).fit(source, target)
    mean, std = model.predict(np.random.default_rng(0).random((30, DIM)), return_std=True)
    assert np.isfinite(mean).all()
    assert (std > 0).all()
    assert np.isfinite(model.sample(SOURCE[0][:5], 3)).all()
    if len(set(target[1])) == 1:
        assert_allclose(model.predict(target[0]), target[1], rtol=0.05, atol=0.1)


def mixed_options(n, seed):
    """Return 60 columns of every kind, and a performance that few of them decide."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 60))
    X[:, :30] = X[:, :30] > 0.5
    X[:, 30:40] = np.round(7 * X[:, 30:40]) / 7
    X[:, 40:50] = np.floor(4 * X[:, 40:50]) / 3
    f = X[:, 0] - 0.7 * X[:, 1] * X[:, 31] + (X[:, 40] == 1.0) + np.sin(3 * X[:, 55])
    return X, f, X[:, 2]


def test_sixty_options_of_all_kinds():
    mask = (np.arange(60) >= 40) & (np.arange(60) < 50)
    X, f, _ = mixed_options(200, 0)
    source = (X, np.exp(f))
    Z, truth, extra = mixed_options(500, 9)
    ours, alone = [], []
    for seed in range(2):
        Xt, ft, more = mixed_options(10, 20 + seed)
        target = (Xt, np.exp(1.0 + 0.8 * ft + 0.3 * more))
        for found, first in ((ours, source), (alone, None)):
            model = TransferModel(log=True, categorical=mask).fit(first, target)
            off = np.log(model.predict(Z)) - (1.0 + 0.8 * truth + 0.3 * extra)
            found.append(np.sqrt(np.mean(off**2)) / np.std(0.8 * truth + 0.3 * extra))
    assert np.mean(ours) < 0.7 * np.mean(alone)
    assert np.mean(ours) < 0.75


def test_the_scale_is_chosen_by_all_environments():
    target = sample(shifted_truth, 6, 1)
    assert TransferModel().fit(SOURCE, target).log_scale
    assert not TransferModel().fit((SOURCE[0], -SOURCE[1]), (target[0], -target[1])).log_scale
    model = TransferModel().fit(SOURCE, target)
    model.fit(SOURCE, (target[0], target[1] - target[1].max()), quick=True)
    assert not model.log_scale


def test_the_same_data_give_the_same_model_and_arrays_bring_it_back():
    target = sample(shifted_truth, 6, 1)
    X = np.random.default_rng(0).random((50, DIM))
    pair = [SOURCE, sample(unrelated_truth, 40, 3)]
    for source, goal in ((SOURCE, target), (SOURCE, None), (None, target), (pair, target)):
        model = TransferModel(seed=3).fit(source, goal)
        again = TransferModel(seed=3).fit(source, goal)
        loaded = TransferModel.from_arrays(model.to_arrays())
        for got, same, wanted in zip(loaded.latent(X), again.latent(X), model.latent(X)):
            assert_array_equal(same, wanted)
            assert_allclose(got, wanted, rtol=1e-10)
        assert loaded.weights == pytest.approx(model.weights)


def test_a_loaded_model_forgets_a_source_that_is_given_no_more():
    target = sample(shifted_truth, 6, 1)
    loaded = TransferModel.from_arrays(TransferModel().fit(SOURCE, target).to_arrays())
    assert list(loaded.fit(None, target).weights) == ['target only']
    assert loaded.source is None


def test_many_target_points_thin_out_the_hypotheses(monkeypatch):
    target = sample(shifted_truth, 60, 1)
    X = np.random.default_rng(0).random((200, DIM))
    whole = TransferModel(log=True).fit(SOURCE, target)
    monkeypatch.setattr(evidence, 'MANY', 20)
    model = TransferModel(log=True).fit(SOURCE, target)
    assert len(model.blocks[0].grid) <= len(whole.blocks[0].grid) / 9 + len(whole.weights)
    assert set(model.weights) == set(whole.weights)
    assert_allclose(sum(model.weights.values()), 1.0)
    off = np.log(model.predict(X) / whole.predict(X))
    assert np.sqrt(np.mean(off**2)) < 0.05 * np.log(shifted_truth(X)).std()
    loaded = TransferModel.from_arrays(model.to_arrays())
    assert_allclose(loaded.latent(X), model.latent(X), rtol=1e-9)


def test_without_a_source_few_points_tell_which_columns_count(monkeypatch):
    cube = np.array(np.meshgrid(*[[0.0, 1.0]] * 10)).reshape(10, -1).T
    y = np.exp(cube[:, 0] + cube[:, 1])

    def likeness():
        found = []
        for seed in range(6):
            rows = np.random.default_rng(seed).permutation(len(cube))[:10]
            model = TransferModel(log=True).fit(None, (cube[rows], y[rows]))
            found.append(np.corrcoef(model.latent(cube)[0], np.log(y))[0, 1])
        return float(np.mean(found)), model

    both, model = likeness()
    assert model.weights == {'target only': pytest.approx(1.0)}
    loaded = TransferModel.from_arrays(model.to_arrays())
    assert_allclose(loaded.latent(cube), model.latent(cube), rtol=1e-9)
    monkeypatch.setattr('tl_adapt.models.transfer.UNINFORMED', KINDS[-1:])
    assert both > likeness()[0] + 0.003
