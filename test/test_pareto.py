# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import norm, qmc

from tl_adapt.acquisition import Term
from tl_adapt.tuning import pareto


def points(m, most=6):
    """Return a strategy of points of whole numbers, so that ties are common."""
    return st.lists(
        st.tuples(*[st.integers(0, 6)] * m), min_size=0, max_size=most
    ).map(lambda rows: np.array(rows, dtype=float).reshape(-1, m))


either = st.sampled_from([2, 3])
fronts = either.flatmap(points)


def volume_by_subsets(values, reference):
    """Return the hypervolume by inclusion and exclusion over all subsets."""
    total = 0.0
    for k in range(1, len(values) + 1):
        for subset in itertools.combinations(values, k):
            sides = np.maximum(reference - np.max(subset, axis=0), 0.0)
            total -= (-1) ** k * math.prod(sides)
    return total


@given(st.integers(1, 4).flatmap(lambda m: points(m, most=12)))
def test_the_front_is_what_nothing_dominates(values):
    expected = [
        not any((other <= one).all() and (other < one).any() for other in values)
        for one in values
    ]
    assert pareto.nondominated(values).tolist() == expected


def test_equal_points_stay_together_and_infinite_ones_may_come():
    values = [[1, 2], [1, 2], [2, 1], [2, 2], [np.inf, 0]]
    assert pareto.nondominated(values).tolist() == [True, True, True, False, True]


@given(fronts, st.integers(3, 7))
def test_the_hypervolume_is_that_of_the_union(values, side):
    reference = np.full(values.shape[1], float(side))
    assert pareto.hypervolume(values, reference) == volume_by_subsets(values, reference)


@given(fronts.filter(len), st.floats(0.1, 3.0))
def test_the_hypervolume_grows_with_points_and_does_not_depend_on_units(values, unit):
    reference = np.full(values.shape[1], 6.5)
    whole = pareto.hypervolume(values, reference)
    assert whole >= pareto.hypervolume(values[1:], reference)
    assert whole == pareto.hypervolume(values[::-1], reference)
    assert_allclose(
        pareto.hypervolume(values * unit, reference * unit), whole * unit ** values.shape[1]
    )


def gains(new, boxes):
    """Return by how much (n,) each of the points (n, m) enlarges the hypervolume."""
    sides = boxes.high - np.maximum(boxes.low, np.asarray(new)[:, None])
    return np.prod(np.maximum(sides, 0.0), axis=2).sum(axis=1)


@given(fronts, st.data())
def test_boxes_hold_what_is_not_dominated_once(values, data):
    m = values.shape[1]
    reference = np.full(m, 6.0)
    boxes = pareto.undominated_boxes(values, reference)
    assert len(boxes.low) <= 2 * len(values) + 1
    new = np.array(data.draw(st.tuples(*[st.floats(-2.0, 7.0)] * m)))
    gain = pareto.hypervolume([*values, new], reference) - pareto.hypervolume(values, reference)
    assert_allclose(gains([new], boxes), gain, atol=1e-9)


def terms(m, n, rng, log=(False, False, False)):
    factors = (1.0, 2.0, 0.5)
    return [
        Term(factors[j], log[j], rng.normal(0.5, 1.0, n), rng.uniform(0.05, 0.5, n))
        for j in range(m)
    ]


def by_draws(terms, boxes):
    """Return the expected improvement (n,) from draws."""
    normal = norm.ppf(qmc.Sobol(len(terms), seed=1).random(2**14))
    found = []
    for i in range(len(terms[0].mean)):
        drawn = normal * [math.sqrt(t.variance[i]) for t in terms] + [t.mean[i] for t in terms]
        drawn = np.where([t.log for t in terms], np.exp(drawn), drawn) * [t.factor for t in terms]
        found.append(gains(drawn, boxes).mean())
    return np.array(found)


@pytest.mark.parametrize('log', [(False, False, False), (True, False, True)])
@pytest.mark.parametrize('m', [2, 3])
def test_the_expected_improvement_is_that_of_draws(m, log):
    rng = np.random.default_rng(m)
    front = rng.uniform(0.0, 2.0, (5, m))
    reference = np.full(m, 2.2)
    candidates = terms(m, 4, rng, log)
    boxes = pareto.undominated_boxes(front, reference)
    got = pareto.expected_improvement(candidates, boxes)
    assert_allclose(got, by_draws(candidates, boxes), rtol=0.02, atol=2e-4)


def test_a_metric_to_be_maximised_has_a_negative_factor():
    rng = np.random.default_rng(5)
    front = np.array([[0.5, -1.0], [1.0, -2.0]])
    reference = np.array([2.0, 0.0])
    one, other = terms(2, 4, rng)
    for log in (False, True):
        candidates = [one, Term(-1.0, log, other.mean, 0.2 * other.variance)]
        boxes = pareto.undominated_boxes(front, reference)
        got = pareto.expected_improvement(candidates, boxes)
        assert_allclose(got, by_draws(candidates, boxes), rtol=0.02, atol=2e-4)


def test_without_a_front_it_is_the_product_of_single_improvements():
    # The closed form of two independent normals.
    mean, std = np.array([0.3, 0.8]), np.array([0.5, 0.2])
    sides = [(1.0 - mean) * norm.cdf((1.0 - mean) / std) + std * norm.pdf((1.0 - mean) / std)]
    boxes = pareto.undominated_boxes(np.empty((0, 2)), [1.0, 1.0])
    both = [Term(1.0, False, mean, std**2)] * 2
    assert_allclose(pareto.expected_improvement(both, boxes), sides[0] ** 2, rtol=1e-9)


def test_what_is_certain_improves_by_what_it_adds():
    front = np.array([[1.0, 3.0], [2.0, 2.0]])
    boxes = pareto.undominated_boxes(front, [4.0, 4.0])
    new = np.array([[1.5, 2.5], [3.0, 1.0], [2.5, 2.5]])
    for log in (False, True):
        sure = [Term(1.0, log, np.log(y) if log else y, np.zeros(3)) for y in new.T]
        got = pareto.expected_improvement(sure, boxes)
        assert_allclose(got, [0.25, 1.0, 0.0], atol=1e-6)


@pytest.mark.parametrize('m', [2, 3])
def test_thousands_of_candidates_take_a_moment(m):
    rng = np.random.default_rng(0)
    front = rng.dirichlet(np.ones(m), 20)
    candidates = [Term(1.0, False, rng.random(4096), np.full(4096, 0.1)) for _ in range(m)]
    spent = []
    for _ in range(3):
        begin = time.process_time()
        boxes = pareto.undominated_boxes(front, np.ones(m))
        pareto.expected_improvement(candidates, boxes)
        spent.append(time.process_time() - begin)
    assert min(spent) < (0.1 if m == 2 else 0.5)


def test_the_reference_lies_a_little_beyond_the_front():
    assert pareto.reference_point([[0.0, 5.0], [1.0, 3.0]]) == pytest.approx([1.1, 5.2])
    assert pareto.reference_point([[2.0, -3.0]]) == pytest.approx([2.2, -2.7])
    assert (pareto.reference_point([[0.0, 0.0]]) > 0).all()


@pytest.mark.parametrize('call', [
    lambda: pareto.nondominated([[1.0, np.nan]]),
    lambda: pareto.nondominated([1.0, 2.0]),
    lambda: pareto.hypervolume([[1.0, 2.0]], [3.0, 3.0, 3.0]),
    lambda: pareto.hypervolume([[1.0]], [3.0]),
    lambda: pareto.hypervolume([[1.0, 2.0]], [3.0, np.inf]),
    lambda: pareto.hypervolume([[1.0, -np.inf]], [3.0, 3.0]),
    lambda: pareto.undominated_boxes([[1.0, np.nan]], [3.0, 3.0]),
])
def test_what_is_no_number_is_refused(call):
    with pytest.raises(ValueError, match='must'):
        call()
