# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the similarity metrics on full data."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tl_adapt.errors import InputError
from tl_adapt.models.similarity.comparison import TITLES, compare
from tl_adapt.models.similarity.influence import count_influences, discoveries, effects
from tl_adapt.models.similarity.interactions import compare_interactions, stepwise
from tl_adapt.models.similarity.pair import Pair, Side, repeats_joined
from tl_adapt.models.similarity.response import (
    divergence,
    response_metrics,
    shared_tail,
    tail_end,
)
from tl_adapt.models.similarity.terms import Coding
from tl_adapt.models.similarity.validity import common_invalid

SAMPLES = st.lists(st.integers(-500, 500), min_size=12, max_size=60).filter(
    lambda values: len(set(values)) > 2
)
NUMERIC = np.zeros(4, dtype=bool)


def binary(n=16, d=4, seed=0):
    """Return all 2^d points in random order, the first n of them."""
    grid = np.array(np.meshgrid(*[[0.0, 1.0]] * d)).reshape(d, -1).T
    return np.random.default_rng(seed).permutation(grid)[:n]


def pair_of(X, source, target, valid=None, **options):
    d = X.shape[1]
    sides = [Side.of(name, X, y, valid) for name, y in (('s', source), ('t', target))]
    return Pair(
        tuple(f'o{j}' for j in range(d)), options.pop('categorical', np.zeros(d, bool)),
        *sides, aligned=True, **options,
    )


# --- M1 to M5 ----------------------------------------------------------------------------------


@given(SAMPLES, st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_a_linear_shift_changes_nothing(values, slope, level):
    y = np.array(values, dtype=float)
    found = response_metrics(y, level + slope * y)
    for name in ('M1', 'M3', 'M4', 'M5'):
        assert found[name] == pytest.approx(1.0, abs=1e-9)
    assert found['M2'] == pytest.approx(0.0, abs=1e-4)  # densities stand on a grid


@given(SAMPLES)
def test_a_monotone_change_keeps_the_ranks(values):
    y = np.array(values, dtype=float)
    found = response_metrics(y, np.exp(y / 100.0))
    assert found['M3'] == pytest.approx(1.0)
    assert found['M4'] == found['M5'] == 1.0


@given(SAMPLES, st.randoms(use_true_random=False))
def test_all_stay_in_their_ranges(values, random):
    a = np.array(values, dtype=float)
    b = np.array(random.sample(values, len(values)), dtype=float)
    found = response_metrics(a, b)
    assert -1.0 <= found['M1'] <= 1.0
    assert -1.0 <= found['M3'] <= 1.0
    assert found['M2'] >= -1e-12
    assert 0.0 <= found['M4'] <= 1.0
    assert 0.0 <= found['M5'] <= 1.0


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(1)
    a = rng.integers(0, 9, 50).astype(float)
    b = a + 3.0 * rng.standard_normal(50)
    found = response_metrics(a, b)
    assert found['M1'] == pytest.approx(stats.pearsonr(a, b)[0])
    assert found['M3'] == pytest.approx(stats.spearmanr(a, b)[0])


def test_a_constant_response_has_no_metric():
    y = np.arange(20.0)
    assert all(math.isnan(value) for value in response_metrics(y, np.ones(20)).values())


def test_units_as_small_as_physics_has_them_are_no_constants():
    y = np.arange(20.0)
    assert response_metrics(y, 1e-19 * y)['M1'] == pytest.approx(1.0)


def test_divergence_sees_another_shape_and_no_other_level():
    rng = np.random.default_rng(0)
    a = rng.standard_normal(2000)
    tail = np.exp(2.0 * rng.standard_normal(2000))
    assert divergence(a, 5.0 + 3.0 * rng.standard_normal(2000)) < 0.2
    assert divergence(a, tail) > 1.0


def test_ties_at_the_edge_of_the_tail_belong_to_it():
    a = np.array([0.0, 0.0, 0.0, *range(1, 18)], dtype=float)
    b = np.array([5.0, 0.0, 0.0, *range(1, 18)], dtype=float)
    assert shared_tail(a, b) == pytest.approx(2.0 / 3.0)


@pytest.mark.parametrize('n', [1, 9, 10, 11, 30, 70, 200])
def test_the_tail_ends_at_the_first_value_that_has_a_tenth_at_or_below_it(n):
    y = np.random.default_rng(n).permutation(n).astype(float)
    assert tail_end(y) == min(v for v in y if 10 * (y <= v).sum() >= n)


def test_more_is_better_exchanges_best_and_worst():
    rng = np.random.default_rng(0)
    X = rng.random((60, 3))
    y = X[:, 0] + 0.1 * rng.random(60)
    t = np.where(y > 0.5, y, rng.random(60) * 0.5)
    less = compare(pair_of(X, y, t)).metrics
    more = compare(pair_of(X, y, t, maximize=True)).metrics
    assert more['M4'].value == less['M5'].value == 1.0
    assert more['M5'].value == less['M4'].value < 1.0


# --- M6 to M10 ---------------------------------------------------------------------------------


def test_the_paired_test_is_the_t_test_of_exact_pairs():
    X = binary()
    y = 3.0 * X[:, 0] + np.random.default_rng(2).standard_normal(16)
    found = effects(X, y, NUMERIC)
    rows = {tuple(row): value for row, value in zip(X, y)}
    on = [value for row, value in rows.items() if row[1] == 1.0]
    off = [rows[(row[0], 0.0, *row[2:])] for row in rows if row[1] == 1.0]
    assert found[1].test == 'paired'
    assert found[1].p == pytest.approx(stats.ttest_rel(on, off)[1])
    assert found[1].change == pytest.approx(np.mean(np.subtract(on, off)))


@pytest.mark.parametrize('test', ['paired', 'regression'])
def test_options_that_matter_are_found(test):
    rng = np.random.default_rng(0)
    X = binary(64, 6) if test == 'paired' else rng.random((200, 6))
    y = 2.0 * X[:, 0] - X[:, 3] + 0.2 * rng.standard_normal(len(X))
    found = effects(X, y, np.zeros(6, dtype=bool))
    assert [one.influential for one in found] == [True, False, False, True, False, False]
    assert {one.test for one in found} == {test}
    assert found[0].change == pytest.approx(2.0, abs=0.2)
    assert found[3].change == pytest.approx(-1.0, abs=0.2)


def test_few_rows_are_tested_one_option_at_a_time():
    rng = np.random.default_rng(0)
    X = rng.random((14, 10))
    found = effects(X, 5.0 * X[:, 2] + 0.01 * rng.random(14), np.zeros(10, dtype=bool))
    assert {one.test for one in found} == {'single'}
    assert [j for j, one in enumerate(found) if one.influential] == [2]


def test_few_values_in_two_clusters_prove_nothing():
    # Another option of five rows often has the same pattern as the one that matters.
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = rng.integers(0, 2, (5, 14)).astype(float)
        y = 10.0 * X[:, 0] + 0.01 * rng.random(5)
        found += sum(one.influential for one in effects(X, y, np.zeros(14, dtype=bool))[1:])
    assert found == 0


def test_a_categorical_option_is_tested_by_its_contrasts():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 3, 90) / 2.0, rng.random(90)])
    y = np.where(X[:, 0] == 0.5, 4.0, 0.0) + 0.1 * rng.standard_normal(90)
    found = effects(X, y, np.array([True, False]))
    assert found[0].influential
    assert not found[1].influential
    assert abs(found[0].change) == pytest.approx(4.0, abs=0.2)
    assert 0.5 in found[0].contrast


def test_directions_are_compared():
    rng = np.random.default_rng(0)
    X = binary(16)
    noise = 0.05 * rng.standard_normal((2, 16))
    a = effects(X, X[:, 0] + X[:, 1] + X[:, 2] + noise[0], NUMERIC)
    b = effects(X, X[:, 0] - X[:, 1] + X[:, 3] + noise[1], NUMERIC)
    count = count_influences(a, b)
    assert (count.source, count.target, count.same, count.opposite) == (3, 3, 1, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_discoveries_are_the_smallest_and_no_more_than_alone(p):
    p = np.array(p)
    kept = discoveries(p, 0.05)
    assert not (kept & (p > 0.05)).any()
    if kept.any():
        assert (p[~kept] >= p[kept].max()).all()
    assert kept[p <= 0.05 / len(p)].all()


def test_pure_noise_is_rarely_influential():
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = rng.random((60, 10))
        found += any(
            one.influential for one in effects(X, rng.standard_normal(60), np.zeros(10, bool))
        )
    assert found <= 8


# --- M11 to M14 --------------------------------------------------------------------------------


@pytest.mark.parametrize('rule', ['bic', 'p'])
def test_sweeps_give_what_least_squares_give(rule):
    rng = np.random.default_rng(3)
    X = rng.random((80, 5))
    y = X[:, 0] * X[:, 1] + 2.0 * X[:, 3] * X[:, 4] + 0.1 * rng.standard_normal(80)
    coding = Coding.of(np.zeros(5, dtype=bool), X)
    fit = stepwise(X, y, coding, rule=rule)
    main = coding.main(X)
    chosen = fit.pairs[fit.chosen]
    A = np.column_stack([np.ones(80), main, main[:, chosen[:, 0]] * main[:, chosen[:, 1]]])
    beta = np.linalg.lstsq(A, y, rcond=None)[0]
    assert fit.coefficients[fit.chosen] == pytest.approx(beta[6:], rel=1e-6)
    assert {tuple(p) for p in chosen} >= {(0, 1), (3, 4)}
    left = y - A @ beta
    assert fit.explained == pytest.approx(1.0 - left.var() / y.var())


def test_interactions_in_both_are_compared_by_sign():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (300, 6)).astype(float)
    Z = 2.0 * X - 1.0
    a = Z[:, 0] * Z[:, 1] + Z[:, 2] * Z[:, 3] + 0.1 * rng.standard_normal(300)
    b = Z[:, 0] * Z[:, 1] - Z[:, 2] * Z[:, 3] + Z[:, 4] * Z[:, 5] + 0.1 * rng.standard_normal(300)
    found = compare_interactions((X, a), (X, b), np.zeros(6, dtype=bool))
    assert (found.source, found.target, found.same, found.opposite) == (2, 3, 1, 1)


def test_a_categorical_interaction_counts_once():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 4, 400) / 3.0, rng.random(400), rng.random(400)])
    y = X[:, 1] * (6.0 * X[:, 0] % 4.0) + 0.05 * rng.standard_normal(400)
    found = compare_interactions((X, y), (X, 2.0 * y), np.array([True, False, False]))
    assert (found.source, found.target, found.same) == (1, 1, 1)


def test_too_few_rows_give_no_interactions():
    X = np.random.default_rng(0).random((10, 6))
    assert stepwise(X, X[:, 0], Coding.of(np.zeros(6, dtype=bool), X)) is None


def test_sixty_options_are_searched():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (1500, 60)).astype(float)
    y = 3.0 * X[:, 1] * X[:, 2] + X[:, 0] + 0.2 * rng.standard_normal(1500)
    fit = stepwise(X, y, Coding.of(np.zeros(60, dtype=bool), X))
    assert [tuple(p) for p in fit.pairs[fit.chosen]][:1] == [(1, 2)]
    assert fit.chosen.sum() <= 3


# --- M15 to M18 and the whole ------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_common_invalid_is_at_most_the_smaller_set(rows):
    a, b = np.array(rows, dtype=bool).T
    both, smaller = common_invalid(a, b)
    assert 0 <= both <= smaller == min((~a).sum(), (~b).sum())


def test_validity_is_compared():
    X = binary(64, 6)
    valid = X[:, 0] + X[:, 1] < 2.0
    y = 1.0 + X[:, 2]
    sides = Side.of('s', X, y, valid), Side.of('t', X, y, valid & (X[:, 5] < 2))
    pair = Pair(tuple('abcdef'), np.zeros(6, dtype=bool), *sides, aligned=True)
    metrics = compare(pair).metrics
    assert metrics['M15'].value == metrics['M16'].value == 0.25
    assert metrics['M17'].value == metrics['M18'].value == 1.0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 24), st.integers(1, 24), st.booleans())
def test_whatever_is_compared_each_metric_has_a_value_or_a_reason(seed, n, m, mixed):
    rng = np.random.default_rng(seed)
    sides = []
    for name, count in (('s', n), ('t', m)):
        X = rng.integers(0, 3, (count, 3)) / 2.0
        y = np.where(rng.random(count) < 0.2, np.nan, np.round(rng.standard_normal(count), 1))
        sides.append(repeats_joined(name, X, y, rng.random(count) < 0.8))
    found = compare(Pair(tuple('abc'), np.array([mixed, False, False]), *sides))
    assert list(found.metrics) == list(TITLES)
    for metric in found.metrics.values():
        assert metric.known != bool(metric.why)
        if math.isfinite(metric.low) and math.isfinite(metric.value):
            assert metric.low <= metric.value <= metric.high


def test_an_environment_without_measurements_is_an_error():
    X = binary()
    pair = Pair(
        tuple('abcd'), NUMERIC, Side.of('sim', X, X[:, 0]), Side.of('robot', X[:0], np.zeros(0))
    )
    with pytest.raises(InputError, match='robot: the target environment has no measurements'):
        compare(pair)


def test_other_configurations_are_predicted_and_that_is_said():
    rng = np.random.default_rng(0)
    X, Z = rng.random((60, 3)), rng.random((40, 3))
    pair = Pair(
        tuple('abc'), np.zeros(3, dtype=bool), Side.of('sim', X, X.sum(axis=1)),
        Side.of('robot', Z, 2.0 * Z.sum(axis=1) + 1.0),
    )
    found = compare(pair)
    assert pair.joint.predicted == 40
    assert found.metrics['M1'].value > 0.98
    assert any('40 of 40 target configurations were not measured' in note for note in found.notes)


def test_a_configuration_that_crashes_in_the_source_is_not_predicted():
    X = binary(16)
    source = Side.of('s', X, X[:, 0] + X[:, 1], X[:, 3] == 0.0)
    pair = Pair(tuple('abcd'), NUMERIC, source, Side.of('t', X, X[:, 0]))
    assert len(pair.joint.target) == 8
    assert pair.joint.predicted == 0


def test_repeated_runs_are_one_configuration():
    X = np.array([[0.0], [1.0], [0.0], [1.0], [1.0]])
    side = repeats_joined('s', X, [1.0, 5.0, 3.0, 9.0, 9.0], [True, True, True, False, False])
    assert side.X.tolist() == [[0.0], [1.0]]
    assert side.y[0] == 2.0
    assert side.valid.tolist() == [True, False]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='must agree'):
        Side.of('s', np.zeros((3, 2)), np.zeros(2))
    side = Side.of('s', np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(ValueError, match='both sides need a column'):
        Pair(('a',), np.zeros(1, dtype=bool), side, side)
