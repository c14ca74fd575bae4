# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests for tl_adapt.off_policy and the verb `estimate`."""

import dataclasses
import json
import re

import numpy as np
import pytest
from small_study import changed
from small_study import write as write_study

from tl_adapt.cli import main
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError
from tl_adapt.off_policy import Estimator, Recorded, estimate, group_of, steps
from tl_adapt.store import Store
from tl_adapt.study import load_study, study_from_dict


def recordings(seed, bags, missions, day, noise, dim=2):
    """Return missions of bags, each with a configuration and an effect of its day."""
    rng = np.random.default_rng(seed)
    X = np.repeat(rng.random((bags, dim)), missions, axis=0)
    group = np.repeat(np.arange(bags), missions)
    y = 3.0 + X[:, 0] + day * rng.standard_normal(bags)[group]
    return X, y + noise * rng.standard_normal(len(y)), group


def test_intervals_hold_a_mission_of_another_day():
    """Three of four recordings are told by the model, the day comes on top of that."""
    held = total = 0
    for seed in range(6):
        X, y, group = recordings(seed, 16, 4, 0.15, 0.02)
        old = group < 12
        model = Estimator(Recorded(X[old], y[old], group[old]))
        for one, value in zip(model.predict(X[~old]), y[~old]):
            held += one.low <= value <= one.high
            total += 1
    assert total == 96
    assert 0.78 <= held / total <= 1.0


def test_missions_of_one_recording_do_not_count_as_independent():
    """Two configurations driven on eight days: within a day they repeat to 0.05, between not."""
    rng = np.random.default_rng(5)
    X = np.repeat(np.array([[0.2], [0.8]] * 4), 5, axis=0)
    group = np.repeat(np.arange(8), 5)
    y = rng.standard_normal(8)[group] + 0.05 * rng.standard_normal(40)
    together = Estimator(Recorded(X, y, group)).predict(np.array([[0.2]]))[0]
    apart = Estimator(Recorded(X, y, np.arange(40))).predict(np.array([[0.2]]))[0]
    assert together.mean_high - together.mean_low > 1.5 * (apart.mean_high - apart.mean_low)


def test_support_tells_what_was_recorded_from_what_was_not():
    X, y, group = recordings(3, 12, 3, 0.0, 0.01)
    X[:, 0] *= 0.3
    y = 3.0 + np.sin(20.0 * X[:, 0])
    model = Estimator(Recorded(X, y, group))
    near, far = model.predict(np.array([X[0], [1.0, 0.5]]))
    assert near.support > 0.9
    assert near.mean == pytest.approx(y[0], abs=0.1)
    assert not near.warnings
    assert far.support < 0.5
    assert 'word of the model alone' in far.warnings[0]
    assert near.low < near.mean_low < near.mean < near.mean_high < near.high


def test_where_no_model_helps_the_spread_of_the_recordings_is_said():
    rng = np.random.default_rng(11)
    X, y = rng.random((30, 6)), 5.0 + rng.standard_normal(30)
    model = Estimator(Recorded(X[:20], y[:20], np.arange(20)))
    found = model.predict(X[20:])
    assert not model.modelled
    assert {one.support for one in found} == {0.0}
    assert len({(one.low, one.high) for one in found}) == 1
    assert 'no model predicts the recordings better' in found[0].warnings[0]
    assert found[0].high - found[0].low == pytest.approx(2 * 1.73 * y[:20].std(), rel=0.2)


def test_one_recording_says_nothing_of_others():
    X, y, _ = recordings(3, 5, 2, 0.0, 0.01)
    model = Estimator(Recorded(X, y, np.zeros(10, dtype=int)))
    assert 'recorded together' in model.predict(X[:1])[0].warnings[0]


def test_steps_are_counted():
    for bags, fits in ((1, 1), (3, 4), (20, 9)):
        X, y, group = recordings(0, bags, 3, 0.1, 0.1)
        calls = []
        Estimator(Recorded(X, y, group), on_step=lambda c=calls: c.append(0))
        assert len(calls) == steps(X, group) == fits


def test_recordings_of_one_configuration_are_also_left_out_together():
    """Else a new configuration would be judged by how well a known one is predicted."""
    X = np.array([[0.1], [0.5], [0.9], [0.1], [0.5], [0.9]])
    group = np.arange(6)
    assert steps(X, group) == 1 + 6 + 3
    y = np.array([1.0, 3.0, 2.0, 1.01, 3.01, 1.99])
    known, new = Estimator(Recorded(X, y, group)).predict(np.array([[0.5], [0.7]]))
    assert known.mean == pytest.approx(3.0, abs=0.2)
    assert new.high - new.low > 0.5


def test_too_few_missions():
    with pytest.raises(ValueError, match='at least 3 missions'):
        Estimator(Recorded(np.zeros((2, 1)), np.zeros(2), np.arange(2)))


def mission(speed, number, bag, *, mode='slow', valid=True):
    return Measurement(
        'robot', {'v': speed, 'n': 3, 'mode': mode}, number, valid=valid,
        metrics={'time': 10.0 / speed, 'gap': 0.3, 'load': 0.1} if valid else {},
        reason='' if valid else 'collision', provenance={'bag': bag} if bag else {},
    )


def missions():
    """Return six missions of three recordings and one that failed."""
    return [
        *(mission(0.3 + 0.1 * n, n, f'bag{n // 2}') for n in range(6)),
        mission(0.8, 7, 'bag2', valid=False),
    ]


def test_candidates_get_estimates_and_warnings():
    study = study_from_dict(changed('name', value='small'))
    found = estimate(
        study, missions(),
        [{'v': 0.45, 'n': 3, 'mode': 'slow'}, {'v': 1.0, 'n': 7, 'mode': 'fast'}],
        groups=[group_of(m) for m in missions()],
    )
    known, unknown = found
    assert set(known.estimates) == {'time', 'gap', 'objective'}
    time = known.estimates['time']
    assert time.low < 10.0 / 0.45 < time.high
    assert time.mean == pytest.approx(10.0 / 0.45, rel=0.1)
    assert known.warnings == ()
    assert unknown.warnings == (
        'nothing tells what mode, n does: no recording varied it',
        'beyond the recordings: v = 1 is outside of 0.3 .. 0.8',
    )
    assert 0.0 < known.valid < 1.0
    assert group_of(dataclasses.replace(mission(0.5, 1, ''), key='k')) == 'k'


def test_bad_input_is_named():
    study = study_from_dict(changed('name', value='small'))
    groups = [group_of(m) for m in missions()]
    good = {'v': 0.5, 'n': 3, 'mode': 'slow'}
    for candidate, metrics, text in (
        ({**good, 'v': 7.0}, (), 'v: '), (good, ('speed',), 'metric: unknown metric'),
    ):
        with pytest.raises(InputError, match=text):
            estimate(study, missions(), [candidate], groups=groups, metrics=metrics)
    with pytest.raises(InputError, match='time: at least 3 valid recorded missions'):
        estimate(study, missions()[5:], [good], groups=groups[5:], metrics=['time'])


@pytest.fixture
def stored(tmp_path):
    """Return a study and the store with its recorded missions."""
    path = write_study(tmp_path, json.dumps(changed('name', value='small')))
    with Store(tmp_path / 'small.sqlite', study=load_study(path)) as store:
        for one in missions():
            store.add(one)
    return path, tmp_path / 'small.sqlite'


def test_the_verb_prints_and_writes(stored, tmp_path, capsys):
    study, store = stored
    base = ['estimate', str(study), '--store', str(store)]
    assert main([*base, '--set', 'v=0.45', 'n=7', '--json', str(tmp_path / 'e.json')]) == 0
    printed = capsys.readouterr().out
    assert 'small/robot: 7 missions of 3 recordings, 6 configurations' in printed
    assert 'n = 7, v = 0.45' in printed
    assert 'warning: nothing tells what n does' in printed
    found = json.loads((tmp_path / 'e.json').read_text())
    one = found['candidates'][0]
    assert one['configuration']['n'] == 7
    assert one['estimates']['time']['low'] < one['estimates']['time']['high']
    file = tmp_path / 'candidates.yaml'
    file.write_text('[{v: 0.4}, {v: 0.6, mode: fast}]')
    assert main([*base, '--configurations', str(file), '--metric', 'time']) == 0
    printed = capsys.readouterr().out
    assert 'mode = fast, v = 0.6' in printed
    assert 'objective' not in printed


@pytest.mark.parametrize(('arguments', 'text'), [
    (['--set', 'v'], "--set: must be NAME=VALUE, got 'v'"),
    (['--set', 'w=1'], 'w: unknown parameter'),
    (['--level', '1'], '--level'),
    (['--seed', '-1'], '--seed'),
    (['--source', 'robot'], '--source: must be another'),
    (['--source', 'sim', '--no-source'], 'no meaning with --no-source'),
    (['--configurations', 'missing.yaml'], 'missing.yaml: can not be read'),
    (['--environment', 'sim'], 'has no missions of sim: .*tl_adapt evaluate'),
    (['--store', 'none.sqlite'], 'tl_adapt evaluate'),
])
def test_the_verb_refuses(stored, arguments, text, capsys):
    study, store = stored
    assert main(['estimate', str(study), '--store', str(store), *arguments]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(text, error), error


@pytest.mark.parametrize('content', [
    '[]', '3', '[1]', '{v: 9}', '[: :', 'v: 0.5\nv: 0.6\n', '[' * 5000 + ']' * 5000,
])
def test_a_file_of_candidates_that_is_none(stored, tmp_path, content, capsys):
    study, store = stored
    file = tmp_path / 'candidates.yaml'
    file.write_text(content)
    arguments = ['estimate', str(study), '--store', str(store), '--configurations', str(file)]
    assert main(arguments) == 2
    assert 'candidates.yaml: ' in capsys.readouterr().err
