# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import json
import shutil

import numpy as np
import pytest
import yaml

from tl_adapt.cli import main
from tl_adapt.models.model_set import ModelSet
from tl_adapt.store import Store
from tl_adapt.study import load_study, study_from_dict
from tl_adapt.tuning import preferences

STUDY = '''
version: 1
name: recorded
parameters:
  speed: {type: double, range: [0.1, 1.0], default: 0.3, unit: m/s, targets: [{node: driver}]}
  samples: {type: int, range: [1, 20], default: 5}
metrics:
  time: {unit: s, direction: minimize, scale: log}
  gap: {unit: m, direction: maximize}
objectives:
  - {metric: time, reference: 20.0}
  - {metric: gap, reference: 0.5}
limits: [gap >= 0.02]
environments:
  old: {kind: table, role: source, file: old.csv}
  new: {kind: table, role: target, file: new.csv}
budget: {source: 20, target: 10}
'''


def table(factor):
    """Return a table in which a faster robot keeps less of a gap, and samples only cost."""
    lines = ['speed,samples,time,gap']
    for speed in np.linspace(0.1, 1.0, 10):
        for samples in (1, 8):
            time, gap = factor * (10 / speed + samples), 1.1 - speed - 0.002 * samples
            lines.append(f'{speed:.2f},{samples},{time:.5g},{gap:.5g}')
    return '\n'.join(lines) + '\n'


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """Return a folder with a study of two tables that were both measured."""
    folder = tmp_path_factory.mktemp('measured')
    (folder / 'study.yaml').write_text(STUDY)
    (folder / 'old.csv').write_text(table(1.0))
    (folder / 'new.csv').write_text(table(1.3))
    store = str(folder / 's.sqlite')
    for environment, n in (('old', '20'), ('new', '14')):
        assert main(['campaign', str(folder / 'study.yaml'), '--store', store,
                     '--environment', environment, '--configurations', n]) == 0
    return folder


@pytest.fixture(scope='module')
def points(measured):
    """Return the front as the verb prints it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(['choose', str(measured / 'study.yaml'), '--json',
                     '--store', str(measured / 's.sqlite')]) == 0
    return json.loads(printed.getvalue())['front']


@pytest.fixture
def folder(measured, tmp_path, monkeypatch, capsys):
    for path in measured.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    return tmp_path


def go(*words):
    return main(['choose', 'study.yaml', '--store', 's.sqlite', *words])


def chosen(folder):
    return json.loads((folder / 'output' / 'model' / 'choice.json').read_text())


def change(folder, **parts):
    (folder / 'study.yaml').write_text(yaml.safe_dump(yaml.safe_load(STUDY) | parts))


def test_the_front_is_shown_and_nothing_written(points, folder, capsys):
    times, gaps = ([point['mean'][name] for point in points] for name in ('time', 'gap'))
    assert len(points) >= 4
    assert times == sorted(times)
    assert gaps == sorted(gaps)  # more of a gap is better, and costs time
    assert all(point['runs'] == 1 and point['std']['time'] > 0 for point in points)
    assert go('--list') == 0
    out = capsys.readouterr().out
    assert 'Pareto front of new, from 14 measurements' in out
    assert f'{times[0]:.4g} +- ' in out
    assert ' s ' in out and ' m ' in out
    assert not (folder / 'output').exists()


def test_what_was_refused_is_not_offered(points, folder, capsys):
    refused = points[0]['configuration']
    with Store(folder / 's.sqlite', study=load_study('study.yaml')) as store:
        store.refuse('new', refused)
    for words in ((), ('--predicted',)):
        assert go('--json', *words) == 0
        left = [one['configuration'] for one in json.loads(capsys.readouterr().out)['front']]
        assert left
        assert refused not in left


def test_weights_decide(points, folder):
    assert go('--weights', 'gap=1000') == 0
    assert chosen(folder)['configuration'] == points[-1]['configuration']
    found = chosen(folder)
    assert f'{len(points)} of {len(points)} on the front, by weights' in found['why']
    speed = found['configuration']['speed']
    text = (folder / 'output' / 'tuned_parameters.yaml').read_text()
    assert yaml.safe_load(text)['/driver']['ros__parameters']['speed'] == speed
    study = load_study('study.yaml')
    assert ModelSet.load(folder / 'output' / 'model', study).ready


def test_targets_decide(points, folder):
    wanted = ','.join(f'{name}={value}' for name, value in points[1]['mean'].items())
    assert go('--target', wanted) == 0
    assert chosen(folder)['configuration'] == points[1]['configuration']
    assert 'by targets' in chosen(folder)['why']


def test_in_a_terminal_it_asks(points, folder, capsys, monkeypatch):
    asked = []
    answers = iter(['0', 'x', '2'])

    def answer(prompt):
        asked.append(prompt)
        return next(answers)

    monkeypatch.setattr('sys.stdin.isatty', lambda: True, raising=False)
    monkeypatch.setattr('builtins.input', answer)
    assert go() == 0
    assert len(asked) == 3
    assert "the study's weights" in asked[0]
    assert "'0' is no number from 1 to" in capsys.readouterr().out
    assert chosen(folder)['configuration'] == points[1]['configuration']
    assert 'by hand' in chosen(folder)['why']


@pytest.mark.parametrize('said', ['q', None])
def test_none_may_be_chosen(said, folder, capsys, monkeypatch):
    def answer(prompt):
        if said is None:
            raise EOFError
        return said

    monkeypatch.setattr('sys.stdin.isatty', lambda: True, raising=False)
    monkeypatch.setattr('builtins.input', answer)
    assert go() == 0
    assert 'nothing was chosen' in capsys.readouterr().out
    assert not (folder / 'output' / 'model').exists()


def test_the_default_answer_is_by_the_studys_targets_where_it_has_them(
    points, folder, monkeypatch
):
    change(folder, objectives=[
        {'metric': 'time', 'target': points[-2]['mean']['time']},
        {'metric': 'gap', 'target': points[-2]['mean']['gap']},
    ])
    monkeypatch.setattr('sys.stdin.isatty', lambda: True, raising=False)
    monkeypatch.setattr('builtins.input', lambda prompt: '')
    assert go() == 0
    assert chosen(folder)['configuration'] == points[-2]['configuration']
    assert "by the study's targets" in chosen(folder)['why']


def test_predictions_are_marked_and_only_shown_on_request(points, folder, capsys):
    assert go('--json', '--predicted') == 0
    both = json.loads(capsys.readouterr().out)['front']
    assert [point for point in both if point['runs']] == points
    new = [point for point in both if not point['runs']]
    assert new and all(point['feasible'] >= 0.9 for point in new)


def test_a_limit_that_nothing_keeps_is_said(folder, capsys):
    change(folder, limits=['gap >= 50'])
    assert go('--list') == 0
    assert 'none is likely to keep the limits' in capsys.readouterr().err


def test_with_one_objective_there_is_nothing_to_choose(folder, capsys):
    change(folder, objectives=[{'metric': 'time'}])
    assert go() == 0
    out = capsys.readouterr().out
    assert 'one objective (time) leaves nothing to choose' in out
    assert '  speed = 1 m/s' in out


@pytest.mark.parametrize(('words', 'error'), [
    (('--weights', 'tim=1'), '--weights: must name metrics of the objectives: time, gap, got'),
    (('--weights', 'time=0'), '--weights time: must be greater than 0, got 0.0'),
    (('--weights', 'time=1,time=2'), "--weights: must name each metric once, got 'time'"),
    (('--weights', ''), '--weights: must read METRIC=NUMBER,..., got'),
    (('--target', 'time'), "--target: must read METRIC=NUMBER,..., got 'time'"),
    (('--target', 'time=nan'), "--target time: must be a number, got 'nan'"),
    (('--target', 'time=soon'), "--target time: must be a number, got 'soon'"),
    ((), 'without a terminal to ask in, one of --weights, --target, --list and --json'),
])
def test_bad_input_is_one_clear_error(words, error, folder, capsys):
    assert go(*words) == 2
    text = capsys.readouterr().err
    assert text.startswith(f'tl_adapt: error: {error}')
    assert len(text.splitlines()) == 1


def test_it_needs_measurements(folder, capsys):
    words = ['choose', 'study.yaml', '--list', '--store']
    assert main([*words, 'missing.sqlite']) == 2
    assert 'tl_adapt transfer study.yaml' in capsys.readouterr().err
    assert not (folder / 'missing.sqlite').exists()
    assert main(['campaign', 'study.yaml', '--store', 'half.sqlite', '--configurations', '3']) == 0
    assert main([*words, 'half.sqlite']) == 2
    assert 'half.sqlite has no measurements of new to choose from' in capsys.readouterr().err


MEANS = np.array([[10.0, 0.2], [20.0, 0.5], [40.0, 0.6]])


def own_study(**target):
    objectives = [{'metric': name} | ({'target': target[name]} if name in target else {})
                  for name in ('time', 'gap')]
    return study_from_dict(yaml.safe_load(STUDY) | {'objectives': objectives})


def test_targets_that_can_not_be_reached_are_missed_least():
    study = own_study(time=25.0)
    assert preferences.own_targets(study) == {'time': 25.0}
    loss = preferences.loss_by_targets(study, MEANS, {'time': 5.0, 'gap': 0.45})
    assert int(np.argmin(loss)) == 1
    assert (loss > 0).all()


def test_targets_that_are_surpassed_are_surpassed_evenly():
    loss = preferences.loss_by_targets(own_study(), MEANS, {'time': 45.0, 'gap': 0.1})
    assert int(np.argmin(loss)) == 1
    assert (loss < 0).all()


def test_a_metric_without_a_target_aims_at_the_best():
    loss = preferences.loss_by_targets(own_study(), MEANS, {'gap': 0.6})
    assert int(np.argmin(loss)) == 1
    assert int(np.argmin(preferences.loss_by_targets(own_study(), MEANS[[0, 0, 2]], {}))) in (0, 2)


def test_a_choice_by_targets_is_never_dominated():
    means = np.array([[10.0, 0.2], [10.0, 0.1], [12.0, 0.2]])
    loss = preferences.loss_by_targets(own_study(), means, {'time': 10.0, 'gap': 0.2})
    assert int(np.argmin(loss)) == 0


def test_a_target_needs_several_objectives():
    with pytest.raises(Exception, match=r'objectives\[0\].target: means nothing'):
        study_from_dict(
            yaml.safe_load(STUDY) | {'objectives': [{'metric': 'time', 'target': 3.0}]}
        )


def test_weights_replace_the_studys_by_name():
    study = own_study()
    for weights, index in (({'time': 100.0}, 0), ({'gap': 1000.0}, 2), ({}, 0)):
        assert int(np.argmin(preferences.loss_by_weights(study, MEANS, weights))) == index
