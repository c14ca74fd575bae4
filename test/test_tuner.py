# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from tl_adapt import acquisition
from tl_adapt.baselines import RandomSearch
from tl_adapt.environments.base import Measurement
from tl_adapt.environments.command import CommandEnvironment
from tl_adapt.errors import InputError
from tl_adapt.models.model_set import Assessment
from tl_adapt.study import study_from_dict
from tl_adapt.testing.analytic import AnalyticEnvironment, analytic_study
from tl_adapt.tuner import Tuner
from tl_adapt.tuning import climb

STUDY = analytic_study()


@pytest.fixture(autouse=True)
def small_pool(monkeypatch):
    monkeypatch.setattr(climb, 'THOROUGH', dataclasses.replace(climb.THOROUGH, pool=1024))


def source_runs(relation='shifted', variant=0, n=48):
    environment = AnalyticEnvironment(STUDY, 'source', relation=relation, variant=variant)
    return [environment.measure(c, i)
            for i, c in enumerate(STUDY.space.sample(n, seed=variant))]


def target_of(relation='shifted', variant=0):
    return AnalyticEnvironment(STUDY, 'target', relation=relation, variant=variant)


def tune(tuner, environment):
    while tuner.should_stop() is None:
        tuner.tell(environment.measure(tuner.ask()[0].configuration, 1000 + len(tuner.target)))
    return tuner


def regret(environment, configuration):
    """Return (objective - optimum) / (median - optimum), at most 1.5."""
    optimum = environment.best(samples=1024)[1]
    pool = environment.objective(STUDY.space.sample(500, seed=99))
    median = np.median(pool[np.isfinite(pool)])
    found = environment.objective([configuration])[0]
    return min((found - optimum) / (median - optimum), 1.5)


@pytest.fixture(scope='module')
def source():
    return source_runs()


def test_transfer_finds_better_than_target_only_with_8_runs():
    found = {True: [], False: []}
    for variant in (3, 4, 5):
        environment = target_of(variant=variant)
        source = source_runs(variant=variant)
        for transfer, results in found.items():
            tuner = tune(Tuner(STUDY, source=source, transfer=transfer, seed=variant), environment)
            assert len(tuner.target) <= 8
            results.append(regret(environment, tuner.best().configuration))
    assert np.mean(found[True]) < 0.7 * np.mean(found[False])


def test_an_unrelated_source_costs_little():
    found = {True: [], False: []}
    for variant in range(3):
        environment = target_of('unrelated', variant)
        source = source_runs('unrelated', variant)
        for transfer, results in found.items():
            tuner = tune(Tuner(STUDY, source=source, transfer=transfer, seed=variant), environment)
            results.append(regret(environment, tuner.best().configuration))
    assert np.mean(found[True]) < np.mean(found[False]) + 0.35


def test_it_is_deterministic(source):
    environment = target_of()
    runs = []
    for _ in range(2):
        tuner = Tuner(STUDY, source=source, seed=4, budget=3)
        tune(tuner, environment)
        runs.append([m.configuration for m in tuner.target])
    assert runs[0] == runs[1]
    assert runs[0] != [m.configuration
                       for m in tune(Tuner(STUDY, source=source, seed=5, budget=3),
                                     environment).target]


def test_a_longer_run_begins_like_the_studys_own():
    environment = target_of()
    own, longer = (Tuner(STUDY, seed=4, budget=budget) for budget in (8, 24))
    for number in range(6):
        asked, same = own.ask()[0].configuration, longer.ask()[0].configuration
        assert asked == same
        for tuner in (own, longer):
            tuner.tell(environment.measure(asked, number))


def test_it_resumes_from_measurements_that_were_told(source):
    environment = target_of()
    first = tune(Tuner(STUDY, source=source, seed=4, budget=4), environment)
    again = Tuner(STUDY, source=source, seed=4, budget=4)
    for measurement in first.target[:3]:
        again.tell(measurement)
    assert again.ask()[0].configuration == first.target[3].configuration


def test_pending_configurations_are_not_asked_again(source):
    environment = target_of()
    tuner = Tuner(STUDY, source=source, seed=1)
    proposals = tuner.ask(4)
    asked = [proposal.configuration for proposal in proposals]
    assert len({str(c) for c in asked}) == 4
    assert tuner.pending == proposals
    for configuration in reversed(asked):
        tuner.tell(environment.measure(configuration, 1))
    assert tuner.pending == []
    assert tuner.ask()[0].configuration not in asked
    for configuration in asked:
        assert STUDY.space.contains(configuration)


def test_without_transfer_it_starts_from_the_default():
    tuner = Tuner(STUDY, source=source_runs(), transfer=False, seed=1)
    assert tuner.source == []
    asked = [proposal.configuration for proposal in tuner.ask(3)]
    assert asked[0] == STUDY.space.default()
    assert len({str(c) for c in asked}) == 3


def test_random_search_needs_no_model():
    environment = target_of()
    tuner = tune(RandomSearch(STUDY, seed=1, budget=6), environment)
    choice = tuner.best()
    kept = [STUDY.objective(m.metrics) for m in tuner.target
            if m.valid and not STUDY.broken_limits(m.metrics)]
    assert choice.mean == pytest.approx(min(kept))
    assert 'measured' in choice.why
    assert len({str(m.configuration) for m in tuner.target}) == 6


def test_only_failures_do_not_stop_it(source):
    environment = target_of()
    for tuner in (
        Tuner(STUDY, seed=1, budget=5, source=source), Tuner(STUDY, seed=1, budget=5),
        RandomSearch(STUDY, seed=1, budget=5),
    ):
        for _ in range(5):
            measurement = environment.measure(tuner.ask()[0].configuration, 1)
            measurement.valid, measurement.reason = False, 'collision'
            tuner.tell(measurement)
        assert STUDY.space.contains(tuner.best().configuration)
        assert 'budget of 5' in tuner.should_stop()


def test_best_is_not_the_luck_of_one_run(source):
    environment = target_of()
    tuner = tune(Tuner(STUDY, source=source, seed=2, budget=6), environment)
    worst = max((m for m in tuner.target if m.valid), key=lambda m: STUDY.objective(m.metrics))
    for seed in range(6):
        tuner.tell(environment.measure(worst.configuration, 2000 + seed))
    lucky = environment.measure(worst.configuration, 3000)
    lucky.metrics |= {'duration': 0.5 * lucky.metrics['duration']}
    tuner.tell(lucky)
    choice = tuner.best()
    assert choice.configuration != worst.configuration
    assert choice.std > 0
    assert 'expected loss' in choice.why or 'predicted' in choice.why


def test_it_stops_and_says_why():
    tuner = Tuner(STUDY, budget=0)
    assert tuner.should_stop() == 'the budget of 0 target measurements is spent'
    small = study_from_dict({
        'version': 1, 'name': 'small',
        'parameters': {'a': {'type': 'bool', 'default': False},
                       'b': {'type': 'int', 'range': [0, 2], 'default': 0}},
        'metrics': {'cost': {'direction': 'minimize'}},
        'objectives': [{'metric': 'cost'}],
        'environments': {
            't': {'kind': 'command', 'role': 'target', 'command': ['{python}', '-c', '']},
        },
        'budget': {'target': 50},
    })
    from tl_adapt.environments.base import Measurement

    tuner = Tuner(small, transfer=False, budget=50)
    reasons = []
    for i in range(9):
        reasons.append(tuner.should_stop())
        if reasons[-1]:
            break
        configuration = tuner.ask()[0].configuration
        cost = 1.0 + configuration['b'] + 2 * configuration['a']
        tuner.tell(Measurement('t', configuration, i, {'cost': cost}))
    assert 'expected improvement' in reasons[-1] or '6 configurations' in reasons[-1]
    assert tuner.best().configuration == {'a': False, 'b': 0}
    assert tuner.ask()[0].configuration in small.space.enumerate()


def test_bad_input_is_refused(source):
    with pytest.raises(ValueError, match='budget'):
        Tuner(STUDY, budget=-1)
    with pytest.raises(ValueError, match='budget must be 0 or more, got nan'):
        Tuner(STUDY, budget=math.nan)
    with pytest.raises(ValueError, match='n must be 0 or more, got -1'):
        Tuner(STUDY).ask(-1)
    with pytest.raises(ValueError, match='n must be 0 or more, got -2'):
        Tuner(STUDY).forecast(-2)
    measurement = target_of().measure(STUDY.space.default(), 1)
    measurement.configuration = {'speed': 0.3}
    with pytest.raises(InputError):
        Tuner(STUDY).tell(measurement)


def term(log, mean, variance, factor=1.0):
    return acquisition.Term(factor, log, np.array(mean), np.array(variance))


def test_expected_improvement_is_the_integral():
    got = acquisition.expected_improvement([term(False, [1.0, 0.5], [0.25, 0.0])], 0.8)
    z = (0.8 - 1.0) / 0.5
    assert_allclose(got, [0.5 * (z * norm.cdf(z) + norm.pdf(z)), 0.3], rtol=1e-2)


def test_expected_improvement_of_a_log_normal_term():
    # Black and Scholes' put, without interest.
    best, middle, deviation = 1.0, 0.2, 0.6
    z = (np.log(best) - middle) / deviation
    expected = best * norm.cdf(z) - np.exp(middle + deviation**2 / 2) * norm.cdf(z - deviation)
    got = acquisition.expected_improvement([term(True, [middle], [deviation**2])], best)
    assert_allclose(got, expected, rtol=1e-2)


def test_a_long_upper_tail_is_no_chance_of_improvement():
    terms = [term(False, [1.0], [0.0]), term(True, [-2.0], [2.0])]
    assert acquisition.expected_improvement(terms, 0.99)[0] == 0.0


def test_the_sum_of_terms_has_all_their_variance():
    one = term(False, [1.0] * 3, [0.04, 0.09, 0.0], factor=2.0)
    other = term(False, [-1.0] * 3, [0.09, 0.04, 0.0])
    got = acquisition.expected_improvement([one, other], 1.0)
    std = np.sqrt([4 * 0.04 + 0.09, 4 * 0.09 + 0.04, 0.0])
    assert_allclose(got, std * norm.pdf(0.0), rtol=2e-2, atol=1e-12)
    joined = acquisition.expected_improvement([one.joined(one), other.joined(other)], 1.0)
    assert_allclose(joined, np.concatenate([got, got]))


def test_without_an_incumbent_feasibility_leads():
    mean, std = np.array([1.0, 2.0, 0.5]), np.ones(3)
    terms = [term(False, mean, std**2)]
    feasible = np.array([0.1, 0.9, 0.1])
    worth = acquisition.constrained_improvement(terms, mean, feasible, None)
    assert int(np.argmax(worth)) == 1
    assert acquisition.incumbent(mean, np.array([0.1, 0.2, 0.3])) is None
    assert acquisition.incumbent(mean, np.array([0.9, 0.9, 0.3])) == 0
    assert acquisition.predicted_best(mean, np.array([0.9, 0.95, 0.5])) == 0
    assert acquisition.predicted_best(mean, np.array([0.01, 0.3, 0.1])) == 1


def test_the_analytic_problem_runs_as_a_program_too():
    name = STUDY.target.name
    configuration = STUDY.space.default()
    environment = CommandEnvironment(STUDY, name)
    try:
        got = environment.measure(configuration, 7)
    finally:
        environment.close()
    assert got.valid, got.reason
    assert got.metrics == pytest.approx(target_of().measure(configuration, 7).metrics)


def test_the_analytic_target_is_another_but_related_problem():
    pool = STUDY.space.sample(300, seed=0)
    ranks = {}
    for relation in ('same', 'shifted', 'unrelated'):
        a = AnalyticEnvironment(STUDY, 'source', relation=relation).truth(pool)['duration']
        b = target_of(relation).truth(pool)['duration']
        ranks[relation] = np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1]
    assert ranks['same'] == pytest.approx(1.0)
    assert 0.3 < ranks['shifted'] < 0.95
    assert abs(ranks['unrelated']) < 0.4
    with pytest.raises(ValueError, match='relation'):
        target_of('loose')
    with pytest.raises(ValueError, match='role'):
        AnalyticEnvironment(STUDY, 'midfield')


@pytest.mark.parametrize(
    ('sure', 'worst', 'chosen'),
    [
        (0.66, 1.2, -1),  # a little better is not worth a limit that may break ...
        (0.3, 1.6, -1),
        (0.79, 1.5, 0),  # ... but far better is worth being a little less sure
    ],
)
def test_a_choice_weighs_the_limits_against_the_objective(monkeypatch, sure, worst, chosen):
    tuner = Tuner(STUDY, budget=4)
    environment = target_of()
    for index, configuration in enumerate(STUDY.space.sample(3, seed=4)):
        tuner.tell(environment.measure(configuration, index))
    configurations = [m.configuration for m in tuner.target if m.valid]
    feasible = np.linspace(sure, 0.95, len(configurations))
    mean = np.linspace(1.0, worst, len(configurations))

    def assess(X, keep=False):
        n = len(X)
        fits = n == len(configurations)
        return Assessment(
            mean=mean if fits else np.full(n, 9.0), std=np.full(n, 0.1), valid=np.ones(n),
            feasible=feasible if fits else np.zeros(n),
            terms=(term(False, np.zeros(n), np.ones(n)),), noise=np.zeros(n),
            points=np.zeros((n, 1)),
        )

    monkeypatch.setattr(tuner.model, 'assess', assess)
    assert tuner.best().configuration == configurations[chosen]


def test_nothing_is_promised_when_every_target_run_failed():
    source = AnalyticEnvironment(STUDY, 'source')
    runs = [source.measure(c, i) for i, c in enumerate(STUDY.space.sample(12, seed=1))]
    tuner = Tuner(STUDY, source=runs, budget=3)
    for configuration in STUDY.space.sample(3, seed=4):
        tuner.tell(Measurement('target', configuration, 1, valid=False, reason='crash'))
    choice = tuner.best()
    assert choice.configuration == STUDY.space.default()
    assert 'none of 3 target measurements was valid' in choice.why


def test_a_batch_larger_than_what_is_left_holds_nothing_that_was_refused():
    first, second = STUDY.space.sample(2, seed=1)
    for refused, left in ((first, second), (second, first)):
        tuner = Tuner(STUDY, candidates=[first, second])
        tuner.refuse(refused)
        assert [one.configuration for one in tuner.ask(4)] == [left] * 4
    tuner.refuse(left)
    assert tuner.ask(2) == []


def test_what_was_forgotten_leaves_no_trace(source):
    tuner = Tuner(STUDY, source=source, budget=2)
    first = tuner.ask()[0]
    for configuration in STUDY.space.sample(2, seed=4):
        tuner.tell(target_of().measure(configuration, 1))
    tuner.ask()
    assert tuner.should_stop() == 'the budget of 2 target measurements is spent'
    tuner.forget()
    assert (tuner.target, tuner.pending, tuner.spent) == ([], [], 0.0)
    assert tuner.should_stop() is None
    assert tuner.ask() == [first]


def test_what_was_refused_after_it_ran_is_not_chosen(source):
    tuner = Tuner(STUDY, source=source)
    for configuration in STUDY.space.sample(4, seed=4):
        tuner.tell(target_of().measure(configuration, 1))
    best = tuner.best().configuration
    tuner.refuse(best)
    tuner.refuse(best)
    assert tuner.refused == [best]
    assert tuner.best().configuration != best
