# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.kernel import SCALES, Features, correlation
from tl_adapt.models.paths import draw_functions
from tl_adapt.models.relations import (
    CONSTANT,
    COPY,
    INHERITED,
    PARTS,
    SLOPE,
    WIDTH,
    Block,
    Grid,
    make_grid,
)
from tl_adapt.models.source import ROWS, Source

MIXED = np.array([False, False, True, False])


def draw(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.random((n, 4))
    X[:, 2] = rng.integers(0, 3, n) / 2
    return X


def truth(X):
    return np.sin(4 * X[:, 0]) + X[:, 1] * X[:, 3] + 0.5 * (X[:, 2] == 0.5)


def make_source(n=40):
    X = draw(n, 0)
    noise = 0.05 * np.random.default_rng(1).standard_normal(n)
    return Source(GaussianProcess(MIXED, log=False).fit(X, truth(X) + noise))


SOURCE = make_source()
X, Z = draw(7, 2), draw(5, 3)
Y = 1.0 + 1.5 * truth(X) + 0.3 * X[:, 0]


def one(weight, *, slope=1.0, noise=0.1):
    return Grid(('some',), np.array([slope]), np.asarray(weight)[None, :], np.array([noise]),
                np.zeros(1))


def make_block(grid, source=SOURCE, points=X, y=Y, lengths=None):
    process = SOURCE.process
    lengths = process.lengths if lengths is None else lengths
    block = Block(grid, source, lengths, process.features.owner, 0.4, 2.0)
    return block.fit(place(block, points), y)


def place(block, points):
    seen = None if block.source is None else block.source.at(points)
    return block.place(SOURCE.process.features(points), seen)


def everything():
    grid = make_grid(4.0, 0.8, 0.05)
    return make_block(grid)


def covariance(block, points):
    parts = block.parts(place(block, points), place(block, points))
    return np.tensordot(block.grid.weight, parts, 1)


def test_leave_one_out_is_that_of_brute_force():
    block = everything()
    mean, var = block.loo()
    K = covariance(block, X) + block.grid.noise[:, None, None] * np.eye(7)
    f = SOURCE.at(X).mean
    z = (Y - 0.4) / 2.0
    for i in range(7):
        rest = np.arange(7) != i
        for h in range(0, len(block.grid), 13):
            prior = block.grid.slope[h] * f
            weights = np.linalg.solve(K[h][np.ix_(rest, rest)], K[h][rest, i])
            wanted = prior[i] + weights @ (z - prior)[rest]
            assert_allclose(mean[h, i], 0.4 + 2.0 * wanted, atol=1e-7)
            assert_allclose(var[h, i], 4.0 * (K[h, i, i] - weights @ K[h][rest, i]), rtol=1e-6)


def test_a_block_extended_is_one_fitted_to_all():
    block = make_block(make_grid(4.0, 0.8, 0.05), points=X[:0], y=Y[:0])
    for i in range(7):
        block = block.extended(place(block, X[i:i + 1]), Y[i])
    whole = everything()
    assert_allclose(block.half, whole.half, rtol=1e-6, atol=1e-8 * whole.half.max())
    assert_allclose(block.loo(), whole.loo(), rtol=1e-6, atol=1e-8)
    share = np.full(len(block.grid), 1.0 / len(block.grid))
    assert_allclose(block.weighted(share)(place(block, Z)), whole.weighted(share)(place(whole, Z)),
                    rtol=1e-8)


def test_the_mean_of_all_is_that_of_each():
    block = everything()
    count = len(block.grid)
    share = np.random.default_rng(0).dirichlet(np.ones(count))
    where = place(block, Z)
    each, var = block.each(where, np.arange(count), block.parts(block.known, where))
    assert_allclose(block.weighted(share)(where), share @ each, rtol=1e-9)
    assert (var > 0).all()
    for row in (0, count // 2, count - 1):
        one = block.each(where, np.array([row]), block.parts(block.known, where))
        assert_allclose(np.vstack(one), [each[row], var[row]], rtol=1e-9)


def test_the_slope_is_that_of_bayesian_regression():
    weight = np.zeros(WIDTH)
    weight[SLOPE] = 0.5
    block = make_block(one(weight, noise=0.2))
    f, z = SOURCE.at(X).mean, (Y - 0.4) / 2.0
    precision = 1 / 0.5 + f @ f / 0.2
    assert_allclose(block.slopes(), (1 / 0.5 + f @ z / 0.2) / precision)


@pytest.mark.parametrize('n', [40, ROWS])
def test_the_two_task_process_is_exact(n):
    """Compare with one big process over both environments, slope b known and no offset."""
    source = SOURCE if n == 40 else make_source(n)
    process = source.process
    b, noise, mix = 1.3, 0.1, np.array([0.1, 0.2, 0.05, 0.02])
    weight = np.r_[0.0, 0.0, b**2, mix]
    block = Block(one(weight, slope=b, noise=noise), source, process.lengths,
                  process.features.owner, 0.4, 2.0)
    features, A = process.features, process.A

    def here(points):
        return block.place(features(points), source.at(points))

    block.fit(here(X), Y)
    wide = np.exp(-process.lengths)[features.owner]

    def difference(left, right):
        q = (((left[:, None] - right[None]) * wide) ** 2).sum(axis=2)
        return sum(w * np.exp(-s * q / 2) for w, s in zip(mix, SCALES))

    Bt, B = features(X), features(Z)
    m, cov = len(X), process.covariance
    K = np.empty((n + m, n + m))
    K[:n, :n] = cov(A, A) + process.noise * np.eye(n)
    K[:n, n:] = b * cov(A, Bt)
    K[n:, :n] = K[:n, n:].T
    K[n:, n:] = b**2 * cov(Bt, Bt) + difference(Bt, Bt) + noise * np.eye(m)
    cross = np.vstack([b * cov(A, B), b**2 * cov(Bt, B) + difference(Bt, B)])
    z = np.concatenate([process.z, (Y - 0.4) / 2.0])
    solved = np.linalg.solve(K, cross)
    wanted = b**2 * cov(B, B) + difference(B, B) - cross.T @ solved
    where = here(Z)
    mean, var = block.each(where, np.array([0]), block.parts(block.known, where))
    assert_allclose(mean[0], 0.4 + 2.0 * (solved.T @ z), rtol=1e-6)
    assert_allclose(var[0], 4.0 * np.diag(wanted), rtol=1e-5)
    drawn = draw_functions(block, np.zeros(40_000, dtype=int), where, np.random.default_rng(0))
    assert_allclose(drawn.mean(axis=0), mean[0], atol=0.03 * np.sqrt(var[0].max()))
    assert_allclose(np.cov(drawn.T), 4.0 * wanted, atol=0.03 * var[0].max())


def test_a_large_source_keeps_its_mean_and_bounds_its_variance():
    source = make_source(ROWS + 100)
    seen = source.at(Z)
    mean, var = source.process.latent(Z, noise=False)
    assert_allclose(source.location + source.spread * seen.mean, mean)
    assert (source.spread**2 * seen.variance >= var - 1e-9).all()
    assert_allclose(np.diag(source.covariance(seen, seen)), seen.variance, atol=1e-8)


def test_a_copy_is_the_source_itself():
    weight = np.zeros(WIDTH)
    weight[INHERITED] = 1.0
    block = make_block(one(weight), points=X[:0], y=Y[:0])
    where = place(block, Z)
    mean, var = block.each(where, np.array([0]), block.parts(block.known, where))
    process = SOURCE.process
    wanted, left = process.latent(Z, noise=False)
    assert_allclose((mean[0] - 0.4) / 2.0, (wanted - process.location) / process.spread)
    assert_allclose(var[0] / 4.0, left / process.spread**2, rtol=1e-6, atol=1e-9)


def test_without_a_source_a_block_is_a_plain_process():
    weight = np.r_[3.0, 0.0, 0.0, np.full(len(SCALES), 0.2)]
    lengths = np.array([-0.3, 0.2, 0.1, 0.5])
    block = make_block(one(weight, slope=0.0), None, lengths=lengths)
    features = Features(MIXED, SOURCE.process.X)

    def cov(left, right):
        return 3.0 + 0.8 * correlation(features(left), features(right), features.owner, lengths)

    solved = np.linalg.solve(cov(X, X) + 0.1 * np.eye(7), cov(X, Z))
    where = place(block, Z)
    mean, var = block.each(where, np.array([0]), block.parts(block.known, where))
    assert_allclose(mean[0], 0.4 + solved.T @ (Y - 0.4), rtol=1e-7)
    assert_allclose(var[0], 4.0 * (3.8 - (cov(X, Z) * solved).sum(axis=0)), rtol=1e-6)


def test_the_grid_is_a_prior_over_what_may_be():
    grid = make_grid(4.0, 0.8, 0.05)
    assert_allclose(np.exp(grid.log_prior).sum(), 1.0)
    assert grid.weight.shape == (len(grid), WIDTH)
    assert (grid.weight >= 0).all()
    assert (grid.noise > 0).all()
    assert set(np.unique(grid.weight[:, CONSTANT])) == {0.0, 4.0}
    assert (grid.weight[:, PARTS:].sum(axis=1) <= 0.8 + 1e-12).all()
    unknown = make_grid(4.0, 0.8, 0.05, known=False)
    assert set(unknown.names) == {COPY}
    assert (unknown.slope == 1.0).all()
    assert_allclose(np.exp(unknown.log_prior).sum(), 1.0)


def test_repeated_points_do_not_make_the_factors_fail():
    twice = np.repeat(X, 2, axis=0)
    block = make_block(make_grid(4.0, 0.8, 0.05), points=twice, y=np.repeat(Y, 2))
    assert np.isfinite(block.half).all()
    more = block.extended(place(block, X[:1]), Y[0])
    assert np.isfinite(more.loo()).all()


def test_repeats_of_one_point_are_left_out_together():
    rng = np.random.default_rng(4)
    points = rng.random((7, 3))
    points[4:] = points[1]
    z = rng.standard_normal(7)
    grid = make_grid(9.0, 1.0, 0.02)
    block = Block(grid, None, np.zeros(3), np.arange(3), 0.0, 1.0)
    block.fit(block.place(points, None), z)
    mean, var = block.loo()
    rest, same = np.array([0, 2, 3]), [1, 4, 5, 6]
    for row in (0, len(grid) // 2, len(grid) - 1):
        K = np.linalg.inv(block.half[row].T @ block.half[row])
        weights = np.linalg.solve(K[np.ix_(rest, rest)], K[np.ix_(rest, same)])
        assert_allclose(mean[row, same], weights.T @ z[rest], rtol=1e-5, atol=1e-5)
        left = K[np.ix_(same, same)] - weights.T @ K[np.ix_(rest, same)]
        assert_allclose(var[row, same], np.diag(left), rtol=1e-4)
