# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import t

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models.model_set import Assessment, ModelSet, Slack
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
    found = assessed([50.0, 50.0], valid=np.array([0.8, 0.4]))
    assert_allclose(safety.probability(found, 9, vouched=0.8), [1.0, 0.5], rtol=1e-6)
    model = ModelSet(STUDY)
    run = TARGET.measure(STUDY.space.default(), 1)
    model.fit([], [run])
    vouched = safety.vouched_for(model, STUDY.space.default(), [run])
    assert 0.7 < vouched < 0.95
    assert safety.vouched_for(model, STUDY.space.default(), []) == 1.0
    failed = dataclasses.replace(run, valid=False)
    assert safety.vouched_for(model, STUDY.space.default(), [run, failed]) == 1.0


def test_a_limit_that_nothing_tells_of_is_not_safe():
    found = assessed([9.0])
    silent = Assessment(**{**vars(found), 'slacks': (None,)})
    assert safety.probability(silent, 9)[0] == 0.0


def test_the_safest_is_run_again_a_few_times():
    assert safety.fall_back(np.array([0.6, 0.8]), np.array([1, 1])) == 1
    assert safety.fall_back(np.array([0.6, 0.8]), np.array([1, safety.TRIES])) is None
    assert safety.fall_back(np.array([0.4]), np.array([1])) is None
    assert safety.fall_back(np.array([]), np.array([])) is None
    assert '0.40' in safety.refusal(np.array([0.4]), 0.1)


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
    assert {str(one.configuration) for one in tuner.ask(2)} == {str(STUDY.space.default())}
    tuner.tell(TARGET.measure(STUDY.space.default(), 1))
    tuner.tell(TARGET.measure(STUDY.space.default(), 2))
    asked = [one.configuration for one in tuner.ask(3)]
    assert TARGET.kept(asked).min() > 0.6
    found = tuner.model.assess(STUDY.space.encode(asked))
    assert tuner.caution.allows(tuner.model, found).all()


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
