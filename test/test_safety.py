# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import t

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models.model_set import Assessment, Slack
from tl_adapt.testing.noisy import NoisyEnvironment, noisy_study
from tl_adapt.tuner import Tuner
from tl_adapt.tuning import safety

STUDY = noisy_study(2, budget=8, tuning={'safe': True})
TARGET = NoisyEnvironment(STUDY, 'target', variant=2)
CANDIDATES = [STUDY.space.default(), *STUDY.space.sample(80, seed=5)]


def assessed(margins, valid=1.0):
    n = len(margins)
    return Assessment(
        mean=np.zeros(n), std=np.ones(n), valid=np.broadcast_to(valid, n).astype(float),
        feasible=np.ones(n), terms=(), noise=np.zeros(n), points=np.zeros((n, 1)),
        slacks=(Slack(np.array(margins, dtype=float), np.full(n, 0.75), 0.25),),
    )


def runs_of_the_source(n=24):
    source = NoisyEnvironment(STUDY, 'source', variant=2)
    return [source.measure(c, i) for i, c in enumerate(STUDY.space.sample(n, seed=1))]


def unsafe_default():
    default = STUDY.space.default()
    return Measurement('robot', default, 1, {'duration': 9.0, 'energy': 9.0, 'clearance': 0.0})


def test_the_probability_is_students_and_counts_validity():
    found = assessed([2.0, -1.0], valid=0.9)
    assert_allclose(safety.probability(found, 3), 0.9 * t.cdf([2.0, -1.0], 4))


def test_fewer_measurements_must_leave_the_limit_farther_away():
    found = assessed([1.7])
    assert safety.probability(found, 1)[0] < 0.9 < safety.probability(found, 20)[0]


def test_want_of_data_about_validity_is_not_held_against_what_is_near_the_default():
    found = assessed([50.0, 50.0])
    valid = safety.trusted(np.array([0.8, 0.4]), 0.8, share=1.0)
    assert_allclose(safety.probability(found, 9, valid), [1.0, 0.5], rtol=1e-6)


def test_nothing_is_trusted_more_than_the_results_support():
    assert safety.supported([True], 0.1) == pytest.approx(10.5 / 11.0)
    assert safety.supported([True, False], 0.1) < 0.9
    assert safety.supported([], 0.1) == pytest.approx(0.95)
    # What the model itself is surer of stays so.
    assert_allclose(safety.trusted(np.array([0.7, 0.99]), 0.7, 0.8), [0.8, 0.99])


@pytest.mark.parametrize(('share', 'beyond'), [(0.0, True), (0.2, False)])
def test_a_run_of_the_default_does_not_hide_failures_by_chance(share, beyond):
    rng = np.random.default_rng(0)
    source = [
        dataclasses.replace(run, valid=bool(rng.random() >= share), reason='by chance')
        for run in runs_of_the_source(48) if run.valid
    ]
    tuner = Tuner(STUDY, source=source, seed=3, budget=6, candidates=CANDIDATES)
    tuner.tell(TARGET.measure(STUDY.space.default(), 1))
    found = tuner.model.assess(STUDY.space.encode(CANDIDATES))
    assert tuner.caution.allows(tuner.model, found)[1:].any() == beyond
    # A default that failed itself vouches for nothing.
    failed = Measurement('robot', STUDY.space.default(), 2, valid=False, reason='collision')
    tuner.tell(failed)
    found = tuner.model.assess(STUDY.space.encode(CANDIDATES))
    careful = tuner.caution.probability(tuner.model, found)
    assert_allclose(careful, safety.probability(found, 2))


def test_a_limit_that_nothing_tells_of_is_not_safe():
    found = assessed([9.0])
    silent = Assessment(**{**vars(found), 'slacks': (None,)})
    assert safety.probability(silent, 9)[0] == 0.0


def test_the_safest_is_run_again_a_few_times():
    assert safety.fall_back(np.array([0.6, 0.8]), np.array([1, 1])) == 1
    assert safety.fall_back(np.array([0.6, 0.8]), np.array([1, safety.TRIES])) is None
    assert safety.fall_back(np.array([0.4]), np.array([1])) is None
    assert safety.fall_back(np.array([]), np.array([])) is None
    assert '0.40' in safety.refusal(np.array([0.4]), 0.1).why


def test_the_next_safest_stands_in_for_what_must_not_be_run_again():
    safe, runs = np.array([0.92, 0.8, 0.95]), np.array([1, 1, safety.TRIES])
    assert safety.fall_back(safe, runs) == 0
    assert safety.fall_back(safe, runs, [True, False, False]) is None  # 0.8 is not safe itself
    assert safety.fall_back(safe, runs, [True, False, True]) == 1  # the safest that may be run
    assert safety.fall_back(safe, runs, [True] * 3) is None


def test_it_begins_with_the_default_and_stays_safe():
    tuner = Tuner(STUDY, source=runs_of_the_source(), seed=3, budget=6, candidates=CANDIDATES)
    asked = []
    for number in range(6):
        asked.append(tuner.ask()[0].configuration)
        tuner.tell(TARGET.measure(asked[-1], number))
    assert asked[0] == STUDY.space.default()
    assert any(one != asked[0] for one in asked)
    assert TARGET.kept(asked).min() > 0.6
    assert tuner.best().configuration in asked


def test_what_is_pending_makes_nothing_safe():
    tuner = Tuner(STUDY, source=runs_of_the_source(), seed=3, budget=6, candidates=CANDIDATES)
    assert [one.configuration for one in tuner.ask(3)] == [STUDY.space.default()]
    assert tuner.ask(2) == []
    assert tuner.should_stop() is None
    tuner.tell(TARGET.measure(STUDY.space.default(), 1))
    tuner.tell(TARGET.measure(STUDY.space.default(), 2))
    asked = [one.configuration for one in tuner.ask(3)]
    assert TARGET.kept(asked).min() > 0.6
    found = tuner.model.assess(STUDY.space.encode(asked))
    assert tuner.caution.allows(tuner.model, found).all()


def test_a_batch_runs_the_safest_no_more_often_than_single_runs_would():
    tuner = Tuner(STUDY, transfer=False, seed=3, budget=20, candidates=CANDIDATES)
    tuner.tell(unsafe_default())
    tuner.tell(unsafe_default())
    tuner.tell(TARGET.measure(STUDY.space.default(), 1))
    tuner.caution.probability = lambda model, found: np.full(len(found.mean), 0.6)
    assert len(tuner.ask(9)) == safety.TRIES - 3
    assert tuner.should_stop() is None
    tuner.tell(unsafe_default())
    assert 'no further configuration' in tuner.should_stop()


def test_without_a_source_it_leaves_the_default_only_when_that_is_safe():
    tuner = Tuner(STUDY, transfer=False, seed=3, budget=8)
    kept = []
    for number in range(6):
        configuration = tuner.ask()[0].configuration
        kept.append(float(TARGET.kept([configuration])[0]))
        tuner.tell(TARGET.measure(configuration, number))
    assert min(kept) > 0.6
    assert max(map(kept.count, kept)) < len(kept)


def test_it_stops_where_nothing_is_safe():
    tuner = Tuner(STUDY, transfer=False, seed=3, budget=8, candidates=CANDIDATES)
    tuner.tell(unsafe_default())
    for _ in range(3):
        reason = tuner.should_stop()
        if reason:
            break
        assert tuner.ask()[0].configuration == STUDY.space.default()
        tuner.tell(unsafe_default())
    assert 'no further configuration' in reason
    with pytest.raises(InputError, match='tuning.risk'):
        tuner.ask()


def test_it_stops_where_the_default_fails_and_nothing_else_is_known():
    tuner = Tuner(STUDY, transfer=False, budget=8)
    failed = Measurement('robot', STUDY.space.default(), 1, valid=False, reason='collision')
    tuner.tell(failed)
    assert 'nothing is known to be safe' in tuner.should_stop()
    with pytest.raises(InputError, match='tuning.safe: nothing is known to be safe'):
        tuner.ask()


def test_a_source_without_the_limits_metric_does_not_widen_the_steps():
    known = runs_of_the_source(40)
    for run in known:
        run.metrics.pop('clearance', None)
    tuner = Tuner(STUDY, source=known, seed=3, budget=6, candidates=CANDIDATES)
    for number in range(3):
        tuner.tell(TARGET.measure(STUDY.space.default(), number))
    found = tuner.model.assess(STUDY.space.encode(CANDIDATES))
    told = tuner.caution.allows(tuner.model, found)
    assert told.sum() < len(CANDIDATES) / 4


def test_it_does_not_begin_with_a_candidate_that_is_not_the_default():
    default = STUDY.space.default()
    others = [one for one in CANDIDATES if one != default]
    tuner = Tuner(STUDY, seed=3, budget=6, candidates=others)
    assert 'default configuration is no candidate' in tuner.should_stop()
    with pytest.raises(InputError, match='default configuration is no candidate'):
        tuner.ask()
