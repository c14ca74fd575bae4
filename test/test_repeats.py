# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
from numpy.testing import assert_allclose

from tl_adapt.acquisition import Term
from tl_adapt.environments.base import Measurement
from tl_adapt.models.model_set import Assessment, Slack
from tl_adapt.study import Limit, study_from_dict
from tl_adapt.tuner import Tuner
from tl_adapt.tuning import repeats
from tl_adapt.tuning.goals import make_goal

SPEEDS = [{'speed': round(0.1 * i, 1)} for i in range(11)]


def assessed(mean, std, noise, slacks=()):
    n = len(mean)
    std = np.broadcast_to(np.asarray(std, dtype=float), n)
    return Assessment(
        mean=np.array(mean, dtype=float), std=std, valid=np.ones(n), feasible=np.ones(n),
        terms=(Term(1.0, False, np.array(mean, dtype=float), std**2),),
        noise=np.broadcast_to(np.asarray(noise, dtype=float), n), points=np.zeros((n, 1)),
        slacks=slacks,
    )


def small_study(**tuning):
    command = ['{python}', '-c', '']
    return study_from_dict({
        'version': 1, 'name': 'small',
        'parameters': {'speed': {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5}},
        'metrics': {'time': {'direction': 'minimize'}}, 'objectives': [{'metric': 'time'}],
        'environments': {'robot': {'kind': 'command', 'role': 'target', 'command': command}},
        'budget': {'target': 12}, 'tuning': tuning,
    })


def run_of(configuration, value):
    return Measurement('robot', configuration, 0, {'time': value})


def tune(noise, n=12, **tuning):
    tuner = Tuner(small_study(**tuning), budget=n, candidates=SPEEDS)
    rng = np.random.default_rng(1)
    for _ in range(n):
        configuration = tuner.ask()[0].configuration
        value = 1.0 + (configuration['speed'] - 0.3) ** 2 + noise * rng.standard_normal()
        tuner.tell(run_of(configuration, value))
    runs = [m.configuration['speed'] for m in tuner.target]
    return len(runs) - len(set(runs))


def test_repeats_of_close_rivals_are_worth_most():
    worth = repeats.worth(assessed([1.0, 1.05, 2.0], 0.1, 0.1))
    assert worth[0] > 10 * worth[2]
    assert_allclose(worth[0], worth[1])  # either may turn the order of the two


def test_it_is_the_expected_gain_of_the_choice():
    found = assessed([1.0, 1.1], 0.2, 0.3)
    variance = repeats._DOUBT * 0.2**2
    deviation = variance / np.sqrt(variance + 0.3**2)
    draws = 0.1 + deviation * np.random.default_rng(0).standard_normal(200_000)
    assert_allclose(repeats.worth(found)[1], np.maximum(-draws, 0.0).mean(), rtol=0.02)


def test_nothing_is_learnt_from_hopeless_noise_or_of_what_is_known():
    assert repeats.worth(assessed([1.0, 1.1], 0.1, 1e3)).max() < 1e-6
    assert repeats.worth(assessed([1.0, 1.1], 0.0, 0.1)).max() < 1e-6
    assert repeats.worth(assessed([1.0], 0.1, 0.1)).tolist() == [0.0]


def test_a_run_also_tells_whether_a_limit_is_kept():
    sure = assessed([1.0, 1.1], 0.0, 0.1)
    near = Slack(np.array([0.1, 0.1]), np.full(2, 0.5), 0.5)
    unsure = dataclasses.replace(sure, slacks=(near,), feasible=np.array([0.54, 0.54]))
    assert repeats.worth(unsure).min() > 0.02
    assert repeats.worth(dataclasses.replace(sure, slacks=(None,))).max() < 1e-6


def test_noise_takes_away_from_what_a_new_run_can_tell():
    term, = repeats.told(assessed([1.0], 0.2, 0.2))
    assert_allclose(term.variance, 0.5 * 0.04)
    assert_allclose(repeats.told(assessed([1.0], 0.2, 0.0))[0].variance, 0.04)


def test_equal_numbers_show_that_there_is_no_noise():
    study = small_study()
    first, second = SPEEDS[:2]
    assert not repeats.exact(study, [run_of(first, 1.0), run_of(second, 1.0)])
    assert repeats.exact(study, [run_of(first, 1.0), run_of(first, 1.0), run_of(second, 2.0)])
    assert not repeats.exact(study, [run_of(first, 1.0), run_of(first, 1.1)])


def test_noisy_runs_are_repeated_and_exact_ones_are_not():
    assert tune(0.3) >= 2
    assert tune(0.3, n=6, repeats=False) == 0
    assert tune(0.0, n=9) <= 1


def test_a_limit_that_may_break_takes_away_what_the_objective_promises():
    study = dataclasses.replace(small_study(), limits=(Limit('time', '<=', 9.0, 'time <= 9'),))
    goal = make_goal(study)
    far = Slack(np.array([9.0, 9.0]), np.full(2, 0.5), 0.5)
    found = dataclasses.replace(assessed([1.0, 0.8], 0.05, 0.0), slacks=(far,))
    reached = goal.reached(dataclasses.replace(found, feasible=np.array([0.9, 0.1])))
    assert_allclose(reached, [1.0, 1.09, 0.9])
    safe = goal.worth(reached)(found)
    broken = goal.worth(reached)(dataclasses.replace(found, feasible=np.array([1.0, 0.2])))
    assert safe[1] > safe[0]
    assert broken[1] < 1e-6 < broken[0]


def reached(lowest):
    return np.array([lowest, lowest, 1.0])


def test_a_repeat_counts_less_the_more_can_still_outdo_it():
    rival, hopeless = assessed([1.1], 0.2, 0.0), assessed([9.0], 0.2, 0.0)
    assert repeats.lasting(rival, reached(1.0), 0) == 1.0
    assert_allclose(repeats.lasting(rival, reached(1.0), 1), 1.0 - 0.3085, atol=1e-4)
    assert repeats.lasting(rival, reached(1.0), 9) < 0.05
    assert repeats.lasting(hopeless, reached(1.0), 9) > 0.999


def test_what_may_break_a_limit_outdoes_less():
    sure, unsure = assessed([0.9], 0.1, 0.0), assessed([0.9], 0.1, 0.0)
    unsure = dataclasses.replace(unsure, feasible=np.array([0.5]))
    last = [repeats.lasting(one, reached(1.0), 3) for one in (sure, unsure)]
    assert last[0] < 0.01 and last[1] > 0.99


def test_repeats_come_when_few_runs_are_left():
    tuner = Tuner(small_study(), budget=12, candidates=SPEEDS)
    left = []
    for _ in range(12):
        left.append(tuner._left())
        tuner.tell(run_of(tuner.ask()[0].configuration, 1.0))
    assert left == [0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0]
