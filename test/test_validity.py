# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tl_adapt.models.validity import ValidityModel


def points(n, seed=0, dim=5):
    return np.random.default_rng(seed).random((n, dim))


def runs(X):
    return X[:, 0] + X[:, 1] < 1.2


def runs_elsewhere(X):
    return X[:, 0] + X[:, 1] < 0.8


def accuracy(model, truth):
    X = points(1000, 99)
    return np.mean((model.probability(X) > 0.5) == truth(X))


def loss(model, truth):
    X = points(1000, 99)
    p = model.probability(X)
    return -np.mean(np.log(np.where(truth(X), p, 1 - p)))


def test_it_learns_the_region_from_the_source():
    X = points(120)
    model = ValidityModel().fit(X, runs(X))
    assert accuracy(model, runs) > 0.92
    assert loss(model, runs) < 0.25


def test_the_targets_results_shift_it():
    X, Z = points(120), points(25, 1)
    alone = ValidityModel().fit(X, runs(X))
    moved = ValidityModel().fit(X, runs(X), target=(Z, runs_elsewhere(Z)))
    assert loss(moved, runs_elsewhere) < 0.8 * loss(alone, runs_elsewhere)
    assert accuracy(moved, runs_elsewhere) > accuracy(alone, runs_elsewhere)


def test_target_results_that_agree_change_little():
    X, Z = points(120), points(20, 1)
    alone = ValidityModel().fit(X, runs(X))
    both = ValidityModel().fit(X, runs(X), target=(Z, runs(Z)))
    assert loss(both, runs) < loss(alone, runs) + 0.05


@pytest.mark.parametrize('label', [True, False])
@pytest.mark.parametrize('n', [1, 3, 48])
def test_one_class_gives_a_smoothed_share(label, n):
    X = points(n)
    p = ValidityModel().fit(X, np.full(n, label)).probability(points(20, 1))
    assert ((p > 0.5) == (label or n == 1)).all() or n == 1
    assert (p > 0.0).all()
    assert (p < 1.0).all()
    if n == 48:
        assert (p > 0.97).all() if label else (p < 0.06).all()


def test_no_results_at_all():
    p = ValidityModel().fit(np.empty((0, 5)), []).probability(points(3))
    assert_allclose(p, 0.75)


def test_one_failure_in_the_target_warns_most_where_it_happened():
    X = points(48)
    place = np.full((1, 5), 0.9)
    model = ValidityModel().fit(X, np.ones(48), target=(place, [False]))
    there, far = model.probability(np.vstack([place, np.full((1, 5), 0.1)]))
    assert there < far < 0.99
    assert far > 0.7


def test_without_a_source_the_target_alone_teaches():
    Z = points(60, 1)
    model = ValidityModel().fit(np.empty((0, 5)), [], target=(Z, runs(Z)))
    assert accuracy(model, runs) > 0.8


def test_categorical_columns():
    rng = np.random.default_rng(0)
    X = points(90, dim=3)
    X[:, 2] = rng.integers(0, 3, 90) / 2
    mask = np.array([False, False, True])
    model = ValidityModel(mask).fit(X, X[:, 2] != 0.5)
    assert_allclose(model.probability(np.array([[0.5, 0.5, 0.5]])), 0.0, atol=0.15)
    assert_allclose(model.probability(np.array([[0.5, 0.5, 1.0]])), 1.0, atol=0.15)


def test_arrays_bring_the_same_model_back():
    X, Z = points(60), points(9, 1)
    for source, target in ((X, Z), (X[:0], Z), (X, Z[:0])):
        model = ValidityModel().fit(source, runs(source), target=(target, runs(target)))
        loaded = ValidityModel.from_arrays(model.to_arrays())
        assert_allclose(loaded.probability(points(50, 3)), model.probability(points(50, 3)))


def test_bad_data_are_refused():
    with pytest.raises(ValueError, match='shape'):
        ValidityModel().fit(points(3), [True, False])
    with pytest.raises(ValueError, match='fit must be called'):
        ValidityModel().probability(points(1))
