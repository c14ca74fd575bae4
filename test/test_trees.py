# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.tree import DecisionTreeRegressor

from tl_adapt.models import trees
from tl_adapt.models.forest import Forest
from tl_adapt.models.trees import NOTHING, grow_trees


def data(rows, seed=0):
    """Return points that single precision holds, and values by two of three columns."""
    rng = np.random.default_rng(seed)
    X = rng.random((rows, 3)).astype(np.float32).astype(float)
    return X, 3.0 * (X[:, 0] > 0.4) + np.sin(6.0 * X[:, 1]) + 0.2 * rng.standard_normal(rows)


@pytest.mark.parametrize('rows', [1, 2, 30, 300])
@pytest.mark.parametrize('leaves', [1, 2, 7, 20])
def test_they_are_those_of_scikit_learn(rows, leaves):
    X, z = data(rows)
    rng = np.random.default_rng(1)
    drawn = np.vstack([np.arange(rows), rng.integers(rows, size=(3, rows))])
    found = Forest.of(grow_trees(X, z, drawn, leaves, rng)).each(X)
    for mine, some in zip(found.T, drawn):
        if leaves == 1:
            expected = np.full(rows, z[some].mean())
        else:
            # Few rows split equally well by several columns, but then these rows are split alike.
            tree = DecisionTreeRegressor(max_leaf_nodes=leaves, random_state=0)
            expected = tree.fit(X[some], z[some]).predict(X)
        seen = np.unique(some)
        assert_allclose(mine[seen], expected[seen], atol=1e-9)


def test_many_at_once_are_the_same_as_few(monkeypatch):
    X, z = data(40)
    drawn = np.random.default_rng(1).integers(40, size=(9, 40))
    whole = grow_trees(X, z, drawn, 5, np.random.default_rng(0))
    monkeypatch.setattr(trees, '_TOGETHER', 2 * 40 * 3)
    parts = grow_trees(X, z, drawn, 5, np.random.default_rng(0))
    for mine, other, some in zip(Forest.of(whole).each(X).T, Forest.of(parts).each(X).T, drawn):
        assert_allclose(mine[some], other[some], atol=1e-9)


def test_no_gain_is_no_split():
    X = np.repeat([[0.0, 1.0], [1.0, 0.0]], 3, axis=0)
    drawn = np.arange(6)[None]
    rng = np.random.default_rng(0)
    level = grow_trees(X, np.full(6, 0.1), drawn, 9, rng)
    assert_array_equal(level.feature, [[trees.LEAF]])
    # Values far from 0 are told apart as well as others; equal points can not be.
    far = grow_trees(X, 1e6 + np.array([0, 0.1, 0.2, 1.0, 1.1, 1.2]), drawn, 9, rng)
    assert_allclose(np.sort(far.value[0]), 1e6 + np.array([0.1, 0.6, 1.1]), rtol=1e-12)
    assert far.threshold[0, 0] == 0.5


def test_chance_decides_between_equal_columns():
    X = np.repeat([[0.0, 0.0], [1.0, 1.0]], 3, axis=0)
    drawn = np.tile(np.arange(6), (40, 1))
    found = grow_trees(X, X[:, 0], drawn, 2, np.random.default_rng(0))
    assert 5 < (found.feature[:, 0] == 0).sum() < 35
    assert (found.feature != NOTHING).all()


def test_a_model_of_a_source_is_learnt_without_scikit_learn():
    code = (
        'import sys, numpy as np\n'
        'from tl_adapt.models.transfer import TransferModel\n'
        'X = np.random.default_rng(0).integers(0, 3, (120, 6)) / 2\n'
        'y = np.exp((X[:, 0] > X[:, 1]) - 2.0 * (X[:, 2] < X[:, 3]) * (X[:, 4] > 0.6))\n'
        'model = TransferModel(log=True).fit((X, y), (X[:3], y[:3]))\n'
        'assert model.sources[0].blend is not None\n'
        "print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          timeout=120, check=True)
    assert done.stdout.strip() == 'False'
