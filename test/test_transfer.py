# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tl_adapt.models.gaussian_process import GaussianProcess
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


@pytest.mark.parametrize('n', [5, 10, 30])
def test_an_unrelated_source_does_not_hurt(n):
    ratios = []
    for seed in range(6):
        target = sample(unrelated_truth, n, 20 + seed)
        model = TransferModel(log=True).fit(SOURCE, target)
        alone = TransferModel(log=True).fit(None, target)
        ratios.append(error(model, unrelated_truth) / error(alone, unrelated_truth))
    assert np.exp(np.mean(np.log(ratios))) < 1.05
    assert max(ratios) < 1.3
    if n == 30:
        assert model.chosen == 'target only'


def test_the_right_hypothesis_wins():
    X, y = sample(source_truth, 15, 5)
    weights = TransferModel().fit(SOURCE, (X, y)).weights
    assert weights['target only'] < 0.05
    assert weights['source copy'] > 0.3
    weights = TransferModel().fit(SOURCE, (X, 7.0 * y)).weights
    assert weights['source copy'] < 0.01
    assert weights['linear shift'] > 0.2


def test_leave_one_out_is_that_of_brute_force():
    X, y = sample(shifted_truth, 7, 3)
    model = TransferModel(log=True).fit(SOURCE, (X, y))
    for fit in model.fits:
        mean, var = fit.loo()
        K = fit.L @ fit.L.T
        for i in range(7):
            rest = np.arange(7) != i
            weights = np.linalg.solve(K[np.ix_(rest, rest)], K[rest, i])
            prior = fit.hypothesis.slope * fit.view.mean
            wanted = prior[i] + weights @ (model.z - prior)[rest]
            assert_allclose(mean[i], wanted, atol=1e-8)
            assert_allclose(var[i], K[i, i] - weights @ K[rest, i], rtol=1e-6)


def test_the_two_task_process_is_exact():
    """Compare with one big process over both environments."""
    Xt, yt = sample(shifted_truth, 6, 3)
    model = TransferModel(log=True).fit(SOURCE, (Xt, yt))
    fit = next(f for f in model.fits if f.hypothesis.name == 'two-task GP')
    source = model.source
    X = np.random.default_rng(5).random((4, DIM))
    A, Bt, B = source.A, source.features(Xt), source.features(X)

    def cov(left, right):
        return source.covariance(left, right)

    def difference(left, right):
        return cov(left, right) - 1.0

    b = np.sqrt(fit.share)
    n, m = len(source.z), len(Xt)
    K = np.empty((n + m, n + m))
    K[:n, :n] = cov(A, A) + source.noise * np.eye(n)
    K[:n, n:] = b * cov(A, Bt)
    K[n:, :n] = K[:n, n:].T
    ratio = fit.signal / source.signal
    K[n:, n:] = (fit.share * cov(Bt, Bt) + ratio * difference(Bt, Bt) + fit.noise * np.eye(m))
    cross = np.vstack([b * cov(A, B), fit.share * cov(Bt, B) + ratio * difference(Bt, B)])
    z = np.concatenate([source.z, model.z])
    var = (fit.share * (source.signal + 1.0) + fit.signal
           - np.einsum('ij,ij->j', cross, np.linalg.solve(K, cross)))
    # The same, with the trend's coefficients known: slope b and no offset.
    known = type(fit.hypothesis)('known', b, False, False, 'source', (0.0, 1.0), 0.0)
    again = type(fit)(known, model.context, model.view, model.z, theta=fit.theta, share=fit.share)
    f, V = source.project(B)
    view = type(model.view)(B, f, np.empty((m, 4)))
    left = source.signal + 1.0 - np.einsum('ij,ij->j', V, V)
    got = again.predict(view, left, cov(Bt, B) - model.V.T @ V)
    assert_allclose(got[0], cross.T @ np.linalg.solve(K, z), rtol=1e-6)
    assert_allclose(got[1], var, rtol=1e-5)


def test_outliers_and_heavy_tails_stay_bounded():
    X, y = sample(source_truth, 100, 0)
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


def test_the_source_is_fitted_once_and_quick_keeps_hyperparameters():
    model = TransferModel(log=True).fit(SOURCE, sample(shifted_truth, 6, 1))
    source, theta = model.source, [fit.theta for fit in model.fits]
    model.fit(SOURCE, sample(shifted_truth, 9, 1), quick=True)
    assert model.source is source
    for fit, old in zip(model.fits, theta):
        assert_array_equal(fit.theta, old)
    assert len(model.z) == 9


def test_the_same_data_give_the_same_model_and_arrays_bring_it_back():
    target = sample(shifted_truth, 6, 1)
    X = np.random.default_rng(0).random((50, DIM))
    for source, goal in ((SOURCE, target), (SOURCE, None), (None, target)):
        model = TransferModel(seed=3).fit(source, goal)
        again = TransferModel(seed=3).fit(source, goal)
        loaded = TransferModel.from_arrays(model.to_arrays())
        for got, same, wanted in zip(loaded.latent(X), again.latent(X), model.latent(X)):
            assert_array_equal(same, wanted)
            assert_allclose(got, wanted, rtol=1e-10)
        assert loaded.weights == pytest.approx(model.weights)


def test_bad_data_are_refused():
    with pytest.raises(ValueError, match='at least one'):
        TransferModel().fit(None, None)
    with pytest.raises(ValueError, match='agree'):
        TransferModel().fit(SOURCE, (np.zeros((2, 3)), [1.0, 2.0]))
    with pytest.raises(ValueError, match='fit must be called'):
        TransferModel().predict(np.zeros((1, DIM)))
    with pytest.raises(ValueError, match='shape'):
        TransferModel().fit(SOURCE).predict(np.zeros((1, DIM + 1)))
