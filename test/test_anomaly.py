# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_adapt.models import anomaly
from tl_adapt.models.anomaly import chance_below, held_out_residuals, judge, mend, single_changes
from tl_adapt.models.attribution import attribute
from tl_adapt.models.basis import Axis
from tl_adapt.models.gaussian_process import GaussianProcess

BINARY = np.array([0.0, 1.0])


def certain(function):
    return lambda X: np.repeat(function(X)[None, :], 40, axis=0)


def shapley_by_orders(function, k):
    """Return Shapley values of the steps from all zeros to all ones, by every order."""
    total = np.zeros(k)
    for order in itertools.permutations(range(k)):
        point, before = np.zeros(k), function(np.zeros((1, k)))[0]
        for j in order:
            point[j] = 1.0
            after = function(point[None, :])[0]
            total[j] += after - before
            before = after
    return total / math.factorial(k)


def names(count):
    return [f'o{i}' for i in range(count)]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=16, max_size=16), st.sampled_from([-1.0, 1.0]))
def test_shapley_values_are_those_of_all_orders(values, sign):
    table = dict(zip(itertools.product((0.0, 1.0), repeat=4), values))

    def function(X):
        return np.array([table[tuple(x)] for x in X])

    found = attribute(certain(function), np.ones(4), np.zeros(4), names(4), sign=sign)
    want = shapley_by_orders(function, 4)
    amounts = {share.names[0]: share.amount.estimate for share in found.options}
    assert [amounts[name] for name in names(4)] == pytest.approx(want, abs=1e-9)
    assert sum(amounts.values()) == pytest.approx(values[-1] - values[0], abs=1e-8)
    order = [sign * share.amount.estimate for share in found.options]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize('count', [5, 10, 14, 30])
def test_options_and_pairs_of_many_are_found(count):
    def function(X):
        return 2 * X[:, 0] + 3 * X[:, 1] * X[:, 2] - X[:, 3]

    found = attribute(certain(function), np.ones(count), np.zeros(count), names(count))
    assert found.exact == (count <= 10)
    assert found.difference.estimate == pytest.approx(4.0)
    amounts = {share.names[0]: share.amount.estimate for share in found.options}
    assert amounts['o0'] == pytest.approx(2.0)
    assert amounts['o1'] == pytest.approx(1.5)
    assert amounts['o3'] == pytest.approx(-1.0)
    assert found.options[0].names == ('o0',) and found.options[-1].names == ('o3',)
    assert found.options[0].likelihood == 1.0 and found.options[0].conclusive
    assert found.pairs[0].names == ('o1', 'o2')
    assert found.pairs[0].amount.estimate == pytest.approx(3.0)


def test_only_options_that_differ_have_a_share():
    found = attribute(certain(lambda X: X.sum(axis=1)), np.array([1.0, 1.0, 0.0]),
                      np.array([0.0, 1.0, 0.0]), names(3))
    assert [share.names for share in found.options] == [('o0',)]
    assert found.pairs == ()
    same = attribute(certain(lambda X: X.sum(axis=1)), np.ones(2), np.ones(2), names(2))
    assert same.options == () and same.difference.estimate == 0.0


def test_random_orders_own_up_to_their_error():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((16, 16))

    def function(X):
        return np.tanh(np.einsum('ni,ij,nj->n', X, weights, X))

    found = attribute(certain(function), np.ones(16), np.zeros(16), names(16))
    widths = [share.amount.high - share.amount.low for share in found.options]
    assert min(widths) > 0.0


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    X = (rng.random((100, 6)) > 0.5).astype(float)
    y = np.exp(1.5 * X[:, 0] + 0.7 * X[:, 1] + 0.05 * rng.standard_normal(100))
    return GaussianProcess(log=True).fit(X, y)


def test_a_run_is_explained_by_its_configuration_or_not(model):
    point = np.array([1.0, 0, 0, 0, 0, 0])
    usual = float(np.exp(1.5))
    assert judge(model, point, usual, good=1.0).verdict == anomaly.EXPLAINED
    late = judge(model, point, 3 * usual, good=1.0)
    assert late.verdict == anomaly.WORSE and late.residual > 3 and late.probability < 0.01
    assert judge(model, point, usual / 3).verdict == anomaly.BETTER
    # Where more is better, the same run is better than expected.
    assert judge(model, point, 3 * usual, sign=-1.0).verdict == anomaly.BETTER
    assert late.low < late.median < late.high < late.measured


def test_a_model_that_knows_nothing_can_not_tell():
    model = GaussianProcess(log=False).fit([[0.1], [0.2], [0.15]], [1.0, 3.0, 2.0])
    assert judge(model, np.array([0.9]), 3.0, good=2.0).verdict == anomaly.UNDECIDED


def test_held_out_residuals_find_the_odd_run():
    rng = np.random.default_rng(0)
    X = rng.random((60, 3))
    y = 5 * X[:, 0] + 0.05 * rng.standard_normal(60)
    y[7] += 3.0

    def fit(kept):
        return GaussianProcess(log=False).fit(X[kept], y[kept])

    residual = held_out_residuals(fit, X, y)
    assert np.argmax(np.abs(residual)) == 7 and residual[7] > 5
    assert np.isnan(held_out_residuals(fit, X[:1], y[:1])).all()
    # Runs of one configuration are never judged by each other.
    assert np.isnan(held_out_residuals(fit, X[[0, 0, 0]], y[[0, 0, 0]])).all()


def test_the_fewest_changes_that_mend_are_found(model):
    axes = [Axis(name, BINARY) for name in names(6)]
    bad = np.array([1.0, 1, 0, 1, 0, 1])
    one = mend(chance_below(model, 3.0), bad, axes)
    assert one.changes == {'o0': 0.0} and one.reached and one.before < 0.2
    both = mend(chance_below(model, 1.3), bad, axes)
    assert both.changes == {'o0': 0.0, 'o1': 0.0} and both.reached
    none = mend(chance_below(model, 100.0), bad, axes)
    assert none.changes == {} and none.reached and none.chance == none.before
    never = mend(chance_below(model, 0.01), bad, axes)
    assert not never.reached and never.chance < 0.8
    # Where more is better, o0 and o1 are what helps.
    up = mend(chance_below(model, 6.0, sign=-1.0), np.zeros(6), axes)
    assert up.changes == {'o0': 1.0, 'o1': 1.0}


def test_what_mends_keeps_the_constraints(model):
    axes = [Axis(name, BINARY) for name in names(6)]
    bad = np.array([1.0, 1, 0, 0, 0, 0])
    found = mend(
        chance_below(model, 3.0), bad, axes, allowed=lambda X: (X[:, 0] == 1) | (X[:, 5] == 1)
    )
    assert found.changes == {'o0': 0.0, 'o5': 1.0} or not found.reached
    nothing = mend(chance_below(model, 3.0), bad, axes, allowed=lambda X: np.zeros(len(X), bool))
    assert nothing.changes == {} and not nothing.reached


def test_single_changes_are_ranked_by_what_they_bring(model):
    axes = [Axis(name, BINARY) for name in names(6)]
    found = single_changes(model.predict, np.array([1.0, 1, 0, 0, 0, 0]), axes)
    assert [one[0] for one in found[:2]] == ['o0', 'o1']
    assert found[0][1] == 0.0 and found[0][2] > found[1][2] > 0
    assert single_changes(model.predict, np.zeros(6), [Axis('o0', np.array([0.0]))]) == []


def test_a_value_of_the_reference_is_tried():
    axes = [Axis('v', np.linspace(0.0, 1.0, 17))]
    found = mend(
        lambda X: (np.abs(X[:, 0] - 0.33) < 0.01).astype(float), np.array([0.9]), axes,
        reference=np.array([0.33]),
    )
    assert found.changes == {'v': 0.33} and found.reached
