# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the store."""

import contextlib
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tl_adapt.digests import space_digest
from tl_adapt.environments.base import Measurement
from tl_adapt.errors import InputError, StoreError
from tl_adapt.store import Store, measurement_key
from tl_adapt.study import study_from_dict

STUDY = {
    'version': 1,
    'name': 'small',
    'parameters': {
        'x': {'type': 'double', 'range': [0.0, 1.0], 'default': 0.5},
        'n': {'type': 'int', 'range': [1, 9], 'default': 3},
    },
    'metrics': {'time': {'direction': 'minimize', 'unit': 's'}},
    'objectives': [{'metric': 'time'}],
    'environments': {
        'lab': {'kind': 'command', 'role': 'source', 'command': ['true']},
        'field': {'kind': 'command', 'role': 'target', 'command': ['true']},
    },
}


def changed(**changes):
    return study_from_dict({**STUDY, **changes})


def some(seed=1, environment='lab', **fields):
    values = {'metrics': {'time': 1.5}, 'purpose': 'campaign', **fields}
    return Measurement(environment, {'x': 0.25, 'n': 4}, seed, **values)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'store.sqlite'


# --- round trips -------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=20)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MEASUREMENTS = st.builds(
    Measurement,
    environment=NAMES,
    configuration=st.dictionaries(
        st.text(), st.booleans() | st.integers(-(2**50), 2**50) | NUMBERS | st.text(), max_size=4
    ),
    seed=st.integers(-(2**63), 2**63 - 1),
    metrics=st.dictionaries(st.text(), NUMBERS, max_size=4),
    valid=st.booleans(),
    reason=NAMES,
    cost=NUMBERS,
    sim_time=NUMBERS,
    wall_time=NUMBERS,
    started=NAMES,
    purpose=NAMES,
    key=st.just(''),
    provenance=st.dictionaries(st.text(), JSON, max_size=4),
)


def typed(value):
    """Return the value with all types named, as 1 == 1.0 == True."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value).__name__, value


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(measurements=st.lists(MEASUREMENTS, max_size=4))
def test_what_is_added_comes_back(tmp_path, measurements):
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        path = pathlib.Path(folder, 'store.sqlite')
        keys = []
        with Store(path) as store:
            for m in measurements:
                is_new = store.add(m)
                assert is_new == (m.key not in keys)
                keys.append(m.key)
        expected = [m for i, m in enumerate(measurements) if m.key not in keys[:i]]
        with Store(path, write=False) as store:
            got = store.get()
            assert [typed(m.to_dict()) for m in got] == [typed(m.to_dict()) for m in expected]
            assert all(store.has(m.key) for m in measurements)


def test_text_that_no_database_holds_is_escaped(path):
    with Store(path) as store:
        assert store.add(some(reason='a\0b\ud800', valid=False))
        assert store.get()[0].reason == 'a\\x00b\\ud800'


def test_numpy_numbers_become_plain_ones(path):
    np = pytest.importorskip('numpy')
    with Store(path) as store:
        store.add(some(metrics={'time': np.float64(2.5)}, provenance={'n': np.int64(3)}))
        m = store.get()[0]
        assert typed(m.metrics) == {'time': ('float', 2.5)}
        assert typed(m.provenance) == {'n': ('int', 3)}


@pytest.mark.parametrize('number', [float('nan'), float('inf'), -float('inf')])
def test_numbers_that_are_not_finite_are_refused(path, number):
    with Store(path) as store:
        with pytest.raises(StoreError, match='metrics must be JSON'):
            store.add(some(metrics={'time': number}))
        assert store.count() == 0


def test_filters_and_counts(path):
    with Store(path) as store:
        for seed in range(6):
            store.add(
                some(
                    seed,
                    environment='lab' if seed % 2 else 'field',
                    purpose='campaign' if seed < 4 else 'evaluation',
                    valid=seed != 3,
                    reason='' if seed != 3 else 'collision',
                )
            )
        assert [m.seed for m in store.get()] == list(range(6))
        assert [m.seed for m in store.get(environment='lab')] == [1, 3, 5]
        assert [m.seed for m in store.get(environment='lab', purpose='campaign')] == [1, 3]
        assert [m.seed for m in store.get(valid=False)] == [3]
        assert store.count(valid=True, environment='lab') == 2
        assert store.count() == 6


def test_a_key_is_added_once(path):
    with Store(path) as store:
        assert store.add(some())
        assert not store.add(some())
        assert store.count() == 1


# --- keys and studies --------------------------------------------------------------------------


def test_keys_tell_runs_apart():
    study = changed()
    x = {'x': 0.25, 'n': 4}
    keys = {
        measurement_key(study, 'lab', x, 1, 'campaign'),
        measurement_key(study, 'lab', x, 2, 'campaign'),
        measurement_key(study, 'lab', x, 1, 'evaluation'),
        measurement_key(study, 'field', x, 1, 'campaign'),
        measurement_key(study, 'lab', {**x, 'n': 5}, 1, 'campaign'),
    }
    assert len(keys) == 5
    same = measurement_key(study, 'lab', {'n': 4, 'x': 0.25}, 1, 'campaign')
    assert same in keys
    whole = [measurement_key(study, 'lab', {'x': v, 'n': 4}, 1, '') for v in (1, 1.0)]
    assert whole[0] == whole[1]
    with pytest.raises(InputError):
        measurement_key(study, 'lab', {'x': 7.0, 'n': 4}, 1, 'campaign')


def test_a_store_serves_the_studies_that_mean_the_same(path):
    other_robot = {
        **STUDY['environments'],
        'lab': {**STUDY['environments']['lab'], 'identity': {'hardware': 'other'}},
    }
    wider = {**STUDY['parameters'], 'n': {'type': 'int', 'range': [1, 99], 'default': 3}}
    with Store(path, study=changed()) as store:
        store.add(some())
        store.add(some(environment='field'))
        assert store.count() == 2
        assert store.left_out() == 0
    judged = {'time': {'direction': 'minimize', 'unit': 's', 'scale': 'log', 'failed': 9.0}}
    for same in ({'budget': {'source': 5}}, {'metrics': judged}):
        with Store(path, study=changed(**same), write=False) as store:
            assert store.count() == 2
    in_minutes = {'time': {'direction': 'minimize', 'unit': 'min'}}
    with Store(path, study=changed(metrics=in_minutes), write=False) as store:
        assert store.count() == 0
    with Store(path, study=changed(environments=other_robot), write=False) as store:
        assert [m.environment for m in store.get()] == ['field']
        assert store.left_out() == 1
    with Store(path, study=changed(parameters=wider), write=False) as store:
        assert store.get() == []
        assert store.left_out() == 2
    with Store(path, write=False) as store:
        assert store.count() == 2


def test_rows_carry_their_study(path):
    study = changed()
    with Store(path, study=study) as store:
        store.add(some())
        key = store.get()[0].key
    assert key == measurement_key(study, 'lab', {'x': 0.25, 'n': 4}, 1, 'campaign')
    with contextlib.closing(sqlite3.connect(path)) as connection:
        row = connection.execute(
            'SELECT study, study_digest, space_digest FROM measurements'
        ).fetchone()
    assert row == ('small', study.digest, space_digest(study))


# --- writers and readers -----------------------------------------------------------------------


def test_a_second_writer_is_refused_and_named(path):
    with Store(path):
        with pytest.raises(StoreError) as caught:
            Store(path)
        assert str(caught.value) == (
            f'{path}: another process writes to this store (pid {os.getpid()})'
        )
    with Store(path) as store:
        assert store.add(some())


def test_a_writer_in_another_process_is_refused(path):
    code = f'from tl_adapt.store import Store; Store({str(path)!r})'
    with Store(path):
        answer = subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=False
        )
    assert answer.returncode != 0
    assert f'another process writes to this store (pid {os.getpid()})' in answer.stderr


def test_readers_see_what_is_committed_while_it_is_written(path):
    with Store(path) as writer, Store(path, write=False) as reader:
        for seed in range(5):
            writer.add(some(seed))
            assert reader.count() == seed + 1
        counts = []
        threads = [
            threading.Thread(target=lambda: counts.append(len(reader.get()))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for seed in range(5, 40):
            writer.add(some(seed))
        for thread in threads:
            thread.join(30.0)
        assert len(counts) == 4
        assert all(5 <= count <= 40 for count in counts)
        assert reader.count() == 40


def test_a_reader_leaves_no_files_behind_and_a_writers_alone(path):
    def beside():
        return sorted(file.name.removeprefix(path.name) for file in path.parent.iterdir())

    with Store(path) as store:
        store.add(some())
    before = beside()
    for write in (False, True):
        with Store(path, write=write) as store:
            assert store.count() == 1
        assert beside() == before == ['', '.lock']
    with Store(path) as writer:
        writer.add(some(2))
        there = beside()
        with Store(path, write=False) as store:
            assert store.count() == 2
        assert beside() == there
        writer.add(some(3))
    assert beside() == before
    # The writer may begin while somebody reads.
    with Store(path, write=False) as store:
        assert store.count() == 3
        writer = Store(path)
    writer.add(some(4))
    assert writer.count() == 4
    writer.close()
    assert beside() == before


def test_many_threads_add_each_key_once(path):
    new = []
    with Store(path) as store:

        def work():
            new.extend(store.add(some(seed)) for seed in range(20))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60.0)
        assert sum(new) == 20
        assert len(new) == 80
        assert store.count() == 20


def test_a_closed_store_says_so(path):
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match='the store is closed'):
        store.count()


def test_what_a_killed_writer_committed_is_there(path):
    code = (
        'import os, signal\n'
        'from tl_adapt.environments.base import Measurement\n'
        'from tl_adapt.store import Store\n'
        f'store = Store({str(path)!r})\n'
        'for seed in range(3):\n'
        "    store.add(Measurement('lab', {}, seed))\n"
        'os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    answer = subprocess.run([sys.executable, '-c', code], timeout=60, check=False)
    assert answer.returncode == -9
    assert path.with_name(path.name + '-wal').exists()
    with Store(path, write=False) as store:
        assert store.count() == 3
    with Store(path) as store:
        assert store.add(some(99))
        assert store.count() == 4


def test_refusals_are_facts_about_an_environment(path):
    study, one, other = study_from_dict(STUDY), {'x': 0.25, 'n': 4}, {'x': 1, 'n': 9}
    with Store(path, study=study) as store:
        for configuration in (one, other, one):
            store.refuse('field', configuration)
        assert store.refused('field') == [one, {'x': 1.0, 'n': 9}]
        assert store.refused('lab') == []
        assert store.count() == 0
        with pytest.raises(InputError):
            store.refuse('field', {'x': 2.0, 'n': 4})
    narrow = {**STUDY['parameters'], 'n': {'type': 'int', 'range': [1, 5], 'default': 3}}
    for known, found in (
        (changed(limits=['time <= 3'], seeds={'tuning': 9}), 2), (changed(parameters=narrow), 1),
    ):
        with Store(path, study=known, write=False) as store:
            assert len(store.refused('field')) == found
    robot = {**STUDY['environments']['field'], 'command': ['false']}
    moved = changed(environments={**STUDY['environments'], 'field': robot})
    with Store(path, study=moved, write=False) as store:
        assert store.refused('field') == [], 'it is another robot'
    with Store(path, write=False) as store, pytest.raises(StoreError, match='without a study'):
        store.refused('field')
    with Store(path, study=study) as store:
        assert (store.allow('lab'), store.allow('field'), store.allow('field')) == (0, 2, 0)
        assert store.refused('field') == []


def test_a_store_made_before_refusals_were_kept_is_read_and_written(path):
    study = study_from_dict(STUDY)
    with Store(path, study=study) as store:
        store.add(some())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('DROP TABLE IF EXISTS refused')
    with Store(path, study=study, write=False) as store:
        assert store.refused('field') == []
    with Store(path, study=study) as store:
        store.refuse('field', {'x': 0.25, 'n': 4})
        assert len(store.refused('field')) == store.count() == 1
