# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_adapt.baselines import BASELINES
from tl_adapt.designs import fingerprint
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.study import study_from_dict
from tl_adapt.transfer import METHODS, make_tuner
from tl_adapt.tuner import Tuner
from tl_adapt.tuning.measured import loss


def study_of(parameters, constraints=(), **more):
    nothing = {'kind': 'command', 'command': ['true']}
    return study_from_dict({
        'version': 1, 'name': 'made', 'parameters': parameters, 'constraints': list(constraints),
        'metrics': {'cost': {'direction': 'minimize'}, 'gap': {'direction': 'maximize'}},
        'objectives': [{'metric': 'cost'}], 'limits': ['gap >= 0'],
        'environments': {'s': {**nothing, 'role': 'source'},
                         't': {**nothing, 'role': 'target', 'cost': 3}},
        'budget': {'target': 12}, **more,
    })


NUMBER = {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5}
MIXED = study_of({
    'a': NUMBER, 'n': {'type': 'int', 'range': [1, 9], 'default': 3},
    'mode': {'type': 'string', 'choices': ['slow', 'fast', 'off'], 'default': 'slow'},
    'gain': {**NUMBER, 'condition': "mode == 'fast'"},
}, ['a * 6 <= n'])
SMALL = study_of({
    'n': {'type': 'int', 'range': [0, 4], 'default': 0},
    'on': {'type': 'bool', 'default': False},
}, ['n >= 1 or not on'])
SMOOTH = study_of(dict.fromkeys('abc', NUMBER))
every = pytest.mark.parametrize('name', BASELINES)


def value_of(study, configuration):
    return float(np.square(study.space.encode([configuration])[0] - 0.8).sum())


def measured(study, configuration, **more):
    cost = value_of(study, configuration)
    return Measurement('t', configuration, 0, {'cost': cost, 'gap': 1.0}, cost=3.0, **more)


def run(study, name, n, *, batch=1, order=None, **options):
    optimiser = BASELINES[name](study, **options)
    asked = []
    while len(asked) < n:
        proposals = optimiser.ask(min(batch, n - len(asked)))
        asked += [proposal.configuration for proposal in proposals]
        told = proposals if order is None else order.permutation(np.array(proposals, dtype=object))
        for proposal in told:
            optimiser.tell(measured(study, proposal.configuration))
    return optimiser, asked


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(sorted(BASELINES)), st.sampled_from((MIXED, SMALL, SMOOTH)),
    st.integers(0, 2**31), st.integers(1, 5), st.booleans(), st.data(),
)
def test_proposals_are_allowed_new_and_repeatable(name, study, seed, batch, listed, data):
    candidates = study.space.sample(9, seed=seed, method='random') if listed else None
    runs = [
        run(study, name, 9, batch=batch, order=np.random.default_rng(seed), seed=seed,
            budget=9, candidates=candidates)
        for _ in range(2)
    ]
    (optimiser, asked), (_, again) = runs
    assert asked == again
    assert optimiser.pending == []
    assert len({fingerprint(c) for c in asked}) == 9
    for configuration in asked:
        assert study.space.validate(configuration) == configuration
        assert candidates is None or configuration in candidates
    assert optimiser.should_stop()
    chosen = optimiser.best()
    assert chosen.mean == min(value_of(study, c) for c in asked)
    assert chosen.configuration in asked


@every
def test_the_state_follows_from_what_was_told(name):
    optimiser, asked = run(SMOOTH, name, 12, seed=3)
    again = BASELINES[name](SMOOTH, seed=3)
    for configuration in asked[:8]:
        again.tell(measured(SMOOTH, configuration))
    assert again.ask()[0].configuration == asked[8]
    assert optimiser.spent == 36.0


@every
def test_what_is_not_listed_does_not_exhaust_the_list(name):
    listed, others = SMOOTH.space.sample(3, seed=1), SMOOTH.space.sample(4, seed=2)
    for optimiser in (BASELINES[name](SMOOTH, candidates=listed),
                      Tuner(SMOOTH, candidates=listed)):
        for configuration in others:
            optimiser.refuse(configuration)
        assert optimiser.should_stop() is None
        assert optimiser.ask()[0].configuration in listed


@every
def test_another_seed_searches_elsewhere(name):
    (_, one), (_, other) = (run(SMOOTH, name, 6, seed=seed) for seed in (1, 2))
    assert one[1:] != other[1:]


@every
def test_what_is_exhausted_is_said_and_may_be_repeated(name):
    size = SMALL.space.size
    optimiser, asked = run(SMALL, name, size, budget=50)
    assert len({fingerprint(c) for c in asked}) == size == 9
    assert optimiser.should_stop() == 'all 9 configurations are measured'
    assert SMALL.space.contains(optimiser.ask()[0].configuration)


@pytest.mark.parametrize('name', ['hill-climbing', 'simulated-annealing', 'genetic'])
def test_searches_find_better_than_chance(name):
    def found(method):
        return np.mean([run(SMOOTH, method, 40, seed=seed, budget=40)[0].best().mean
                        for seed in range(4)])

    assert found(name) < 0.8 * found('random')


@pytest.mark.parametrize('name', sorted(set(BASELINES) - {'latin-hypercube'}))
@pytest.mark.parametrize('longer', [12, 40, 400])
def test_a_longer_search_begins_like_a_shorter_one(name, longer):
    _, short = run(SMOOTH, name, 6, seed=2, budget=6)
    _, long = run(SMOOTH, name, 12, seed=2, budget=longer)
    assert long[:6] == short
    _, middle = run(SMOOTH, name, 12, seed=2, budget=20)
    assert long == middle


@every
@pytest.mark.parametrize('listed', [True, False])
def test_what_was_refused_is_not_even_repeated(name, listed):
    everything = SMALL.space.enumerate()
    refused = everything[:-1]
    optimiser = BASELINES[name](SMALL, seed=1, candidates=everything if listed else None)
    for configuration in refused:
        optimiser.refuse(configuration)
    for _ in range(3):
        (asked,) = optimiser.ask()
        assert asked.configuration == everything[-1]
        optimiser.tell(measured(SMALL, asked.configuration))
    optimiser.refuse(everything[-1])
    assert optimiser.ask(2) == []


def test_a_latin_hypercube_has_each_part_once():
    _, asked = run(SMOOTH, 'latin-hypercube', 12)
    parts = np.sort(np.floor(12 * SMOOTH.space.encode(asked)), axis=0)
    assert (parts == np.arange(12)[:, None]).all()


def test_invalid_runs_and_broken_limits_are_worse_than_any_sound_one():
    configuration = SMOOTH.space.default()
    sound = Measurement('t', configuration, 0, {'cost': 1e9, 'gap': 0.0})
    broken = Measurement('t', configuration, 0, {'cost': 0.0, 'gap': -1.0})
    invalid = Measurement('t', configuration, 0, {'cost': 0.0, 'gap': 1.0}, valid=False)
    unknown = Measurement('t', configuration, 0, {'gap': 1.0})
    ranked = [loss(SMOOTH, run) for run in (sound, broken, invalid, unknown)]
    assert ranked[0] < ranked[1] < ranked[2] == ranked[3]


@every
def test_only_failures_are_survived(name):
    optimiser = BASELINES[name](MIXED, seed=1)
    for _ in range(12):
        asked = optimiser.ask()[0].configuration
        optimiser.tell(Measurement('t', asked, 0, {}, valid=False, reason='collision'))
    assert MIXED.space.contains(optimiser.best().configuration)
    assert 'nothing valid' in optimiser.best().why


@every
def test_the_budget_of_cost_ends_it(name):
    study = study_of({'a': NUMBER}, budget={'target': 12, 'cost': 10})
    optimiser, _ = run(study, name, 2)
    assert optimiser.should_stop() is None
    optimiser.tell(measured(study, {'a': 0.9}))
    assert 'of the budget of 10 cost units' in optimiser.should_stop()
    assert optimiser.ask() == []


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match='budget must be 0 or more'):
        BASELINES['genetic'](SMOOTH, budget=-1)
    with pytest.raises(ValueError, match='budget must be 0 or more, got nan'):
        BASELINES['genetic'](SMOOTH, budget=float('nan'))
    with pytest.raises(ValueError, match='n must be 0 or more, got -1'):
        BASELINES['genetic'](SMOOTH).ask(-1)
    with pytest.raises(ValueError, match='candidates must not be empty'):
        BASELINES['genetic'](SMOOTH, candidates=[])
    with pytest.raises(InputError, match='must be in'):
        BASELINES['genetic'](SMOOTH).tell(Measurement('t', {'a': 2.0, 'b': 0, 'c': 0}, 0))


@every
def test_none_is_safe(name):
    with pytest.raises(InputError, match=r'tuning.safe: a search without a model'):
        BASELINES[name](study_of({'a': NUMBER}, tuning={'safe': True}))


@every
def test_they_are_methods_of_the_transfer(name):
    assert name in METHODS
    optimiser = make_tuner(SMOOTH, name, (), 5, 1)
    assert isinstance(optimiser, BASELINES[name])
    proposal = optimiser.ask()[0]
    assert (proposal.environment, proposal.cost, proposal.worth) == ('t', 3.0, None)
    optimiser.tell(measured(SMOOTH, proposal.configuration))
    assert optimiser.model.study is SMOOTH
