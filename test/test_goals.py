# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tl_adapt import acquisition
from tl_adapt.acquisition import Mixture, Term
from tl_adapt.baselines import RandomSearch
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.models.model_set import Assessment
from tl_adapt.study import study_from_dict
from tl_adapt.transfer import aim_digest
from tl_adapt.tuner import Tuner
from tl_adapt.tuning.goals import Front, WeightedSum, make_goal
from tl_adapt.tuning.pareto import hypervolume


def study(goal='front', **objective):
    return study_from_dict({
        'version': 1, 'name': 'two',
        'parameters': {name: {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5}
                       for name in ('a', 'b', 'c', 'd')},
        'metrics': {'time': {'direction': 'minimize', 'scale': 'log'},
                    'gap': {'direction': 'maximize'}},
        'objectives': [{'metric': 'time', **objective}, {'metric': 'gap'}],
        'environments': {
            role: {'kind': 'command', 'role': role, 'command': ['{python}', '-c', '']}
            for role in ('source', 'target')
        },
        'budget': {'target': 12}, 'tuning': {'goal': goal},
    })


def assessed(values, feasible=None, std=0.1):
    """Return what a model would say of points (n, 2) on its scale, each to be minimised."""
    values = np.array(values, dtype=float)
    n = len(values)
    terms = tuple(
        Term(factor, log, column * factor, np.full(n, std**2))
        for column, factor, log in zip(values.T, (1.0, -1.0), (True, False))
    )
    return Assessment(
        mean=np.exp(values[:, 0]) + values[:, 1], std=np.full(n, std), valid=np.ones(n),
        feasible=np.ones(n) if feasible is None else np.array(feasible), terms=terms,
        noise=np.zeros(n), points=np.zeros((n, 1)),
    )


def test_the_goal_is_the_studys():
    assert isinstance(make_goal(study()), Front)
    assert isinstance(make_goal(study('sum')), WeightedSum)
    assert not isinstance(make_goal(study('sum')), Front)


def test_the_front_holds_the_feasible_by_their_means():
    goal = Front(study())
    values = [[0, 3], [1, 1], [2, 2], [0.5, 0.5]]
    assert goal.reached(assessed(values, [1, 1, 1, 0.2])).tolist() == [[0, 3], [1, 1]]
    assert goal.reached(assessed(values, [0.1] * 4)) is None


def test_what_extends_the_front_is_worth_more_than_what_it_dominates():
    goal = Front(study())
    reached = goal.reached(assessed([[0, 2], [2, 0]]))
    found = assessed([[0.8, 0.8], [2.5, 2.5], [3, -1], [0.8, 0.8]], [1, 1, 1, 0.6])
    worth = goal.rank(reached)(found)
    assert worth[0] > worth[2] > worth[1] >= 0
    assert worth[3] == pytest.approx(0.6 * worth[0])


def test_the_worth_has_no_unit():
    goal = Front(study())
    measured, found = np.array([[0.0, 2.0], [2.0, 0.0]]), np.array([[0.8, 0.8], [2.0, 1.0]])
    worth = [
        goal.rank(goal.reached(assessed(measured * unit)))(assessed(found * unit, std=0.1 * unit))
        for unit in (1.0, 7.0)
    ]
    np.testing.assert_allclose(worth[0], worth[1], rtol=1e-9)


def test_without_anything_feasible_feasibility_leads():
    worth = Front(study()).rank(None)(assessed([[0, 0], [1, 1]], [0.1, 0.4]))
    assert int(np.argmax(worth)) == 1


def test_it_ends_where_the_volume_hardly_grows():
    goal = Front(study())
    reached = goal.reached(assessed([[0, 0]]))
    assert goal.too_little(0.1, reached, 0.01) is None
    assert '0.5 % of the hypervolume is below 1 %' in goal.too_little(0.005, reached, 0.01)


def test_the_choice_is_by_targets_if_there_are_any():
    measured = assessed([[np.log(10), -0.2], [np.log(20), -1.5], [np.log(40), -2]], [1, 1, 1])
    assert Front(study()).choose(measured) == (0, 'the lowest expected loss')
    goal = Front(study(target=22.0))
    assert goal.choose(measured) == (1, 'the nearest to the targets')
    assert not goal.by_objective
    nothing = assessed([[0, 0], [1, 1]], [0.1, 0.2])
    assert goal.choose(nothing) == (1, 'the most likely to keep the limits')


def test_a_target_does_not_change_what_is_measured():
    assert aim_digest(study(target=3.0), 1) == aim_digest(study(), 1)
    assert aim_digest(study('sum'), 1) != aim_digest(study(), 1)


def test_a_front_needs_several_objectives():
    with pytest.raises(InputError, match='front needs 2 or 3 objectives'):
        study_from_dict({
            'version': 1, 'name': 'one',
            'parameters': {'a': {'type': 'bool', 'default': False}},
            'metrics': {'time': {'direction': 'minimize'}}, 'objectives': [{'metric': 'time'}],
            'environments': {'t': {'kind': 'command', 'role': 'target', 'command': ['x']}},
            'tuning': {'goal': 'front'},
        })


def measure(environment, configuration, shift=0.0):
    """Return a run of a problem whose front is at b = c = 0.6 + shift, from a = 0 to 1."""
    a, b, c, _d = (configuration[name] for name in 'abcd')
    off = 1.5 * ((b - 0.6 - shift) ** 2 + (c - 0.6 - shift) ** 2)
    return Measurement(environment, configuration, 0, {
        'time': float(10 * np.exp(a + off)), 'gap': float(1 - (1 - a) ** 2 - off),
    })


def volume_of(tuner):
    values = [[np.log(m.metrics['time'] / 10), -m.metrics['gap']] for m in tuner.target]
    return hypervolume(values, [1.2, 0.2])


def test_the_front_is_found_with_fewer_runs_than_by_chance():
    one, found = study(), {}
    candidates = one.space.sample(300, seed=5)
    source = [measure('source', c, 0.1) for c in one.space.sample(30, seed=1)]
    for tuner in (
        Tuner(one, source=source, seed=2, candidates=candidates),
        RandomSearch(one, seed=2, candidates=candidates),
    ):
        for _ in range(6):
            tuner.tell(measure('target', tuner.ask()[0].configuration))
        found[type(tuner)] = volume_of(tuner)
        assert one.space.contains(tuner.best().configuration)
    assert found[Tuner] > 1.1 * found[RandomSearch]


def test_information_prefers_the_unknown_to_what_is_surely_a_little_better():
    one = Mixture(np.ones(1), np.array([[0.9, 1.0, 5.0]]), np.array([[0.01, 0.5, 0.1]]) ** 2)
    information = acquisition.MinimumInformation(1.0)
    told = information(one)
    assert int(np.argmax(told)) == 1
    assert told.min() >= 0.0
    assert np.array_equal(told[1:], information(one.at(np.array([1, 2]))))
    far = information(Mixture(np.ones(1), np.array([[1e3, -1e3]]), np.full((1, 2), 1e-18)))
    assert np.isfinite(far).all()


def test_a_quarrel_about_how_bad_something_is_tells_nothing_of_the_best():
    # Both are sure that the last is bad, but not how bad: a normal has a tail below the best.
    quarrel = Mixture(
        np.array([0.7, 0.3]), np.array([[1.4, 1.3, 9.0], [1.4, 1.3, 2.0]]),
        np.full((2, 3), 0.15) ** 2,
    )
    mean = quarrel.weight @ quarrel.mean
    variance = quarrel.weight @ (quarrel.variance + (quarrel.mean - mean) ** 2)
    moments = Mixture(np.ones(1), mean[None], variance[None])
    assert int(np.argmax(acquisition.MinimumInformation(1.0)(moments))) == 2
    told = acquisition.MinimumInformation(1.0)(quarrel)
    assert int(np.argmax(told)) == 1
    assert told[2] < 0.01 * told[1]
    # One hypothesis alone is what it was; twice the same is no more than once.
    twice = Mixture(np.full(2, 0.5), np.vstack([mean, mean]), np.vstack([variance, variance]))
    assert_allclose(acquisition.MinimumInformation(1.0)(twice),
                    acquisition.MinimumInformation(1.0)(moments), rtol=0.3)


def test_a_front_over_listed_configurations_does_not_end_by_regret():
    two = study()
    rows = two.space.sample(12, seed=1)
    tuner = Tuner(two, budget=9, candidates=rows)
    for number in range(5):
        asked = tuner.ask()[0].configuration
        metrics = {o.metric: 1.0 + number + i for i, o in enumerate(two.objectives)}
        tuner.tell(Measurement(two.target.name, asked, number, metrics))
        assert tuner.should_stop() is None or isinstance(tuner.should_stop(), str)
