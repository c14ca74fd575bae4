# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tl_adapt.baselines import RandomSearch
from tl_adapt.environments.base import COST_REPORTED, Measurement
from tl_adapt.models.gaussian_process import GaussianProcess
from tl_adapt.models.joint import Joint, joint_moments
from tl_adapt.models.source import milestone
from tl_adapt.models.transfer import TransferModel
from tl_adapt.store import Store
from tl_adapt.study import study_from_dict
from tl_adapt.study_parts import Budget
from tl_adapt.transfer import SIMULATED, run_transfer
from tl_adapt.tuner import Tuner
from tl_adapt.tuning import allocation, climb, stopping
from tl_adapt.tuning.account import Account
from tl_adapt.tuning.forecast import Forecast, Truths, play
from tl_adapt.tuning.proposal import Proposal


def study_of(*, target_cost=4.0, budget=None, tuning=None, size=None):
    numbers = {'type': 'double', 'range': [0.0, 1.0], 'default': 0.9}
    if size:
        numbers = {'type': 'int', 'range': [0, size - 1], 'default': size - 1}
    command = ['{python}', '-c', '']
    return study_from_dict({
        'version': 1, 'name': 'costs',
        'parameters': {'a': numbers, 'b': numbers},
        'metrics': {'time': {'direction': 'minimize'}},
        'objectives': [{'metric': 'time'}],
        'environments': {
            'sim': {'kind': 'command', 'role': 'source', 'command': command},
            'robot': {'kind': 'command', 'role': 'target', 'command': command,
                      'cost': target_cost},
        },
        'budget': {'source': 6, 'target': 20, **(budget or {})},
        'tuning': tuning or {},
    })


SIMULATE = study_of(tuning={'simulate': True}, budget={'cost': 40})


class Formula:
    """Measure a valley; the target's is a little elsewhere."""

    def __init__(self, study, name):
        self.study, self.name = study, name
        self.runs = []

    def measure(self, configuration, seed):
        self.runs.append(configuration)
        u = self.study.space.encode([configuration])[0]
        low = np.array([0.3, 0.6]) if self.name == 'sim' else np.array([0.35, 0.55])
        noise = 0.01 * np.random.default_rng(seed).standard_normal()
        value = 1.0 + float(((u - low) ** 2).sum()) + noise + 0.5 * (self.name == 'robot')
        return Measurement(self.name, dict(configuration), seed, {'time': value},
                           cost=self.study.environment(self.name).cost, wall_time=2.0)

    def close(self):
        self.runs.append('closed')


@pytest.fixture(autouse=True)
def small_pool(monkeypatch):
    monkeypatch.setattr(climb, 'THOROUGH', dataclasses.replace(climb.THOROUGH, pool=64))


def tune(tuner, study, most=100):
    places = {name: Formula(study, name) for name in ('sim', 'robot')}
    done = []
    while tuner.should_stop() is None and len(done) < most:
        proposal = tuner.ask()[0]
        tuner.tell(places[proposal.environment].measure(proposal.configuration, len(done)))
        done.append(proposal)
    return done


# ------------------------------------------------------------------ what is known together
def source_and_target(n=4, shift=0.0):
    rng = np.random.default_rng(0)
    Xs, Xt = rng.random((8, 2)), rng.random((n, 2))
    f = lambda X: np.sin(3.0 * X[:, 0]) + X[:, 1]  # noqa: E731
    model = TransferModel(log=False, seed=0)
    return model.fit((Xs, f(Xs)), (Xt, f(Xt) + shift) if n else None)


@pytest.mark.parametrize('n', [0, 1, 5])
def test_the_targets_moments_are_those_of_the_model(n):
    model = source_and_target(n)
    X, S = np.random.default_rng(1).random((2, 7, 2))
    joint = joint_moments(model, X, S)
    mean, variance = model.latent(X, noise=False)
    assert joint.cross.shape == joint.source.shape == (7, 7)
    assert_allclose(joint.mean, mean, atol=0.05)
    assert_allclose(joint.variance, variance, rtol=0.15, atol=1e-6)
    whole = np.block([[joint.covariance, joint.cross], [joint.cross.T, joint.source]])
    assert np.linalg.eigvalsh(whole).min() > -1e-8


def test_a_run_of_the_source_takes_the_variance_that_it_should():
    model = source_and_target(0)
    process = model.source
    X, S = np.random.default_rng(1).random((5, 2)), np.array([[0.9, 0.1]])
    joint = joint_moments(model, X, S)
    gain = joint.cross[:, 0] / np.sqrt(joint.source[0, 0] + joint.source_noise)
    more = process.extended(S, [0.3])
    # The same process, measured in the units that it had before.
    after = more.latent(X, noise=False)[1] * (process.spread / more.spread) ** 2
    before = process.latent(X, noise=False)[1]
    assert before.max() > 1e-6
    assert_allclose(gain**2, before - after, rtol=0.01, atol=1e-9)


def test_nothing_is_known_of_a_source_that_is_not_there():
    X = np.random.default_rng(0).random((6, 2))
    model = TransferModel(log=False).fit(None, (X, X[:, 0]))
    joint = joint_moments(model, X, X)
    assert joint.cross.shape == (6, 0)
    assert joint.source_noise == 0.0


@given(st.integers(1, 5000))
def test_milestones_lie_in_the_last_third(n):
    assert 0.6 * n <= milestone(n) <= n
    assert milestone(milestone(n)) == milestone(n)


def test_a_growing_source_is_the_same_whatever_was_fitted_before():
    rng = np.random.default_rng(0)
    X = rng.random((40, 2))
    y = X[:, 0] ** 2 + X[:, 1]
    step = TransferModel(log=False, seed=1, growing=True)
    for n in (14, 20, 38, 40):
        step.fit((X[:n], y[:n]), (X[:3], y[:3] + 1.0))
    whole = TransferModel(log=False, seed=1, growing=True).fit((X, y), (X[:3], y[:3] + 1.0))
    assert_allclose(step.source.latent(X)[0], whole.source.latent(X)[0])
    assert isinstance(whole.source, GaussianProcess)
    assert len(whole.source.y) == 40


# ------------------------------------------------------------------ worth per cost
class Lines:
    """Stand for a loss that is one metric, whose moments are given."""

    def __init__(self, mean, covariance, cross, source):
        self.joints = {'time': Joint(np.array(mean), np.array(covariance), np.array(cross),
                                     np.array(source), 0.01, 0.01)}
        self.now = {'time': (self.joints['time'].mean, self.joints['time'].variance)}
        self.valid = np.ones(len(mean))

    def __call__(self, moments):
        return moments['time'][0]

    def after(self, gains, normals):
        return self.joints['time'].mean + normals['time'] @ gains['time'].T

    def draws(self, n, seed):
        drawn = np.random.default_rng(seed).standard_normal((n, len(self.valid)))
        return self.joints['time'].mean + drawn * np.sqrt(self.joints['time'].variance)

    def slopes(self):
        return {'time': np.ones(len(self.valid))}


def test_runs_that_tell_nothing_are_worth_nothing():
    loss = Lines([0.0, 0.1], np.eye(2), np.zeros((2, 3)), np.eye(3))
    chosen, gains = allocation.best_runs(loss, 2, 0)
    assert chosen == []
    assert allocation.of_source(loss, gains, 1.0).gain == 0.0
    assert allocation.of_target(loss, 0, 30.0).rate > 0.0


def test_the_run_that_tells_most_is_chosen_first_and_once():
    cross = [[0.9, 0.1, 0.0], [0.0, 0.1, 0.3]]
    loss = Lines([0.0, 0.0], np.eye(2), cross, np.eye(3))
    chosen, gains = allocation.best_runs(loss, 3, 0)
    assert chosen[0] == 0
    assert len(set(chosen)) == len(chosen)
    one = {'time': gains['time'][:, :1]}
    both, single = (allocation.of_source(loss, g, 1.0) for g in (gains, one))
    assert both.gain >= single.gain > 0.0
    assert both.cost == len(chosen)


def test_a_knowledge_gradient_is_the_integral():
    # Two equal means, of which one moves by a standard normal: E[max(0, z)] = 1 / sqrt(2 pi).
    loss = Lines([0.0, 0.0], [[1.0, 0.0], [0.0, 1e-9]], [[1.0], [0.0]], [[1.0]])
    worth = allocation.of_source(loss, {'time': np.array([[1.0], [0.0]])}, 2.0)
    assert worth.gain == pytest.approx(1.0 / np.sqrt(2.0 * np.pi), rel=0.03)
    assert worth.rate == pytest.approx(worth.gain / 2.0)


@pytest.mark.parametrize(
    ('ours', 'theirs', 'size'), [(1, 30, 16), (1, 5, 5), (3, 2, 1), (0, 1, 16)]
)
def test_a_round_costs_no_more_than_a_run_of_the_target(ours, theirs, size):
    assert allocation.round_size(ours, theirs) == size


# ------------------------------------------------------------------ budgets
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.5, 9.0)), max_size=12),
    st.floats(1.0, 60.0), st.floats(1.0, 60.0),
)
@settings(max_examples=40, deadline=None)
def test_an_account_lacks_what_goes_beyond_the_budget(runs, cost, time):
    study = study_of(target_cost=7.0)
    account = Account(Budget(cost=cost, time=time))
    for simulated, wall in runs:
        spec = study.source if simulated else study.target
        account.charge(Measurement(spec.name, {}, 1, cost=spec.cost, wall_time=wall), spec)
    assert account.cost == pytest.approx(sum(1.0 if s else 7.0 for s, _ in runs))
    for spec in (study.source, study.target):
        walls = [w for s, w in runs if s == (spec.role == 'source')]
        mean = np.mean(walls) if walls else 0.0
        left = time - sum(w for _, w in runs)
        fits = account.cost + spec.cost <= cost + 1e-9 and left > 0.0 and mean <= left
        assert (account.lack(spec) == '') == fits


def test_the_budget_says_what_it_lacks():
    study = study_of()
    account = Account(Budget(cost=10.0, time=5.0))
    account.charge(Measurement('robot', {}, 1, wall_time=3.0), study.target)
    assert account.cost == 4.0
    assert account.lack(study.target) == (
        'a run of robot takes 3 s, but 2 of the budget of 5 s are left')
    assert account.lack(study.source, [Proposal({}, 'robot', None, 6.0, '')]) == (
        'a run of sim costs 1, but 0 of the budget of 10 cost units are left')


def test_a_run_that_says_it_cost_nothing_costs_nothing():
    study = study_of(target_cost=7.0)
    account = Account(Budget())
    account.charge(Measurement('robot', {}, 1), study.target)
    assert account.cost == 7.0
    told = {COST_REPORTED: True}
    account.charge(Measurement('robot', {}, 1, provenance=told), study.target)
    assert account.cost == 7.0
    account.charge(Measurement('robot', {}, 1, cost=2.0, provenance=told), study.target)
    assert account.cost == 9.0


def test_tuning_ends_before_a_run_that_does_not_fit():
    study = study_of(budget={'time': 7})
    tuner = RandomSearch(study, budget=20)
    assert len(tune(tuner, study)) == 3
    assert tuner.should_stop() == 'a run of robot takes 2 s, but 1 of the budget of 7 s are left'
    assert tuner.ask() == []


def test_cost_is_spent_on_both_environments_and_never_beyond():
    tuner = Tuner(SIMULATE, seed=3)
    done = tune(tuner, SIMULATE)
    assert {one.environment for one in done} == {'sim', 'robot'}
    assert [one.environment for one in done[:6]] == ['sim'] * 6
    assert tuner.spent == sum(one.cost for one in done) <= 40
    assert 'cost units are left' in tuner.should_stop()
    assert len(tuner.source) + len(tuner.target) == len(done)
    assert len({str(one.configuration) for one in done if one.environment == 'sim'}) \
        == len(tuner.source)
    assert tuner.best().mean < 1.6


def test_a_tuner_that_is_resumed_goes_on_as_it_would_have():
    study = SIMULATE
    tuner = Tuner(study, seed=4)
    done = tune(tuner, study, 17)
    told = {'sim': iter(tuner.source), 'robot': iter(tuner.target)}
    runs = [next(told[one.environment]) for one in done]
    for count in (5, 9, 11, 13, 16):
        again = Tuner(study, seed=4)
        for run in runs[:count]:
            again.tell(run)
        proposal = again.ask()[0]
        assert proposal.environment == done[count].environment
        assert proposal.configuration == done[count].configuration
        assert proposal.worth == done[count].worth


def test_the_source_is_not_run_where_it_is_dear_or_not_wanted():
    dear = study_of(target_cost=1.0, tuning={'simulate': True}, budget={'target': 3})
    for study in (dear, study_of(budget={'target': 3})):
        assert {one.environment for one in tune(Tuner(study), study)} == {'robot'}


# ------------------------------------------------------------------ several at once
@given(st.permutations(range(5)), st.integers(0, 4))
@settings(max_examples=8, deadline=None)
def test_answers_may_come_in_any_order(order, withdrawn):
    study = study_of(budget={'target': 8})
    place = Formula(study, 'robot')
    tuner = RandomSearch(study, seed=1)
    asked = tuner.ask(5)
    assert len({str(one.configuration) for one in asked}) == 5
    tuner.withdraw(asked[withdrawn], again=False)
    tuner.tell(place.measure({'a': 0.123, 'b': 0.5}, 9))  # one that nobody asked for
    for number in order:
        if number != withdrawn:
            tuner.tell(place.measure(asked[number].configuration, number))
    assert tuner.pending == []
    assert len(tuner.target) == 5
    following = tuner.ask(3)
    assert not {str(one.configuration) for one in following} \
        & {str(one.configuration) for one in asked}
    assert tuner.ask() != [] or tuner.budget == 8


def test_a_batch_of_source_runs_is_what_would_be_asked_one_by_one():
    study = SIMULATE
    one, many = Tuner(study, seed=2), Tuner(study, seed=2)
    done = tune(one, study, 6)
    batch = many.ask(6)
    assert [p.configuration for p in batch] == [p.configuration for p in done]
    place = Formula(study, 'sim')
    for proposal in reversed(batch):
        many.tell(place.measure(proposal.configuration, 1))
    further = many.ask(4)
    assert len({(p.environment, str(p.configuration)) for p in further}) == 4


def test_what_was_withdrawn_may_come_again_unless_it_is_refused():
    tuner = RandomSearch(study_of(), seed=1)
    first = tuner.ask()[0]
    tuner.withdraw(first)
    assert tuner.ask()[0].configuration == first.configuration
    with pytest.raises(ValueError, match='only a pending proposal'):
        tuner.withdraw(dataclasses.replace(first, why='other'))
    tuner.withdraw(first, again=False)
    assert tuner.ask()[0].configuration != first.configuration


# ------------------------------------------------------------------ forecasts and the end
def test_a_forecast_is_what_the_drawn_functions_give():
    covariance = 0.04 * np.eye(4)
    loss = Lines([1.0, 1.0, 1.0, 1.0], covariance, np.zeros((4, 0)), np.zeros((0, 0)))
    loss.study, loss.models, loss.penalty = study_of(), None, 1.0
    loss.objective = lambda moments: moments['time'][0]
    loss.feasible = lambda moments: np.ones(4)
    loss.joints['time'] = dataclasses.replace(loss.joints['time'], noise=1e-8)
    loss.models = type('Models', (), {
        'models': {'time': type('Model', (), {'log_scale': False})}})
    rng = np.random.default_rng(0)
    truths = Truths(1.0 + 0.2 * rng.standard_normal((4000, 4)), np.ones((4000, 4), dtype=bool))
    measured = np.array([True, False, False, False])
    found = [play(loss, truths, measured, n).mean() for n in range(4)]
    # The least of 1 (unknown), then of 1, 2 and 3 normal numbers and the first, which stays at 1.
    assert found[0] == pytest.approx(1.0, abs=0.01)
    assert found[1] == pytest.approx(1.0 - 0.2 / np.sqrt(2.0 * np.pi), abs=0.01)
    assert found[0] > found[1] > found[2] > found[3]


def test_the_tuner_forecasts_what_its_budget_should_bring():
    study = study_of(budget={'target': 9, 'cost': 36})
    place = Formula(study, 'sim')
    source = [place.measure(c, i) for i, c in enumerate(study.space.sample(12, seed=0))]
    tuner = Tuner(study, source=source)
    tune(tuner, study, 3)
    found = tuner.forecast()
    assert found.runs == 6
    assert found.low <= found.mean <= found.high
    assert found.mean <= found.now + 1e-3
    assert tuner.forecast(0).mean == pytest.approx(tuner.forecast(0).now)
    text = str(Forecast(3, 2.0, 1.5, 1.25, 1.75))
    assert text.startswith('3 more runs should bring the objective from 2 to 1.5 (1.25 to 1.75')
    assert str(Forecast(1, 2.0, 1.5, 1.25, 1.75)).startswith('1 more run should')


def test_regrets_are_shares_of_the_objective():
    regrets = stopping.Regrets(np.array([0.0, 0.0, 0.1, 0.5]), 2.0)
    assert regrets.chance(0.02) == 0.5
    assert regrets.chance(0.1) == 0.25


def test_a_small_gain_ends_it_only_if_little_else_is_left(monkeypatch):
    study = study_of(budget={'target': 6})
    tuner = Tuner(study, transfer=False)
    for number, configuration in enumerate(study.space.sample(4, seed=0)):
        tuner.tell(Formula(study, 'robot').measure(configuration, number))
    ending = stopping.Ending(tuner.model, tuner.goal, np.array([1.5]), 0)
    view = tuner._consider(tuner.model)[1]
    assert ending.too_little(0.1, lambda: view) is None
    regrets = np.zeros(100)
    monkeypatch.setattr(stopping, 'draw_regrets', lambda *_: stopping.Regrets(regrets, 1.5))
    assert ending.too_little(0.001, lambda: view).endswith(
        'and anything better by 1 % has a probability of 0 %')
    regrets[:20] = 0.1
    assert ending.too_little(0.001, lambda: view) is None


def test_a_proven_optimum_of_a_finite_space_ends_it():
    study = study_of(size=5, budget={'target': 25}, tuning={'minimum_gain': 0.02})
    tuner = Tuner(study, transfer=False)
    tune(tuner, study)
    assert len(tuner.target) < 20
    assert 'of 25 configurations' in tuner.should_stop()
    assert tuner.best().configuration == {'a': 1, 'b': 2}


# ------------------------------------------------------------------ with a store
def test_a_transfer_runs_both_environments_and_goes_on_where_it_ended(tmp_path):
    target, made = Formula(SIMULATE, 'robot'), []

    def make(name):
        made.append(Formula(SIMULATE, name))
        return made[-1]

    stopped = []
    with Store(tmp_path / 'whole.sqlite', study=SIMULATE) as store:
        whole = run_transfer(SIMULATE, store, target, budget=9, seed=5, environments=make)
    assert len(made) == 1
    assert made[0].runs[-1] == 'closed'
    assert 'closed' not in target.runs
    with Store(tmp_path / 'parts.sqlite', study=SIMULATE) as store:
        with pytest.raises(KeyboardInterrupt):
            run_transfer(
                SIMULATE, store, target, budget=9, seed=5, environments=make,
                on_measurement=lambda i, m, t: stopped.append(i),
                on_simulation=lambda i, m, t: _interrupt(i == 8),
            )
        assert made[1].runs[-1] == 'closed'
        again = run_transfer(SIMULATE, store, target, budget=9, seed=5, environments=make)
        assert [m.configuration for m in again.measurements] \
            == [m.configuration for m in whole.measurements]
        kept = store.get(environment='sim', purpose=SIMULATED)
        assert [m.configuration for m in kept] == [m.configuration for m in whole.simulations]
        other = run_transfer(
            SIMULATE, store, target, budget=1, seed=6, environments=make, reuse=True
        )
        # What was simulated for another aim is known to this one.
        assert other.tuner.simulations.given == len(kept)


def _interrupt(now):
    if now:
        raise KeyboardInterrupt
