# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from small_pairs import write_pairs

from tl_adapt.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'benchmarks'))

import tuning  # noqa: E402
import tuning_front as front  # noqa: E402
import tuning_peers as peers  # noqa: E402
import tuning_problem as problems  # noqa: E402
import tuning_runs as runs  # noqa: E402
import tuning_speed as speed  # noqa: E402
import tuning_tables as tables  # noqa: E402
from transfer_data import load  # noqa: E402

TABLE = np.array([4.0, 3.0, 2.0, 1.0, 0.0] * 41)  # median 2; the best 1 % are two rows of 0
FEW = ('no source', 'baseline hill-climbing')


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path, ('made', 'other'))


def plan(folder, *pairs, **more):
    return runs.Plan(folder, pairs or ('made',), 1, folder / 'rows.csv', wanted=FEW, **more)


def measure_all(what):
    runs.FORMAT.prepare(what.results)
    for key, methods in runs.missing(what).items():
        runs.measure(what, *key, methods)
    return runs.current(what)


def row(method, seed, order, pair='p', **more):
    return {'pair': pair, 'method': method, 'seed': seed, 'rows': ' '.join(map(str, order)),
            'seconds': 1.0, 'error': '', **more}


def results_of(rows):
    return tables.Results(rows, lambda pair: TABLE)


def test_ours_and_a_baseline_are_measured_and_only_once(folder, monkeypatch):
    monkeypatch.setattr(runs, 'BUDGET', 8)
    what = plan(folder)
    rows = measure_all(what)
    assert [row['method'] for row in rows] == list(FEW)
    for one in rows:
        order = [int(word) for word in one['rows'].split()]
        assert one['error'] == ''
        assert len(order) == 8
        # the table has 16 configurations, each in many rows
        assert len(np.unique(load(folder, 'made').Xt[order], axis=0)) == 8
    assert rows[0]['rows'].split()[0] == rows[1]['rows'].split()[0]  # the random row
    assert runs.missing(what) == {}


def test_a_study_of_many_options_has_each_where_the_table_has_it():
    rng = np.random.default_rng(0)
    few, many = rng.integers(0, 3, (40, 6)) / 2, rng.random((40, 6))
    X = np.round(np.hstack([few[:, :3], many, few[:, 3:]]), 6)
    y = {'y': np.arange(1.0, 41.0)}
    problem = problems.Problem((X, y), (X, y), 5, 3)
    space = problem.study.space
    assert np.allclose(space.encode(problem.configurations), X)
    assert space.default() in problem.configurations


def test_two_objectives_are_measured(folder, monkeypatch):
    monkeypatch.setattr(front, 'BUDGET', 4)
    rows = measure_all(plan(folder, 'made+other'))
    assert [(row['method'], row['error']) for row in rows] == [('no source', '')]
    assert len(rows[0]['rows'].split()) == 4


def test_two_objectives_need_the_same_rows(folder):
    lines = (folder / 'other.csv').read_text().splitlines()
    (folder / 'other.csv').write_text('\n'.join([lines[0], *lines[:0:-1]]) + '\n')
    load.cache_clear()
    with pytest.raises(InputError, match='two objectives need the same rows'):
        runs.tables_of(folder, 'made+other')


def test_rows_of_other_code_are_measured_again_but_can_be_reported(folder, monkeypatch):
    monkeypatch.setattr(runs, 'BUDGET', 3)
    what = plan(folder)
    measure_all(what)
    text = what.results.read_text()
    for method in FEW:
        text = text.replace(runs.code(method), 'older')
    what.results.write_text(text)
    assert runs.current(what) == []
    assert len(runs.missing(what)['made', 0]) == 2
    assert len(runs.current(plan(folder, any_code=True))) == 2


def test_what_failed_is_tried_again_and_peers_rows_need_no_code(folder):
    what = runs.Plan(folder, ('made',), 2, folder / 'rows.csv', wanted=('gp_ei', 'smac3'),
                     peers=('gp_ei', 'smac3'), kept=(folder / 'more.csv',))
    runs.FORMAT.prepare(what.kept[0])
    for method, error in (('gp_ei', ''), ('smac3', 'broken')):
        runs.FORMAT.append(what.kept[0], {
            **row(method, 0, [1, 2], 'made'), 'n_source': 200, 'error': error, 'code': ''})
    assert runs.missing(what) == {('made', 0): ('smac3',), ('made', 1): ('gp_ei', 'smac3')}


def test_slow_peers_get_fewer_seeds(folder):
    slow = peers.SLOW[0]
    what = runs.Plan(folder, ('made',), 3, folder / 'rows.csv', slow_seeds=1, wanted=(slow,),
                     peers=(slow,))
    assert list(runs.missing(what)) == [('made', 0)]


def test_the_whole_benchmark_prints_bars_and_resumes(folder, monkeypatch, capsys):
    monkeypatch.setattr(runs, 'run', lambda what, workers: measure_all(what))
    monkeypatch.setattr(runs, 'BUDGET', 6)
    found = folder / 'found.json'
    monkeypatch.setattr(sys, 'argv', [
        'tuning.py', '--data', str(folder), '--seeds', '1', '--parts', 'alone,front', '--front',
        'made+other', '--methods', ','.join(FEW), '--results', str(folder / 'rows.csv'),
        '--json', str(found), '--judge', 'no source,no source',
    ])
    for _ in range(2):
        assert tuning.main() == 0
        printed = capsys.readouterr()
        assert 'the peers can not be run' in printed.err
        assert 'no source: regret after 5' in printed.out
        assert 'Two objectives' in printed.out
    bars = json.loads(found.read_text())['bars']
    assert {entry['limit'] for entry in bars} == {0, 1.0}


def test_a_study_of_a_table_keeps_the_places():
    X = np.array([[0.0, 0.5, 0.1], [1.0, 1.0, 0.7], [0.0, 0.0, 1.0]])
    Y = {'y': np.arange(1.0, 4.0)}
    problem = problems.Problem((X, Y), (X, Y), 3, 0)
    space = problem.study.space
    np.testing.assert_allclose(space.encode(problem.configurations), X, atol=1e-12)
    assert space['o0'].choices == (0.0, 1.0)
    assert space['o2'].choices is None
    assert space.default() in problem.configurations


def test_regret_and_the_best_percent():
    found = tables.curve(TABLE, [0, 1, 2, 2, 3, 0, 0, 0, 4])
    assert (found['5'], found['10'], found[tables.FIRST]) == (0.5, 0.0, 9)
    assert tables.curve(TABLE, [0] * 40)[tables.FIRST] == tables.BUDGET + 1


def test_the_best_single_peer_and_the_best_of_a_pair():
    rows = [row('transfer', s, [1], pair) for s in range(2) for pair in 'pq']
    rows += [row('a', s, [2 if pair == 'p' else 0], pair) for s in range(2) for pair in 'pq']
    rows += [row('b', s, [1], pair) for s in range(2) for pair in 'pq']
    rows += [row('c', 0, [4], 'p')]
    results = results_of(rows)
    assert results.complete() == ['transfer', 'a', 'b']
    single = tables.single(results, 'transfer', ['a', 'b'])['5']
    assert (single['peer'], single['ratio']) == ('a', 1.0)  # (1 + 2) / 2 against 1.5
    cells = {c['pair']: c for c in tables.compare(results, 'transfer', ['a', 'b'])
             if c['measure'] == '5'}
    assert [cells[pair]['peer'] for pair in 'pq'] == ['a', 'b']
    assert cells['p']['p'] == pytest.approx(0.25, abs=0.01)  # two seeds: one of four signs


def test_what_failed_is_left_out_and_named(capsys):
    results = results_of([row('a', 0, [1], error='broken'), row('a', 1, [1]), row('b', 0, [1])])
    assert results.seeds('p', 'a') == [1]
    tables.show_methods(results, 'transfer')
    assert 'FAILED: a in 1 runs, which are left out; p, seed 0: broken' in capsys.readouterr().out


@settings(max_examples=20, deadline=None)
@given(arrays.arrays(float, 12, elements=st.floats(0, 1)))
def test_worse_is_a_probability_and_better_is_not_worse(off):
    p = tables.worse(off, np.zeros(12))
    assert 0 < p <= 1
    assert tables.worse(np.zeros(12), off) >= 0.4
    assert tables.worse(off + 1.0, np.zeros(12)) < 0.001


def test_holm_adjusts():
    assert tables.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@settings(max_examples=20, deadline=None)
@given(arrays.arrays(float, (30, 2), elements=st.floats(0, 1.2)))
def test_the_hypervolume_is_the_dominated_area(Y):
    axis = (np.arange(64) + 0.5) / 64
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    dominated = (Y[None] <= grid[:, None]).all(axis=2).any(axis=1).mean()
    assert front.hypervolume(Y) == pytest.approx(dominated, abs=2.1 / 64)


@pytest.mark.parametrize('view', front.VIEWS)
def test_the_whole_table_has_all_of_the_hypervolume(view):
    Y = np.exp(np.random.default_rng(0).standard_normal((50, 2)))
    found = front.shares(Y, range(50), view)
    assert found[20] <= 1.0
    assert front.shares(Y, np.argsort(Y.sum(axis=1)), view)[20] >= found[20] * 0.9
    assert front.shares(Y, [*np.flatnonzero((Y[:, None] == front.front(Y)[None]).any((1, 2)))],
                        view)[20] == pytest.approx(1.0)


def test_the_latency_of_ask_and_tell(folder):
    seconds = speed.cycles(load(folder, 'made'), 'rows', 0, 6, 2)
    assert seconds.shape == (3, 2)
    assert (seconds > 0).all()


def test_bad_arguments_are_refused(folder, monkeypatch):
    for words, text in ((['--parts', 'x'], 'must be one of'), (['--judge', 'x'], 'two methods')):
        monkeypatch.setattr(sys, 'argv', ['tuning.py', '--data', str(folder), *words])
        with pytest.raises(InputError, match=text):
            tuning.main()
