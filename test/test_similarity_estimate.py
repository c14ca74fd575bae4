# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the similarity metrics as estimates from few target measurements."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_adapt.models.similarity.comparison import compare
from tl_adapt.models.similarity.estimate import (
    estimate_response,
    rank_interval,
    resolution,
    unseen,
)
from tl_adapt.models.similarity.pair import Pair, Side
from tl_adapt.models.similarity.response import response_metrics


def population(rho, n=800, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n))
    return 10.0 + a, 30.0 + 4.0 * (rho * a + np.sqrt(1.0 - rho**2) * b)


@pytest.mark.parametrize('rho', [0.0, 0.6, 0.95])
def test_intervals_hold_the_value_as_often_as_they_say(rho):
    source, target = population(rho)
    truth = response_metrics(source, target)
    held = dict.fromkeys(truth, 0)
    for seed in range(40):
        kept = np.random.default_rng(seed).choice(len(source), 12, replace=False)
        found = estimate_response(source, source[kept], target[kept], seed=seed, draws=60)
        for name in ('M1', 'M2', 'M3'):
            held[name] += found[name].low <= truth[name] <= found[name].high
    # 36 of 40 are claimed; 31 is the 2 % quantile. M2 depends on the few extremes most.
    assert held['M1'] >= 31
    assert held['M2'] >= 26
    assert held['M3'] >= 31


def test_more_measurements_narrow_the_intervals():
    source, target = population(0.7)
    widths = []
    for k in (6, 20, 60):
        found = estimate_response(source, source[:k], target[:k])
        widths.append([found[name].high - found[name].low for name in ('M1', 'M3')])
    assert (np.diff(widths, axis=0) < 0).all()


@pytest.mark.parametrize('k', [1, 2, 3])
def test_less_than_four_pairs_say_nothing(k):
    source, target = population(0.9)
    assert estimate_response(source, source[:k], target[:k]) == {}


def test_a_constant_sample_says_nothing():
    source, _ = population(0.9)
    assert estimate_response(source, source[:8], np.ones(8)) == {}


def test_a_perfect_line_has_finite_intervals():
    source, _ = population(0.9)
    found = estimate_response(source, source[:6], 2.0 * source[:6])
    assert 0.99 < found['M1'].low <= found['M1'].high <= 1.0
    assert found['M3'].low < 0.9


def test_a_sample_without_the_extremes_leaves_the_correlation_open():
    # A few configurations are far away; whether the target follows there was not measured.
    rng = np.random.default_rng(0)
    source = np.concatenate([rng.normal(1.0, 0.1, 980), rng.normal(50.0, 1.0, 20)])
    target = rng.normal(1.0, 0.1, 12)
    found = estimate_response(source, source[:12], target)
    assert unseen(source, source[:12]) > 0.9
    assert found['M1'].high - found['M1'].low > 0.8


@given(st.floats(-1, 1), st.integers(4, 200))
def test_rank_intervals_are_ordered_and_in_range(rho, n):
    low, high = rank_interval(rho, n, 0.9)
    assert -1.0 <= low < high <= 1.0
    if abs(rho) < 0.95:
        assert low < rho < high


def test_the_step_of_a_coarse_instrument_is_seen():
    y = np.round(np.random.default_rng(0).random(500) / 0.05) * 0.05
    assert resolution(y) == pytest.approx(0.05)
    assert resolution(np.random.default_rng(0).random(500)) == 0.0


def few(k, d=5, n=200):
    rng = np.random.default_rng(4)
    X = rng.random((n, d))
    y = 2.0 + 3.0 * X[:, 0] + X[:, 1] + 0.05 * rng.standard_normal(n)
    valid = X[:, 2] < 0.8
    t = 1.5 * y + 0.05 * rng.standard_normal(n)
    source, target = Side.of('sim', X, y, valid), Side.of('robot', X[:k], t[:k], valid[:k])
    return Pair(tuple(f'o{j}' for j in range(d)), np.zeros(d, dtype=bool), source, target)


def test_few_measurements_bound_the_counts():
    found = compare(few(20)).metrics
    for name in ('M7', 'M8', 'M9'):
        assert np.isnan(found[name].value)
        assert 0 <= found[name].low <= found[name].high
    assert found['M6'].value == 2
    assert found['M7'].low >= 1
    assert found['M8'].low >= 1
    assert found['M9'].high <= 1


def test_what_few_measurements_can_not_say_has_a_reason():
    found = compare(few(8)).metrics
    for name in ('M10', 'M12', 'M14'):
        assert not found[name].known
        assert 'needs about' in found[name].why


def test_shares_of_invalid_configurations_have_intervals():
    found = compare(few(15)).metrics
    assert found['M15'].value == pytest.approx(0.2, abs=0.08)
    assert found['M16'].low < found['M16'].value < found['M16'].high
    assert found['M17'].high == pytest.approx(1.0)


def test_a_small_complete_comparison_has_values_and_intervals():
    found = compare(few(120)).metrics
    assert found['M1'].value > 0.99
    assert found['M1'].low <= found['M1'].value <= found['M1'].high
    assert np.isfinite(found['M12'].value)
