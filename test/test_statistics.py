# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, spearmanr
from scipy.stats import t as student

from tl_adapt.statistics import bootstrap_mean, rank_correlation, wilson


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_bootstrap_interval_holds_its_estimate(values):
    interval = bootstrap_mean(values, resamples=200)
    slack = 1e-9 * max(1.0, max(map(abs, values)))
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack


def test_bootstrap_is_conclusive_only_when_zero_is_outside():
    assert bootstrap_mean([1.0, 1.1, 0.9, 1.2]).conclusive
    assert not bootstrap_mean([1.0, -1.1, 0.9, -1.2]).conclusive


@pytest.mark.parametrize('n', [6, 10, 20])
def test_bootstrap_is_as_wide_as_students_interval_for_normal_data(n):
    values = norm.ppf((np.arange(n) + 0.5) / n)
    interval = bootstrap_mean(values)
    half = student.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n)
    assert interval.high == pytest.approx(half, rel=0.1)
    assert interval.low == pytest.approx(-half, rel=0.1)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_ordered_and_in_range(case):
    successes, trials = case
    interval = wilson(successes, trials)
    assert 0.0 <= interval.low <= interval.high <= 1.0
    assert interval.low - 1e-12 <= interval.estimate <= interval.high + 1e-12


def test_wilson_known_value():
    # Wilson's interval for 19 of 20 at 95 %, as statistical tables give it.
    interval = wilson(19, 20)
    assert interval.low == pytest.approx(0.7639, abs=1e-4)
    assert interval.high == pytest.approx(0.9911, abs=1e-4)


@pytest.mark.parametrize('successes, trials', [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(successes, trials):
    with pytest.raises(ValueError, match='0 <= successes <= trials'):
        wilson(successes, trials)


def test_bootstrap_refuses_no_values():
    with pytest.raises(ValueError, match='non-empty'):
        bootstrap_mean([])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
def test_rank_correlation_is_scipys(pairs):
    a, b = zip(*pairs)
    ours = rank_correlation(a, b)
    if math.isnan(ours):
        assert min(a) == max(a) or min(b) == max(b)
    else:
        assert ours == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)
