# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_pairs import write_pairs

from tl_adapt.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'benchmarks'))

import transfer_data as data  # noqa: E402
import transfer_runs as runs  # noqa: E402
import transfer_tables as tables  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path)


def plan(folder, **more):
    results = folder / 'rows.csv'
    return runs.Plan(folder, ('made',), 1, results, ('random',), **more)


def measure_all(what):
    runs.FORMAT.prepare(what.results)
    for key, cells in runs.missing(what).items():
        runs.measure(what, *key, cells)
    return runs.current(runs.FORMAT.read(what.results))


def test_ours_is_measured_and_only_once(folder):
    what = plan(folder)
    rows = measure_all(what)
    assert len(rows) == len(runs.SIZES) * len(runs.OURS)
    assert not any(row['error'] for row in rows)
    best = [row['nrmse_log'] for row in rows if row['method'] == 'transfer']
    assert max(best) < 0.3
    assert runs.missing(what) == {}


def test_a_torn_line_is_measured_again(folder):
    what = plan(folder, ours=('source only',))
    rows = measure_all(what)
    whole = what.results.read_bytes()
    what.results.write_bytes(whole[:-60])
    assert len(runs.FORMAT.read(what.results)) == len(rows) - 1
    assert len(measure_all(what)) == len(rows)


def test_rows_of_other_code_are_measured_again(folder):
    what = plan(folder, ours=('target only',))
    rows = measure_all(what)
    text = what.results.read_text().replace(runs.code('random'), 'older')
    what.results.write_text(text)
    assert runs.current(runs.FORMAT.read(what.results)) == []
    assert len(measure_all(what)) == len(rows)


def test_bad_input_is_named(folder):
    with pytest.raises(InputError, match='must be one of made'):
        data.descriptions(folder, ['other'])
    text = (folder / 'made.csv').read_text()
    (folder / 'made.csv').write_text(text + '0,0,0,0,-1,1\n')
    with pytest.raises(InputError, match='made.csv: source: must be > 0, got -1'):
        data.load(folder, 'made')


def row(method, seed, error, size=5, pair='p', points='random', **more):
    return {'points': points, 'pair': pair, 'n_target': size, 'method': method, 'seed': seed,
            'nrmse_log': error, 'error': '', **more}


def test_the_best_peer_is_that_of_the_cell():
    rows = [row('transfer', s, 0.5) for s in range(3)]
    rows += [row('a', s, v) for s, v in enumerate((0.2, 0.2, 2.0))]
    rows += [row('b', s, 1.0) for s in range(3)]
    cell, = tables.compare(tables.Results(rows), 'random', 'random')
    assert (cell['mean']['peer'], cell['median']['peer']) == ('a', 'a')
    assert cell['mean']['ratio'] == pytest.approx(0.5 / 0.8)
    assert tables.geometric([cell], ['p'], 'median') == {5: pytest.approx(2.5)}


def test_without_one_of_the_peers_there_is_no_comparison():
    rows = [row(m, 0, 1.0, pair=p) for m in ('transfer', 'a', 'b') for p in 'pq']
    cells = tables.compare(tables.Results(rows[:-1]), 'random', 'random')
    assert [cell['pair'] for cell in cells] == ['p']


def test_a_peer_that_fails_is_left_out_and_named():
    rows = [row(m, s, e) for s in (0, 1) for m, e in (('transfer', 1.0), ('a', 0.1), ('b', 2.0))]
    rows[1]['error'] = 'broken'
    cell, = tables.compare(tables.Results(rows), 'random', 'random')
    assert (cell['dropped'], cell['mean']['peer'], cell['seeds']) == (['a'], 'b', 2)


def test_negative_transfer_is_bounded():
    rows = [row('target only', s, 1.0) for s in range(4)]
    rows += [row('transfer', s, e) for s, e in enumerate((1.0, 1.0, 1.0, 1.2))]
    cell, = tables.negative(tables.Results(rows))
    assert cell['difference'] == pytest.approx(0.05)
    # student's t: 2.353 at 95 % and 3 degrees of freedom
    assert cell['bound'] == pytest.approx(0.05 + 2.353 * 0.05, abs=1e-4)
    assert cell['worse'] == 1


def test_pairs_that_separate():
    errors = {'target_mean': 1.0, 'a': 0.3, 'b': 0.6, 'c': 0.7}
    rows = [row(m, s, e + 0.01 * s, pair='clear') for m, e in errors.items() for s in range(3)]
    rows += [row(m, s, 1.0, pair='noise') for m in errors for s in range(3)]
    assert tables.separating(tables.Results(rows)) == ['clear']


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=20), st.floats(-3, 3))
def test_errors_of_a_shift(values, shift):
    true = np.array(values)
    if true.std() < 1e-3:
        return
    found = data.scores(true + shift, true)
    assert found['nrmse_log'] == pytest.approx(abs(shift) / true.std(), abs=1e-9)
    assert found['mape'] == pytest.approx(100 * abs(np.expm1(shift)), rel=1e-6, abs=1e-9)


def test_the_interval_score_charges_width_and_what_is_outside():
    found = data.interval_scores(np.zeros(2), np.ones(2), np.array([0.5, 1.1]))
    assert found == {'coverage': 0.5, 'interval_score': pytest.approx(1.0 + 0.5 * 20 * 0.1)}
