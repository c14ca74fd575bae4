# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import numpy as np
import pytest
from small_space import double, integer

from tl_adapt.models.design import choose_for_transfer
from tl_adapt.models.measured import Measured
from tl_adapt.models.transfer import TransferModel
from tl_adapt.space import Space

DIM = 5


def source_truth(X):
    return np.exp(1.5 * X[:, 0] + np.sin(4 * X[:, 1]) + X[:, 2] * X[:, 3])


def changed_truth(X):
    return np.exp(1.0 + 1.2 * np.log(source_truth(X)) + 0.5 * np.cos(3 * X[:, 0]) * X[:, 4])


def bent_truth(X):
    return np.exp(0.4 * np.log(source_truth(X)) ** 2 + 0.3 * X[:, 4])


def reweighted_truth(X):
    return np.exp(1.0 + 1.4 * np.log(source_truth(X)) + 0.8 * X[:, 4] - X[:, 2])


def source_rows(seed=0, n=60):
    rng = np.random.default_rng(seed)
    X = rng.random((n, DIM))
    return X, source_truth(X) * np.exp(0.03 * rng.standard_normal(n))


SOURCE = source_rows()
MODEL = TransferModel(log=True).fit(SOURCE)
CANDIDATES = np.random.default_rng(7).random((300, DIM))


def choose(candidates=CANDIDATES, k=6, **more):
    return choose_for_transfer(SOURCE, candidates, k, **({'model': MODEL} | more))


def test_rows_are_different_and_the_seed_decides():
    chosen = choose(seed=3)
    assert len(set(chosen)) == 6
    assert all(isinstance(row, int) and 0 <= row < 300 for row in chosen)
    assert chosen == choose(seed=3)
    assert chosen == choose_for_transfer(SOURCE, CANDIDATES, 6, seed=3, log=True)


def test_the_first_of_many_are_what_few_would_be():
    assert choose(k=8)[:3] == choose(k=3)


def test_a_design_beats_chance():
    ratios = []
    for truth in (changed_truth, bent_truth, reweighted_truth):
        designed, chance = [], []
        for seed in range(10):
            source = source_rows(seed)
            rng = np.random.default_rng([seed, 1])
            candidates = rng.random((250, DIM))
            y = truth(candidates) * np.exp(0.03 * rng.standard_normal(250))
            model = TransferModel(log=True).fit(source)
            picked = choose_for_transfer(source, candidates, 5, seed=seed, model=model)
            for rows, errors in ((picked, designed), (list(range(5)), chance)):
                model.fit(source, (candidates[rows], y[rows]))
                mean, _ = model.latent(candidates)
                errors.append(np.sqrt(np.mean((mean - np.log(y)) ** 2)))
        ratios.append(np.mean(designed) / np.mean(chance))
    # Where influences that no source has seen are added, five points gain little by their place.
    assert max(ratios) < 1.0
    assert np.exp(np.mean(np.log(ratios))) < 0.9


def test_a_design_spreads_over_what_the_source_predicts():
    mean, _ = MODEL.latent(CANDIDATES)
    picked = mean[choose(k=5)]
    assert picked.min() < np.quantile(mean, 0.25)
    assert picked.max() > np.quantile(mean, 0.75)


def test_cheap_points_are_preferred_but_not_at_any_rate():
    costs = np.where(np.arange(300) < 150, 1.0, 50.0)
    assert max(choose(costs=costs)) < 150
    assert choose(costs=np.full(300, 7.0)) == choose()
    # One end of the space is dearer: with too little to learn at the other, it is paid for.
    dear = CANDIDATES[:, 0] > 0.5
    chosen = choose(costs=np.where(dear, 1.3, 1.0))
    assert 0 < dear[chosen].sum() < dear[choose()].sum() + 1


def test_known_points_are_not_chosen_again_and_count():
    first = choose(k=3)
    known = (CANDIDATES[first], changed_truth(CANDIDATES[first]))
    assert choose(k=3, known=known) == choose(k=6)[3:]
    rest = choose(k=297, known=known, candidates=CANDIDATES)
    assert sorted(rest + first) == list(range(300))


def test_a_failed_run_is_not_repeated_but_tells_nothing_of_the_value():
    first = choose(k=2)
    known = (CANDIDATES[first], [np.nan, 2.0])
    chosen = choose_for_transfer(SOURCE, CANDIDATES, 4, known=known, log=True)
    assert not set(chosen) & set(first)


def test_points_that_probably_fail_are_left_out():
    X = np.random.default_rng(1).random((200, DIM))
    y = np.where(X[:, 0] > 0.6, np.nan, source_truth(X))
    chosen = choose_for_transfer((X, y), CANDIDATES, 8, log=True)
    assert np.mean(CANDIDATES[chosen, 0] > 0.65) < 0.2


def test_equal_candidates_stand_for_each_other_until_none_is_left():
    twice = np.vstack([CANDIDATES[:4], CANDIDATES[:4]])
    chosen = choose(twice, 6)
    assert len({row % 4 for row in chosen[:4]}) == 4
    assert len(set(chosen)) == 6


@pytest.mark.parametrize('n, k', [(3, 3), (1, 1), (5, 0), (0, 0)])
def test_few_candidates(n, k):
    assert sorted(choose(CANDIDATES[:n], k)) == list(range(n))[: k or 0]


def test_categorical_columns():
    rng = np.random.default_rng(2)
    X = rng.random((80, 3))
    X[:, 2] = rng.integers(0, 3, 80) / 2
    y = np.exp(X[:, 0] + 2.0 * (X[:, 2] == 0.5))
    candidates = rng.random((100, 3))
    candidates[:, 2] = rng.integers(0, 3, 100) / 2
    chosen = choose_for_transfer((X, y), candidates, 6, categorical=[False, False, True])
    assert set(candidates[chosen, 2]) == {0.0, 0.5, 1.0}


def test_several_sources_and_none():
    other = (SOURCE[0], np.cos(5 * SOURCE[0][:, 4]) + 2.0)
    assert len(set(choose_for_transfer([SOURCE, other], CANDIDATES, 5))) == 5
    known = (CANDIDATES[:2], changed_truth(CANDIDATES[:2]))
    chosen = choose_for_transfer(None, CANDIDATES, 5, known=known)
    assert len(set(chosen) - {0, 1}) == 5


def test_a_source_with_a_space_of_its_own():
    def space(high):
        return Space([double('v', 0.0, high), integer('n', 1, 5)])

    X = np.random.default_rng(3).random((40, 2))
    source = Measured(X, np.exp(X[:, 0]), space(2.0))
    model = TransferModel(space(1.0)).fit(source)
    candidates = np.random.default_rng(4).random((50, 2))
    assert len(set(choose_for_transfer(source, candidates, 4, model=model))) == 4


@pytest.mark.parametrize('more, words', [
    ({'k': 301}, 'k <= 300'),
    ({'k': -1}, '0 <= k'),
    ({'k': 299, 'known': (CANDIDATES[:2], [1.0, 2.0])}, 'k <= 298'),
    ({'costs': [1.0, 2.0]}, 'costs must have shape'),
    ({'costs': np.zeros(300)}, 'positive'),
    ({'known': (CANDIDATES[:2], [1.0])}, 'known values'),
    ({'known': (CANDIDATES[:2, :3], [1.0, 2.0])}, 'X must have shape'),
    ({'candidates': CANDIDATES[:, :3]}, 'columns'),
])
def test_wrong_input_is_refused(more, words):
    with pytest.raises(ValueError, match=words):
        choose(**more)


def test_a_model_without_a_fit_and_infinite_known_values_are_refused():
    X = np.eye(3)
    with pytest.raises(ValueError, match='must be fitted first'):
        choose_for_transfer(None, X, 1, model=TransferModel())
    model = TransferModel().fit((X, [1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match='known values must be finite'):
        choose_for_transfer(None, X, 1, known=(X[:1], [np.inf]), model=model)
