# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of pairs of environments that were recorded in CSV files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_adapt.errors import InputError
from tl_adapt.recorded_pair import invalid_rule, load_recorded, load_tables, read_table


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def pairs(folder, *entries):
    write(folder, 'pairs.json', json.dumps(list(entries)))
    return folder


SAME = {'name': 'p', 'files': ['p.csv'], 'same_configs': True, 'invalid_threshold': 5}
TWO = {'name': 'q', 'files': ['a.csv', 'b.csv'], 'same_configs': False}


def test_a_pair_of_the_same_configurations(tmp_path):
    write(tmp_path, 'p.csv', 'opt_a,opt_b,source,target\n0,2,1.0,10\n1,4,2.0,20\n1,6,,30\n')
    pair = load_recorded(pairs(tmp_path, SAME), 'p')
    assert pair.names == ('opt_a', 'opt_b')
    assert pair.source.X[:, 1].tolist() == [0.0, 0.5, 1.0]
    assert pair.source.valid.tolist() == [True, True, False]
    assert pair.joint.target.tolist() == [10.0, 20.0]


def test_the_raw_file_brings_the_invalid_rows(tmp_path):
    write(tmp_path, 'p.csv', 'opt_a,source,target\n0,1,1\n')
    write(tmp_path, 'raw/p.csv', 'opt_a,source,target\n0,1,1\n1,0,4.9\n0.5,5,6\n')
    folder = pairs(tmp_path, SAME)
    pair = load_recorded(folder, 'p')
    assert pair.source.valid.tolist() == [True, False, False]
    assert pair.target.valid.tolist() == [True, True, False]
    other = load_recorded(folder, 'p', rule=invalid_rule('value >= 5'))
    assert other.source.valid.tolist() == [True, True, False]


def test_two_robots_are_each_scaled_by_their_own_range(tmp_path):
    write(tmp_path, 'a.csv', 'opt_v,source\n1,5\n3,6\n')
    write(tmp_path, 'b.csv', 'opt_v,target\n10,5\n20,6\n15,7\n')
    pair = load_recorded(pairs(tmp_path, TWO), 'q')
    assert pair.source.X.ravel().tolist() == [0.0, 1.0]
    assert pair.target.X.ravel().tolist() == [0.0, 1.0, 0.5]
    assert (pair.source.name, pair.target.name) == ('a', 'b')


def test_two_tables_are_scaled_together_and_matched(tmp_path):
    a = write(tmp_path, 'sim.csv', 'v,mode,note,time\n1,fast,x,5\n3,slow,y,6\n3,slow,z,8\n')
    b = write(tmp_path, 'robot.csv', 'mode,v,time\nslow,3,50\nturbo,5,60\n')
    pair = load_tables(a, b)
    assert pair.names == ('v', 'mode')
    assert pair.categorical.tolist() == [False, True]
    assert pair.source.X[:, 0].tolist() == [0.0, 0.5]
    assert pair.source.y.tolist() == [5.0, 7.0]
    assert pair.rows.tolist() == [[1, 0]]
    assert pair.metric == 'time'


def test_words_of_truth_are_numbers(tmp_path):
    a = write(tmp_path, 'a.csv', 'on,time\ntrue,5\nfalse,6\n')
    pair = load_tables(a, a)
    assert pair.source.X.ravel().tolist() == [1.0, 0.0]
    assert not pair.categorical.any()
    assert pair.source.name != pair.target.name


def test_a_metric_may_be_named(tmp_path):
    a = write(tmp_path, 'a.csv', 'time,v\n5,0\n6,1\n')
    assert load_tables(a, a, metric='time').names == ('v',)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'must have a header'),
        ('v,v,t\n', "columns must have different names, got 'v'"),
        ('v,t\n1\n', 'row 2: must have 2 cells as the header has, got 1'),
        ('v,t\n1,fast\n', "row 2: t: must be a number, got 'fast'"),
        ('v,t\n,1\n', 'row 2: v: an option must have a value'),
        ('v,t\ninf,1\n', "row 2: v: an option must be finite, got 'inf'"),
        ('t\n1\n', 'must have columns of options'),
    ],
)
def test_a_broken_table_is_one_clear_error(tmp_path, text, message):
    path = write(tmp_path, 'a.csv', text)
    with pytest.raises(InputError) as caught:
        load_tables(path, path)
    assert message in str(caught.value)
    assert 'a.csv' in str(caught.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match='gone.csv: can not be read'):
        read_table(tmp_path / 'gone.csv')


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ({**SAME, 'name': 'other'}, 'has no pair of this name; there are other'),
        ({**SAME, 'files': []}, 'p.files: must name one or two files'),
        ({**SAME, 'files': 'p.csv'}, 'p.files: must name one or two files'),
        (SAME, 'p.csv: can not be read'),
        ('p', 'has no pair of this name; there are none'),
    ],
)
def test_a_broken_description_is_one_clear_error(tmp_path, entry, message):
    with pytest.raises(InputError) as caught:
        load_recorded(pairs(tmp_path, entry), 'p')
    assert message in str(caught.value)


@pytest.mark.parametrize('text', ['value >', 'valu > 3', 'value + 3', '', '__import__("os")'])
def test_a_broken_rule_is_refused(text):
    with pytest.raises(InputError, match='--invalid'):
        invalid_rule(text)


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_values_come_back_as_they_were_written(values):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        rows = ''.join(f'{i},{"" if v is None else repr(v)}\n' for i, v in enumerate(values))
        table = read_table(write(Path(folder), 't.csv', f'o,t\n{rows}'))
    expected = np.array([np.nan if v is None else v for v in values])
    np.testing.assert_array_equal(table.values('t'), expected)


@pytest.mark.parametrize('limit', ['five', True, [5]])
def test_a_threshold_that_is_no_number_is_refused(tmp_path, limit):
    write(tmp_path, 'p.csv', 'opt_a,source,target\n0,1,2\n1,2,3\n')
    with pytest.raises(InputError, match='p.invalid_threshold: must be a number or null, got '):
        load_recorded(pairs(tmp_path, {**SAME, 'invalid_threshold': limit}), 'p')


def test_a_list_of_pairs_that_is_nested_too_deeply_is_refused(tmp_path):
    write(tmp_path, 'pairs.json', '[' * 100000)
    with pytest.raises(InputError, match='can not be read'):
        load_recorded(tmp_path, 'p')
