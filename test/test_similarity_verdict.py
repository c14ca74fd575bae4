# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the learning curve and of the verdict on two environments."""

import numpy as np
import pytest

from tl_adapt.models.similarity.comparison import compare
from tl_adapt.models.similarity.learning import (
    Point,
    _squared,
    learning_curve,
    plan,
    saved,
    steps,
)
from tl_adapt.models.similarity.pair import Pair, Side
from tl_adapt.models.similarity.verdict import judge, show


def curve(*errors, alone=1.0, measured=None):
    sizes = (5, 10, 20, 40, 80)
    return tuple(
        Point(size, error, alone, measured is None or i < measured)
        for i, (size, error) in enumerate(zip(sizes, errors))
    )


def make(kind, n=120, d=6, k=None, seed=0):
    """Return a pair: the target is a line over the source, follows another law, or is noise."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2, (n, d)).astype(float) if kind == 'opposite' else rng.random((n, d))
    y = 10.0 + 4.0 * X[:, 0] + 2.0 * X[:, 1] * X[:, 2] + 0.05 * rng.standard_normal(n)
    target = {
        'line': 3.0 + 2.0 * y,
        'bent': np.exp(0.8 * y) / 1e4,
        'opposite': 10.0 - 4.0 * X[:, 0] + 9.0 * X[:, 3] * X[:, 4],
        'noise': 10.0 + rng.standard_normal(n),
        'constant': np.full(n, 7.0),
    }[kind] + (0.0 if kind == 'constant' else 0.05) * rng.standard_normal(n)
    k = n if k is None else k
    return Pair(
        tuple(f'o{j}' for j in range(d)), np.zeros(d, dtype=bool), Side.of('sim', X, y),
        Side.of('robot', X[:k], target[:k]),
    )


def verdict_of(pair):
    return judge(compare(pair), learning_curve(pair))


# --- how many to plan --------------------------------------------------------------------------


def test_a_prediction_below_zero_is_no_infinite_error():
    truth = np.array([1.0, 2.0, 4.0])
    error = _squared(np.array([-1.0, 2.0, 4.0]), truth, log=True)
    assert error == pytest.approx(np.log(2.0) ** 2 / 3)


@pytest.mark.parametrize(
    ('errors', 'size'),
    [
        ((0.05, 0.04, 0.04, 0.04, 0.04), 5),    # good at once
        ((0.5, 0.3, 0.2, 0.19, 0.19), 20),      # flat from there
        ((0.5, 0.4, 0.3, 0.2, 0.15), 80),       # still falling
        ((1.0, 1.0, 0.99, 0.7, 0.3), 80),       # flat where nothing is learnt says nothing
        ((0.5, 0.3, 0.35, 0.29, 0.29), 10),     # noise of the curve does not count
    ],
)
def test_the_plan_ends_where_more_gain_little(errors, size):
    assert plan(curve(*errors)).size == size


def test_no_curve_no_plan():
    assert plan(()) is None
    assert np.isnan(saved(()))


def test_a_plan_counts_what_is_there():
    assert plan(curve(0.3, 0.2, 0.195, 0.19, 0.18, measured=2), present=11).size == 11
    assert plan(curve(0.3, 0.2, 0.12, 0.09, 0.08, measured=2), present=11).size == 40


def test_what_is_saved_is_against_the_better_of_model_and_mean():
    assert saved(curve(0.5, 0.5, 0.5)) == pytest.approx(0.5)
    assert saved(curve(0.5, 0.5, 0.5, alone=4.0)) == pytest.approx(0.5)
    assert saved(curve(1.1, 1.1, 1.1)) < 0.0


def test_the_curve_of_a_complete_target_is_measured():
    pair = make('line')
    points = learning_curve(pair)
    assert [point.size for point in points] == [5, 10, 20, 40]
    assert all(point.measured for point in points)
    assert points[0].transfer < 0.5 * points[0].alone
    calls = []
    learning_curve(pair, on_step=lambda: calls.append(1))
    assert len(calls) == steps(pair)


def test_the_curve_of_a_sample_is_carried_on():
    points = learning_curve(make('line', k=10))
    assert [point.measured for point in points[:2]] == [True, True]
    beyond = [point for point in points if not point.measured]
    assert [point.size for point in beyond] == [10, 20, 40, 80]
    errors = [point.transfer for point in beyond]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize('k', [0, 1, 4])
def test_too_few_measurements_have_no_curve(k):
    assert learning_curve(make('line', k=k)) == ()


# --- the verdict -------------------------------------------------------------------------------


def test_a_line_is_worth_a_linear_shift():
    verdict = verdict_of(make('line'))
    assert (verdict.worth, verdict.way, verdict.sure) == ('yes', 'linear shift', True)
    assert verdict.plan.size == 5


def test_a_bent_relation_is_worth_transferring():
    verdict = verdict_of(make('bent'))
    assert verdict.worth == 'yes'
    assert verdict.way in ('linear shift', 'non-linear transfer')


def test_noise_is_not_worth_it():
    verdict = verdict_of(make('noise'))
    assert verdict.worth in ('no', 'unclear')
    assert 'a model says little' in ' '.join(verdict.text)


def test_an_opposite_law_is_no_linear_shift():
    verdict = verdict_of(make('opposite'))
    assert verdict.way != 'linear shift'
    assert verdict.worth != 'yes'


def test_few_measurements_of_a_line_are_already_sure():
    verdict = verdict_of(make('line', k=10))
    assert verdict.worth == 'yes'
    assert verdict.way == 'linear shift'


def test_three_measurements_leave_it_open():
    verdict = verdict_of(make('line', k=3))
    assert (verdict.worth, verdict.sure, verdict.plan) == ('unclear', False, None)
    assert 'measurements first' in verdict.text[-1]


def test_a_constant_target_has_nothing_to_learn():
    verdict = verdict_of(make('constant'))
    assert (verdict.worth, verdict.way) == ('no', 'none')
    assert 'the same value in all 120' in verdict.text[0]


def test_a_correlation_of_a_few_extremes_is_warned_of():
    rng = np.random.default_rng(0)
    X = rng.random((150, 4))
    far = np.arange(150) < 5
    y = np.where(far, 100.0, 1.0 + X[:, 0])
    t = np.where(far, 300.0, 3.0 - X[:, 0])
    pair = Pair(
        tuple('abcd'), np.zeros(4, dtype=bool), Side.of('sim', X, y), Side.of('robot', X, t)
    )
    found = compare(pair)
    assert found.metrics['M1'].value > 0.99
    verdict = judge(found)
    assert verdict.way != 'linear shift'
    assert any('comes from a few extreme configurations' in line for line in verdict.text)


def test_metrics_are_shown_with_their_intervals():
    found = compare(make('line', k=12)).metrics
    assert show('M10', found['M10']) == '-'
    assert show('M7', found['M7']).startswith('[')
    assert show('M1', found['M1']).startswith('1.00 [')
