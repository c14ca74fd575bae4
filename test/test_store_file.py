# Copyright 2026 the tl_adapt authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the store's file: what is no store, newer, read-only, full, or damaged."""

import contextlib
import hashlib
import math
import os
import pathlib
import sqlite3
import tempfile

import pytest
import yaml
from small_study import SMALL

from tl_adapt.environments.base import Measurement
from tl_adapt.errors import StoreError
from tl_adapt.store import SCHEMA_VERSION, Store
from tl_adapt.study import study_from_dict


def some(seed=1, **fields):
    return Measurement('lab', {'x': 0.25, 'n': 4}, seed, metrics={'time': 1.5}, **fields)


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'store.sqlite'


@contextlib.contextmanager
def unprivileged():
    """Give up root's right to write everywhere; nothing to do for other users."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """Give a folder that every user can enter (pytest's own are private)."""
    with tempfile.TemporaryDirectory(prefix='tl_adapt_test_') as folder:
        os.chmod(folder, 0o777)
        yield pathlib.Path(folder)
        os.chmod(folder, 0o777)


def sha(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def test_it_is_a_safe_sqlite_file(path):
    with Store(path) as store, store._transaction() as connection:
        assert connection.exec_driver_sql('PRAGMA journal_mode').scalar() == 'wal'
        assert connection.exec_driver_sql('PRAGMA synchronous').scalar() == 2
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute('SELECT schema_version FROM tl_adapt_store').fetchall()
    assert rows == [(SCHEMA_VERSION,)]
    assert not path.with_name(path.name + '-wal').exists()


def test_a_url_and_odd_names_work(tmp_path):
    odd = tmp_path / 'a new folder' / 'what? 100% #1.sqlite'
    with Store(odd) as store:
        store.add(some())
    assert odd.is_file()
    with Store(f'sqlite:///{tmp_path}/url.sqlite') as store:
        store.add(some())
    assert (tmp_path / 'url.sqlite').is_file()
    with Store('sqlite://') as store:
        store.add(some())
        assert store.count() == 1


def test_a_store_of_a_newer_version_is_left_alone(path):
    with Store(path) as store:
        store.add(some())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('UPDATE tl_adapt_store SET schema_version = 3')
        connection.commit()
    before = sha(path)
    for write in (True, False):
        with pytest.raises(StoreError) as caught:
            Store(path, write=write)
        assert str(caught.value) == (
            f'{path}: made by a newer tl_adapt: schema 3, this one knows 1'
        )
    assert sha(path) == before


@pytest.mark.parametrize('write', [True, False])
def test_what_is_no_store_is_left_alone(path, write):
    path.write_text('no database at all, but long enough to look like something\n' * 20)
    before = sha(path)
    with pytest.raises(StoreError, match='file is not a database'):
        Store(path, write=write)
    assert sha(path) == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_strangers_database_is_left_alone(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('CREATE TABLE measurements (a, b)')
        connection.commit()
    before = sha(path)
    with pytest.raises(StoreError, match='a database, but not a store of tl_adapt'):
        Store(path)
    assert sha(path) == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_folder_and_a_missing_file_are_errors(tmp_path):
    with pytest.raises(StoreError, match='a folder, not a store'):
        Store(tmp_path)
    for options in ({'create': False}, {'write': False}):
        with pytest.raises(StoreError, match='there is no store here'):
            Store(tmp_path / 'none' / 'store.sqlite', **options)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / 'file').write_text('')
    with pytest.raises(StoreError, match='Not a directory'):
        Store(tmp_path / 'file' / 'store.sqlite')


@pytest.mark.parametrize('url', ['nonsense://host/db', 'postgresql+nodriver://me:secret@host/db'])
def test_a_bad_url_is_an_error_without_the_password(url):
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert 'secret' not in str(caught.value)


def test_a_link_to_a_store_has_the_same_one_writer(path):
    link = path.with_name('link.sqlite')
    link.symlink_to(path.name)
    with Store(path) as store:
        store.add(some())
        with pytest.raises(StoreError, match='another process writes to this store'):
            Store(link)
        with Store(link, write=False) as reader:
            assert reader.count() == 1
    Store(link).close()


def test_a_read_only_file_can_be_read_but_not_written(open_folder):
    path = open_folder / 'store.sqlite'
    with Store(path) as store:
        store.add(some())
    path.chmod(0o444)
    path.with_name(path.name + '.lock').chmod(0o666)
    before = sha(path)
    with unprivileged():
        with pytest.raises(StoreError, match='readonly'):
            Store(path)
        with Store(path, write=False) as store:
            assert store.count() == 1
    assert sha(path) == before


def test_a_read_only_folder_can_be_read_but_not_written(open_folder):
    path = open_folder / 'store.sqlite'
    with Store(path) as store:
        store.add(some())
    open_folder.chmod(0o555)
    before = sha(path)
    with unprivileged():
        with pytest.raises(StoreError, match='can not be written: Permission denied'):
            Store(path)
        with pytest.raises(StoreError, match='can not be written: Permission denied'):
            Store(open_folder / 'new.sqlite')
        with Store(path, write=False) as store:
            assert store.count() == 1
    assert sha(path) == before


def test_a_reader_does_not_write(path):
    with Store(path) as store:
        store.add(some())
    with Store(path, write=False) as store:
        with pytest.raises(StoreError, match='opened for reading only'):
            store.add(some(2))
        assert store.count() == 1


def test_a_full_disk_is_an_error_and_costs_nothing(path):
    with Store(path) as store:
        store.add(some(1))
        with store._transaction() as connection:
            pages = connection.exec_driver_sql('PRAGMA page_count').scalar()
            connection.exec_driver_sql(f'PRAGMA max_page_count = {pages}')
        with pytest.raises(StoreError, match='full'):
            store.add(some(2, provenance={'long': 'x' * 100_000}))
        assert [m.seed for m in store.get()] == [1]
        with store._transaction() as connection:
            connection.exec_driver_sql('PRAGMA max_page_count = 1000000')
        assert store.add(some(2, provenance={'long': 'x' * 100_000}))
    with Store(path, write=False) as store:
        assert [m.seed for m in store.get()] == [1, 2]


def test_a_damaged_row_is_named(path):
    with Store(path) as store:
        store.add(some(key='abc'))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE measurements SET metrics = '{broken'")
        connection.commit()
    damaged = pytest.raises(StoreError, match='metrics of measurement abc is damaged')
    with Store(path, write=False) as store, damaged:
        store.get()


def damage(path, change, *values):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f'UPDATE {change}', values)
        connection.commit()


@pytest.mark.parametrize('field, value, why', [
    ('metrics', '{"time": "x"}', "time must be a finite number, got 'x'"),
    ('metrics', '{"time": NaN}', 'time must be a finite number, got nan'),
    ('metrics', f'{{"time": {10**400}}}', 'time must be a finite number, got 1000'),
    ('metrics', '[1]', 'must map names to values, got [1]'),
    ('configuration', '-1', 'must map names to values, got -1'),
    ('configuration', '{"x": [1]}', 'x must be a number, text, true or false'),
    ('provenance', 'null', 'must map names to values, got None'),
    ('cost', 'x', "must be a finite number, got 'x'"),
    ('cost', math.inf, 'must be a finite number, got inf'),
    ('seed', 'x', "must be a whole number, got 'x'"),
    ('reason', b'\xff\0', r"must be text, got b'\xff\x00'"),
])
def test_what_is_of_another_type_is_named(path, field, value, why):
    with Store(path) as store:
        store.add(some(key='abc'))
    damage(path, f'measurements SET {field} = ?', value)
    with Store(path, write=False) as store, pytest.raises(StoreError) as caught:
        store.get()
    head = f'{path}: {field} of measurement abc is damaged: '
    assert str(caught.value).startswith(head + why)


@pytest.mark.parametrize('configuration, why', [
    ('{"v": 0.5, "n": 3}', 'mode: a value is missing'),
    ('{"v": 99, "n": 3, "mode": "slow"}', 'v: must be in [0.1, 1.0], got 99'),
    ('{"v": "fast", "n": 3, "mode": "slow"}', "v: must be a number, got 'fast'"),
])
def test_a_configuration_that_its_study_can_not_have_is_named(path, configuration, why):
    study = study_from_dict(yaml.safe_load(SMALL))
    with Store(path, study=study) as store:
        for seed in (1, 2):
            store.add(Measurement('sim', study.space.default(), seed, key=f'k{seed}'))
        assert len(store.get()) == 2
    damage(path, "measurements SET configuration = ? WHERE key = 'k2'", configuration)
    with Store(path, study=study, write=False) as store, pytest.raises(StoreError) as caught:
        store.get()
    head = f'{path}: configuration of measurement k2 is damaged: '
    assert str(caught.value).startswith(head)
    assert why in str(caught.value)


@pytest.mark.parametrize('write', [True, False])
def test_a_damaged_version_is_named(path, write):
    Store(path).close()
    damage(path, "tl_adapt_store SET schema_version = 'x'")
    with pytest.raises(StoreError) as caught:
        Store(path, write=write)
    assert str(caught.value) == (
        f'{path}: schema_version of tl_adapt_store is damaged: must be a whole number, '
        "got 'x'"
    )


def test_a_damaged_refusal_is_named(path):
    study = study_from_dict(yaml.safe_load(SMALL))
    with Store(path, study=study) as store:
        store.refuse('robot', study.space.default())
    damage(path, "refused SET configuration = '{'")
    with Store(path, study=study, write=False) as store, pytest.raises(StoreError) as caught:
        store.refused('robot')
    assert str(caught.value).startswith(f'{path}: the table refused is damaged: ')
