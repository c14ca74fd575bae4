# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal, norm, t

from tl_adapt.models import scale
from tl_adapt.models.gaussian_process import TREND, GaussianProcess
from tl_adapt.models.kernel import (
    SCALES,
    Features,
    components,
    correlation,
    radial,
    radial_with_slope,
)
from tl_adapt.models.likelihood import FREEDOM, Posterior, factorise, make_prior, maximise, root

MIXED = np.array([False, False, True, False, True])


def mixed_data(n, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 5))
    X[:, 2] = rng.integers(0, 3, n) / 2
    X[:, 4] = rng.integers(0, 2, n)
    f = np.sin(3 * X[:, 0]) + X[:, 1] ** 2 + 0.8 * (X[:, 2] == 0.5) - 0.5 * X[:, 4]
    return X, np.exp(f + noise * rng.standard_normal(n))


def brute_squared_distance(x, z, lengths):
    off = np.where(MIXED, x != z, x - z) / lengths
    return (off**2).sum()


def test_the_kernel_mixes_scales_of_numeric_and_hamming_distances():
    X, _ = mixed_data(12)
    X[3, 2] = 0.25  # a level that the others never show
    lengths = np.array([0.5, 1.0, 0.7, 2.0, 1.3])
    features = Features(MIXED, X[4:7])
    got = correlation(features(X), features(X), features.owner, np.log(lengths))
    for i in range(12):
        for j in range(12):
            q = brute_squared_distance(X[i], X[j], lengths)
            assert_allclose(got[i, j], np.mean([np.exp(-s * q / 2) for s in SCALES]), atol=1e-7)
    assert np.linalg.eigvalsh(got).min() > -1e-10


def test_the_kernels_parts_are_exponentials():
    q = np.concatenate([np.linspace(0.0, 5.0, 50), [1e3, 1e6, 1e12]])
    for scale_, part in zip(SCALES, components(q)):
        assert_allclose(part, np.exp(-scale_ * q / 2), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize('shape', [(0,), (3, 0), (), (90, 91), (2, 3, 4096)])
def test_the_kernel_is_worked_out_in_blocks_of_any_shape(shape):
    q = np.random.default_rng(0).random(shape) * 20.0
    parts = np.array([np.exp(-scale_ * q / 2) for scale_ in SCALES])
    out = np.empty((6, *shape))
    assert components(q, out=out[2:]).base is out
    assert_allclose(out[2:], parts, rtol=1e-9, atol=1e-300)
    if q.size > 1 and q.ndim > 1:
        with pytest.raises(ValueError, match='contiguous'):
            components(q, out=out[2:].T)
    assert_array_equal(components(q.T), components(q).transpose(0, *range(q.ndim, 0, -1)))
    assert_allclose(radial(q), parts.mean(axis=0), rtol=1e-9)
    total, slope = radial_with_slope(q)
    assert_array_equal(total, radial(q))
    weights = np.array(SCALES).reshape(-1, *[1] * q.ndim)
    assert_allclose(slope, (weights * parts).mean(axis=0), rtol=1e-9)


def test_unseen_levels_differ_from_the_seen_ones_and_from_each_other():
    features = Features(np.array([True]), np.array([[0.0], [1.0]]))
    A = features(np.array([[0.0], [0.5], [0.25], [0.75]]))
    for i in range(4):
        for j in range(i):
            assert_allclose(((A[i] - A[j]) ** 2).sum(), 1.0)


@pytest.mark.parametrize('fixed', [False, True])
def test_gradients_are_those_of_finite_differences(fixed):
    X, y = mixed_data(25)
    features = Features(MIXED, X)
    z = (np.log(y) - np.log(y).mean()) / np.log(y).std()
    lengths = np.linspace(-0.5, 0.8, 5) if fixed else None
    rng = np.random.default_rng(3)
    prior = make_prior(5)
    base = np.full((25, 25), 0.7) + np.outer(z, z) * 0.1
    posterior = Posterior(features(X), features.owner, z, base, prior, lengths=lengths)
    theta = (prior.mean + 0.5 * rng.standard_normal(7))[posterior.free]
    _, gradient = posterior(theta)
    for k in range(len(theta)):
        step = np.zeros(len(theta))
        step[k] = 1e-5
        numeric = (posterior(theta + step)[0] - posterior(theta - step)[0]) / 2e-5
        assert_allclose(gradient[k], numeric, rtol=1e-5, atol=1e-6)


def test_the_likelihood_is_that_of_the_normal_distribution():
    X, y = mixed_data(10)
    features = Features(MIXED, X)
    z = np.log(y)
    prior = make_prior(5)
    theta = prior.mean + 0.1
    base = np.full((10, 10), 1.0)
    value, _ = Posterior(features(X), features.owner, z, base, prior)(theta)
    K = base + np.exp(theta[5]) * correlation(
        features(X), features(X), features.owner, theta[:5]
    ) + np.exp(theta[6]) * np.eye(10)
    penalty, _ = prior.penalty(theta, slice(0, None))
    assert_allclose(value, multivariate_normal(cov=K).logpdf(z) - penalty)


def test_the_prior_is_students_around_a_shared_length():
    prior = make_prior(4, length=(0.0, 0.5, 0.8))
    off = np.array([0.3, -0.2, 0.5, 0.1, 0.7, -0.4])
    own, common = off[:4] - off[:4].mean(), off[:4].mean()

    def density(own, common, rest):
        return (t(FREEDOM, scale=0.5).logpdf(own).sum() + norm(scale=0.8).logpdf(common)
                + norm(scale=prior.std[-2:]).logpdf(rest).sum())

    value, gradient = prior.penalty(prior.mean + off, slice(0, None))
    wanted = density(np.zeros(4), 0.0, np.zeros(2)) - density(own, common, off[4:])
    assert_allclose(value, wanted)
    for k in range(6):
        step = 1e-6 * (np.arange(6) == k)
        ends = [prior.penalty(prior.mean + off + s, slice(0, None))[0] for s in (step, -step)]
        assert_allclose(gradient[k], (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)


def test_leave_one_out_is_that_of_brute_force():
    X, y = mixed_data(20)
    model = GaussianProcess(MIXED).fit(X, y)
    mean, var = model.loo()
    K = model.covariance(model.A, model.A) + model.noise * np.eye(20)
    for i in range(20):
        rest = np.arange(20) != i
        weights = np.linalg.solve(K[np.ix_(rest, rest)], K[rest, i])
        assert_allclose(mean[i], model.location + model.spread * (weights @ model.z[rest]))
        assert_allclose(var[i], model.spread**2 * (K[i, i] - weights @ K[rest, i]))


def test_it_learns_a_function_and_its_noise():
    X, y = mixed_data(150)
    Z, truth = mixed_data(400, seed=1, noise=0.0)
    model = GaussianProcess(MIXED).fit(X, y)
    assert model.log_scale
    error = np.log(model.predict(Z)) - np.log(truth)
    assert np.sqrt(np.mean(error**2)) < 0.1 * np.log(truth).std()
    assert 0.03 < np.sqrt(model.noise) * model.spread < 0.08
    _, noisy = mixed_data(400, seed=1)
    mean, var = model.latent(Z)
    covered = np.abs(np.log(noisy) - mean) < 1.645 * np.sqrt(var)
    assert 0.82 < covered.mean() < 0.98


def test_eight_points_in_34_dimensions_stay_sane():
    rng = np.random.default_rng(0)
    X, y = rng.random((8, 34)), np.exp(rng.standard_normal(8))
    mean, std = GaussianProcess(log=True).fit(X, y).predict(rng.random((500, 34)), True)
    assert (mean > 0.5 * y.min()).all()
    assert (mean < 2.0 * y.max()).all()
    assert (std > 0.05 * np.median(y)).all()


def test_one_point_constant_values_and_repeats_work():
    X = np.array([[0.2, 0.4]])
    assert_allclose(GaussianProcess().fit(X, [3.0]).predict(X), 3.0)
    many = np.repeat(X, 30, axis=0)
    assert_allclose(GaussianProcess().fit(many, np.full(30, 5.0)).predict(X), 5.0)
    noisy = np.exp(0.1 * np.random.default_rng(0).standard_normal(30))
    mean, std = GaussianProcess(log=True).fit(many, noisy).predict(X, True, noise=False)
    assert abs(float(mean[0]) - 1.0) < 0.1
    assert float(std[0]) < 0.1


def test_outliers_and_wide_extrapolation_stay_bounded():
    X, y = mixed_data(60)
    y[7] = 1e30
    mean, std = GaussianProcess(MIXED, log=True).fit(X, y).predict(np.full((1, 5), 1e6), True)
    assert 0 < mean[0] < 1e4
    assert np.isfinite(std[0])
    middle, wide = scale.median_and_std(np.array([500.0]), np.array([1e4]), True)
    assert np.isfinite(middle[0])
    assert np.isfinite(wide[0])


def test_one_wild_row_is_left_out_and_a_heavy_tail_is_not():
    Z, truth = mixed_data(300, seed=1, noise=0.0)
    for seed in range(3):
        X, y = mixed_data(100, seed=seed)
        good = GaussianProcess(MIXED, log=True).fit(X, y)
        wild = y.copy()
        wild[7] *= 1e3
        model = GaussianProcess(MIXED, log=True).fit(X, wild)
        errors = [np.std(np.log(m.predict(Z)) - np.log(truth)) for m in (good, model)]
        assert errors[1] < 1.3 * errors[0] + 0.01
    rng = np.random.default_rng(0)
    X = rng.random((100, 5))
    tail = np.exp(4.0 * (X[:, 0] > 0.9) + 0.1 * X[:, 1])
    assert 0.03 < np.mean(X[:, 0] > 0.9) < 0.2
    assert len(GaussianProcess(log=True).fit(X, tail).y) == 100


def test_rare_labels_are_no_mistakes_where_every_row_is_believed():
    X, _ = mixed_data(60)
    y = np.where(np.arange(60) == 5, -1.0, 1.0)
    assert GaussianProcess(MIXED, log=False, mistakes=False).fit(X, y).y.min() == -1.0


def test_the_log_scale_is_chosen_by_positivity_and_skew():
    rng = np.random.default_rng(0)
    normal = 10 + rng.standard_normal(200)
    assert scale.choose_log('auto', np.exp(rng.standard_normal(200)))
    assert not scale.choose_log('auto', normal - 20)
    assert not scale.choose_log('auto', normal)
    assert not scale.choose_log('auto')
    with pytest.raises(ValueError, match='positive'):
        scale.choose_log(True, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match='auto'):
        scale.choose_log('often', normal)


def test_the_moments_are_those_of_the_log_normal_distribution():
    draws = np.exp(0.3 + 0.4 * np.random.default_rng(0).standard_normal(400_000))
    mean, std = scale.mean_and_std(np.array([0.3]), np.array([0.16]), True)
    assert_allclose(mean, draws.mean(), rtol=5e-3)
    assert_allclose(std, draws.std(), rtol=1e-2)


def test_the_same_data_give_the_same_model_and_arrays_bring_it_back():
    X, y = mixed_data(130)
    Z, _ = mixed_data(50, seed=2)
    model = GaussianProcess(MIXED, seed=5).fit(X, y)
    again = GaussianProcess(MIXED, seed=5).fit(X, y)
    assert_array_equal(model.hyperparameters, again.hyperparameters)
    loaded = GaussianProcess.from_arrays(model.to_arrays())
    for got, wanted in zip(loaded.latent(Z), model.latent(Z)):
        assert_allclose(got, wanted, rtol=1e-12)
    assert_allclose(loaded.loo(), model.loo(), rtol=1e-9)


def test_a_warm_start_finds_the_same():
    X, y = mixed_data(60)
    model = GaussianProcess(MIXED).fit(X, y)
    before = model.predict(X)
    model.fit(X, y, warm=True)
    assert_allclose(model.predict(X), before, rtol=1e-2)


def test_more_rows_than_allowed_are_thinned():
    X, y = mixed_data(300)
    model = GaussianProcess(MIXED, max_points=100, hyper_points=50).fit(X, y)
    assert len(model.y) == 100
    Z, truth = mixed_data(200, seed=1, noise=0.0)
    assert np.corrcoef(np.log(model.predict(Z)), np.log(truth))[0, 1] > 0.9


def test_jitter_mends_a_singular_covariance_and_nothing_mends_a_wrong_one():
    L = factorise(np.ones((5, 5)))
    assert_allclose(L @ L.T, np.ones((5, 5)), atol=1e-5)
    with pytest.raises(ArithmeticError):
        factorise(-np.eye(3))
    rounded = np.diag([1.0, 0.0, -1e-3])
    assert_allclose(root(rounded) @ root(rounded).T, np.diag([1.0, 0.0, 0.0]), atol=1e-2)
    assert_allclose(root(-np.eye(3)), np.zeros((3, 3)))


def test_a_bad_start_is_no_error():
    X, y = mixed_data(10)
    features = Features(MIXED, X)
    base = -100.0 * np.eye(10)
    prior = make_prior(5)
    posterior = Posterior(features(X), features.owner, np.log(y), base, prior)
    theta, _ = maximise(posterior, [prior.mean])
    assert np.isfinite(theta).all()


@pytest.mark.parametrize(('X', 'y', 'rule'), [
    (np.zeros((3, 2)), [1.0, 2.0], 'shape'),
    (np.zeros(3), [1.0, 2.0, 3.0], 'shape'),
    (np.zeros((2, 2)), [1.0, np.nan], 'finite'),
    (np.full((2, 2), np.nan), [1.0, 2.0], 'finite'),
    (np.zeros((0, 2)), [], 'at least one'),
])
def test_bad_data_are_refused(X, y, rule):
    with pytest.raises(ValueError, match=rule):
        GaussianProcess().fit(X, y)


def test_prediction_needs_a_fit_and_the_same_columns():
    with pytest.raises(ValueError, match='fit must be called'):
        GaussianProcess().predict(np.zeros((1, 2)))
    with pytest.raises(ValueError, match='shape'):
        GaussianProcess().fit(np.zeros((2, 2)), [1.0, 2.0]).predict(np.zeros((1, 3)))
    with pytest.raises(ValueError, match='categorical'):
        GaussianProcess(MIXED).fit(np.zeros((2, 2)), [1.0, 2.0])


def test_the_prior_variance_is_signal_and_trend():
    X, y = mixed_data(30)
    model = GaussianProcess(MIXED).fit(X, y)
    _, var = model.latent(np.full((1, 5), 1e9), noise=False)
    assert var[0] <= model.spread**2 * (model.signal + TREND) + 1e-12


def test_a_rare_event_is_no_mistake():
    X = np.random.default_rng(0).random((100, 3))
    y = np.where(X[:, 0] > 0.98, 5.0, 0.0)
    assert y.max() == 5.0
    assert GaussianProcess(log=False).fit(X, y).y.max() == 5.0
