# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the verb `similarity`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tl_adapt.cli import main
from tl_adapt.environments.base import Measurement
from tl_adapt.models.similarity.comparison import COUNTS, TITLES
from tl_adapt.store import Store
from tl_adapt.study import load_study

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'
TABLE_STUDY = Path(__file__).parent / 'data' / 'table_study.yaml'
# Table II of the ASE 2017 paper: M1 and M3.
PUBLISHED = {
    'spear_ec1': (1.00, 0.97), 'spear_ec4': (0.90, -0.08), 'x264_ec1': (0.97, 0.99),
    'x264_ec3': (0.65, 0.63), 'sqlite_ec1': (0.99, 0.82), 'sqlite_ec4': (0.50, 0.43),
}


def value(configuration):
    return (
        20.0 - 8.0 * configuration['max_vel']
        + 0.3 * configuration['samples'] * configuration['refine']
    )


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = yaml.safe_load(TABLE_STUDY.read_text())
    table = {'kind': 'table', 'file': 't.csv'}
    data['environments'] = {
        'sim': {**table, 'role': 'source'}, 'robot': {**table, 'role': 'target'}
    }
    (tmp_path / 't.csv').write_text(','.join([*data['parameters'], *data['metrics']]) + '\n')
    (tmp_path / 'study.yaml').write_text(yaml.safe_dump(data))
    return load_study(tmp_path / 'study.yaml')


def fill(study, target=10, source=40):
    """Put measurements of both environments into the study's store."""
    design = study.space.sample(source, seed=1)
    with Store('output/recorded.sqlite', study=study) as store:
        for i, configuration in enumerate(design):
            for name, factor in (('sim', 1.0), ('robot', 1.5)):
                if name == 'robot' and i >= target:
                    continue
                metrics = {'time': factor * value(configuration), 'energy': 5.0 + i}
                store.add(Measurement(
                    name, configuration, seed=i, metrics=metrics, valid=i % 9 != 8,
                    reason='' if i % 9 != 8 else 'collision',
                    purpose='campaign' if name == 'sim' else 'transfer',
                ))


def test_a_study_is_compared(study, capsys, tmp_path):
    fill(study)
    code = main(['similarity', 'study.yaml', '--json', 'out.json', '--page', 'out.html'])
    assert code == 0
    shown = capsys.readouterr().out
    assert shown.startswith('time [s]\nsource: sim, 40 configurations, 36 valid\n')
    assert 'By which way: linear shift' in shown
    document = json.loads((tmp_path / 'out.json').read_text())
    assert document['version'] == 1
    assert list(document['metrics']) == list(TITLES)
    assert document['metrics']['M1']['value'] == pytest.approx(1.0, abs=1e-6)
    assert document['metrics']['M16']['low'] < 1 / 10 < document['metrics']['M16']['high']
    assert document['metrics']['M10']['value'] is None
    assert document['metrics']['M10']['why']
    assert document['verdict']['worth'] == 'yes'
    assert document['verdict']['way'] == 'linear shift'
    assert {one['name'] for one in document['options']} == set(study.space.names)
    for name in COUNTS:
        assert not isinstance(document['metrics'][name]['value'], float)


def test_the_page_is_whole_by_itself(study, tmp_path):
    pytest.importorskip('plotly')
    fill(study, target=40)
    assert main(['similarity', 'study.yaml', '--page', 'out.html']) == 0
    page = (tmp_path / 'out.html').read_text()
    assert page.count('class="plotly-graph-div"') >= 4
    assert 'Worth transferring: yes' in page
    assert not re.search(r'<(script|link|img)[^>]+(src|href)=', page)


def test_the_objective_and_other_metrics_can_be_compared(study, capsys):
    fill(study)
    assert main(['similarity', 'study.yaml', '--metric', 'energy']) == 0
    assert capsys.readouterr().out.startswith('energy [J]\n')
    assert main(['similarity', 'study.yaml', '--metric', 'objective']) == 0
    assert capsys.readouterr().out.startswith('objective\n')
    assert main(['similarity', 'study.yaml', '--source', 'robot', '--target', 'sim']) == 0
    assert 'source: robot' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'must be one of STUDY, --tables and --data, got []'),
        (['study.yaml', '--data', '.'], "got ['STUDY', '--data']"),
        (['study.yaml'], 'run `tl_adapt campaign study.yaml` first'),
        (['study.yaml', '--metric', 'no'], '--metric: unknown metric'),
        (['study.yaml', '--source', 'no'], 'unknown environment'),
        (['study.yaml', '--source', 'robot'], 'source and target must differ'),
        (['study.yaml', '--pair', 'p'], "--pair: has no meaning with STUDY, got 'p'"),
        (['study.yaml', '--source', ''], 'unknown environment'),
        (['study.yaml', '--json', 'study.yaml'], '--json: must not be the input study.yaml'),
        (['study.yaml', '--page', 'output/recorded.sqlite'], '--page: must not be the input'),
        (['--tables', 't.csv', 'u.csv', '--json', './t.csv'], '--json: must not be the input'),
        (['study.yaml', '--seed', '-1'], '--seed: must be at least 0'),
        (['--tables', 't.csv', 'gone.csv'], 'gone.csv: can not be read'),
        (['--tables', 't.csv', 't.csv', '--metric', 'no'], '--metric: has no column'),
        (['--data', '.', '--pair', 'p'], 'pairs.json: can not be read'),
        (['--data', '.', '--pair', 'p', '--metric', 'x'], 'has no meaning with --data'),
    ],
)
def test_mistakes_are_one_line(study, arguments, message, capsys):
    assert main(['similarity', *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count('\n') == 1
    assert captured.out == ''
    assert not Path('output').exists()


def test_an_environment_without_measurements_says_what_to_do(study, capsys):
    fill(study, target=0)
    assert main(['similarity', 'study.yaml']) == 2
    assert 'no measurements of robot: measure some with `tl_adapt transfer' in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize('target', [1, 2, 3, 4, 5, 6])
def test_very_few_target_measurements_are_no_error(study, target, capsys):
    fill(study, target=target)
    assert main(['similarity', 'study.yaml', '--page', 'out.html', '--json', 'out.json']) == 0
    out = capsys.readouterr().out
    assert 'Worth transferring: ' in out
    counted = '1 valid target measurement is' if target == 1 else f'{target} valid target mea'
    assert f'note: {counted}' in out


def table(path, y, d=4):
    X = np.random.default_rng(0).random((len(y), d))
    head = ','.join([*(f'o{j}' for j in range(d)), 'time'])
    rows = [','.join([*(f'{v:.4f}' for v in row), repr(float(t))]) for row, t in zip(X, y)]
    path.write_text('\n'.join([head, *rows]) + '\n')
    return X


@pytest.mark.parametrize('kind', ['constant', 'nan', 'zero', 'failed'])
def test_a_target_without_information_gets_an_answer(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    X = table(Path('s.csv'), np.arange(30.0))
    table(Path('s.csv'), 3.0 + X[:, 0])
    table(Path('t.csv'), {'constant': np.full(30, 4.0), 'nan': np.full(30, np.nan)}.get(
        kind, np.zeros(30)
    ))
    rule = ['--invalid', 'value <= 0'] if kind == 'failed' else []
    arguments = ['similarity', '--tables', 's.csv', 't.csv', '--page', 'p.html', *rule]
    assert main([*arguments, '--json', 'p.json']) == 0
    out = capsys.readouterr().out
    assert 'Worth transferring: no.' in out
    assert ' 0 valid target measurements are a sample' not in out
    json.loads(Path('p.json').read_text(), parse_constant=pytest.fail)


def test_values_that_can_not_be_squared_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table(Path('s.csv'), np.arange(30.0))
    table(Path('t.csv'), 1e200 * np.arange(30.0))
    assert main(['similarity', '--tables', 's.csv', 't.csv']) == 2
    assert 'the largest value must be 1e-100 to 1e+100' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('cell', 'value', 'message'),
    [
        ('1e308', '1', 's.csv, row 2: o: an option must be at most 1e+100 in size'),
        ('nan', '1', 's.csv, row 2: o: an option must be finite'),
        ('0', '2', '--invalid: can not be evaluated (float division by zero)'),
    ],
)
def test_a_bad_cell_of_a_table_is_one_line(cell, value, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ('s.csv', 't.csv'):
        Path(name).write_text(f'o,time\n{cell},{value}\n-1e99,3\n')
    assert main(['similarity', '--tables', 's.csv', 't.csv', '--invalid', '1/(value-2) > 9']) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count('\n') == 1


def test_tables_without_a_common_option_say_what_they_have(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('s.csv').write_text('a;b;time\n1;2;3\n')
    Path('t.csv').write_text('a,b,time\n1,2,3\n')
    assert main(['similarity', '--tables', 's.csv', 't.csv']) == 2
    assert "must have columns of options, got 'a;b;time; a, b, time'" in capsys.readouterr().err


def test_results_repeat(study, tmp_path):
    fill(study)
    for name in ('a.json', 'b.json'):
        assert main(['similarity', 'study.yaml', '--json', name]) == 0
    assert Path('a.json').read_text() == Path('b.json').read_text()




@pytest.mark.skipif(not (DATA / 'pairs.json').is_file(), reason='no recorded pairs in ../shared')
@pytest.mark.parametrize('name', PUBLISHED)
def test_the_published_correlations(name, tmp_path):
    path = tmp_path / 'out.json'
    assert main(['similarity', '--data', str(DATA), '--pair', name, '--json', str(path)]) == 0
    found = json.loads(path.read_text())['metrics']
    for key, published in zip(('M1', 'M3'), PUBLISHED[name]):
        assert found[key]['value'] == pytest.approx(published, abs=0.02)
