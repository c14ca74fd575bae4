# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_space import boolean, choice, double, integer

from tl_adapt.models.measured import Measured, as_cube, read, units
from tl_adapt.models.source import Columns
from tl_adapt.models.transfer import TransferModel
from tl_adapt.space import Space

TARGET = Space([
    double('v', 0.0, 2.0), double('gain', 0.1, 10.0, log=True), integer('n', 0, 10, 5),
    boolean('smooth'), choice('planner', 'string', 'grid', 'lattice', 'straight'),
])
#: Other ranges, one parameter less and one more, other choices.
SOURCE = Space([
    choice('planner', 'string', 'lattice', 'grid'), double('gain', 0.1, 10.0, log=True),
    double('v', 0.0, 1.0), integer('n', 0, 10, 5), double('mass', 1.0, 3.0, 2.0),
])


def performance(c):
    value = math.exp(1.2 * c['v'] + 0.3 * math.log(c['gain']) + 0.1 * c['n'])
    return value * {'grid': 1.0, 'lattice': 2.0, 'straight': 1.5}[c['planner']]


def in_target(c):
    return 2.0 * performance(c) * (1.1 if c['smooth'] else 1.0)


def measured(space, f, n, seed):
    configurations = space.sample(n, seed=seed)
    return configurations, np.array([f(c) for c in configurations])


def error(model):
    configurations, y = measured(TARGET, in_target, 200, 99)
    return np.std(np.log(model.predict(configurations)) - np.log(y)) / np.log(y).std()


def test_columns_map_names_values_and_choices():
    columns = Columns(TARGET, SOURCE)
    c = {'v': 0.5, 'gain': 1.0, 'n': 3, 'smooth': True, 'planner': 'lattice'}
    far = {**c, 'v': 1.7, 'planner': 'straight'}
    found = SOURCE.decode(columns(TARGET.encode([c, far])))
    assert found[0] == {'planner': 'lattice', 'gain': pytest.approx(1.0), 'v': 0.5, 'n': 3,
                        'mass': 2.0}
    # Out of the source's range is its end, an unknown choice its default.
    assert found[1]['v'] == 1.0
    assert found[1]['planner'] == 'lattice'


@pytest.mark.parametrize('n', [0, 1, 3, 12])
def test_a_source_may_have_a_space_of_its_own(n):
    source = Measured(*measured(SOURCE, performance, 80, 0), SOURCE)
    model = TransferModel(TARGET).fit(source, measured(TARGET, in_target, n, 1))
    configurations, _ = measured(TARGET, in_target, 20, 5)
    mean, std = model.predict(configurations, return_std=True)
    assert np.isfinite(mean).all()
    assert (std > 0).all()
    assert model.sample(configurations, 4).shape == (4, 20)
    with pytest.raises(ValueError, match='space of its own'):
        model.to_arrays()


def test_a_source_with_a_space_of_its_own_helps():
    ours, alone = [], []
    for seed in range(3):
        target = measured(TARGET, in_target, 8, 10 + seed)
        source = Measured(*measured(SOURCE, performance, 80, seed), SOURCE)
        ours.append(error(TransferModel(TARGET, log=True).fit(source, target)))
        alone.append(error(TransferModel(TARGET, log=True).fit(None, target)))
    assert np.mean(ours) < 0.9 * np.mean(alone)


def test_sources_of_both_kinds_go_together():
    own = Measured(*measured(SOURCE, performance, 60, 0), SOURCE)
    same = measured(TARGET, performance, 60, 1)
    model = TransferModel(TARGET).fit([own, same], measured(TARGET, in_target, 6, 2))
    assert error(model) < 0.5
    model.update(*measured(TARGET, in_target, 3, 3))
    assert error(model) < 0.5


def test_configurations_are_points():
    configurations, y = measured(TARGET, in_target, 12, 0)
    X = TARGET.encode(configurations)
    one = TransferModel(TARGET).fit(None, (configurations, y))
    two = TransferModel(TARGET).fit(None, (X, y))
    assert_array_equal(one.predict(configurations), two.predict(X))
    assert_array_equal(one.probability_valid(configurations), two.probability_valid(X))
    assert as_cube([], TARGET).shape == (0, 5)
    with pytest.raises(ValueError, match='need a space'):
        TransferModel().fit(None, (configurations, y))


def failing(space, n, seed):
    configurations, y = measured(space, performance, n, seed)
    fails = np.array([c['n'] >= 7 for c in configurations])
    return configurations, np.where(fails, np.nan, y), fails


def test_failed_runs_teach_validity_alone():
    configurations, y, fails = failing(TARGET, 80, 0)
    target = failing(TARGET, 8, 1)[:2]
    model = TransferModel(TARGET).fit((configurations, y), target)
    keep = ~fails
    valid = [c for c, good in zip(configurations, keep) if good]
    good = ~np.isnan(target[1])
    again = TransferModel(TARGET).fit(
        (valid, y[keep]), ([c for c, ok in zip(target[0], good) if ok], target[1][good])
    )
    held, _, bad = failing(TARGET, 100, 2)
    assert_array_equal(model.predict(held), again.predict(held))
    p = model.probability_valid(held)
    assert ((p >= 0) & (p <= 1)).all()
    assert p[bad].mean() < p[~bad].mean() - 0.3
    alike = TransferModel(TARGET).fit((configurations, y)).probability_valid(held)
    assert alike[bad].mean() < alike[~bad].mean() - 0.3


def test_updates_may_have_failed():
    configurations, y, _ = failing(TARGET, 60, 0)
    model = TransferModel(TARGET).fit((configurations, y))
    point = [{**TARGET.default(), 'n': 2}]
    before, predicted = model.probability_valid(point), model.predict(point)
    model.update(point * 4, np.full(4, np.nan))
    assert model.probability_valid(point) < before - 0.1
    assert len(model.y) == 0
    assert_array_equal(model.predict(point), predicted)
    model.update(point, [7.0])
    assert len(model.y) == 1
    whole = TransferModel(TARGET).fit(
        (configurations, y), (point * 5, np.array([np.nan] * 4 + [7.0]))
    )
    assert_allclose(model.predict(point), whole.predict(point))
    assert_allclose(model.probability_valid(point), whole.probability_valid(point))


def test_an_environment_in_which_all_fails():
    configurations, y, _ = failing(TARGET, 40, 0)
    nothing = (configurations[:5], np.full(5, np.nan))
    model = TransferModel(TARGET).fit((configurations, y), nothing)
    assert_array_equal(
        model.predict(configurations), TransferModel(TARGET).fit((configurations, y)).predict(
            configurations)
    )
    assert TransferModel(TARGET).fit([nothing, (configurations, y)]).sources[1:] == []
    with pytest.raises(ValueError, match='at least one'):
        TransferModel(TARGET).fit(nothing, nothing)


def test_units_are_those_of_the_target():
    assert units(np.empty(0), False, []) == [(0.0, 1.0)]
    (middle, spread), = units(np.array([1.0, 2.0, 30.0]), False, [])
    assert middle == 2.0
    assert spread > 5.0


X, Y = np.random.default_rng(0).random((6, 3)), np.arange(1.0, 7.0)


@pytest.mark.parametrize(('source', 'target', 'rule'), [
    (None, None, 'at least one'),
    ((X[:0], []), (X[:0], []), 'at least one'),
    ((X, Y), (X[:, :2], Y), 'agree in columns'),
    ([(X, Y), (X[:, :2], Y)], None, 'agree in columns'),
    ((X, Y[:5]), None, 'shape'),
    ((X, Y), (X, Y[:5]), 'shape'),
    ((X[:, 0], Y), None, 'shape'),
    ((X, Y), (np.where(X > 0.9, np.nan, X), Y), 'finite'),
    ((X, np.where(Y > 5, np.inf, Y)), None, 'finite'),
    (X, None, 'tuple'),
    ([X, Y], None, 'tuple'),
    (Measured(X, Y, SOURCE), None, 'shape'),
    (Measured(SOURCE.sample(4, seed=0), Y[:4], SOURCE), (X, Y), 'needs the space of the target'),
    ((X, Y), Measured(SOURCE.sample(4, seed=0), Y[:4], SOURCE), "the target's space"),
])
def test_bad_data_are_refused(source, target, rule):
    with pytest.raises(ValueError, match=rule):
        TransferModel().fit(source, target)


def test_bad_settings_points_and_updates_are_refused():
    with pytest.raises(ValueError, match='fit must be called'):
        TransferModel().predict(X)
    with pytest.raises(ValueError, match='fit must be called'):
        TransferModel().update(X, Y)
    with pytest.raises(ValueError, match='positive'):
        TransferModel(log=True).fit((X, -Y))
    with pytest.raises(ValueError, match='auto'):
        TransferModel(log='often').fit((X, Y))
    with pytest.raises(ValueError, match='categorical'):
        TransferModel(categorical=[True, False]).fit(None, (X, Y))
    model = TransferModel(log=True).fit((X, Y), (X[:2], Y[:2]))
    for method in (model.predict, model.probability_valid, lambda Z: model.sample(Z, 2)):
        with pytest.raises(ValueError, match='shape'):
            method(X[:, :2])
    with pytest.raises(ValueError, match='positive'):
        model.update(X[:1], [-1.0])
    with pytest.raises(ValueError, match='shape'):
        model.update(X[:1, :2], [1.0])
    with pytest.raises(ValueError, match='finite'):
        model.update(X[:1], [np.inf])
    assert len(model.y) == 2


def test_runs_tell_failed_ones_apart():
    runs = read((X, [1.0, np.nan, 3, 4, np.nan, 6]), None)
    assert len(runs.y) == 6
    assert_array_equal(runs.valid().y, [1, 3, 4, 6])
    assert read(None, None).y.shape == (0,)


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (([[0.0], [1e308]], [1.0, 2.0]), 'X must be at most 1e\\+100 in size, got 1e\\+308'),
        (([[0.0], [1.0]], [1.0, -1e300]), 'y must be at most 1e\\+100 in size, got 1e\\+300'),
        (([[0.0], [1.0]], [1.0, 2.0], [3.0]), 'must be a space, got list'),
    ],
)
def test_what_the_model_can_not_compute_with_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        read(data, None)
